"""A collection: chunks of documents with their vectors in one table of a database, and the search among them.

A document and its chunks are stored in one transaction, with the hash of its text: indexing that was cut short goes on
with the next document, and a document that is there already is left as it is.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmbench.errors import InputError, MachineError
from llmbench.retrieval.database import SCHEMA, failures
from llmbench.retrieval.documents import Splitting
from llmbench.retrieval.index import Plan, VectorIndex

if TYPE_CHECKING:
    import numpy as np

_SCHEMA = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.collections (
    id serial PRIMARY KEY,
    name text NOT NULL,
    chunk_size integer NOT NULL,
    chunk_overlap integer NOT NULL,
    embedder text NOT NULL,
    dimension integer NOT NULL,
    is_complete boolean NOT NULL DEFAULT false,
    UNIQUE (name, chunk_size, chunk_overlap, embedder)
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.documents (
    collection integer NOT NULL REFERENCES {SCHEMA}.collections ON DELETE CASCADE,
    name text NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (collection, name)
);
"""
_BUILD_MEMORY = "256MB"
"""What an index may be built in; a graph that does not fit is built far slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionKey:
    """What makes a collection: its name, how documents were split, and the model that made the vectors.

    *embedder* identifies the content of the model and how it was used.
    """

    name: str
    splitting: Splitting
    embedder: str

    def __str__(self) -> str:
        return (
            f"{self.name} (chunks of {self.splitting.size} characters, {self.splitting.overlap} overlapping)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk that a search returned."""

    id: int
    document: str
    content: str


