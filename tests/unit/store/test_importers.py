import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis import report
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.layouts import LLM_BENCH_COLUMNS, TIDY_COLUMNS
from llmbench.analysis.metrics.table import METRICS
from llmbench.errors import InputError
from llmbench.render import csv as csv_render
from llmbench.render import json as json_render
from llmbench.render import tidy
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, ModelCache, Outcome, Run
from llmbench.schema.units import Nanoseconds
from llmbench.store import importers
from llmbench.store.importers import tidy as tidy_importer

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]

HEADER = ",".join(LLM_BENCH_COLUMNS)
PROSE = "iteration=0: warm-up; iteration=avg: average (exclude warm-up)" + "," * 33


def request_row(**values: object) -> str:
    """A row of llm_bench: 32 tokens in, 24 out, first token 100 ms, the others 10."""
    cells: dict[str, object] = {
        "iteration": 1,
        "model": "tiny",
        "framework": "ov",
        "device": "cpu",
        "input_size": 32,
        "infer_count": 24,
        "generation_time(s)": 0.33,
        "output_size": 24,
        "latency(ms)": 13.75,
        "1st_latency(ms)": 100.0,
        "2nd_avg_latency(ms)": 10.0,
        "prompt_idx": 0,
        "1st_infer_latency(ms)": 99.0,
        "2nd_infer_avg_latency(ms)": 9.0,
        "num_beams": 1,
        "batch_size": 1,
        "tokenization_time": 2.0,
        "detokenization_time": 1.0,
        "result_md5": "['abc']",
        "start": "2026-11-22T12:19:21.882210",
        "end": "2026-11-22T12:19:22.609021",
    }
    cells |= {
        {"first": "1st_latency(ms)", "other": "2nd_avg_latency(ms)"}.get(k, k): v for k, v in values.items()
    }
    out = io.StringIO()
    csv.DictWriter(out, LLM_BENCH_COLUMNS, lineterminator="").writerow(cells)
    return out.getvalue()


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Run]:
    """Writes lines to a file and imports it."""

    def read(*lines: str, name: str = "report.csv") -> Run:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return importers.read_report(path)

    return read


def test_an_llm_bench_csv(imported: Callable[..., Run]) -> None:
    """Warm-ups, summaries, the blank row and the prose are left out; the metrics come back as they were."""
    run = imported(
        HEADER,
        request_row(iteration=0, first=900.0),
        request_row(),
        request_row(iteration=2, first=120.0),
        request_row(iteration="avg", first=110.0),
        request_row(iteration="mini"),
        request_row(iteration="median", first=110.0),
        "," * 33,
        PROSE,
    )

    (launch,) = run.launches
    got = {name: metric.of(launch.measurements[0]) for name, metric in METRICS.items()}
    assert [1, 2] == [m.iteration for m in launch.measurements]
    assert pytest.approx([0.1, 0.01, 0.33]) == [got["first_token"], got["tpot"], got["e2e"]]
    assert (None, None) == (got["second_token"], got["next_token"])
    assert pytest.approx([0.099, 0.009, 0.002, 0.001]) == [
        got[name] for name in ("first_infer", "next_infer", "tokenize", "detokenize")
    ]
    assert (Outcome.FINISHED, "llm_bench CSV report.csv", True) == (
        launch.outcome,
        run.source,
        run.is_complete,
    )
    assert ("tiny", "CPU", 24, 32, 32) == (
        run.cells[0].model,
        run.cells[0].device,
        run.cells[0].output_tokens,
        run.cells[0].prompts[0].tokens,
        launch.measurements[0].input_tokens,
    )


def test_what_is_imported_counts(imported: Callable[..., Run]) -> None:
    """An imported report is summarised like a run, with the footnotes that it needs."""
    got = report.summarize_run(
        imported(HEADER, *(request_row(iteration=i, first=100.0 + i) for i in range(1, 7)))
    )

    assert pytest.approx(0.1035) == got.rows[0].summaries["first_token"].median
    assert (6, 0, 1) == (got.rows[0].measured, got.rows[0].invalid, got.rows[0].launches)
    assert got.warnings[0] == "imported from llm_bench CSV report.csv"


def test_sizes_of_a_batch_are_shared_out(imported: Callable[..., Run]) -> None:
    """64 in and 48 out for a batch of two are 32 and 24 for each sequence; both count for the rate."""
    run = imported(HEADER, request_row(input_size=64, output_size=48, batch_size=2))

    m = run.launches[0].measurements[0]
    assert (2, 32, 24) == (m.batch_size, m.input_tokens, m.output_tokens)
    assert pytest.approx(200) == METRICS["decode_rate"].of(m)


