import io
from collections.abc import Callable

import pytest
from rich.console import Console

from llmbench.analysis.noise.calibration import Calibration, CalibrationSession, NoiseSeries
from llmbench.analysis.noise.false_alarms import FalseAlarms
from llmbench.render.terminal.calibration import render_calibration

Golden = Callable[[str, str], None]
LOGS = {"first_token": (-2.0, -1.98, -2.01, -1.99), "tpot": (-4.6, -4.61, -4.59, -4.6)}


def calibrated(sessions: int, *, prompts: str = "pq") -> Calibration:
    """Sessions of four launches in two blocks, each one per cent slower than the one before."""
    made = tuple(
        CalibrationSession(
            run=f"run{number}",
            started_at=f"2026-01-0{number + 1}T03:04:00+00:00",
            software={},
            blocks=(0, 0, 1, 1),
            series=tuple(
                NoiseSeries(
                    prompt=prompt,
                    label=f"P{index}",
                    metric=metric,
                    logs=tuple(log + 0.01 * number for log in logs),
                    iteration_sd=0.004,
                )
                for index, prompt in enumerate(prompts)
                for metric, logs in LOGS.items()
            ),
        )
        for number in range(sessions)
    )
    return Calibration(named={}, prompts=tuple(prompts), sessions=made)


def rendered(calibration: Calibration, width: int, *, across: float | None = None) -> str:
    """The calibration on a console of that width."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    alarms = FalseAlarms(
        launches=5, within=0.004, across=across, detectable={"first_token": 0.064, "tpot": None}
    )
    render_calibration(calibration, alarms, console, blocks=10)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_screen(golden: Golden, width: int) -> None:
    """Readable at every width; a narrow screen drops whole columns."""
    golden(f"calibration.{width}.txt", rendered(calibrated(2), width, across=0.12))


def test_one_prompt_stands_for_itself() -> None:
    """No mean over one prompt; the sentence has its figures, and the session's are not known yet."""
    text = " ".join(rendered(calibrated(1, prompts="p"), 120).split())

    assert "mean" not in text
    assert "calibrate again at another time of day" in text
    assert text.endswith("of unchanged builds.")


def test_no_false_alarm_in_two_thousand_is_less_than_one_in_a_thousand() -> None:
    """A rate that was never seen is not called zero."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    alarms = FalseAlarms(launches=5, within=0.0, across=None, detectable={"first_token": 0.064, "tpot": None})
    render_calibration(calibrated(1), alarms, console, blocks=10)

    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "false-alarm rate: less than 0.1 % of unchanged" in text
