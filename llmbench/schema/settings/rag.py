"""Settings of retrieval-augmented generation."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

INDEX_KINDS = ("exact", "hnsw", "ivfflat")

_retrieval = functools.partial(Setting, group=Group.RETRIEVAL, tasks=("rag",))
_text = functools.partial(_retrieval, kind=ValueKind.TEXT)
_numbers = functools.partial(_retrieval, kind=ValueKind.INTEGERS, least=1)
_hnsw = functools.partial(_numbers, needs=("index", "hnsw"))
_ivfflat = functools.partial(_numbers, needs=("index", "ivfflat"))

RAG_SETTINGS = (
    _text(
        "--documents",
        "Folder of text, Markdown and HTML; indexed first, once.  [default: the demo's]",
        metavar="DIR",
    ),
    _text(
        "--questions",
        "Questions, one per iteration, and words of the right chunk.  [default: the demo's]",
        metavar="FILE.jsonl",
    ),
    _text(
        "--database",
        "PostgreSQL with pgvector: postgresql://..., or embedded[:NAME].  [default: embedded]",
        metavar="URL",
    ),
    _text(
        "--collection",
        "Name of the indexed documents in the database.  [default: the folder's name]",
        metavar="NAME",
    ),
    _text(
        "--embedder",
        "Embedding model: an IR, or a Hugging Face model.  [default: all-MiniLM-L6-v2]",
        metavar="MODEL",
    ),
    _text(
        "--reranker",
        "Reranking model that orders the chunks anew: an IR, or a Hugging Face model.  [default: none]",
        metavar="MODEL",
    ),
    _numbers(
        "--rerank-top-n", "With --reranker: the best N chunks go into the prompt.  [default: all; sweep]"
    ),
    _numbers(
        "--retrieve-top-k",
        "Chunks that are retrieved; --top-k is the same without --do-sample.  [default: 4; sweep]",
    ),
    _numbers("--fixed-context", "Cut or repeat the chunks so that every prompt has N tokens.  [sweep]"),
    _numbers("--chunk-size", "Characters in a chunk.  [default: 800; sweep]"),
    _retrieval(
        "--chunk-overlap",
        "Characters that a chunk repeats of the one before.  [default: an eighth]",
        kind=ValueKind.INTEGER,
    ),
    _retrieval(
        "--index",
        "exact, hnsw or ivfflat.  [default: exact; sweep]",
        kind=ValueKind.WORDS,
        choices=INDEX_KINDS,
    ),
    _hnsw("--ef-search", "HNSW: nodes of the graph that a search looks at.  [default: 40; sweep]"),
    _hnsw("--hnsw-m", "HNSW: links of a node.  [default: 16; sweep]"),
    _hnsw("--ef-construction", "HNSW: nodes looked at to build it.  [default: 64; sweep]"),
    _ivfflat("--ivf-lists", "IVFFlat: lists.  [default: a thousandth of the chunks; sweep]"),
    _ivfflat(
        "--ivf-probes", "IVFFlat: lists that a search looks at.  [default: the root of their number; sweep]"
    ),
)