def test_na_is_no_value(imported: Callable[..., Run]) -> None:
    """One output token: no time of other tokens, and no forward pass where the file says none."""
    run = imported(
        HEADER,
        request_row(output_size=1, other="NA", **{"1st_infer_latency(ms)": "NA", "infer_count": 1}),
    )

    m = run.launches[0].measurements[0]
    assert pytest.approx(0.1) == METRICS["e2e"].of(m)
    assert METRICS["tpot"].of(m) is None
    assert METRICS["first_infer"].of(m) is None


def test_missing_token_times_make_a_row_invalid(imported: Callable[..., Run]) -> None:
    """24 tokens without a first latency, or without the others', are kept and do not count."""
    got = report.summarize_run(
        imported(
            HEADER,
            request_row(first="NA", other="NA"),
            request_row(iteration=2, other="NA"),
            *(request_row(iteration=i) for i in (3, 4, 5)),
        )
    )

    assert (5, 2) == (got.rows[0].measured, got.rows[0].invalid)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": "nan"}, "report.csv:3: 1st_latency(ms) is 'nan'; a positive number was expected, or NA"),
        ({"first": "inf"}, "report.csv:3: 1st_latency(ms) is 'inf'"),
        ({"first": "-3"}, "report.csv:3: 1st_latency(ms) is '-3'"),
        ({"first": "0"}, "report.csv:3: 1st_latency(ms) is '0'"),
        ({"first": "1e-9"}, "report.csv:3: 1st_latency(ms) is '1e-9'; 0.001 to 3.6e+06 ms were expected"),
        ({"first": 2e7}, "report.csv:3: 1st_latency(ms) is '20000000.0'; 0.001 to 3.6e+06 ms were expected"),
        (
            {"first": "0.1", "other": "0.01"},
            "report.csv:3: generation_time(s) is '0.33'; it is far from the sum",
        ),
        ({"other": "fast"}, "report.csv:3: 2nd_avg_latency(ms) is 'fast'; a number was expected"),
        ({"output_size": "2.5"}, "report.csv:3: output_size is '2.5'; a whole number was expected"),
        ({"iteration": "many"}, "report.csv:3: iteration is 'many'"),
        ({"chat_idx": "1"}, "report.csv:3: chat_idx is '1'; a chat's turns"),
        (
            {"max_rss_mem(MiB)": 9, "max_sys_mem(MiB)": 9, "max_increase_rss_mem(MiB)": "much"},
            "report.csv:3: max_increase_rss_mem(MiB) is 'much'; a number was expected",
        ),
    ],
)
def test_a_value_that_cannot_be_names_its_row(
    imported: Callable[..., Run], change: dict[str, object], message: str
) -> None:
    """Row, column and value, and what would be right."""
    with pytest.raises(InputError) as caught:
        imported(HEADER, request_row(), request_row(**change))

    assert message in caught.value.message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER + ",extra"], "unknown columns: 'extra'"),
        ([HEADER + ",start"], "doubled columns: 'start'"),
        ([HEADER.replace("prompt_idx,", "")], "missing columns: 'prompt_idx'"),
        ([HEADER, "1,2"], "report.csv:2: 2 values under 34 columns"),
        ([HEADER, "x" * 200_000], "report.csv:2: field larger than field limit"),
        (["x" * 200_000], "report.csv:1: field larger than field limit"),
        ([HEADER], "contains no request beyond the warm-up"),
        ([HEADER, request_row(iteration=0)], "contains no request beyond the warm-up"),
        (["a,b", "1,2"], "is not a report"),
        ([HEADER.replace(",", ";"), "1;2"], "its columns are separated by ';'"),
        ([HEADER.replace(",", "\t"), "1\t2"], r"its columns are separated by '\t'"),
        ([HEADER.replace(",", "|"), "1|2"], "its columns are separated by '|'"),
        (["metric,median", "tpot,1"], "is a summary without requests"),
        (["   "], "is empty"),
        (["{"], "is damaged JSON"),
        (['{"a": NaN}'], "NaN is not JSON"),
        (['{"a": 1, "a": 2}'], "duplicate key 'a'"),
        (['{"rows": []}'], "is not an llm_bench JSON"),
        (['{"metadata": {}, "perfdata": {"results": [{"iteration": 1}]}}'], "result 0 has no input_size"),
    ],
)
def test_what_is_no_report_is_refused(imported: Callable[..., Run], lines: list[str], message: str) -> None:
    """One line that says what is wrong with the file."""
    with pytest.raises(InputError) as caught:
        imported(*lines)

    assert message in caught.value.message


