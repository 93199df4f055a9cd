import dataclasses
import io
import re
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from llmbench.analysis import history
from llmbench.analysis.report import summarize_run
from llmbench.render.terminal.history import render_history
from llmbench.render.views import curve
from llmbench.schema.measurement import Conditions
from llmbench.schema.run import Run

BuildRun = Callable[..., Run]
Golden = Callable[[str, str], None]
NAMES = ("first_token", "next_token")


def screen(
    runs: Sequence[Run], *, names: Sequence[str] = NAMES, width: int = 100, encoding: str = "utf-8"
) -> str:
    """What a console of that width shows."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        render_history(
            history.history_lines(map(summarize_run, runs)), names, Console(file=file, width=width)
        )
        file.flush()
        return raw.getvalue().decode(encoding)


@pytest.fixture
def week(story_of: BuildRun) -> list[Run]:
    """Five days: the third run was cut short, from the fourth on everything takes a fifth longer."""
    return [
        dataclasses.replace(
            story_of(1.2 if day > 3 else 1.0, launches=3),
            id=f"day{day}",
            started_at=f"2026-01-{day:02d}T03:04:00+00:00",
            is_complete=day != 3,
        )
        for day in range(1, 6)
    ]


def test_a_title_has_a_model_s_name_and_never_its_path(week: list[Run]) -> None:
    """A model that was converted from a folder of this machine."""
    origin = dataclasses.replace(week[0].provenance, source_id="/home/someone/models/tiny")

    assert screen([dataclasses.replace(week[0], provenance=origin)]).startswith("tiny, int8, genai")


@pytest.mark.parametrize("width", [100, 60])
def test_the_screen_at_each_width(week: list[Run], golden: Golden, width: int) -> None:
    """The whole screen, as it was looked at once."""
    golden(f"history.{width}.txt", screen(week, width=width))


@pytest.mark.parametrize("width", [100, 60])
def test_no_line_is_longer_than_the_screen(week: list[Run], width: int) -> None:
    """Columns and margins are dropped before a line is broken."""
    assert max(len(line) for line in screen(week, width=width).splitlines()) <= width


def test_a_long_name_is_cut_where_the_screen_is_narrow(week: list[Run]) -> None:
    """It begins where runs of one day differ; numbers stay whole."""
    runs = [dataclasses.replace(run, id=f"20260101T0304{run.id[-1]}0Z-tiny-9e38d0") for run in week]
    shown = screen(runs, names=NAMES[:1], width=40)

    assert max(map(len, shown.splitlines())) <= 40
    assert "…030440Z-t  240.8  +20 % reg…" in shown
    assert "..." in screen(runs, names=NAMES[:1], width=40, encoding="ascii")


def test_the_mean_of_an_invalid_run_is_shown_and_marked(week: list[Run]) -> None:
    """100 and 400 ms have the geometric mean 200 ms, which counts nowhere."""
    busy = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.8)
    launches = [
        dataclasses.replace(
            launch, measurements=tuple(dataclasses.replace(m, conditions=busy) for m in launch.measurements)
        )
        for launch in week[0].launches
    ]
    shown = screen([dataclasses.replace(week[0], launches=tuple(launches))])

    assert re.search(r"day1 .* 20\d\.\d! .* INVALID", shown)


def test_times_carry_their_zone(week: list[Run]) -> None:
    """An instant of another zone is shown in UTC; one without a zone as it stands, for nothing tells it."""
    runs = [
        dataclasses.replace(week[0], started_at="2026-01-01T23:30:00-02:00"),
        dataclasses.replace(week[1], started_at="2026-01-02T03:04:00Z"),
    ]
    shown = screen(runs)

    assert "2026-01-02 01:30 UTC" in shown
    assert "2 runs, 2026-01-02 UTC" in shown
    assert "UTC" not in screen([dataclasses.replace(week[0], started_at="2026-01-01T03:04:00")])


def test_one_run_has_no_curve(week: list[Run]) -> None:
    """A single run is a row."""
    shown = screen(week[:1])

    assert "trend" not in shown
    assert "day1" in shown


def test_lines_are_told_apart_by_what_differs(week: list[Run]) -> None:
    """A run of one thread has its setting in its title; what is the same in both, or not set, is not said."""
    config = dataclasses.replace(week[0].cells[0], threads=1)

    shown = screen([week[0], dataclasses.replace(week[1], cells=(config,))])

    assert "threads=1" in shown
    assert "tiny, int8, genai, CPU, Example CPU 9000\n" in shown
    assert "device=" not in shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([5, None, 9], "▁ █"),
        ([7, 7], "▄▄"),
        ([None, None], "  "),
        ([], ""),
    ],
)
def test_a_curve_goes_from_the_lowest_to_the_highest(values: list[float | None], shown: str) -> None:
    """A hole where a value is missing, the middle where all are the same."""
    assert shown == curve(values)


def test_a_console_without_our_signs(week: list[Run]) -> None:
    """In ASCII the curve has signs that every console prints."""
    assert "___##" in screen(week, encoding="ascii")


def test_a_metric_without_a_verdict_has_no_step(week: list[Run]) -> None:
    """Where more is better nothing is judged."""
    assert "step " not in screen(week, names=("decode_rate",)).split("step:")[0]
