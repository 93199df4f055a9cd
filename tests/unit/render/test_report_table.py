import dataclasses
import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from llmbench.analysis import report
from llmbench.render.terminal.report import render_report
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Launch, Run

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
    """First, second and next token of the first prompt stand on its line, whole."""
    line = next(found for found in screen(story_of(), width=width).splitlines() if found.startswith("P0"))

    assert ["101.0", "15.00", "10.00"] == re.findall(r"\d+\.\d\d?(?= |$)(?! %)", line)[:3]


def test_a_screen_too_narrow_for_numbers_is_overrun(story_of: BuildRun) -> None:
    """At 10 columns a line is longer than the screen, but no number is cut."""
    shown = screen(story_of(), width=10)

    assert "101.0" in shown
    assert "404.0" in shown


def test_a_console_without_our_signs(story_of: BuildRun) -> None:
    """In ASCII the margin is +- and the rule is dashes; a name is shown with escapes."""
    config = RunConfig(model="m/模型", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4)
    run = story_of()

    assert "101.0 +-13 %" in screen(run, encoding="ascii")
    assert "\\u6a21" in screen(
        Run(
            id="x",
            started_at="",
            version="0.1.0",
            cells=(config,),
            environment=run.environment,
            provenance=run.provenance,
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
    config = RunConfig(
        model="\x1b[31m[bold]evil\u202e[/bold]",
        prompts=(Prompt(set="s", index=0, text="Hello"),),
        output_tokens=4,
    )
    shown = screen(run_of([launch_of([request_of([1, 2, 3, 4])])], cells=(config,)))

    assert "\\x1b[31m[bold]evil\\u202e[/bold]" in shown
    assert "\x1b" not in shown


def test_an_invalid_run_says_so_above_its_table(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """INVALID stands before the table, and the row that has nothing shows n/a."""
    noisy = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
    shown = screen(run_of([launch_of([request_of([1, 2, 3, 4], conditions=noisy)])]))

    assert shown.index("INVALID: 1 of 1 requests do not count") < shown.index("prompt")


def test_what_does_not_exist_is_not_available(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """A row without a valid request shows n/a beside one that has numbers."""
    noisy = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in range(2))
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=4),)
    requests = [
        request_of([1, 2, 3, 4], prompt=0),
        request_of([1, 2, 3, 4], prompt=1, conditions=noisy),
    ]

    lines = screen(run_of([launch_of(requests)], cells=cells)).splitlines()

    assert any(re.match(r"P1 +32 +n/a +n/a", line) for line in lines)


def test_nothing_measured_is_said(run_of: BuildRun) -> None:
    """A run without a launch has no table."""
    assert "nothing that counts was measured" in screen(run_of([]))


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
    assert "INT8, genai, CPU" in screen(story_of())
    assert "INT8, CPU" in screen(dataclasses.replace(story_of(), version=""))