@pytest.mark.parametrize("column", ["1st_latency(ms)", "2nd_avg_latency(ms)"])
def test_one_latency_in_seconds_is_refused(imported: Callable[..., Run], column: str) -> None:
    """Beside the other in milliseconds it leaves most of the generation's time unexplained."""
    value = 0.1 if column.startswith("1st") else 0.01

    with pytest.raises(InputError, match="were units mixed"):
        imported(HEADER, request_row(**{column: value}))


def test_time_outside_the_latencies_is_no_mixed_unit(imported: Callable[..., Run]) -> None:
    """A generation of 500 ms whose latencies are 330."""
    assert 1 == len(imported(HEADER, request_row(**{"generation_time(s)": 0.5})).launches)


def test_older_memory_columns_are_known(imported: Callable[..., Run]) -> None:
    """Earlier versions of llm_bench name their memory columns in MB and have fewer of them."""
    header = HEADER.replace("max_sys_mem(MiB)", "max_uss_mem(MB)").replace("chat_idx", "max_shared_mem(MB)")

    assert 1 == len(imported(header, request_row()).launches)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are refused by name."""
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"iteration\xff\xfe")

    for path, why in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path, "directory"),
        (binary, "not UTF-8"),
    ):
        with pytest.raises(InputError, match=why):
            importers.read_report(path)


def test_a_file_too_large_to_be_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and what is read at most are said; nothing of it is read."""
    monkeypatch.setattr("llmbench.store.importers.table.MAX_BYTES", 1 << 20)
    path = tmp_path / "large.csv"
    path.write_bytes(b"x" * (3 << 20))

    with pytest.raises(InputError, match="has 3 MiB; at most 1 MiB are read"):
        importers.read_report(path)


def test_beams_are_read(imported: Callable[..., Run]) -> None:
    """Beam search is another way of generating, and must not be taken for greedy."""
    assert 4 == imported(HEADER, request_row(num_beams=4)).cells[0].num_beams


def test_an_llm_bench_json(imported: Callable[..., Run]) -> None:
    """The same numbers as in its CSV; its -1 and null are no values."""
    result = {
        "iteration": 1,
        "input_size": 32,
        "infer_count": 24,
        "output_size": 24,
        "generation_time": 0.33,
        "latency": 13.75,
        "first_latency": 100.0,
        "second_avg_latency": 10.0,
        "first_infer_latency": -1,
        "second_infer_avg_latency": None,
        "prompt_idx": 3,
        "result_md5": ["abc"],
        "second_token_throughput": 100.0,
    }
    content = {
        "metadata": {
            "model": "tiny",
            "framework": "ov",
            "device": "cpu",
            "precision": "int8",
            "batch_size": 1,
        },
        "perfdata": {"compile_time": 2.5, "results": [result | {"iteration": 0}, result]},
    }

    run = imported(json.dumps(content), name="report.json")

    m = run.launches[0].measurements[0]
    assert 1 == len(run.launches[0].measurements)
    assert pytest.approx([0.1, 0.01]) == [METRICS[name].of(m) for name in ("first_token", "tpot")]
    assert (2.5, "int8", 3) == (
        run.launches[0].load_s,
        run.provenance.weight_format,
        run.cells[0].prompts[0].index,
    )
    assert () == m.infer_ns


