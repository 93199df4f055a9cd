import dataclasses
import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from llmbench.analysis import report
from llmbench.render.terminal.report import render_report
from llmbench.render.terminal.table import print_facts
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import EffectiveSettings, Launch, Outcome, Provenance, Run, Split
from llmbench.schema.settings.any_workload import POLICY, TENSOR_PARALLEL

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Golden = Callable[[str, str], None]


def screen(run: Run, *, width: int = 100, encoding: str = "utf-8", **options: object) -> str:
    """What a console of that width shows."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        render_report(report.summarize_run(run), Console(file=file, width=width, **options))  # type: ignore[arg-type]
        file.flush()
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [120, 80, 40])
def test_the_table_at_each_width(story_of: BuildRun, golden: Golden, width: int) -> None:
    """The whole screen, as it was looked at once."""
    golden(f"story.{width}.txt", screen(story_of(), width=width))


@pytest.mark.parametrize("width", [120, 80, 60, 40])
def test_no_line_is_longer_than_the_screen(story_of: BuildRun, width: int) -> None:
    """Columns are dropped before a line is broken."""
    assert max(len(line) for line in screen(story_of(), width=width).splitlines()) <= width


@pytest.mark.parametrize("width", [120, 80, 40])
def test_the_first_three_numbers_are_always_there(story_of: BuildRun, width: int) -> None:
    """First and next token and tokens/s of the first prompt stand on its line, whole."""
    line = next(found for found in screen(story_of(), width=width).splitlines() if found.startswith("P0"))

    assert {"101.0", "10.00", "85.71"} <= set(line.split())


def test_a_screen_too_narrow_for_numbers_is_overrun(story_of: BuildRun) -> None:
    """At 10 columns a line is longer than the screen, but no number is cut."""
    shown = screen(story_of(), width=10)

    assert "101.0" in shown
    assert "404.0" in shown


def test_a_console_without_our_signs(story_of: BuildRun) -> None:
    """In ASCII the margin is +- and the rule is dashes; a name is shown with escapes."""
    config = RunConfig(model="m/模型", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4)
    run = story_of()

    assert "100.3 +-3.8 %" in screen(story_of(launches=3), encoding="ascii")
    assert "\\u6a21" in screen(
        Run(
            id="x",
            started_at="",
            version="0.1.0",
            cells=(config,),
            environment=run.environment,
            provenance=Provenance(path="m/模型"),
        ),
        encoding="ascii",
    )


def test_no_color_is_obeyed(story_of: BuildRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets no colour, and the text is the same."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown = screen(story_of(), force_terminal=True)

    assert "\x1b[3" not in shown
    assert screen(story_of()) == re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_a_model_cannot_steer_the_terminal(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Escape sequences and markup in a name are shown, not obeyed."""
    evil = Provenance(path="\x1b[31m[bold]evil\u202e[bold]")
    shown = screen(run_of([launch_of([request_of([1, 2, 3, 4])])], provenance=evil))

    assert "\\x1b[31m[bold]evil\\u202e[bold]" in shown
    assert "\x1b" not in shown


def test_figures_of_invalid_requests_are_shown_and_marked(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """A row without a valid request has its figures, each with !, at any width; the verdict says why."""
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in range(2))
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=4),)
    noisy = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
    requests = [
        request_of([100, 120, 130, 140], prompt=0),
        request_of([200, 220, 230, 240], prompt=1, conditions=noisy),
    ]
    run = run_of([launch_of(requests)], cells=cells)

    for width in (100, 40):
        lines = screen(run, width=width).splitlines()
        rows = {line.split()[0]: line.split() for line in lines if line.startswith("P")}
        assert {"200.0!", "10.00!", "75.00!"} <= set(rows["P1"])
        assert {"100.0", "10.00", "75.00"} <= set(rows["P0"])
    assert "INVALID (!): 1 of 2 requests, other processes used 50% of the CPUs (limit 5%)" in screen(run)


