"""The kinds of index of a collection, and what PostgreSQL's planner made of a search.

A table may have indexes of several kinds. Each is a partial index over all rows, with a condition that
is always true and its own; a search that repeats the condition can use that index and no other, one without it none.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.errors import InputError
from llmbench.schema.settings.rag import INDEX_KINDS

_MS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """How the nearest vectors are found: all are compared (*exact*), or by a graph (HNSW) or lists (IVFFlat).

    *m* and *ef_construction* build the graph, *lists* is how many lists there are. *ef_search* nodes of the graph, or
    *probes* lists, are looked at in each search. Of *lists* and *probes* ``None`` leaves the number to the number of
    rows, as pgvector's manual recommends.
    """

    kind: str = "exact"
    m: int = 16
    ef_construction: int = 64
    ef_search: int = 40
    lists: int | None = None
    probes: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in INDEX_KINDS:
            raise InputError(
                f"index {self.kind!r} is unknown", hint=f"choose one of {', '.join(INDEX_KINDS)}"
            )
        if self.ef_construction < 2 * self.m:
            raise InputError(
                f"--ef-construction {self.ef_construction} is too small for --hnsw-m {self.m}",
                hint=f"give at least {2 * self.m}",
            )

    def check_count(self, count: int) -> None:
        """Raise InputError where a search could not return this many chunks."""
        if self.kind == "hnsw" and self.ef_search < count:
            raise InputError(
                f"--ef-search {self.ef_search} is below --retrieve-top-k {count}: HNSW returns at most that many",
                hint=f"give --ef-search {count} or more",
            )

    @property
    def recipe(self) -> str:
        """What it is built with, as a part of names: ``hnsw_16_64``."""
        if self.kind == "hnsw":
            return f"hnsw_{self.m}_{self.ef_construction}"
        return f"ivfflat_{self.lists or 'auto'}" if self.kind == "ivfflat" else "exact"

    @property
    def condition(self) -> str:
        """The condition of its partial index, true of every row; ``TRUE`` where there is no index."""
        if self.kind == "exact":
            return "TRUE"
        number = 1 + zlib.crc32(self.recipe.encode()) % 1_000_000
        return f"position + {number} >= {number}"

    def definition(self, table: str, rows: int) -> str:
        """Return the statement that builds it on a table of this many rows; not for *exact*."""
        parameters = (
            f"m = {self.m}, ef_construction = {self.ef_construction}"
            if self.kind == "hnsw"
            else f"lists = {self._lists(rows)}"
        )
        return (
            f"CREATE INDEX IF NOT EXISTS {self.name(table)} ON {table} USING {self.kind} "
            f"(embedding vector_cosine_ops) WITH ({parameters}) WHERE {self.condition}"
        )

    def name(self, table: str) -> str:
        """Return its name in the schema, without it."""
        return f"{table.rpartition('.')[2]}_{self.recipe}"

    def settings(self, rows: int) -> Mapping[str, int]:
        """Return the settings of a session that searches this many rows."""
        if self.kind == "hnsw":
            return {"hnsw.ef_search": self.ef_search}
        if self.kind == "ivfflat":
            return {"ivfflat.probes": self.probes or max(1, round(math.sqrt(self._lists(rows))))}
        return {}

    def _lists(self, rows: int) -> int:
        return self.lists or max(10, rows // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What PostgreSQL did for one search: its own seconds, planning included, and its steps, outermost first."""

    server_s: float
    steps: tuple[str, ...]
    indexes: tuple[str, ...]

    @classmethod
    def of(cls, explained: list[dict[str, Any]]) -> "Plan":
        """Return the plan in a response of ``EXPLAIN (ANALYZE, FORMAT JSON)``."""
        nodes = list(_nodes(explained[0]["Plan"]))
        return cls(
            server_s=(explained[0]["Planning Time"] + explained[0]["Execution Time"]) * _MS,
            steps=tuple(_step(node) for node in nodes),
            indexes=tuple(node["Index Name"] for node in nodes if "Index Name" in node),
        )

    def __str__(self) -> str:
        return " > ".join(self.steps)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _step(node: dict[str, Any]) -> str:
    target = node.get("Index Name") or node.get("Relation Name")
    return f"{node['Node Type']} on {target}" if target else str(node["Node Type"])
