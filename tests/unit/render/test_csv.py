import csv
import io
from collections.abc import Callable

import pandas as pd
import pytest

from llmbench.analysis import report
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.layouts import LLM_BENCH_COLUMNS
from llmbench.render.csv import (
    csv_text,
    llm_bench_csv,
    neutral,
    summary_csv,
    tidy_csv,
)
from llmbench.render.llm_bench import model_name
from llmbench.render.table import Cell, Column, Table
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Outcome, Provenance, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Golden = Callable[[str, str], None]


def rows_of(text: str) -> list[dict[str, str]]:
    """What a reader that knows nothing of us sees."""
    return list(csv.DictReader(io.StringIO(text)))


def test_llm_bench_columns_are_that_tools() -> None:
    """Its 34 columns in its order."""
    assert 34 == len(LLM_BENCH_COLUMNS) == len(set(LLM_BENCH_COLUMNS))
    assert ("iteration", "end") == (LLM_BENCH_COLUMNS[0], LLM_BENCH_COLUMNS[-1])


def test_llm_bench_layout(story_of: BuildRun, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("story.llm-bench.csv", llm_bench_csv(evaluate(story_of())))


def test_warm_ups_are_iteration_0_and_launches_go_on(story_of: BuildRun) -> None:
    """Two launches of a warm-up and two iterations: 0, 1, 2, then 0, 3, 4; then three summaries a prompt."""
    iterations = [
        row["iteration"] for row in rows_of(llm_bench_csv(evaluate(story_of()))) if row["prompt_idx"] == "0"
    ]

    assert ["0", "1", "2", "0", "3", "4", "avg", "mini", "median"] == iterations


def test_summary_rows_are_over_what_counts(story_of: BuildRun) -> None:
    """First tokens 100, 100, 102 (a second 102 is invalid, warm-ups are out): avg 100.66667, median 100."""
    rows = [r for r in rows_of(llm_bench_csv(evaluate(story_of()))) if r["prompt_idx"] == "0"]
    shown = {r["iteration"]: r["1st_latency(ms)"] for r in rows if not r["iteration"].isdigit()}

    assert {"avg": "100.66667", "mini": "100.0", "median": "100.0"} == shown


def test_load_and_its_memory_stand_on_the_first_row_only(story_of: BuildRun) -> None:
    """2.5 s; 50 MiB at first, 90 at most, so 40 more; of the machine 900 and 980."""
    rows = rows_of(llm_bench_csv(evaluate(story_of())))
    names = LLM_BENCH_COLUMNS[4:11]

    assert ["2.5", "900.0", "50.0", "90.0", "980.0", "40.0", "80.0"] == [rows[0][name] for name in names]
    assert {""} == {row[name] for row in rows[1:] for name in names}


def test_memory_of_generation_is_filled(story_of: BuildRun) -> None:
    """100 MiB, at most 150: 50 more; of the machine 1000 and 1100; in requests and summaries."""
    names = LLM_BENCH_COLUMNS[19:23]

    for row in rows_of(llm_bench_csv(evaluate(story_of()))):
        assert ["150.0", "1100.0", "50.0", "100.0"] == [row[name] for name in names]


def test_a_missing_latency_is_na(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One output token has no second: NA in its column and in the summaries, never -1 or 0."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=1)
    run = run_of([launch_of([request_of([100], iteration=1)])], cells=(config,))

    for row in rows_of(llm_bench_csv(evaluate(run))):
        assert ("100.0", "NA") == (row["1st_latency(ms)"], row["2nd_avg_latency(ms)"])
        assert ("NA", "NA") == (row["1st_infer_latency(ms)"], row["2nd_infer_avg_latency(ms)"])


def test_sizes_of_a_batch_are_totals_and_its_latency_is_per_request(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Two sequences of 4 tokens in 130 ms: 64 in, 8 out, 130 / 4 = 32.5 ms a token, tpot 10 ms."""
    config = RunConfig(
        model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4, batch_size=2
    )
    run = run_of([launch_of([request_of(*[[100, 110, 120, 130]] * 2)])], cells=(config,))

    row = rows_of(llm_bench_csv(evaluate(run)))[0]

    assert ["64", "8", "32.5", "10.0", "2"] == [
        row[name]
        for name in ("input_size", "output_size", "latency(ms)", "2nd_avg_latency(ms)", "batch_size")
    ]
    assert row["result_md5"] == "['552e21cd4cd9918678e3c1a0df491bc3', '552e21cd4cd9918678e3c1a0df491bc3']"


def test_prompts_keep_their_own_index(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """The third prompt of a file, chosen alone, is prompt_idx 2."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=2, text="Hello"),), output_tokens=4)
    run = run_of([launch_of([request_of([1, 2, 3, 4])])], cells=(config,))

    assert {"2"} == {row["prompt_idx"] for row in rows_of(llm_bench_csv(evaluate(run)))}


def test_the_turns_of_a_chat_are_told_apart(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """They share the prompt's index; the turn stands beside it, and each has averages of its own."""
    chat = tuple(Prompt(set="c", index=3, text=t, earlier=e) for t, e in (("a", ()), ("b", ("a",))))
    measured = [request_of([first, first + 1], prompt=turn) for turn, first in enumerate((10, 20))]
    cells = (RunConfig(model="m", prompts=chat, output_tokens=2),)
    rows = rows_of(llm_bench_csv(evaluate(run_of([launch_of(measured)], cells=cells))))

    shown = [(row["prompt_idx"], row["chat_idx"], float(row["1st_latency(ms)"])) for row in rows]
    turns = [("3", "0", 10.0), ("3", "1", 20.0)]
    assert [*turns, *[turns[0]] * 3, *[turns[1]] * 3] == shown


def test_launches_that_did_not_finish_are_out(story_of: BuildRun, run_of: BuildRun) -> None:
    """This layout cannot mark them, so it has only what counts; no launch at all is a header."""
    run = story_of()
    launches = [
        launch
        if launch.index
        else Launch(
            index=0,
            cell=0,
            started_at="",
            outcome=Outcome.ABORTED,
            measurements=launch.measurements,
        )
        for launch in run.launches
    ]

    rows = rows_of(llm_bench_csv(evaluate(run_of(launches, cells=run.cells))))

    assert ["0", "0", "1", "1", "2", "2"] == [row["iteration"] for row in rows[:6]]
    assert rows[0]["pretrain_time(s)"] == "3.5"
    assert [] == rows_of(llm_bench_csv(evaluate(run_of([]))))


def test_cells_of_a_sweep_are_told_apart_by_the_model_column(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """There is no column for a setting, and requests of two settings are not averaged together."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = tuple(RunConfig(model="m/tiny", prompts=prompts, output_tokens=4, threads=n) for n in (1, 2))
    run = run_of([launch_of([request_of([n, 20, 30, 40])], cell=n - 1, index=n) for n in (1, 2)], cells=cells)

    rows = rows_of(llm_bench_csv(evaluate(run)))

    assert {"tiny [threads=1]": "1.0", "tiny [threads=2]": "2.0"} == {
        row["model"]: row["1st_latency(ms)"] for row in rows if row["iteration"] == "avg"
    }


@pytest.mark.parametrize(
    ("path", "origin", "name"),
    [
        ("models/tiny/pytorch/dldt/INT8", {}, "tiny"),
        ("tiny/pytorch/dldt/INT8", {}, "tiny"),
        ("pytorch/dldt/INT8", {}, "INT8"),
        ("/x/tiny.gguf", {}, "tiny.gguf"),
        ("models/pytorch/dldt/INT8", {"known": True, "source_id": "example/tiny"}, "tiny"),
    ],
)
def test_a_model_is_named_after_its_source_or_its_folder(
    run_of: BuildRun, *, path: str, origin: dict[str, object], name: str
) -> None:
    """The source where the manifest tells it, else the folder above the seed layout, else the last part."""
    cells = (RunConfig(model=path, prompts=(Prompt(set="s", index=0, text="Hello"),)),)

    assert name == model_name(
        evaluate(run_of([], cells=cells, provenance=Provenance(path=path, **origin))), 0
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "count"), [({"infer_ms": [9, 9]}, "2"), ({}, "4"), ({"has_token_times": False}, "4")]
)
def test_forward_passes_are_counted_as_far_as_they_are_known(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, *, fields: dict[str, object], count: str
) -> None:
    """Those seen; else the token events; else, of an imported report, the tokens."""
    m = request_of([100, 110, 120, 130], **fields)

    assert count == rows_of(llm_bench_csv(evaluate(run_of([launch_of([m])]))))[0]["infer_count"]


def test_the_seed_layout_names_the_model(story_of: BuildRun) -> None:
    """In models/tiny/pytorch/dldt/INT8 the model is tiny, and its precision int8."""
    row = rows_of(llm_bench_csv(evaluate(story_of())))[0]

    assert ("tiny", "int8", "ov", "cpu") == (
        row["model"],
        row["precision"],
        row["framework"],
        row["device"],
    )


def test_pandas_reads_every_layout(story_of: BuildRun) -> None:
    """Latencies are numbers to pandas, and each layout has the rows it should."""
    llm_bench, tidy, summary = (
        pd.read_csv(io.StringIO(text))
        for text in (
            llm_bench_csv(evaluate(story_of())),
            tidy_csv(evaluate(story_of())),
            summary_csv(report.summarize_run(story_of())),
        )
    )

    assert (18, 34) == llm_bench.shape
    assert pytest.approx(100.66667) == llm_bench.loc[12, "1st_latency(ms)"]
    assert 12 == len(tidy)
    assert 7 == len(tidy[tidy.is_valid & ~tidy.is_warmup])
    assert pytest.approx(15) == tidy.second_token_ms.mean()
    assert {"first_token", "load"} < set(summary.metric)


def test_tidy_layout(story_of: BuildRun, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("story.tidy.csv", tidy_csv(evaluate(story_of())))


def test_summary_layout(story_of: BuildRun, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("story.summary.csv", summary_csv(report.summarize_run(story_of())))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\x00x", "'=x", "''@x"])
def test_what_starts_a_formula_is_neutral(text: str) -> None:
    """An apostrophe stands before it, and before that apostrophe if there was one."""
    assert f"'{text}" == neutral(text)


@pytest.mark.parametrize("text", ["", "plain", "a=b", "'quoted'", "1-1", "日本"])
def test_other_text_stays_as_it_is(text: str) -> None:
    """Nothing is changed that no spreadsheet would run."""
    assert text == neutral(text)


def test_a_model_named_like_a_formula(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """No cell of any layout starts with what a spreadsheet runs."""
    prompts = (Prompt(set="=cmd()", index=0, text="Hello"),)
    cells = (RunConfig(model="=HYPERLINK()", prompts=prompts, output_tokens=4),)
    run = run_of([launch_of([request_of([1, 2, 3, 4])])], cells=cells, provenance=Provenance(path="x"))

    for text in (
        llm_bench_csv(evaluate(run)),
        tidy_csv(evaluate(run)),
        summary_csv(report.summarize_run(run)),
    ):
        cells_seen = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert any(cell.startswith("'=") for cell in cells_seen)
        assert not any(cell[:1] in {"=", "+", "-", "@"} for cell in cells_seen)


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a,b", 'a"b'])
def test_a_cell_comes_back(text: str) -> None:
    """Line feeds and commas are quoted, and lines end in LF alone; a carriage return is an escape."""
    written = csv_text(Table((Column("a", is_text=True), Column("b")), ((Cell(text), Cell("1", value=1)),)))

    assert [["a", "b"], [text, "1"]] == list(csv.reader(io.StringIO(written, newline="")))
    assert written.startswith("a,b\n")
    assert written.endswith(",1\n")
