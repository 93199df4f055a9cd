"""The stages of a run in every form; the run is 50 ms of acoustic model, 4 x 25 ms of vocoder, 10 ms of nobody's."""

import csv
import dataclasses
import io
import json

import pytest
from rich.console import Console

from llmbench.analysis.comparison.compare import Comparison, compare
from llmbench.analysis.comparison.rule import Verdict, compared_metrics, read_thresholds
from llmbench.analysis.report import Report, summarize_run
from llmbench.analysis.stages import request_metric, stage_metrics
from llmbench.render.csv import csv_text
from llmbench.render.html.document import Figures
from llmbench.render.html.page import page
from llmbench.render.html.series import all_series
from llmbench.render.html.stages import stage_blocks
from llmbench.render.html.svg import Bar, Figure
from llmbench.render.markdown import report_markdown
from llmbench.render.sentences.verdict import sentence
from llmbench.render.stages import request_stages, stage_table
from llmbench.render.table import Table
from llmbench.render.terminal.report import render_report
from llmbench.render.trace import trace_json
from llmbench.schema.measurement import Artifact, Measurement, Stage
from llmbench.schema.run import Run
from llmbench.schema.units import ns_from_ms
from tests.builders import speech_story, story_of


def report(run: Run | None = None) -> Report:
    return summarize_run(run or speech_story())