class Collection:
    """A collection in an open connection."""

    def __init__(self, connection: Any, address: str, key: CollectionKey, number: int) -> None:
        self.key = key
        self.number = number
        self.table = f"{SCHEMA}.chunks_{number}"
        self._connection = connection
        self._address = address

    @classmethod
    def find(cls, connection: Any, address: str, key: CollectionKey, *, dimension: int) -> "Collection":
        """Return a collection that is complete; raise where it is not there, or was made by another model.

        Raises:
            InputError: it is not there, or is not complete.
            MachineError: its vectors have another dimension.
        """
        with failures(address, "looking for the collection"):
            is_there = _exists(connection, "collections")
            found = _row(connection, key) if is_there else None
            others = _others(connection, key) if is_there else []
        if found is None:
            raise _missing(address, key, others, dimension)
        number, found_dimension, is_complete = found
        if found_dimension != dimension:
            raise _other_dimension(key, found_dimension, dimension)
        if not is_complete:
            raise InputError(f"collection {key} was not indexed to its end", hint=_INDEX)
        return cls(connection, address, key, number)

    @classmethod
    def look(cls, connection: Any, address: str, key: CollectionKey) -> "Collection | None":
        """Return a collection that is there and complete, of whatever dimension; ``None`` where it is not."""
        with failures(address, "looking for the collection"):
            found = _row(connection, key) if _exists(connection, "collections") else None
        return cls(connection, address, key, found[0]) if found is not None and found[2] else None

    @classmethod
    def create(cls, connection: Any, address: str, key: CollectionKey, *, dimension: int) -> "Collection":
        """Return a collection to index into, made now where it is not there; it stays incomplete until `complete`."""
        with failures(address, "preparing the collection"), connection.transaction():
            connection.execute(_SCHEMA)
            connection.execute(
                f"INSERT INTO {SCHEMA}.collections (name, chunk_size, chunk_overlap, embedder, dimension) "
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (key.name, key.splitting.size, key.splitting.overlap, key.embedder, dimension),
            )
            number, found_dimension, _ = _row(connection, key)
            if found_dimension != dimension:
                raise _other_dimension(key, found_dimension, dimension)
            made = cls(connection, address, key, number)
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {made.table} (id bigserial PRIMARY KEY, document text NOT NULL, "
                f"position integer NOT NULL, content text NOT NULL, embedding vector({dimension}) NOT NULL)"
            )
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS chunks_{number}_document ON {made.table} (document)"
            )
        return made

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from indexing the same collection; raise MachineError where one does."""
        (is_mine,) = self._connection.execute(
            "SELECT pg_try_advisory_lock(hashtext(%s), %s)", (SCHEMA, self.number)
        ).fetchone()
        if not is_mine:
            raise MachineError(
                f"another process is indexing collection {self.key}", hint="wait for its end, and try again"
            )
        try:
            yield
        finally:
            with contextlib.suppress(Exception):  # the lock goes with the connection anyway
                self._connection.execute("SELECT pg_advisory_unlock_all()")

    def stored(self) -> dict[str, str]:
        """Return the documents that are stored whole: the hash of each, by name."""
        with failures(self._address, "reading the documents"):
            rows = self._connection.execute(
                f"SELECT name, sha256 FROM {SCHEMA}.documents WHERE collection = %s", (self.number,)
            ).fetchall()
        return dict(rows)

    def store(self, name: str, sha256: str, chunks: Sequence[str], vectors: "np.ndarray[Any, Any]") -> None:
        """Store a document with its chunks and their vectors, shape [chunks, dimension], in place of an older one."""
        with failures(self._address, f"storing {name}"), self._connection.transaction():
            self._remove(name)
            with self._connection.cursor().copy(
                f"COPY {self.table} (document, position, content, embedding) FROM STDIN WITH (FORMAT BINARY)"
            ) as copy:
                copy.set_types(["text", "int4", "text", "vector"])
                for position, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True)):
                    copy.write_row((name, position, chunk, vector))
            self._connection.execute(
                f"INSERT INTO {SCHEMA}.documents VALUES (%s, %s, %s)", (self.number, name, sha256)
            )

    def remove(self, names: Sequence[str]) -> None:
        """Remove documents that are no longer there."""
        with failures(self._address, "removing documents"), self._connection.transaction():
            for name in names:
                self._remove(name)

    def _remove(self, name: str) -> None:
        self._connection.execute(f"DELETE FROM {self.table} WHERE document = %s", (name,))
        self._connection.execute(
            f"DELETE FROM {SCHEMA}.documents WHERE collection = %s AND name = %s", (self.number, name)
        )

    def complete(self, *, is_complete: bool = True) -> None:
        """Mark the collection as complete, its statistics up to date, or as being changed."""
        with failures(self._address, "completing the collection"):
            if is_complete:
                self._connection.execute(f"VACUUM ANALYZE {self.table}")
            self._connection.execute(
                f"UPDATE {SCHEMA}.collections SET is_complete = %s WHERE id = %s", (is_complete, self.number)
            )

    def count(self) -> int:
        """Return how many chunks it has."""
        with failures(self._address, "counting chunks"):
            (rows,) = self._connection.execute(f"SELECT count(*) FROM {self.table}").fetchone()
        return int(rows)

    def has(self, index: VectorIndex) -> bool:
        """Whether an index exists; of *exact*, which has none, always."""
        if index.kind == "exact":
            return True
        with failures(self._address, "looking for the index"):
            return _exists(self._connection, index.name(self.table))

    def build(self, index: VectorIndex) -> None:
        """Build an index that does not exist."""
        with failures(self._address, f"building the index {index.recipe}"):
            self._connection.execute(f"SET maintenance_work_mem = '{_BUILD_MEMORY}'")
            self._connection.execute(index.definition(self.table, self.count()))
            self._connection.execute(f"ANALYZE {self.table}")

    def searcher(self, index: VectorIndex, count: int) -> "Searcher":
        """Return the search for the nearest *count* chunks by an index, which must exist."""
        with failures(self._address, "preparing the search"):
            for name, value in index.settings(self.count()).items():
                self._connection.execute(f"SET {name} = {value}")
        return Searcher(self._connection, self._address, self.table, index=index, count=count)


class Searcher:
    """The search for the nearest chunks by cosine distance.

    It is never a prepared statement: the plan of one is made without the number of rows wanted, and may ignore the
    index.
    """

    def __init__(self, connection: Any, address: str, table: str, *, index: VectorIndex, count: int) -> None:
        connection.prepare_threshold = None
        self.index = index
        self.count = count
        self._execute = connection.execute
        self._address = address
        self._statement = (
            f"SELECT id, document, content FROM {table} WHERE {index.condition} "
            f"ORDER BY embedding <=> %s LIMIT {count}"
        )

    def search(self, vector: "np.ndarray[Any, Any]") -> list[Any]:
        """Return the rows of the nearest chunks; this is what a request waits for."""
        with failures(self._address, "searching"):
            rows: list[Any] = self._execute(self._statement, (vector,)).fetchall()
        return rows

    def explain(self, vector: "np.ndarray[Any, Any]") -> Plan:
        """Run the same search once more, and return what the server did and how long it took itself."""
        with failures(self._address, "explaining the search"):
            (explained,) = self._execute(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {self._statement}", (vector,)
            ).fetchone()
        return Plan.of(explained)


_INDEX = "llmbench rag index --documents DIR"


def hits(rows: Sequence[Any]) -> tuple[Hit, ...]:
    """Return the chunks of the rows of a search."""
    return tuple(Hit(id=row[0], document=row[1], content=row[2]) for row in rows)


def recall_of(found: Sequence[Hit], nearest: Sequence[Hit]) -> float:
    """Return the share of the exact *nearest* chunks that were *found*; 1 where there are none."""
    wanted = {hit.id for hit in nearest}
    return len(wanted & {hit.id for hit in found}) / len(wanted) if wanted else 1.0


def _exists(connection: Any, name: str) -> bool:
    """Whether our schema has a table or an index of this name."""
    (found,) = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{name}",)).fetchone()
    return found is not None


def _other_dimension(key: CollectionKey, found: int, wanted: int) -> MachineError:
    return MachineError(
        f"collection {key} has vectors of {found} dimensions; the embedder makes {wanted}",
        hint="use the --embedder that it was indexed with, or index it again under another --collection",
    )


def _row(connection: Any, key: CollectionKey) -> Any:
    return connection.execute(
        f"SELECT id, dimension, is_complete FROM {SCHEMA}.collections "
        "WHERE name = %s AND chunk_size = %s AND chunk_overlap = %s AND embedder = %s",
        (key.name, key.splitting.size, key.splitting.overlap, key.embedder),
    ).fetchone()


def _others(connection: Any, key: CollectionKey) -> list[Any]:
    """Dimension and splitting of the collections of the same name."""
    rows: list[Any] = connection.execute(
        f"SELECT dimension, chunk_size, chunk_overlap, embedder FROM {SCHEMA}.collections WHERE name = %s",
        (key.name,),
    ).fetchall()
    return rows


def _missing(
    address: str, key: CollectionKey, others: Sequence[Any], dimension: int
) -> InputError | MachineError:
    same = [row for row in others if (row[1], row[2]) == (key.splitting.size, key.splitting.overlap)]
    if same and all(row[0] != dimension for row in same):
        return _other_dimension(key, same[0][0], dimension)
    sizes = sorted({f"{row[1]}/{row[2]}" for row in others})
    known = f"; there are chunk sizes/overlaps {', '.join(sizes)}" if others and not same else ""
    known = "; it was indexed with another embedder" if same else known
    return InputError(f"the database {address} has no collection {key}{known}", hint=_INDEX)