def test_figures_of_a_launch_cut_short_are_shown_and_marked(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """A killed run of 3 of 500 iterations has the median of its three first tokens; nothing of it counts."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=4, iterations=500),)
    requests = [
        request_of([ms, ms + 15, ms + 25, ms + 35], iteration=i) for i, ms in enumerate((90, 110, 100), 1)
    ]
    launch = launch_of(requests, outcome=Outcome.ABORTED)
    run = run_of([launch], cells=cells, is_complete=False)
    shown = screen(run)

    assert () == report.summarize_run(run).rows
    assert re.search(r"P0 +32 +4 +100\.0! +15\.00! +10\.00!", shown)
    assert "PARTIAL (!); launch 1 was cut short; 3 of 500 requests were made" in shown


def test_an_effective_split_is_named_in_the_card_and_the_table(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Tensor parallelism over two sockets is a column and a word on the machine's line; so is one without effect."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=4, properties={POLICY: TENSOR_PARALLEL}),)
    for parts, word, cell in (
        (2, "tensor parallelism over 2 sockets", "2 sockets"),
        (1, "INEFFECTIVE: tensor parallelism split nothing", "ineffective"),
    ):
        effective = EffectiveSettings(split=Split(without=1, with_policy=parts, parts=parts))
        shown = screen(run_of([launch_of([request_of([1, 2, 3, 4])], effective=effective)], cells=cells))
        assert word in shown
        assert re.search(rf"P0 +{cell}", shown)


def test_the_card_is_eight_lines_and_answers_what_on_what_and_whether_it_is_good(story_of: BuildRun) -> None:
    """One prompt, five launches, 80 columns: model, parameters, size, CPU, versions, latencies, verdict."""
    run = story_of(launches=5, noise=(1.0, 1.01, 0.99))
    config = dataclasses.replace(run.cells[0], prompts=run.cells[0].prompts[:1])
    quiet = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0)
    launches = tuple(
        dataclasses.replace(
            launch,
            measurements=tuple(
                dataclasses.replace(each, conditions=quiet) for each in launch.measurements if not each.prompt
            ),
        )
        for launch in run.launches
    )
    origin = dataclasses.replace(run.provenance, parameters=134_515_008, file_bytes=138 << 20)
    lines = screen(
        dataclasses.replace(run, cells=(config,), launches=launches, provenance=origin), width=80
    ).splitlines()

    assert 8 == len(lines)
    assert "tiny: 135M parameters, int8, 138 MiB, genai (paged attention)" == lines[0]
    assert "Example CPU 9000: 1 socket, 2 cores; 2 threads" == lines[1]
    assert "OpenVINO 2026.4.1, llmbench 0.1.0" == lines[2]
    assert re.match(r"P0 +32 +4 +100\.2 ±1\.0 % ", lines[6])
    assert "valid; 5 launches of 2 iterations (±: 95 % interval)" == lines[7]


def test_dropped_columns_are_named_and_tokens_per_second_is_none_of_them(story_of: BuildRun) -> None:
    """At 40 columns two have no room, and no interval has."""
    shown = screen(story_of(), width=40)

    assert "hidden: out, second, ±" in shown
    assert "tokens/s" in shown


def test_nothing_measured_is_said(run_of: BuildRun) -> None:
    """A run without a launch has no table."""
    assert "nothing was measured" in screen(run_of([]))


def test_a_sweep_shows_what_varies(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """Two settings of threads are a column; what is the same in both is not."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = tuple(RunConfig(model="m", prompts=prompts, output_tokens=4, threads=n) for n in (1, 2))
    run = run_of([launch_of([request_of([n, 20, 30, 40])], cell=n - 1, index=n) for n in (1, 2)], cells=cells)

    shown = screen(run)

    assert re.search(r"prompt +threads +in", shown)
    assert "device" not in shown


def test_output_tokens_are_a_column_where_they_differ(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Texts that end where they like have lengths of their own."""
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in range(2))
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=4, stop_at_eos=True),)
    requests = [request_of([1, 2, 3, 4], prompt=0), request_of([1, 2, 3], prompt=1)]

    assert re.search(r"prompt +in +out", screen(run_of([launch_of(requests)], cells=cells)))


def test_the_engine_of_a_foreign_report_is_not_made_up(story_of: BuildRun) -> None:
    """A report of another tool does not tell its engine, so none is shown."""
    assert "int8, genai (paged attention)" in screen(story_of())
    assert "tiny: int8\n" in screen(dataclasses.replace(story_of(), version=""))


CARD = (
    "SmolLM2-135M-Instruct: 135M parameters, Q4_1, 88 MiB, genai (paged attention), GPU",
    "INTEL(R) XEON(R) PLATINUM 8592+: 2 sockets, 128 cores; 128 threads; pinned to CPUs 0-63 of socket 0",
    "valid; 1 of 8 requests invalid, left out (other processes used 40% of the CPUs); 2 launches; 1 note: -v",
)


@pytest.mark.parametrize("text", CARD)
@pytest.mark.parametrize("width", [80, 100])
def test_a_line_of_a_card_breaks_only_at_a_comma_or_semicolon(text: str, width: int) -> None:
    """No phrase is torn apart, least of all the count of notes from the option that shows them."""
    out = io.StringIO()
    print_facts(Console(file=out, width=width), text)
    lines = out.getvalue().splitlines()

    assert all(len(line) <= width for line in lines)
    assert all(line.endswith((",", ";")) for line in lines[:-1])
    assert " ".join(lines) == text
