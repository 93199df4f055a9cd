"""Documents into a collection, and the database that has it: what must be there before the first request.

The embedder is loaded in a child process, so that its memory ends with it and a run begins with none of it. What was
stored before is left as it is, so that indexing that was cut short goes on where it stopped.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from llmbench.engines.base import Embedder
from llmbench.engines.catalog import find_engine
from llmbench.files.cache import cache_folder
from llmbench.models.embedding import embedding_use
from llmbench.retrieval import database, documents, server
from llmbench.retrieval.collection import Collection, CollectionKey
from llmbench.retrieval.documents import Document, Splitting
from llmbench.retrieval.index import VectorIndex
from llmbench.runner.step import StepProcess
from llmbench.schema.config import RunConfig
from llmbench.schema.progress import Progress, ProgressCallback
from llmbench.schema.units import counted
from llmbench.workloads.rag.settings import RetrievalSettings, embedder_config

BATCH = 16
"""Chunks that are embedded in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """Documents of a folder to be indexed into a collection of a database, and the *indexes* to be built on it."""

    folder: Path
    address: str
    key: CollectionKey
    embedder: RunConfig
    indexes: tuple[VectorIndex, ...] = ()


class Indexed(msgspec.Struct, frozen=True):
    """What indexing came to: documents in the folder, those stored now, chunks stored now and in all.

    *long_chunks* are those of the stored ones that the embedder cuts, *seconds* what embedding and storing took.
    """

    documents: int
    stored: int
    removed: int
    chunks: int
    total_chunks: int
    long_chunks: int
    seconds: float
    built: Mapping[str, float] = {}


def index_documents(request: IndexRequest, report: ProgressCallback) -> Indexed:
    """Index documents in a child process.

    Raises:
        InputError: no documents, or one that cannot be read.
        MachineError: the database cannot be used.
    """
    database.check_retrieval_packages()
    documents.find_documents(request.folder)
    report(Progress(label=f"indexing {request.folder}"))
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return StepProcess(folder=folder, report=report, work="indexing of documents").run(_index, request)


@contextlib.contextmanager
def retrieval_ready(cells: Sequence[RunConfig], report: ProgressCallback) -> Iterator[None]:
    """Have databases up, and every collection and index there, while the block runs.

    Raises:
        InputError: a collection that is not there, with no documents to make it of.
        MachineError: a database that cannot be used.
    """
    database.check_retrieval_packages()
    wanted = [(RetrievalSettings.of(cell), cell) for cell in cells]
    with ExitStack() as stack:
        for name in dict.fromkeys(settings.database for settings, _ in wanted):
            if database.is_embedded(name):
                report(Progress(label="starting the embedded database"))
                stack.enter_context(server.served(name))
        for settings, cell in wanted:
            _ensure(settings, cell, report)
        yield


def _ensure(settings: RetrievalSettings, cell: RunConfig, report: ProgressCallback) -> None:
    address, key = server.address_of(settings.database), settings.key(cell.engine)
    connection = database.connect(address)
    with contextlib.closing(connection):
        found = Collection.look(connection, address, key)
        if found is None and settings.documents is not None:
            request = IndexRequest(
                folder=settings.documents,
                address=address,
                key=key,
                embedder=embedder_config(settings.embedder, cell),
            )
            index_documents(request, report)
            found = Collection.look(connection, address, key)
        if found is not None and not found.has(settings.index):
            report(
                Progress(
                    label=f"building the index {settings.index.recipe} on {counted(found.count(), 'chunk')}"
                )
            )
            found.build(settings.index)


def _index(request: IndexRequest) -> Indexed:
    config, key = request.embedder, request.key
    embedder = cast("Embedder", find_engine(config.engine, "text_embed").open(config))
    dimension = len(embedder.embed_query("a").vectors[0])
    connection = database.connect(request.address)
    collection = Collection.create(connection, request.address, key, dimension=dimension)
    with contextlib.closing(connection), collection.locked():
        indexing = _Indexing(collection, embedder, key.splitting, embedder_limit(config))
        return indexing.run(request.folder, request.indexes)


def embedder_limit(config: RunConfig) -> int | None:
    """Return the tokens at which an embedder cuts texts; ``None`` where that is not known."""
    if config.engine_info.is_simulated:
        return None
    return embedding_use(Path(config.model), {}).max_tokens


@dataclass(slots=True)
class _Indexing:
    collection: Collection
    embedder: Embedder
    splitting: Splitting
    limit: int | None
    chunks: int = 0
    long_chunks: int = 0

    def run(self, folder: Path, indexes: Sequence[VectorIndex]) -> Indexed:
        """Store what is new or has changed, remove what is gone, and build the indexes."""
        start = time.perf_counter()
        found = list(documents.read_documents(folder))
        stored = self.collection.stored()
        new = [document for document in found if stored.get(document.name) != document.sha256]
        gone = sorted(stored.keys() - {document.name for document in found})
        if new or gone:
            self.collection.complete(is_complete=False)
            self.collection.remove(gone)
        for number, document in enumerate(new, start=1):
            self._store(document)
            print(f"embedding documents {100 * number // len(new)}%", flush=True)  # noqa: T201  progress
        self.collection.complete()
        seconds = time.perf_counter() - start
        return Indexed(
            documents=len(found),
            stored=len(new),
            removed=len(gone),
            chunks=self.chunks,
            total_chunks=self.collection.count(),
            long_chunks=self.long_chunks,
            seconds=seconds,
            built={index.recipe: self._build(index) for index in indexes if not self.collection.has(index)},
        )

    def _store(self, document: Document) -> None:
        chunks = document.chunks(self.splitting)
        vectors = [
            vector
            for start in range(0, len(chunks), BATCH)
            for vector in self.embedder.embed(chunks[start : start + BATCH]).vectors
        ]
        if self.limit is not None:
            self.long_chunks += sum(self.embedder.count_tokens(chunk) > self.limit for chunk in chunks)
        self.collection.store(document.name, document.sha256, chunks, np.asarray(vectors, dtype=np.float32))
        self.chunks += len(chunks)

    def _build(self, index: VectorIndex) -> float:
        start = time.perf_counter()
        self.collection.build(index)
        return time.perf_counter() - start
