"""Indexes side by side on one table, and what a plan reports."""

import pytest

from llmbench.errors import InputError
from llmbench.retrieval.index import Plan, VectorIndex

HNSW, IVF = VectorIndex(kind="hnsw"), VectorIndex(kind="ivfflat", lists=50)


def test_each_recipe_has_a_condition_of_its_own() -> None:
    """So that a search can use its index and no other; settings of a search make no other index."""
    conditions = {index.condition for index in (VectorIndex(), HNSW, IVF, VectorIndex(kind="hnsw", m=8))}

    assert len(conditions) == 4
    assert VectorIndex().condition == "TRUE"
    assert HNSW.condition == VectorIndex(kind="hnsw", ef_search=200).condition


def test_definitions_have_the_parameters() -> None:
    """As pgvector's manual writes them."""
    hnsw = HNSW.definition("llmbench.chunks_7", 1000)
    ivf = VectorIndex(kind="ivfflat").definition("llmbench.chunks_7", 50_000)

    assert "chunks_7_hnsw_16_64 ON llmbench.chunks_7 USING hnsw (embedding vector_cosine_ops)" in hnsw
    assert f"WITH (m = 16, ef_construction = 64) WHERE {HNSW.condition}" in hnsw
    assert "WITH (lists = 50)" in ivf


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (VectorIndex(), {}),
        (VectorIndex(kind="hnsw", ef_search=5), {"hnsw.ef_search": 5}),
        (IVF, {"ivfflat.probes": 7}),
        (VectorIndex(kind="ivfflat", lists=50, probes=3), {"ivfflat.probes": 3}),
        (VectorIndex(kind="ivfflat"), {"ivfflat.probes": 3}),
    ],
)
def test_settings_of_a_session_follow_the_index(index: VectorIndex, expected: dict[str, int]) -> None:
    """Of 1,000 rows there are ten lists, and the root of their number is looked at."""
    assert expected == index.settings(1000)


def test_hnsw_returns_no_more_than_it_looks_at() -> None:
    """Pgvector returns fewer rows in silence."""
    with pytest.raises(InputError, match="--ef-search 5 is below --retrieve-top-k 8"):
        VectorIndex(kind="hnsw", ef_search=5).check_count(8)
    VectorIndex(kind="ivfflat").check_count(8)


def test_a_graph_that_pgvector_refuses_is_refused_before() -> None:
    """ef_construction is at least twice m."""
    with pytest.raises(InputError, match="is too small for --hnsw-m 40"):
        VectorIndex(kind="hnsw", m=40)


def test_a_plan_names_steps_indexes_and_the_servers_own_time() -> None:
    """Milliseconds of planning and execution together, in seconds."""
    explained = {
        "Plan": {
            "Node Type": "Limit",
            "Plans": [
                {"Node Type": "Index Scan", "Index Name": "chunks_1_hnsw_16_64", "Relation Name": "chunks_1"}
            ],
        },
        "Planning Time": 0.25,
        "Execution Time": 1.75,
    }

    plan = Plan.of([explained])

    assert pytest.approx(0.002) == plan.server_s
    assert str(plan) == "Limit > Index Scan on chunks_1_hnsw_16_64"
    assert plan.indexes == ("chunks_1_hnsw_16_64",)
