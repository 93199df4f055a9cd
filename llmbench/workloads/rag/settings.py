"""What the parameters of a configuration mean to retrieval: database, collection, embedder, index, and the demo set."""

import dataclasses
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from llmbench.errors import InputError
from llmbench.models.embedding import embedding_use
from llmbench.models.resolve import find_model_info, identity
from llmbench.retrieval.collection import CollectionKey
from llmbench.retrieval.database import EMBEDDED
from llmbench.retrieval.documents import Splitting
from llmbench.retrieval.index import VectorIndex
from llmbench.schema.config import Prompt, PropertyValue, RunConfig
from llmbench.schema.engines import ENGINES

DEMO = "demo"
"""The collection of the documents that the package carries; used where neither documents nor a collection is named."""

EMBEDDER_ENGINE = "genai"
"""What embeds, whichever engine generates; the embedder of a simulated one is simulated, too."""

_COUNT = 4
_ID_DIGITS = 16


def demo_documents() -> Path:
    """Return the folder of the demo's documents."""
    return _data() / "documents"


def demo_questions() -> Path:
    """Return the file of the demo's questions."""
    return _data() / "questions.jsonl"


def _data() -> Path:
    return Path(str(resources.files("llmbench.data"))) / "rag"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """The retrieval of one configuration.

    *documents* is the folder that is indexed where that has not been done, ``None`` where the collection must be
    there. The nearest *count* chunks go into the prompt; of a *reranker* the best *kept* of them, which is all where it
    is ``None``. *fixed_context* is the length of every prompt in tokens, ``None`` where it is what the chunks make it.
    """

    database: str
    collection: str
    documents: Path | None
    embedder: str
    splitting: Splitting
    index: VectorIndex
    count: int = _COUNT
    reranker: str | None = None
    kept: int | None = None
    fixed_context: int | None = None

    @classmethod
    def of(cls, config: RunConfig) -> "RetrievalSettings":
        """Return what the parameters of a configuration say.

        Raises:
            InputError: a value that is not possible, or no embedder.
        """
        found = dict(config.parameters)
        documents = _text(found, "documents")
        collection = _text(found, "collection")
        if "embedder" not in found:
            raise InputError("no embedder was given", hint="give --embedder IR_DIR")
        settings = cls(
            database=_text(found, "database") or EMBEDDED,
            collection=collection or (Path(documents).resolve().name if documents else DEMO),
            documents=Path(documents) if documents else None if collection else demo_documents(),
            embedder=str(found["embedder"]),
            splitting=Splitting(
                size=_number(found, "chunk_size") or Splitting().size, overlap=_overlap(found)
            ),
            index=_index(found),
            count=_number(found, "retrieve_top_k") or _COUNT,
            reranker=_text(found, "reranker"),
            kept=_number(found, "rerank_top_n"),
            fixed_context=_number(found, "fixed_context"),
        )
        settings.check_reranking()
        settings.index.check_count(settings.count)
        return settings

    def check_reranking(self) -> None:
        """Raise InputError where there is no reranker, or more chunks are to be kept than are retrieved."""
        if self.kept is not None and self.reranker is None:
            raise InputError("--rerank-top-n needs a --reranker", hint="add one, or leave it out")
        if self.kept is not None and self.kept > self.count:
            raise InputError(
                f"--rerank-top-n {self.kept} is more than --retrieve-top-k {self.count}",
                hint="retrieve at least as many chunks as are kept",
            )

    def without_index(self) -> "RetrievalSettings":
        """Return the same with an exact search: what all indexes of one collection have in common."""
        return dataclasses.replace(self, index=VectorIndex())

    def key(self, engine: str) -> CollectionKey:
        """Return the identity of its collection; the embedder is looked at, and not loaded."""
        return CollectionKey(
            name=self.collection, splitting=self.splitting, embedder=embedder_identity(self.embedder, engine)
        )


def embedder_identity(embedder: str, engine: str) -> str:
    """Return what tells one embedder from another: the hash of its content and its use; of a script, the script."""
    if ENGINES[engine].is_simulated:
        return f"script {embedder}"
    info = find_model_info(embedder, engine=EMBEDDER_ENGINE, task="text_embed")
    use = embedding_use(Path(info.path), {})
    normal = "normalized" if use.is_normalized else "not normalized"
    content = identity(info.provenance, is_verified=True) or info.path
    return f"{content[:_ID_DIGITS]} {use.pooling} {normal}"


def embedder_config(embedder: str, config: RunConfig | None = None, *, task: str = "text_embed") -> RunConfig:
    """Return the configuration to load an embedder or reranker with; device and threads are those of *config*."""
    like = config or RunConfig(model="", prompts=(Prompt(set="", index=0, tokens=1),))
    return RunConfig(
        model=embedder,
        task=task,
        engine=like.engine if like.engine_info.is_simulated else EMBEDDER_ENGINE,
        prompts=like.prompts,
        output_tokens=0,
        device=like.device,
        threads=like.threads,
    )


def _text(found: dict[str, PropertyValue], name: str) -> str | None:
    return str(found[name]) if name in found else None


def _number(found: dict[str, PropertyValue], name: str) -> int | None:
    return int(found[name]) if name in found else None


def _overlap(found: dict[str, PropertyValue]) -> int:
    """The overlap given, or else an eighth of the chunk size, as in the defaults."""
    size, overlap = _number(found, "chunk_size"), _number(found, "chunk_overlap")
    return overlap if overlap is not None else size // 8 if size else Splitting().overlap


def _index(found: dict[str, PropertyValue]) -> VectorIndex:
    default = VectorIndex()
    return VectorIndex(
        kind=_text(found, "index") or default.kind,
        m=_number(found, "hnsw_m") or default.m,
        ef_construction=_number(found, "ef_construction") or default.ef_construction,
        ef_search=_number(found, "ef_search") or default.ef_search,
        lists=_number(found, "ivf_lists"),
        probes=_number(found, "ivf_probes"),
    )
