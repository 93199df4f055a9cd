"""A calibration on a terminal: how figures vary, which changes are visible, and the false-alarm rate of a gate."""

from rich.console import Console

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.noise.calibration import Calibration
from llmbench.analysis.noise.estimate import comparable_sessions, estimate_noise
from llmbench.analysis.noise.false_alarms import MOST_SLOWDOWN, SIMULATIONS, FalseAlarms
from llmbench.render import views
from llmbench.render.table import units_of
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import share
from llmbench.schema.units import counted


def render_calibration(
    calibration: Calibration, alarms: FalseAlarms, console: Console, *, blocks: int
) -> None:
    """Print a calibration; *blocks* is how many an ``ab`` is judged by."""
    sessions = comparable_sessions(calibration)
    launches = sum(len(session.blocks) for session in sessions)
    about = f"{counted(launches, 'launch', 'launches')} in {counted(len(sessions), 'session')}"
    print_line(console, f"the noise of this machine, from {about} of one configuration", style="bold")
    noises = estimate_noise(calibration)
    shown = print_table(views.calibration_table(noises, alarms.launches, blocks), console).names()
    if "value" in shown:
        print_line(console, f"value: {units_of(each.metric for each in noises)}", style="dim")
    for text in _notes(calibration, alarms, blocks):
        print_line(console, text, style="dim")
    print_line(console, _sentence(alarms), style="bold")


def _notes(calibration: Calibration, alarms: FalseAlarms, blocks: int) -> list[str]:
    gate = f"{alarms.launches} + {counted(alarms.launches, 'launch', 'launches')}"
    notes = [
        "noise, change: standard deviations of logarithms in a launch, between launches, between sessions beyond that",
        f"visible: the smallest change that {gate} show 4 times in 5, without thresholds; ab: that of {blocks} blocks",
        "to see: the launches per side that show changes of 1, 2, 5 and 10 % 4 times in 5",
    ]
    if len(comparable_sessions(calibration)) < 2:
        notes.append("session change: calibrate again at another time of day; sessions are kept and compared")
    return notes


def _sentence(alarms: FalseAlarms) -> str:
    most = f"more than {share(MOST_SLOWDOWN)}"
    found = ((METRICS[name].title, by) for name, by in alarms.detectable.items())
    seen = ", ".join(f"{most if by is None else share(by)} ({title})" for title, by in found)
    across = "" if alarms.across is None else f", {_rate(alarms.across)} if measured in another session"
    gate = f"{alarms.launches} + {counted(alarms.launches, 'launch', 'launches')}"
    return (
        f"A gate of {gate} here sees changes from {seen} on, 4 times in 5 and by its own thresholds and "
        f"correction; false-alarm rate: {_rate(alarms.within)} "
        f"of unchanged builds{across}."
    )


def _rate(value: float) -> str:
    """A rate of false alarms; one that was never seen is less than could be seen."""
    return share(value) if value else f"less than {share(2 / SIMULATIONS)}"
