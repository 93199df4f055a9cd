"""How much each figure varies when nothing changes, and what comparisons there can see, from calibrations."""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import PRIMARY
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.noise.calibration import Calibration, CalibrationSession
from llmbench.analysis.stats import Ratio

RESTLESS = 2.0
"""Launches that vary this many times as much as when the machine was calibrated are worth a note."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How one figure varies when nothing changes, as standard deviations of logarithms.

    *label* names a prompt, or is ``mean``, that over all prompts. *center* is in seconds. *launch* is how launches
    differ within a session, *pair* the difference of two launches of one block, *session* how sessions differ
    beyond what their launches explain; ``None`` is what is not known.
    """

    prompt: str | None
    label: str
    metric: str
    center: float
    launch: float
    iteration: float | None = None
    pair: float | None = None
    session: float | None = None

    def visible(self, launches: int) -> float | None:
        """The smallest change, as a share, that this many launches per side show 4 times in 5."""
        error = self.launch * math.sqrt(2 / launches)
        return stats.smallest_visible(Ratio(ratio=1, log_error=error, freedom=2 * launches - 2))

    def visible_in_blocks(self, blocks: int) -> float | None:
        """The smallest change, as a share, that this many blocks show 4 times in 5; ``None`` if pairs are unknown."""
        if self.pair is None:
            return None
        return stats.smallest_visible(
            Ratio(ratio=1, log_error=self.pair / math.sqrt(blocks), freedom=blocks - 1)
        )

    @property
    def between_sessions(self) -> float | None:
        """How far two sessions lie apart in 19 cases of 20, as a share, whatever the launches."""
        return None if self.session is None else math.expm1(1.96 * math.sqrt(2) * self.session)

    def needed(self, change: float) -> int | None:
        """Launches per side that show a change of this share 4 times in 5; ``None`` if that is above 1000."""
        return stats.launches_needed(change, threshold=0.0, spread=self.launch)


def comparable_sessions(calibration: Calibration) -> tuple[CalibrationSession, ...]:
    """The sessions of the same figures and with the software of the last: those that differ by nothing but time."""
    last = calibration.sessions[-1]
    return tuple(
        session
        for session in calibration.sessions
        if session.software == last.software and _figures(session) == _figures(last)
    )


def _figures(session: CalibrationSession) -> list[tuple[str, str]]:
    return [(series.prompt, series.metric) for series in session.series]


def estimate_noise(calibration: Calibration) -> tuple[Noise, ...]:
    """The noise of the primary means over prompts, where there are several, then of each prompt's metrics."""
    last = calibration.sessions[-1]
    metrics = dict.fromkeys(series.metric for series in last.series)
    means = [(None, "mean", metric) for metric in PRIMARY if metric in metrics]
    rows = [(series.prompt, series.label, series.metric) for series in last.series]
    figures = [*(means if len(calibration.prompts) > 1 else []), *rows]
    return tuple(_noise(calibration, prompt, label, metric) for prompt, label, metric in figures)


def _noise(calibration: Calibration, prompt: str | None, label: str, metric: str) -> Noise:
    sessions = comparable_sessions(calibration)
    logs = [logs_of(session, prompt, metric) for session in sessions]
    iterations = [
        series.iteration_sd
        for series in sessions[-1].series
        if (series.prompt, series.metric) == (prompt, metric)
    ]
    return Noise(
        prompt=prompt,
        label=label,
        metric=metric,
        center=math.exp(statistics.fmean(logs[-1])),
        launch=stats.pooled_deviation(logs) or 0.0,
        iteration=iterations[0] if iterations else None,
        pair=_pair_spread(sessions, logs),
        session=_session_spread(logs),
    )


def logs_of(session: CalibrationSession, prompt: str | None, metric: str) -> tuple[float, ...]:
    """The logarithms of a figure by launch; without a prompt, of the geometric mean over all."""
    found = [each.logs for each in session.series if each.metric == metric and prompt in {None, each.prompt}]
    return tuple(statistics.fmean(launch) for launch in zip(*found, strict=True))


def _pair_spread(sessions: Sequence[CalibrationSession], logs: Sequence[Sequence[float]]) -> float | None:
    """How the two launches of a block differ, around no difference; ``None`` where no block has two."""
    squares = []
    for session, values in zip(sessions, logs, strict=True):
        by_block: dict[int, list[float]] = {}
        for block, value in zip(session.blocks, values, strict=True):
            by_block.setdefault(block, []).append(value)
        squares += [(pair[1] - pair[0]) ** 2 for pair in by_block.values() if len(pair) == 2]
    return math.sqrt(statistics.fmean(squares)) if squares else None


def _session_spread(logs: Sequence[Sequence[float]]) -> float | None:
    """How sessions differ beyond what their launches explain (the variance of their means, less that of launches)."""
    if len(logs) < 2:
        return None
    means = statistics.variance([statistics.fmean(values) for values in logs])
    explained = statistics.fmean(statistics.variance(values) / len(values) for values in logs)
    return math.sqrt(max(0.0, means - explained))


def primary_noise(noises: Sequence[Noise]) -> tuple[Noise, ...]:
    """The figures that a gate looks at first: the means, or where there is one prompt, its own."""
    return tuple(each for each in noises if each.label == noises[0].label and each.metric in PRIMARY)


def footnotes(calibration: Calibration, comparison: Comparison) -> tuple[str, ...]:
    """What a comparison's reader should know of the noise where it was made, from its calibration."""
    noises = {each.metric: each for each in primary_noise(estimate_noise(calibration))}
    found = [(noises[change.metric], change) for change in comparison.primary if change.metric in noises]
    if not found:
        return ()
    reported = ", ".join(f"{_share(each.launch)} ({METRICS[each.metric].title})" for each, _ in found)
    day = calibration.sessions[-1].started_at[:10]
    notes = [f"calibrated on {day}: launches of one build differ by {reported}"]
    for each, change in found:
        notes += _doubts(each, change, is_paired=comparison.is_paired)
    return tuple(notes)


def _doubts(noise: Noise, change: Change, *, is_paired: bool) -> Iterator[str]:
    """In what a change was measured under worse conditions than the calibration's, or is too small for them."""
    title = METRICS[noise.metric].title
    usual, spread = noise.pair if is_paired else noise.launch, change.ratio.spread
    if spread is not None and usual and spread > RESTLESS * usual:
        times = f"{spread / usual:.0f} times as much as when this machine was calibrated"
        yield f"{title}: launches differ by {_share(spread)} here, {times}; is it busy?"
    reach = noise.between_sessions
    if not is_paired and reach is not None and reach > change.threshold:
        yield (
            f"{title}: two sessions differ by up to {100 * reach:.1f} % on this machine without any change; "
            "llmbench ab measures both sides in one"
        )


def _share(deviation: float) -> str:
    """A standard deviation of logarithms as a percentage."""
    return f"{100 * math.expm1(deviation):.1f} %"