def lines(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def compared(base: Run, candidate: Run) -> Comparison:
    return compare(*(summarize_run(run, compared_metrics(run)) for run in (base, candidate)))


def test_the_table_has_each_stage_the_remainder_and_the_whole() -> None:
    """50, 100 and 10 of 160 ms are 31.3, 62.5 and 6.3 %; four calls take 25 ms each."""
    assert [
        ["acoustic model", "clock", "1", "", "50.00", "31.2"],
        ["vocoder", "engine", "4", "25.00", "100.00", "62.5"],
        ["unexplained", "", "", "", "10.00", "6.2"],
        ["request", "", "", "", "160.0", "100"],
    ] == lines(stage_table(report()))


def test_with_tokens_the_stages_are_those_of_the_first_token() -> None:
    """The request goes on for 40 ms after its first token; shares are of the 160 ms before it."""
    found = lines(stage_table(report(speech_story(has_tokens=True))))

    assert ["first token", "160.0", "100"] == [found[-1][0], *found[-1][-2:]]
    assert ["  in first call", "10.00"] == [found[-2][0], found[-2][-2]]
    assert ["31.2", "62.5", "6.2"] == [line[-1] for line in found[:-2]]


def test_percentiles_of_calls_where_there_are_enough_of_them() -> None:
    """32 calls in each of 6 requests: 192 carry a p90 and no p99; of calls of 1 to 32 ms it is 29 ms."""
    run = speech_story()

    def repeated(m: Measurement) -> Measurement:
        calls = [
            Stage(name="step", duration_ns=ns_from_ms(number + 1), at_ns=m.start_ns) for number in range(32)
        ]
        return dataclasses.replace(m, stages=tuple(calls), end_ns=ns_from_ms(2000))

    launches = [
        dataclasses.replace(launch, measurements=tuple(map(repeated, launch.measurements)))
        for launch in run.launches
    ]
    table = stage_table(report(dataclasses.replace(run, launches=tuple(launches))))
    (step, *_) = lines(table)

    assert ("p90" in table.names(), "p99" in table.names()) == (True, False)
    assert ["step", "clock", "32", "16.50", "29.00", "528.0"] == step[:6]


def test_shares_of_a_request_add_up() -> None:
    """Exactly, in each request."""
    run = speech_story()
    for m in run.launches[1].measurements:
        shares = [request_metric(name).of(m) for name in stage_metrics(run) if name.startswith("share.")]
        assert pytest.approx(1.0, abs=1e-12) == sum(share or 0.0 for share in shares)


def test_text_has_no_table_of_stages() -> None:
    """Nor a section on the page."""
    assert () == stage_table(report(story_of())).rows
    assert "Stage by stage" not in page([report(story_of())])


@pytest.mark.parametrize("width", [80, 40])
def test_a_terminal_shows_the_shares_at_any_width(width: int) -> None:
    """The least important columns go first, and no line is longer than the screen."""
    text = io.StringIO()
    render_report(report(), Console(file=text, width=width))
    shown = text.getvalue().splitlines()

    rest = next(line for line in shown if "unexplained" in line)
    assert {"unexplained", "10.00", "6.2"} <= set(rest.split())
    assert max(map(len, shown)) <= width


def test_markdown_has_the_table() -> None:
    """Behind that of the prompts."""
    assert "| vocoder | engine | 4 | 25.00" in report_markdown(report())


def test_csv_has_a_row_a_request_and_stage() -> None:
    """Nine requests of two stages and a remainder; a start that is not known is empty."""
    rows = list(csv.DictReader(io.StringIO(csv_text(request_stages(report())))))

    assert 27 == len(rows)
    assert ("acoustic_model", "0.0", "50.0", "31.25") == tuple(
        rows[0][name] for name in ("stage", "start_ms", "duration_ms", "share_percent")
    )
    assert ("vocoder", "engine", "4", "", "100.0") == tuple(
        rows[1][name] for name in ("stage", "source", "calls", "start_ms", "duration_ms")
    )
    assert ("unexplained", "10.0", "6.25") == tuple(
        rows[2][name] for name in ("stage", "duration_ms", "share_percent")
    )
    assert {"True", "False"} == {row["warm_up"] for row in rows}


def figures(run: Run) -> tuple[Figure, ...]:
    series = all_series([report(run)], [""])
    (found,) = (block for block in stage_blocks(series) if isinstance(block, Figures))
    return found.figures


def test_bars_are_stacked_by_stage() -> None:
    """From 0 to 50, to 150, to 160 ms, each with its share on hovering."""
    stacked, *_ = figures(speech_story())
    bars = [shape for shape in stacked.shapes if isinstance(shape, Bar)]

    assert "stages of a request" == stacked.title
    assert [(0, 50), (50, 150), (150, 160)] == [(round(bar.x[0]), round(bar.x[1])) for bar in bars]
    assert "vocoder: 100.00 ms, 62.5%" == bars[1].title
    assert "stages of the first token" == figures(speech_story(has_tokens=True))[0].title


def test_a_long_name_of_a_bar_is_broken_into_lines() -> None:
    """So that its beginning is not out of sight; the figure has the room."""
    series = all_series([report(speech_story())], [", ".join(["KV_CACHE_PRECISION=u8"] * 4)])
    figure = next(block for block in stage_blocks(series) if isinstance(block, Figures)).figures[0]

    assert all(len(line) <= 44 for _, label in figure.y.labels() for line in label.split("\n"))
    assert figure.height > figures(speech_story())[0].height


def test_one_request_is_drawn_as_it_went() -> None:
    """A stage without an instant is left out; the page has both plots."""
    _, gantt = figures(speech_story())

    assert ["acoustic model"] == [label for _, label in gantt.y.labels()]
    assert 2 <= page([report()]).count("Stage by stage")


def test_a_slower_stage_is_named() -> None:
    """A tenth more of 100 ms is 10 ms; the acoustic model is unchanged and not named."""
    found = compared(speech_story(), speech_story(1.1))

    assert {"stage.acoustic_model": Verdict.UNCHANGED, "stage.vocoder": Verdict.REGRESSED} == {
        change.metric: change.verdict for change in found.judged if change.metric.startswith("stage.")
    }
    assert "The slower stage is vocoder +10 % (10.00 ms in P0)." in sentence(found)
    assert "The faster stage is vocoder" in sentence(compared(speech_story(1.1), speech_story()))
    assert "stage" not in sentence(compared(speech_story(), speech_story()))


def test_a_change_of_a_stage_must_move_the_whole() -> None:
    """A vocoder of 5 ms moves 55 ms by 2.3 % where it is a quarter slower, by 0.5 % where it is a twentieth slower."""
    verdicts = [
        next(found.verdict for found in compared(*sides).judged if found.metric == "stage.vocoder")
        for sides in (
            (speech_story(0.05), speech_story(0.0625)),
            (speech_story(0.05), speech_story(0.0525)),
        )
    ]
    assert [Verdict.REGRESSED, Verdict.UNCHANGED] == verdicts


def test_a_stage_that_takes_next_to_nothing_is_not_judged() -> None:
    """One of 2 ms beside 50 ms, unless it has a threshold; three times as slow it takes more than a twentieth."""
    base = speech_story(0.02)

    assert "stage.vocoder" not in {found.metric for found in compared(base, speech_story(0.024)).judged}
    assert "stage.vocoder" in {found.metric for found in compared(base, speech_story(0.06)).judged}


def with_audio(run: Run, samples: int) -> Run:
    """The run with audio of so many samples."""
    audio = (Artifact(kind="audio", count=samples, audio_s=samples / 100),)
    launches = (
        dataclasses.replace(
            launch,
            measurements=tuple(dataclasses.replace(m, outputs=audio) for m in launch.measurements),
        )
        for launch in run.launches
    )
    return dataclasses.replace(run, launches=tuple(launches))


def test_a_vocoder_has_a_pace_where_there_is_audio() -> None:
    """100 ms for a second of audio; without audio there is no such column."""
    table = stage_table(report(with_audio(speech_story(), 100)))

    assert ("pace" in table.names(), "pace" in stage_table(report()).names()) == (True, False)
    assert ["50.00", "100.00", "", ""] == [line[-1] for line in lines(table)]


def test_audio_of_another_length_is_other_work() -> None:
    """It is compared only where the product may vary."""
    base = with_audio(speech_story(), 100)
    assert not compared(base, with_audio(speech_story(), 100)).pairs[0].reasons
    found = compared(base, with_audio(speech_story(), 106))
    assert ("samples or frames: 100 against 106",) == found.pairs[0].reasons


def test_a_stage_may_have_a_threshold() -> None:
    """Its own, or that of all."""
    assert 0.2 == read_thresholds(["stage.vocoder=20%"])["stage.vocoder"].share
    assert 0.1 == read_thresholds(["all=10%"])["all"].share


def test_a_trace_has_requests_stages_and_tokens() -> None:
    """Times in microseconds from the first request; an engine's duration is laid behind the stage before it."""
    events = json.loads(trace_json(report(speech_story(has_tokens=True)).evaluation))["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]

    assert [("P0 warm-up", 0, 200_000), ("acoustic_model", 0, 50_000), ("vocoder", 50_000, 100_000)] == [
        (event["name"], event["ts"], event["dur"]) for event in spans[:3]
    ]
    assert "not reported" in spans[2]["args"]["start"]
    assert [160_000, 180_000, 200_000] == [event["ts"] for event in events if event["ph"] == "i"][:3]
    assert {"launch 1", "launch 2", "launch 3"} == {
        event["args"]["name"] for event in events if event["ph"] == "M"
    }


def test_requests_in_flight_at_once_have_threads_of_their_own() -> None:
    """The story's requests all begin at the same instant: three threads in each launch."""
    events = json.loads(trace_json(report().evaluation))["traceEvents"]

    assert [1, 2, 3] == [
        event["tid"] for event in events if event["pid"] == 1 and event.get("cat") == "request"
    ]
