import importlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmbench.analysis.comparison.rule import COMPARED, PRIMARY
from llmbench.analysis.metrics import text as text_metrics
from llmbench.analysis.metrics.base import Metric
from llmbench.analysis.metrics.table import METRICS, SCREEN_METRICS, find_metric
from llmbench.schema.units import Direction, Unit

METRICS_FILE = "llmbench.analysis.metrics.text"
EDITED_TABLE = """
def third_token(m: Measurement) -> float | None:
    at = m.longest.at_ns
    return (at[2] - at[1]) / NS_PER_S if len(at) > 2 else None


LATENCY_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="third_token",
        title="third token",
        head="third",
        priority=80,
        definition="t3 - t2, that one gap",
        of=third_token,
        is_compared=True,
    ),
"""


class _EditedFile:
    """Finds the file of the metrics with one row more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self._path) if name == METRICS_FILE else None


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports modules of a package whose file of metrics has the row; the package of all other tests stays."""
    source = Path(text_metrics.__file__).read_text()
    edited = tmp_path / "text.py"
    edited.write_text(source.replace("LATENCY_METRICS: tuple[Metric[Any], ...] = (\n", EDITED_TABLE))
    kept = {name: found for name, found in sys.modules.items() if name.partition(".")[0] == "llmbench"}
    monkeypatch.setattr(sys, "meta_path", [_EditedFile(edited), *sys.meta_path])
    for name in kept:
        del sys.modules[name]
    yield importlib.import_module
    for name in [name for name in sys.modules if name.partition(".")[0] == "llmbench"]:
        del sys.modules[name]
    sys.modules.update(kept)


def test_a_new_metric_is_one_row_in_one_file(load: Callable[[str], Any], tmp_path: Path) -> None:
    """A third token appears in the CSV, its summary, its importer, the screen and the comparison."""
    data = Path(__file__).parents[2] / "data" / "run_files" / "schema_1" / "text.jsonl"
    reader, report, csv = (
        load(f"llmbench.{name}") for name in ("store.reader", "analysis.report", "render.csv")
    )
    screen, compare = load("llmbench.render.terminal.report"), load("llmbench.analysis.comparison.compare")
    importers, rich = load("llmbench.store.importers"), load("rich.console")
    run = reader.read_run(data)
    summarized = report.summarize_run(run)

    text = csv.tidy_csv(summarized.evaluation)
    assert "third_token_ms" in text.splitlines()[0].split(",")
    assert ",third_token,ms," in csv.summary_csv(summarized)
    (tmp_path / "run.csv").write_text(text)
    assert len(run.launches) == len(importers.read_report(tmp_path / "run.csv").launches)
    out = io.StringIO()
    screen.render_report(summarized, rich.Console(file=out, width=200), is_explained=True)
    assert "third = t3 - t2" in out.getvalue()
    assert "third_token" in {
        change.metric for pair in compare.compare(summarized, summarized).pairs for change in pair.changes
    }
    assert "third_token" not in METRICS


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ttft", "first_token"),
        ("itl", "next_token"),
        ("tpot", "tpot"),
        ("first-token", "first_token"),
        ("load", None),
        ("speed", None),
    ],
)
def test_a_metric_is_found_by_its_names(written: str, name: str | None) -> None:
    """By name with either dash, or by the field's abbreviation; a launch's metric is none of a request."""
    assert name == find_metric(written)


def test_lists_are_derived_from_rows() -> None:
    """What is compared, what decides first, and what is on a screen, in the order of the rows."""
    assert ("first_token", "second_token", "next_token", "tpot", "e2e") == COMPARED
    assert ("first_token", "tpot") == PRIMARY
    products = ("audio", "rtf", "rtfx", "first_audio", "frame", "in_time")
    later = ("decode_rate", "text_rate", "tokens_per_step", "energy")
    retrieval = ("retrieve_server", "recall", "right_chunk")
    assert (*COMPARED, *retrieval, *later, *products) == SCREEN_METRICS


@pytest.mark.parametrize(
    ("direction", "marks", "message"),
    [
        (Direction.HIGHER, {"is_compared": True}, "better lower"),
        (Direction.LOWER, {"is_primary": True}, "a primary metric is compared"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused(
    direction: Direction, marks: dict[str, bool], message: str
) -> None:
    """A verdict takes a ratio above 1 for slower, and a primary metric without a verdict decides nothing."""
    with pytest.raises(ValueError, match=message):
        Metric(
            name="x",
            title="x",
            definition="x",
            of=float,
            unit=Unit.SECONDS,
            direction=direction,
            is_compared=marks.get("is_compared", False),
            is_primary=marks.get("is_primary", False),
        )
