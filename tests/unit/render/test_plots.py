import io
from collections.abc import Callable

import pytest
from rich.console import Console

from llmbench.analysis.report import summarize_run
from llmbench.render.terminal import plots
from llmbench.render.terminal.plots import render_plots
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Launch, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Golden = Callable[[str, str], None]


def screen(run: Run, *, width: int = 80, encoding: str = "utf-8") -> str:
    """What a console of that width shows."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        render_plots(summarize_run(run), Console(file=file, width=width))
        file.flush()
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 40])
def test_the_plots_at_each_width(story_of: BuildRun, golden: Golden, width: int) -> None:
    """The whole screen, as it was looked at once."""
    golden(f"plots.{width}.txt", screen(story_of(), width=width))


@pytest.mark.parametrize("width", [120, 80, 40])
def test_no_plot_is_wider_than_the_screen(story_of: BuildRun, width: int) -> None:
    """The axis ends before the screen does."""
    assert max(len(line) for line in screen(story_of(), width=width).splitlines()) <= width


def test_one_length_and_one_token_have_no_plot(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """It is said what a plot takes."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=1)

    assert "nothing to plot" in screen(run_of([launch_of([request_of([100])])], cells=(config,)))


def test_a_run_without_a_valid_request_says_so(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Lengths and tokens enough are not what is missing."""
    noisy = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
    run = run_of([launch_of([request_of([100, 110, 120], conditions=noisy)])])

    assert "nothing to plot: it takes a valid request" in screen(run)


def test_a_console_without_our_signs(story_of: BuildRun) -> None:
    """Plots are made of dots that ASCII does not have: it is said, and nothing is drawn."""
    assert "the plots need a terminal with UTF-8\n" == screen(story_of(), encoding="ascii")


def test_a_large_sweep_is_not_drawn_whole(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Four configurations of six, under their settings, and where the others are."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = tuple(RunConfig(model="m", prompts=prompts, output_tokens=4, threads=n) for n in range(1, 7))
    launches = [launch_of([request_of([9, 20, 30, 40])], cell=n, index=n) for n in range(6)]

    shown = screen(run_of(launches, cells=cells))

    assert "inter-token latency [threads=4]: 0 = P0 (32 in)" in shown
    assert "threads=5" not in shown
    assert "2 more configurations: llmbench report html draws all" in shown


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(0, 508, (0, 600)), (0, 0.9, (0, 0.96)), (10, 10, (9.5, 10.7)), (20, 60, (20, 68)), (0, 0, (0, 1.2))],
)
def test_axes_have_round_steps(low: float, high: float, ends: tuple[float, float]) -> None:
    """Twelve steps of 50, 0.08, 0.1, 4 and 0.1: both ends are inside, and equal values have air around them."""
    assert pytest.approx(ends) == plots._ends(low, high, 12)
