"""Quality beside latency on a screen and on a page: every width, what is invalid, and the Pareto front."""

import dataclasses
import io

import pytest
from rich.console import Console

from llmbench.analysis.output_agreement import Agreement, Divergence
from llmbench.analysis.quality import KIND, Estimate, Quality, QualityReport, QualityRow
from llmbench.analysis.stats import Summary
from llmbench.render.csv import csv_text
from llmbench.render.html.quality import quality_page, quality_sections
from llmbench.render.quality import quality_table
from llmbench.render.table import Table
from llmbench.render.terminal.quality import render_quality
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Stage
from llmbench.schema.run import WorkloadSettings
from tests import builders

PROMPT = Prompt(set="text", index=0, text="Hello")


def _quality(kld: float, cell: int = 1) -> Quality:
    return Quality(
        cell=cell,
        blocks=8,
        tokens=1016,
        kld=Estimate(value=kld, low=kld * 0.9, high=kld * 1.1),
        kld_p99=kld * 5,
        kld_max=kld * 20,
        same_top=Estimate(value=0.95),
        log_ratio=Estimate(value=0.01, low=0.0, high=0.02),
        perplexity=12.0,
        base_perplexity=11.9,
    )


def _row(
    name: str, kld: float, next_s: float, *, faults: tuple[str, ...] = (), is_best: bool = True
) -> QualityRow:
    beside = {
        name: Summary(n=3, median=value, low=value * 0.98, high=value * 1.02)
        for name, value in (("first_token", next_s * 10), ("next_token", next_s), ("memory", 5e8))
    }
    return QualityRow(
        settings={"weight_format": name},
        quality=_quality(kld),
        beside=beside,
        file_bytes=200 << 20,
        faults=faults,
        is_on_front=is_best and not faults,
    )


REPORT = QualityReport(
    base=_quality(0.0, 0),
    base_model="models/FP32",
    rows=(
        _row("fp16", 0.001, 0.08),
        _row("int8", 0.006, 0.05),
        _row("int8-slow", 0.007, 0.07, is_best=False),
        _row("int4", 0.3, 0.04, faults=("KL divergence 0.3 nats is above --max-kld 0.05",)),
    ),
    by_text={"en": (_quality(0.001),) * 4, "de": (_quality(0.002),) * 4},
)


def _screen(width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        render_quality(REPORT, Console(file=file, width=width))
        file.flush()
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [120, 80, 40])
def test_every_width_has_the_loss_and_the_time_of_each_row(width: int) -> None:
    """Other columns are dropped before a line is broken; what is invalid is marked at any width."""
    shown = _screen(width)

    assert max(map(len, shown.splitlines())) <= width
    for expected in ("KLD", "next", "0.001", "80.00", "0.3!", "D INVALID"):
        assert expected in shown
    assert "A*" in shown
    assert "C*" not in shown
    assert "D*" not in shown


def test_a_terminal_of_ascii_gets_the_table_without_the_plot() -> None:
    """The plot needs UTF-8."""
    assert "against next tokens" in _screen(80)
    assert "against next tokens" not in _screen(80, "ascii")


def test_the_page_has_plot_front_tables_and_faults() -> None:
    """Each valid row is a mark with its settings; the front is a line; both tables follow."""
    page = quality_page(REPORT)

    assert page.count("<svg") >= 1
    assert "A: weight_format=fp16" in page
    assert "D: weight_format" not in page
    assert "D INVALID: KL divergence 0.3 nats is above --max-kld 0.05" in page
    assert 2 == page.count("<table")


def test_a_page_of_several_runs_has_a_section_for_one_that_read_texts() -> None:
    """``report html`` of such a run shows its losses; one of another workload has no such section."""
    scores = {"kld": [0.1, 0.3], "nll": [1.1, 1.3], "base_nll": [1.0, 1.0], "same_top": [1.0, 0.0]}
    blocks = [
        builders.request_of(iteration=1, stages=(Stage(name="read", duration_ns=1),), token_scores=scores)
    ]
    launches = [builders.launch_of(blocks, index=cell, cell=cell) for cell in range(2)]
    run = builders.run_of(launches, cells=(RunConfig(model="m", prompts=(PROMPT,)),) * 2)
    (section,) = quality_sections(dataclasses.replace(run, workload=WorkloadSettings(kind=KIND)))

    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert "0.2" in {cell.text for cell in table.rows[0]}
    assert not quality_sections(builders.story_of())


def test_the_csv_has_values_in_their_units() -> None:
    """Milliseconds and MiB; names of columns that a program can use."""
    head, first, *_ = csv_text(quality_table(REPORT.rows)).splitlines()

    assert head.startswith("mark,weight_format,kld,kld_p99,kld_max,same_top,log_ratio,first_token,next_token")
    assert "fp16,0.001,0.005,0.02,0.95,0.01,800.0,80.0," in first


def test_rows_that_guess_ahead_say_whether_the_tokens_are_the_same() -> None:
    """The column is there only then."""
    assert "tokens" not in csv_text(quality_table(REPORT.rows)).splitlines()[0].split(",")
    part = Divergence(cell=0, prompt=PROMPT, variant=1, launches=(0, 1), token=12, tokens=32)
    agreements = Agreement(variants=6), Agreement(variants=6, partings=(part,)), None
    rows = [dataclasses.replace(REPORT.rows[0], tokens=each) for each in agreements]

    head, *lines = csv_text(quality_table(rows)).splitlines()

    raw = io.StringIO()
    render_quality(dataclasses.replace(REPORT, rows=tuple(rows)), Console(file=raw, width=40))
    shown = " ".join(raw.getvalue().split())
    assert "A: greedy tokens are those without guessing in all of 6 outputs" in shown
    assert (
        "B: greedy tokens differ from those without guessing in 1 of 6 outputs, the first from token 12 on"
        in shown
    )
    assert "hidden: " in shown
    column = head.split(",").index("tokens")
    assert ["same", "1 of 6 differ from 12", ""] == [line.split(",")[column] for line in lines]
