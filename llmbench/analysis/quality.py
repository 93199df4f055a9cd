"""What a configuration loses against a base: distributions of the next token, compared token by token.

Neighbouring tokens are not independent, so that intervals are over blocks of text: each block has one mean, and the
interval is Student's t of those. The figures are those of ``llama-perplexity --kl-divergence``.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench.analysis import history, stats
from llmbench.analysis.history import HistoryEntry
from llmbench.analysis.output_agreement import Agreement, between
from llmbench.analysis.report import Report, distinguish
from llmbench.analysis.stats import Summary
from llmbench.schema.run import Launch, Run

KIND = "quality"
"""The workload whose runs hold token scores."""

_EQUAL = 1.1

TokenScores = Mapping[str, Sequence[float]]
"""The scores of the tokens of one block, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over all tokens, and its interval over blocks; the ends are ``None`` below three blocks."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What one configuration (*cell*) makes of the scored *tokens* in *blocks* of text, beside the base.

    *kld* is the mean Kullback-Leibler divergence in nats, *kld_p99* and *kld_max* that of single tokens, *same_top* the
    share of equal likeliest tokens, *log_ratio* the mean of ln(perplexity / base's perplexity) over the same tokens.
    """

    cell: int
    blocks: int
    tokens: int
    kld: Estimate
    kld_p99: float
    kld_max: float
    same_top: Estimate
    log_ratio: Estimate
    perplexity: float
    base_perplexity: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """What a configuration may lose: a mean divergence in nats, a share of equal top tokens; ``None`` is no limit."""

    max_kld: float | None = None
    min_same_top: float | None = None

    def __bool__(self) -> bool:
        return (self.max_kld, self.min_same_top) != (None, None)

    def faults(self, found: Quality) -> tuple[str, ...]:
        """Return a sentence for each limit that a configuration does not keep."""
        faults = list(found.faults)
        if self.max_kld is not None and found.kld.value > self.max_kld:
            faults.append(f"KL divergence {found.kld.value:.3g} nats is above --max-kld {self.max_kld:g}")
        if self.min_same_top is not None and found.same_top.value < self.min_same_top:
            faults.append(
                f"same top token {found.same_top.value:.1%} is below --min-same-top {self.min_same_top:.4g}"
            )
        return tuple(faults)


def qualities(run: Run, *, text: int | None = None) -> tuple[Quality, ...]:
    """Return the quality of each configuration that was scored, the base first; only of one *text*, by its index."""
    found = (_quality(launch.cell, _blocks([launch], text), _faults(launch)) for launch in run.launches)
    return tuple(sorted(filter(None, found), key=lambda each: each.cell))


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return for each point whether no other is as small in both coordinates and smaller in one.

    Values within a tenth of each other count as equal: noise puts nothing on the front.
    """

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        """Return whether one point is no worse in both figures and better in one, beyond rounding."""
        pairs = list(zip(one, other, strict=True))
        return all(x <= y * _EQUAL for x, y in pairs) and any(x * _EQUAL < y for x, y in pairs)

    return tuple(not any(beats(other, point) for other in points) for point in points)


def scores_of(run: Run, cell: int) -> tuple[TokenScores, ...]:
    """Return all token scores of one configuration: the same to the last bit where the same was computed."""
    return tuple(_blocks([launch for launch in run.launches if launch.cell == cell], None))


def _blocks(launches: Iterable[Launch], text: int | None) -> list[TokenScores]:
    measured = itertools.chain.from_iterable(launch.measurements for launch in launches)
    return [m.token_scores for m in measured if m.token_scores and text in (None, m.prompt)]


def _faults(launch: Launch) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(m.suspicions for m in launch.measurements)))


def _quality(cell: int, blocks: Sequence[TokenScores], faults: tuple[str, ...]) -> Quality | None:
    if not blocks:
        return None
    kld = sorted(itertools.chain.from_iterable(block["kld"] for block in blocks))
    nll, base_nll = (statistics.fmean(_tokens(blocks, name)) for name in ("nll", "base_nll"))
    return Quality(
        cell=cell,
        blocks=len(blocks),
        tokens=len(kld),
        kld=_mean(blocks, lambda block: block["kld"]),
        kld_p99=kld[math.ceil(len(kld) * 0.99) - 1],
        kld_max=kld[-1],
        same_top=_mean(blocks, lambda block: block["same_top"]),
        log_ratio=_mean(
            blocks, lambda block: [q - p for q, p in zip(block["nll"], block["base_nll"], strict=True)]
        ),
        perplexity=math.exp(nll),
        base_perplexity=math.exp(base_nll),
        faults=faults,
    )


