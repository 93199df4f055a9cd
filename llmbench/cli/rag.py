"""``llmbench rag index``: documents into a database, ready for questions by ``llmbench run -t rag``."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from llmbench.cli.convert import progress_screen
from llmbench.cli.messages import say, warn
from llmbench.cli.options.help import HelpGroup
from llmbench.cli.options.table import parameters, parse_options
from llmbench.cli.options.types import Command
from llmbench.cli.retrieval_source import with_retrieval_models
from llmbench.errors import InputError
from llmbench.retrieval import database, server
from llmbench.retrieval.documents import find_documents
from llmbench.runner.configurations import configurations
from llmbench.runner.rag_index import Indexed, IndexRequest, index_documents
from llmbench.schema.config import RunConfig
from llmbench.schema.settings.table import PARAMETERS
from llmbench.schema.tasks import RAG
from llmbench.schema.units import counted, format_duration
from llmbench.workloads.rag.settings import RetrievalSettings, embedder_config

_OPTIONS = ("documents", "database", "collection", "embedder", "chunk_size", "chunk_overlap")
_BUILD = ("index", "hnsw_m", "ef_construction", "ivf_lists")


@click.group(
    cls=HelpGroup,
    context_settings={"show_default": True},
    epilog="""
    llmbench rag index --documents docs""",
)
def command() -> None:
    """Prepare retrieval-augmented generation, which llmbench run -t rag measures."""


@command.command(
    "index",
    cls=Command,
    params=parameters(
        *_OPTIONS,
        *_BUILD,
        "engine",
        **{name: {"is_rare": False} for name in (*_OPTIONS[1:], *_BUILD)},
        documents={"required": True, "is_rare": False, "help": "Folder of text, Markdown and HTML."},
    ),
    short_help="Documents into a database.",
    epilog="""
    llmbench rag index --documents docs
    llmbench rag index --documents docs --chunk-size 400,800 --index hnsw,ivfflat
    llmbench rag index --documents docs --database postgresql://bench@db.example/rag --embedder models/minilm""",
)
def index_command(**options: Any) -> None:
    """Split documents, embed the chunks, and store them in PostgreSQL with pgvector.

    Documents that are stored already are left as they are; indexing that was interrupted goes on with the next one.
    Documents that are gone from the folder are removed.
    """
    database.check_retrieval_packages()
    find_documents(Path(options["documents"]))
    found = with_retrieval_models({**options, "task": RAG, "model": "none"})
    cells = configurations(parse_options(found), "none")
    wanted: dict[RetrievalSettings, list[RetrievalSettings]] = {}
    for settings in map(RetrievalSettings.of, cells):
        wanted.setdefault(settings.without_index(), []).append(settings)
    with ExitStack() as stack:
        for name in {settings.database for settings in wanted}:
            if database.is_embedded(name):
                stack.enter_context(server.served(name))
        for settings, kinds in wanted.items():
            _index(settings, kinds, cells[0])
    say(f"  next       {_next_command(options)}", is_whole=True)


def _index(settings: RetrievalSettings, kinds: list[RetrievalSettings], cell: RunConfig) -> None:
    if settings.documents is None:
        raise InputError("no documents were given", hint="give --documents DIR")
    request = IndexRequest(
        folder=settings.documents,
        address=server.address_of(settings.database),
        key=settings.key(cell.engine),
        embedder=embedder_config(settings.embedder, cell),
        indexes=tuple(each.index for each in kinds),
    )
    screen = progress_screen()
    with screen.shown():
        found = index_documents(request, screen.report)
    say(*_describe(found, settings))
    if found.long_chunks:
        warn(
            f"{counted(found.long_chunks, 'chunk')} longer than the embedder reads: only the beginning was embedded; "
            "use a smaller --chunk-size"
        )


def _describe(found: Indexed, settings: RetrievalSettings) -> Iterator[str]:
    yield f"collection {settings.collection} in {settings.database}"
    gone = f", {found.removed} removed" if found.removed else ""
    there = found.documents - found.stored
    yield f"  documents  {found.documents}: {found.stored} stored now, {there} there before{gone}"
    size = f"{settings.splitting.size} characters at most, {settings.splitting.overlap} overlapping"
    yield f"  chunks     {found.total_chunks}, {found.chunks} of them new; {size}"
    if found.stored and found.seconds:
        rates = f"{found.stored / found.seconds:.1f} documents/s, {found.chunks / found.seconds:.1f} chunks/s"
        yield f"  took       {format_duration(found.seconds)}: {rates}"
    for name, seconds in found.built.items():
        yield f"  index      {name}, built in {seconds:.1f} s"


def _next_command(options: dict[str, Any]) -> str:
    """The command that puts questions to what was indexed."""
    parts = ["llmbench", "run", "-t", RAG]
    for setting in PARAMETERS:
        value = options.get(setting.name)
        if value not in (None, ()):
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts += [setting.flags[0], database.take_password(text) if setting.name == "database" else text]
    return shlex.join([*parts, "--questions", "QUESTIONS.jsonl"])