def test_our_llm_bench_layouts_come_back(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """CSV and JSON of a run tell the same launch: 8 requests, the first 100 ms; memory comes with the CSV."""
    for text, name in (
        (csv_render.llm_bench_csv(evaluate(story_of())), "a.csv"),
        (json_render.llm_bench_json(evaluate(story_of())), "a.json"),
    ):
        run = imported(text, name=name)
        (launch,) = run.launches
        m = launch.measurements[0]
        assert [1, 1, 2, 2, 3, 3, 4, 4] == [found.iteration for found in launch.measurements]
        assert pytest.approx([0.1, 0.035 / 3]) == [METRICS[key].of(m) for key in ("first_token", "tpot")]
        assert 150 << 20 == METRICS["memory"].of(m)
        assert 2.5 == launch.load_s


def test_what_is_imported_is_written_alike(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """llm_bench's layout, imported and written again, keeps its latencies, sizes and numbers."""
    names = (
        "iteration",
        "input_size",
        "output_size",
        "infer_count",
        "1st_latency(ms)",
        "2nd_avg_latency(ms)",
    )

    def latencies(run: Run) -> list[list[str]]:
        rows = csv.DictReader(io.StringIO(csv_render.llm_bench_csv(evaluate(run))))
        return [
            [row[name] for name in names] for row in rows if row["iteration"] not in {"0", "avg", "median"}
        ]

    first = imported(csv_render.llm_bench_csv(evaluate(story_of())))

    assert latencies(first) == latencies(imported(csv_render.llm_bench_csv(evaluate(first))))


@pytest.mark.parametrize("name", ["report.csv", "report.json"])
def test_reports_that_llm_bench_wrote(name: str) -> None:
    """Its own files: four iterations of two prompts, and the medians that stand in its summary rows."""
    run = importers.read_report(Path(__file__).parents[2] / "data" / "llm_bench" / name)

    rows = report.summarize_run(run).rows
    assert [(4, 0, 7, 24), (4, 0, 18, 24)] == [
        (row.measured, row.invalid, row.input_tokens, row.output_tokens) for row in rows
    ]
    assert pytest.approx([0.02905493, 0.03267703], abs=1e-8) == [
        row.summaries["first_token"].median for row in rows
    ]
    assert pytest.approx([0.01687415, 0.01754442], abs=1e-8) == [row.summaries["tpot"].median for row in rows]
    assert pytest.approx(2.87941, abs=1e-5) == run.launches[0].load_s


def test_the_columns_of_a_real_report_are_ours() -> None:
    """What llm_bench writes today is what we write."""
    text = (Path(__file__).parents[2] / "data" / "llm_bench" / "report.csv").read_text()

    assert HEADER == text.splitlines()[0]


def test_tidy_columns_are_those_that_are_written(story_of: BuildRun) -> None:
    """Every row has a cell for each column, and none beside them."""
    assert all(set(row) == set(TIDY_COLUMNS) for row in tidy.rows(evaluate(story_of())))


def test_our_tidy_layout_comes_back(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """Launches, verdicts, prompts and every metric are what they were."""
    before, after = story_of(), imported(csv_render.tidy_csv(evaluate(story_of())))
    was, now = report.summarize_run(before), report.summarize_run(after)

    assert [row.prompt.sha256 for row in was.rows] == [row.prompt.sha256 for row in now.rows]
    for row_before, row_after in zip(was.rows, now.rows, strict=True):
        assert (row_before.launches, row_before.measured, row_before.invalid) == (
            row_after.launches,
            row_after.measured,
            row_after.invalid,
        )
        assert set(row_before.summaries) == set(row_after.summaries)
        for name, summary in row_before.summaries.items():
            assert pytest.approx(summary.median, rel=1e-6) == row_after.summaries[name].median
            assert pytest.approx(dict(row_before.medians[name]), rel=1e-6) == row_after.medians[name]
    assert before.environment.cpu_model == after.environment.cpu_model
    assert before.provenance.source_id == after.provenance.source_id
    assert {"NUM_STREAMS": 1} == after.cells[0].properties
    assert (1, 2, 2) == (after.cells[0].warmups, after.cells[0].iterations, after.cells[0].launches)
    assert [2.5, 3.5] == [launch.load_s for launch in after.launches]
    assert after.is_complete
    assert "tidy CSV report.csv" == after.source


def test_a_tidy_round_trip_changes_nothing(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """What is imported from a tidy CSV is written as that CSV, to the last byte."""
    text = csv_render.tidy_csv(evaluate(story_of()))

    assert text == csv_render.tidy_csv(evaluate(imported(text.rstrip("\n"))))


def test_steps_callbacks_and_the_way_of_generating_come_back(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    imported: Callable[..., Run],
) -> None:
    """Four steps of 1, 6, 4 and 2 tokens are 4 tokens a step; the configuration says who guessed."""
    m = request_of([100, 130, 160, 190], counts=(1, 6, 4, 2), requested_tokens=13, later_steps=3)
    m = dataclasses.replace(m, callback_ns=(Nanoseconds(m.start_ns + 125_000_000),))
    run = run_of([launch_of([m])])
    changes = {"max_ngram_size": 3, "num_assistant_tokens": 5, "scheduler": {"max_num_seqs": 4}}
    config = dataclasses.replace(run.cells[0], output_tokens=13, **changes)
    after = imported(csv_render.tidy_csv(evaluate(dataclasses.replace(run, cells=(config,)))))
    back = after.launches[0].measurements[0]

    assert config.generation == after.cells[0].generation
    assert 4.0 == METRICS["tokens_per_step"].of(back)
    assert 0.125 == METRICS["first_callback"].of(back)


@pytest.mark.parametrize("at", [[], [100], [100, 112]])
def test_few_tokens_come_back(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    imported: Callable[..., Run],
    *,
    at: list[float],
) -> None:
    """No token, one, and two: what did not exist does not exist again, and no token stays invalid."""
    m = request_of(at, requested_tokens=len(at) or 4)
    run = imported(csv_render.tidy_csv(evaluate(run_of([launch_of([m])]))))

    after = run.launches[0].measurements[0]
    for name in ("first_token", "second_token", "next_token", "tpot", "e2e"):
        assert METRICS[name].of(m) == METRICS[name].of(after)
    assert (0 if at else 1) == report.summarize_run(run).rows[0].invalid


@pytest.mark.parametrize("counts", [(1, 3, 2), (1, 1, 1)])
def test_events_of_several_tokens_come_back(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    imported: Callable[..., Run],
    *,
    counts: tuple[int, ...],
) -> None:
    """The rebuilt events tell the same second, next and tpot."""
    m = request_of([100, 130, 160], counts=counts, requested_tokens=sum(counts))
    after = imported(csv_render.tidy_csv(evaluate(run_of([launch_of([m])])))).launches[0].measurements[0]

    for name in ("first_token", "second_token", "next_token", "tpot", "e2e", "decode_rate"):
        assert pytest.approx(METRICS[name].of(m), rel=1e-6) == METRICS[name].of(after)


def test_text_made_harmless_comes_back(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, imported: Callable[..., Run]
) -> None:
    """A model and a prompt set named like formulas have their names again."""
    for name in ("=cmd()", "'=cmd()", "-x", "'plain'", "a,b\nc"):
        config = RunConfig(model=name, prompts=(Prompt(set=name, index=0, text="Hello"),), output_tokens=4)
        run = imported(
            csv_render.tidy_csv(evaluate(run_of([launch_of([request_of([1, 2, 3, 4])])], cells=(config,))))
        )

        assert (name, name) == (run.cells[0].model, run.cells[0].prompts[0].set)


def test_a_sweep_comes_back_with_its_cells(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, imported: Callable[..., Run]
) -> None:
    """Two settings of threads are two cells; a launch that did not finish stays out."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = tuple(
        RunConfig(model="m", prompts=prompts, output_tokens=4, threads=n, sockets=(0, 1)) for n in (1, 2)
    )
    requests = [request_of([5, 20, 30, 40])]
    launches = [
        launch_of([dataclasses.replace(m, launch=n) for m in requests], cell=n % 2, index=n) for n in range(3)
    ]
    launches.append(
        launch_of(
            [dataclasses.replace(m, launch=3) for m in requests], cell=1, index=3, outcome=Outcome.ABORTED
        )
    )

    run = imported(csv_render.tidy_csv(evaluate(run_of(launches, cells=cells))))

    assert [(1, (0, 1)), (2, (0, 1))] == [(cell.threads, cell.sockets) for cell in run.cells]
    assert [(0, 2), (1, 1)] == [(row.cell, row.launches) for row in report.summarize_run(run).rows]


def measured_more(run: Run) -> Run:
    """That run with what only some machines tell: energy, and how each launch found the model cache."""
    states = (ModelCache.COLD, ModelCache.WARM)
    launches = [
        dataclasses.replace(
            launch,
            model_cache=state,
            measurements=tuple(dataclasses.replace(m, energy_j=3.5) for m in launch.measurements),
        )
        for launch, state in zip(run.launches, states, strict=True)
    ]
    return dataclasses.replace(run, launches=tuple(launches))


def test_energy_and_model_cache_come_back(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """3.5 J a request of 4 tokens, one launch cold and one warm; written again, it is the same file."""
    text = csv_render.tidy_csv(evaluate(measured_more(story_of())))
    run = imported(text.rstrip("\n"))

    assert [ModelCache.COLD, ModelCache.WARM] == [launch.model_cache for launch in run.launches]
    assert pytest.approx(0.875) == METRICS["energy_per_token"].of(run.launches[0].measurements[0])
    assert text == csv_render.tidy_csv(evaluate(run))


def test_a_tidy_csv_of_an_earlier_version_is_read(story_of: BuildRun, imported: Callable[..., Run]) -> None:
    """Without the columns that came later, what they tell is not known."""
    rows = list(csv.DictReader(io.StringIO(csv_render.tidy_csv(evaluate(measured_more(story_of()))))))
    out = io.StringIO()
    older = [name for name in TIDY_COLUMNS if name not in tidy_importer.OPTIONAL]
    writer = csv.DictWriter(out, older, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    run = imported(out.getvalue().rstrip("\n"))

    assert [None, None] == [launch.model_cache for launch in run.launches]
    assert run.launches[0].measurements[0].energy_j is None
    assert pytest.approx(0.101, rel=1e-3) == report.summarize_run(run).rows[0].summaries["first_token"].median


def edited(run: Run, /, **changes: str) -> str:
    """A tidy CSV whose last row has other cells."""
    rows = list(csv.DictReader(io.StringIO(csv_render.tidy_csv(evaluate(run)))))
    rows[-1] |= changes
    out = io.StringIO()
    writer = csv.DictWriter(out, TIDY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "another"}, "a second run"),
        ({"cell": "5"}, "configurations are 0, 5"),
        ({"is_warmup": "maybe"}, "is_warmup is 'maybe'; True or False was expected"),
        ({"first_token_ms": "-1"}, "first_token_ms is '-1'"),
        ({"launch": "7", "launch_outcome": "gone"}, "launch_outcome is 'gone'; one of finished"),
        (
            {"cell": "1", "launch": "7", "properties": "[1]"},
            "properties is '[1]'; a JSON object was expected",
        ),
        ({"cell": "1", "launch": "7", "properties": "{"}, "properties is '{'; a JSON object was expected"),
        ({"cell": "1", "launch": "7", "generation": '{"speed": 1}'}, "generation is "),
        ({"cell": "1", "launch": "7", "generation": "[]"}, "generation is '[]'; a JSON object was expected"),
        ({"cell": "1", "launch": "7", "sockets": "a"}, "sockets is 'a'; numbers with commas were expected"),
        (
            {"launch": "7", "model_cache": "hot"},
            "model_cache is 'hot'; one of off, cold, warm, refused was expected",
        ),
        ({"cell": "1", "launch": "7", "engine": "magic"}, "engine 'magic' is unknown"),
    ],
)
def test_a_tidy_row_that_cannot_be_is_named(
    story_of: BuildRun, imported: Callable[..., Run], changes: dict[str, str], message: str
) -> None:
    """Row, column and value, and what would be right."""
    with pytest.raises(InputError) as caught:
        imported(edited(story_of(), **changes))

    assert message in caught.value.message


def test_a_tidy_file_without_requests_is_refused(run_of: BuildRun, imported: Callable[..., Run]) -> None:
    """A header alone is no run."""
    with pytest.raises(InputError, match="contains no request"):
        imported(csv_render.tidy_csv(evaluate(run_of([]))).rstrip("\n"))


@pytest.mark.parametrize("layout", [csv_render.tidy_csv, csv_render.llm_bench_csv])
@pytest.mark.parametrize("change", ["", "slower"])
def test_a_row_that_stands_twice_is_an_error(
    story_of: BuildRun, imported: Callable[..., Run], layout: Callable[..., str], change: str
) -> None:
    """Both lines are named, also where the second has another latency."""
    lines = layout(evaluate(story_of())).splitlines()
    again = lines[3].replace("400.", "1200.") if change else lines[3]

    with pytest.raises(InputError, match=r"report\.csv:6: a second row of the same request .*report\.csv:4"):
        imported(*lines[:5], again, *lines[5:])


def test_a_result_that_stands_twice_in_json_is_an_error(
    story_of: BuildRun, imported: Callable[..., Run]
) -> None:
    """The results are named by their index."""
    content = json.loads(json_render.llm_bench_json(evaluate(story_of())))
    content["perfdata"]["results"].append(content["perfdata"]["results"][3])

    with pytest.raises(InputError, match=r"result \d+: a second row of the same request .*result 3"):
        imported(json.dumps(content), name="report.json")


@pytest.mark.parametrize("write", [csv_render.llm_bench_csv, csv_render.tidy_csv])
def test_two_csvs_in_one_file_are_refused_at_the_second_header(
    story_of: BuildRun, imported: Callable[..., Run], write: Callable[..., str]
) -> None:
    """As of `cat a.csv b.csv`; the line is that of the second header."""
    text = write(evaluate(story_of()))

    with pytest.raises(InputError, match=f":{text.count(chr(10)) + 1}: the header a second time"):
        imported(text + text.rstrip())