def _tokens(blocks: Sequence[TokenScores], name: str) -> list[float]:
    return list(itertools.chain.from_iterable(block[name] for block in blocks))


def _mean(blocks: Sequence[TokenScores], values: Callable[[TokenScores], Sequence[float]]) -> Estimate:
    """The mean over tokens; all blocks have as many, so that it is the mean of their means."""
    means = [statistics.fmean(values(block)) for block in blocks]
    low, high = stats.mean_interval(means) or (None, None)
    return Estimate(value=statistics.fmean(means), low=low, high=high)


BESIDE = ("first_token", "next_token", "memory")
"""The metrics that are beside the quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow:
    """One configuration: its *settings* as far as they differ, its quality, and what it takes.

    *beside* has the metrics of `BESIDE` that were measured, *file_bytes* the size of its weights on disk. Where it
    guesses tokens ahead, *tokens* says whether greedy search gave the same as without. It
    *is_on_front* where no valid configuration is at least as good and as fast, and better in one of the two.
    """

    settings: Mapping[str, str]
    quality: Quality | None
    beside: Mapping[str, Summary]
    file_bytes: int | None
    faults: tuple[str, ...]
    tokens: Agreement | None = None
    is_on_front: bool = False

    @property
    def point(self) -> tuple[float, float] | None:
        """Seconds per next token and divergence; ``None`` where one is missing or the row is not valid."""
        if self.quality is None or self.faults or "next_token" not in self.beside:
            return None
        return self.beside["next_token"].median, self.quality.kld.value


def quality_rows(
    settings: Sequence[Mapping[str, str]],
    judged: Sequence[Quality | None],
    limits: QualityLimits,
    *,
    latency: Report | None = None,
    file_bytes: Sequence[int | None] = (),
) -> tuple[QualityRow, ...]:
    """Return a row for each configuration; *latency* is the report of a run of the same configurations."""
    rows = [
        QualityRow(
            settings=each,
            quality=found,
            beside={} if latency is None else _beside(latency, cell),
            file_bytes=file_bytes[cell] if file_bytes else None,
            tokens=None if latency is None else _tokens_as_without_guessing(latency.run, cell),
            faults=("not measured",) if found is None else limits.faults(found),
        )
        for cell, (each, found) in enumerate(zip(settings, judged, strict=True))
    ]
    points = [row.point for row in rows if row.point is not None]
    front = {point for point, is_best in zip(points, pareto_front(points), strict=True) if is_best}
    return tuple(dataclasses.replace(row, is_on_front=row.point in front) for row in rows)


def _tokens_as_without_guessing(run: Run, cell: int) -> Agreement | None:
    """Compare greedy tokens with those of the same configuration without a draft or prompt lookup."""
    config = run.cells[cell]
    plain = config.without_speculation
    if not config.is_speculative or plain not in run.cells:
        return None
    other = run.cells.index(plain)
    return between(run, run, [((other, prompt), (cell, prompt)) for prompt in range(len(config.prompts))])


def _beside(latency: Report, cell: int) -> dict[str, Summary]:
    entry = HistoryEntry(report=latency, cell=cell)
    found = ((name, history.mean(entry, name)) for name in BESIDE)
    return {name: summary for name, summary in found if summary is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The rows of a run of quality, and its base.

    *by_text* has, where several texts were read, the quality of each row for each of them, by the text's name.
    """

    base: Quality
    base_model: str
    rows: tuple[QualityRow, ...]
    by_text: Mapping[str, tuple[Quality | None, ...]] = field(default_factory=dict)


def quality_report(run: Run, rows: Sequence[QualityRow] | None = None) -> QualityReport | None:
    """Return the report of a run of quality; *rows* are those with what was measured beside, made here otherwise.

    ``None`` where the base was not measured.
    """
    found = {each.cell: each for each in qualities(run)}
    if 0 not in found:
        return None
    if rows is None:
        judged = [found.get(cell) for cell in range(1, len(run.cells))]
        sizes = [run.origin_of(cell).file_bytes for cell in range(1, len(run.cells))]
        rows = quality_rows(distinguish(run.cells[1:]), judged, QualityLimits(), file_bytes=sizes)
    texts = run.cells[0].prompts
    return QualityReport(
        base=found[0],
        base_model=run.cells[0].model,
        rows=tuple(rows),
        by_text={text.set: _of_text(run, index, rows) for index, text in enumerate(texts)}
        if len(texts) > 1
        else {},
    )


def _of_text(run: Run, text: int, rows: Sequence[QualityRow]) -> tuple[Quality | None, ...]:
    found = {each.cell: each for each in qualities(run, text=text)}
    return tuple(None if row.quality is None else found.get(row.quality.cell) for row in rows)
