"""Chunks and vectors in a real database: stored once, searched by each index, gone on with after a cut."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from llmbench.errors import InputError, MachineError
from llmbench.retrieval import database, server
from llmbench.retrieval.collection import Collection, CollectionKey, Hit, hits, recall_of
from llmbench.retrieval.documents import Splitting
from llmbench.retrieval.index import VectorIndex
from tests import postgres

pytestmark = [pytest.mark.rag, pytest.mark.slow]
DIMENSION, DOCUMENTS, CHUNKS = 16, 4, 500


@pytest.fixture(scope="module")
def connection() -> Iterator[tuple[Any, str]]:
    """A connection to a database of these tests, and its address."""
    with postgres.database() as name:
        address = server.address_of(name)
        with contextlib.closing(database.connect(address)) as opened:
            yield opened, address


def _vectors(count: int, seed: int) -> "np.ndarray[Any, Any]":
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def collection(connection: tuple[Any, str]) -> Collection:
    """Two thousand chunks with random vectors, and an index of each kind."""
    key = CollectionKey(name="big", splitting=Splitting(), embedder="e")
    made = Collection.create(*connection, key, dimension=DIMENSION)
    for number in range(DOCUMENTS):
        chunks = [f"chunk {number}/{position}" for position in range(CHUNKS)]
        made.store(f"d{number}", f"hash{number}", chunks, _vectors(CHUNKS, number))
    made.complete()
    for kind in ("hnsw", "ivfflat"):
        made.build(VectorIndex(kind=kind))
    return made


def test_each_search_uses_its_own_index_and_exact_uses_none(collection: Collection) -> None:
    """Though all stand on one table."""
    question = _vectors(1, 99)[0]
    plans = {
        kind: collection.searcher(VectorIndex(kind=kind), 5).explain(question)
        for kind in ("exact", "hnsw", "ivfflat")
    }

    assert plans["exact"].indexes == ()
    table = f"chunks_{collection.number}"
    assert (f"{table}_hnsw_16_64",) == plans["hnsw"].indexes
    assert (f"{table}_ivfflat_auto",) == plans["ivfflat"].indexes
    assert all(plan.server_s > 0 for plan in plans.values())


def test_an_exact_search_returns_what_numpy_does(collection: Collection) -> None:
    """The nearest by cosine, in order."""
    every = np.concatenate([_vectors(CHUNKS, number) for number in range(DOCUMENTS)])
    question = _vectors(1, 99)[0]
    cosines = every @ question / np.linalg.norm(every, axis=1)
    nearest = np.argsort(-cosines)[:5]

    found = hits(collection.searcher(VectorIndex(), 5).search(question))

    assert [f"chunk {n // CHUNKS}/{n % CHUNKS}" for n in nearest] == [hit.content for hit in found]


def test_looking_at_more_finds_more(collection: Collection) -> None:
    """Recall rises with ef_search, and is 1 of an exact search."""
    questions = _vectors(40, 7)
    exact = collection.searcher(VectorIndex(), 5)
    nearest = [hits(exact.search(question)) for question in questions]

    def mean_recall(index: VectorIndex) -> float:
        searcher = collection.searcher(index, 5)
        return float(
            np.mean([recall_of(hits(searcher.search(q)), n) for q, n in zip(questions, nearest, strict=True)])
        )

    few, many = (mean_recall(VectorIndex(kind="hnsw", ef_search=value)) for value in (5, 200))

    assert mean_recall(VectorIndex()) == 1
    assert few < many
    assert many > 0.95


def test_recall_counts_the_exact_nearest() -> None:
    """Order does not matter, nor what was found beside them."""
    nearest = [Hit(id=number, document="d", content="") for number in range(4)]

    assert recall_of([nearest[2], nearest[0], Hit(id=9, document="d", content="")], nearest) == 0.5


def test_a_document_is_replaced_whole_and_a_removed_one_is_gone(connection: tuple[Any, str]) -> None:
    """The same documents twice are not stored twice."""
    key = CollectionKey(name="small", splitting=Splitting(), embedder="e")
    made = Collection.create(*connection, key, dimension=DIMENSION)
    for _ in range(2):
        made.store("a", "1", ["x", "y"], _vectors(2, 1))
        made.store("b", "1", ["z"], _vectors(1, 2))

    assert made.count() == 3
    made.store("a", "2", ["x"], _vectors(1, 1))
    made.remove(["b"])
    assert made.stored() == {"a": "2"}
    assert made.count() == 1


def test_a_document_that_fails_half_way_leaves_the_one_before(connection: tuple[Any, str]) -> None:
    """One transaction a document."""
    key = CollectionKey(name="cut", splitting=Splitting(), embedder="e")
    made = Collection.create(*connection, key, dimension=DIMENSION)
    made.store("a", "1", ["x", "y"], _vectors(2, 1))

    with pytest.raises(MachineError):
        made.store("a", "2", ["p", "q"], np.zeros((2, DIMENSION + 1), dtype=np.float32))

    assert made.stored() == {"a": "1"}
    assert made.count() == 2


def test_what_is_not_there_or_not_complete_names_the_command(connection: tuple[Any, str]) -> None:
    """A collection whose indexing was cut short is not searched."""
    key = CollectionKey(name="cut-short", splitting=Splitting(), embedder="e")
    with pytest.raises(InputError, match="has no collection cut-short") as caught:
        Collection.find(*connection, key, dimension=DIMENSION)
    assert "llmbench rag index" in str(caught.value.hint)

    Collection.create(*connection, key, dimension=DIMENSION)
    with pytest.raises(InputError, match="was not indexed to its end"):
        Collection.find(*connection, key, dimension=DIMENSION)
    assert Collection.look(*connection, key) is None


def test_two_processes_do_not_index_one_collection(connection: tuple[Any, str]) -> None:
    """The second is refused, not mixed in."""
    key = CollectionKey(name="half", splitting=Splitting(), embedder="e")
    first = Collection.create(*connection, key, dimension=DIMENSION)
    with contextlib.closing(database.connect(connection[1])) as own:
        other = Collection.create(own, connection[1], key, dimension=DIMENSION)

        with first.locked(), pytest.raises(MachineError, match="another process is indexing"), other.locked():
            pass
        with other.locked():
            pass
