"""What ``-t rag`` takes where nothing else is named: the demo's language model and embedder, fetched and converted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from llmbench.cli.convert import convert_once, watch_conversion
from llmbench.convert import library
from llmbench.convert.request import ConvertRequest
from llmbench.models import demo
from llmbench.models.demo import EMBEDDER_NAME, demo_embedder
from llmbench.models.locate import locate
from llmbench.retrieval.documents import find_documents
from llmbench.schema.engines import ENGINES
from llmbench.schema.tasks import RAG
from llmbench.workloads.rag.questions import read_questions

_RETRIEVAL_FORMAT = "fp16"


def with_retrieval_models(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``-t rag`` with a language model and an embedder that can be loaded; others as they are.

    Raises:
        LlmbenchError: one of them cannot be fetched or converted; no documents or questions where some are named.
    """
    engine = ENGINES.get(str(options.get("engine") or "genai"))
    if options.get("task") != RAG or engine is None:
        return dict(options)
    if options.get("documents"):
        find_documents(Path(options["documents"]))
    if options.get("questions"):
        read_questions(Path(options["questions"]))
    if engine.is_simulated:
        return {**options, "embedder": options.get("embedder") or "dimension=64"}
    reranker = options.get("reranker")
    return {
        **options,
        "model": options.get("model") or demo_language_model(demo.demo_folder() / "models"),
        "embedder": str(embedder_ir(options.get("embedder"))),
        "reranker": reranker and str(retrieval_ir(reranker)),
    }


def demo_language_model(folder: Path) -> str:
    """Return the IR of the demo's language model below *folder*, fetched and converted where it is not there."""
    path = demo.demo_folder() / demo.DEMO_FILE
    if not path.is_file():
        click.echo(f"fetching {demo.DEMO_FILE} (94 MiB), once, into {path.parent}", err=True)
    request = ConvertRequest(model_id=str(demo.demo_model()), output_dir=folder)
    (converted,) = watch_conversion(request)
    return str(converted.folder)


def embedder_ir(embedder: str | None) -> Path:
    """Return the IR of an embedding model, converted where it is a Hugging Face model; without one the demo's."""
    if embedder is None:
        if not (demo.demo_folder() / EMBEDDER_NAME).is_dir():
            click.echo(f"fetching {EMBEDDER_NAME} (80 MiB), once, into {demo.demo_folder()}", err=True)
        embedder = str(demo_embedder())
    return retrieval_ir(embedder)


def retrieval_ir(model: str) -> Path:
    """Return the IR of an embedding or reranking model, converted where it is a Hugging Face model."""
    if not library.is_source(model):
        return locate(model).path
    formats = (_RETRIEVAL_FORMAT,)
    found = library.find_conversions(model, formats)
    return found[0] if found else convert_once(library.library_request(model, formats), model)[0]
