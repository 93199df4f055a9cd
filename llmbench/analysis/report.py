"""Runs times metrics: a row for each configuration and prompt, a summary for each metric, warnings as values."""

import dataclasses
import functools
import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from llmbench.analysis import (
    bandwidth,
    caveats,
    output_agreement,
    placement_proof,
    stability,
    stats,
)
from llmbench.analysis.attention import attention_mark
from llmbench.analysis.bandwidth import BANDWIDTH, ROW_METRICS, Bounds
from llmbench.analysis.evaluation import (
    SIZES,
    EvaluatedRequest,
    Evaluation,
    evaluate,
    launch_loads,
)
from llmbench.analysis.metrics.pipeline import PRODUCTS
from llmbench.analysis.metrics.serving import LOAD_METRICS, load_values
from llmbench.analysis.metrics.table import LOAD
from llmbench.analysis.output_agreement import Agreement
from llmbench.analysis.placement_proof import Effect, Proof
from llmbench.analysis.stability import Stability
from llmbench.analysis.stages import stage_metrics
from llmbench.analysis.stats import Summary
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import ModelCache, Run
from llmbench.schema.units import counted

CACHE_SHARE = 1 / 3
"""A first token below this share of what the other lengths suggest may have been answered from a cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one prompt took under one configuration (*cell* is its index).

    *input_tokens* and *output_tokens* are medians over the requests that count. *medians* has, by metric, the
    median of each launch (by its index); *values* all values, launch after launch. *marks* must stand beside the
    figures wherever they are shown: ``tensor_parallel=ineffective``. Where no request is valid, *doubtful* has the
    summaries of all: they are shown, marked, and compared with nothing. *image_tokens* and *image_slices* are what its
    images became, ``None`` without images. *product* counts the samples of audio or the frames that came out.
    """

    cell: int
    config: RunConfig
    prompt: Prompt
    input_tokens: int
    output_tokens: int
    launches: int
    measured: int
    invalid: int
    summaries: Mapping[str, Summary]
    medians: Mapping[str, Mapping[int, float]] = field(repr=False)
    values: Mapping[str, Sequence[float]] = field(repr=False)
    marks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    doubtful: Mapping[str, Summary] = field(default_factory=dict)
    image_tokens: int | None = None
    image_slices: int | None = None
    product: int | None = None

    @property
    def figures(self) -> Mapping[str, Summary]:
        """What a screen shows: the summaries, or else those that are marked as doubtful."""
        return self.summaries or self.doubtful


@dataclass(frozen=True, kw_only=True)  # no slots: what takes long is computed once, when it is first needed
class Report:
    """The summaries of one run. *load* has, for each cell, one for each way its launches found the model cache.

    *bounds* are what the bandwidth of each cell is to be compared with, ``None`` where it has none.
    *alarms* are those of the *warnings* without which the figures mislead. *partial* are the rows of which no launch
    finished: their figures are doubtful.
    """

    evaluation: Evaluation
    rows: tuple[Row, ...]
    load: tuple[Mapping[ModelCache | None, Summary], ...]
    bounds: tuple[Bounds | None, ...] = ()
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_valid: bool = True
    partial: tuple[Row, ...] = ()

    @property
    def shown_rows(self) -> tuple[Row, ...]:
        """All rows that have figures to show, by configuration and prompt."""
        return tuple(sorted((*self.rows, *self.partial), key=lambda row: (row.cell, row.prompt.index)))

    @property
    def run(self) -> Run:
        """The run that was evaluated."""
        return self.evaluation.run

    @property
    def lacks_rows(self) -> bool:
        """Whether a prompt of a configuration has no valid request."""
        return sum(row.launches > 0 for row in self.rows) < sum(len(cell.prompts) for cell in self.run.cells)

    @property
    def is_whole(self) -> bool:
        """Whether no launch and no row is missing."""
        return not (self.run.lacks_launches or self.lacks_rows)

    @property
    def rejected(self) -> tuple[EvaluatedRequest, ...]:
        """The measured requests of the rows without a valid one."""
        rows = {(row.cell, row.prompt) for row in self.rows if not row.launches}
        requests = self.evaluation.requests if rows else ()
        return tuple(
            each for each in requests if each.is_measured and (each.launch.cell, each.prompt) in rows
        )

    @property
    def proofs(self) -> tuple[Proof | None, ...]:
        """For each cell where it ran; ``None`` where that is not known."""
        return self.evaluation.proofs

    @property
    def effects(self) -> tuple[Effect | None, ...]:
        """For each cell what became of tensor parallelism; ``None`` where it was not requested."""
        return self.evaluation.effects

    @property
    def distinctions(self) -> tuple[Mapping[str, str], ...]:
        """For each cell what sets it apart from the others; empty where there is one."""
        return distinguish(self.run.cells)

    @functools.cached_property
    def stability(self) -> tuple[Stability, ...]:
        """How stable each row was over its iterations, in the order of the rows."""
        return stability.judge_stability(self.evaluation)

    @functools.cached_property
    def agreement(self) -> Agreement:
        """Whether greedy search generated the same in every launch."""
        return output_agreement.within(self.run)


def summarize_run(
    run: Run, names: Iterable[str] | None = None, evaluation: Evaluation | None = None
) -> Report:
    """Return the rows of a run over the measurements that count; *names* are the metrics, ``None`` for all it has.

    The *evaluation* of that run is used where it was made before.
    """
    names = (*LOAD_METRICS, *ROW_METRICS, *stage_metrics(run)) if names is None else tuple(names)
    evaluation = evaluation or evaluate(run)
    columns = _Columns(
        evaluation=evaluation,
        loads=[name for name in names if name in LOAD_METRICS],
        metrics=evaluation.metrics([name for name in names if name not in LOAD_METRICS]),
        work=evaluation.columns(_WORK),
    )
    rows = _with_cache_warnings([_row(columns, key, group) for key, group in evaluation.groups().items()])
    measured = sum(row.measured for row in rows)
    invalid = sum(row.invalid for row in rows)
    cells = range(len(run.cells))
    alarms = tuple(dict.fromkeys(caveats.alarms(run, measured, invalid)))
    has_bounds = BANDWIDTH.name in names
    return Report(
        evaluation=evaluation,
        rows=tuple(rows),
        load=tuple(_load(run, cell) for cell in cells),
        bounds=tuple(
            bandwidth.bounds(run, cell, evaluation.proofs[cell]) if has_bounds else None for cell in cells
        ),
        alarms=alarms,
        warnings=tuple(dict.fromkeys((*alarms, *caveats.of_run(run)))),
        is_valid=invalid * 2 <= measured,
        partial=tuple(_partial(_row(columns, key, group)) for key, group in evaluation.cut_short().items()),
    )


def _partial(row: Row) -> Row:
    planned = row.config.launches * row.config.iterations
    why = f"partial: {row.measured} of {counted(planned, 'iteration')}, and no launch finished"
    return dataclasses.replace(
        row,
        launches=0,
        summaries={},
        doubtful={name: Summary(n=found.n, median=found.median) for name, found in row.figures.items()},
        medians={},
        values={},
        warnings=(why, *row.warnings),
    )


def _product(m: Measurement) -> int | None:
    """Samples of audio or frames that came out of a request; ``None`` where neither did."""
    counts = [each.count for each in m.outputs if each.kind in PRODUCTS]
    return sum(counts) if counts else None


_WORK: Mapping[str, Callable[[Measurement], int | None]] = {
    **SIZES,
    "image_tokens": operator.attrgetter("longest.image_tokens"),
    "image_slices": operator.attrgetter("longest.image_slices"),
    "product": _product,
}
"""What was done in a request: fields of a row that are medians over its requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The *metrics* and the *work* of each request, in their order; *loads* are the metrics of whole launches."""

    evaluation: Evaluation
    loads: Sequence[str]
    metrics: Mapping[str, Sequence[float | None]]
    work: Mapping[str, Sequence[int | None]]


def _row(columns: _Columns, key: tuple[int, int], group: Sequence[EvaluatedRequest]) -> Row:
    evaluation = columns.evaluation
    config = evaluation.run.cells[key[0]]
    measured = [request for request in group if not request.measurement.is_warmup]
    invalid = [request.reasons for request in measured if request.reasons]
    by_launch: dict[int, list[int]] = {}
    for request in measured:
        if not request.reasons:
            by_launch.setdefault(request.launch.index, []).append(request.number)
    loads = _load_values(evaluation.run, group, columns.loads)
    values = (loads if by_launch else {}) | _values(columns.metrics, by_launch)
    doubtful = {} if by_launch else loads | _values(columns.metrics, {-1: [each.number for each in measured]})
    shown = [index for indices in by_launch.values() for index in indices] or [measured[0].number]
    work = {name: _present(column, shown) for name, column in columns.work.items()}
    medians = {
        name: {launch: statistics.median(each) for launch, each in found.items()}
        for name, found in values.items()
    }
    marks = (
        *placement_proof.mark(evaluation.effects[key[0]]),
        *attention_mark(evaluation.run, key[0]),
    )
    return Row(
        cell=key[0],
        config=config,
        prompt=config.prompts[key[1]],
        launches=len(by_launch),
        measured=len(measured),
        invalid=len(invalid),
        summaries={name: _summary(found, medians[name]) for name, found in values.items() if found},
        medians=medians,
        values={name: [value for each in found.values() for value in each] for name, found in values.items()},
        marks=marks,
        warnings=(*marks, *caveats.of_invalid(invalid, len(measured))),
        doubtful={
            name: _doubtful([v for each in found.values() for v in each])
            for name, found in doubtful.items()
            if found
        },
        **{name: statistics.median_low(counts) for name, counts in work.items() if counts},
    )


def _load_values(
    run: Run, group: Sequence[EvaluatedRequest], names: Iterable[str]
) -> dict[str, dict[int, list[float]]]:
    """The metrics of a load that exist, a value for each launch."""
    found: dict[str, dict[int, list[float]]] = {}
    for launch, load in launch_loads(run, group):
        for name, value in load_values(load).items():
            found.setdefault(name, {})[launch] = [value]
    return {name: found[name] for name in names if name in found}


def _values(
    columns: Mapping[str, Sequence[float | None]], by_launch: Mapping[int, Sequence[int]]
) -> dict[str, dict[int, list[float]]]:
    """The values of each metric that exist, by launch; a launch without any is left out."""
    return {
        name: {
            launch: values for launch, indices in by_launch.items() if (values := _present(column, indices))
        }
        for name, column in columns.items()
    }


def _present(column: Sequence[Any], indices: Iterable[int]) -> list[Any]:
    return [value for index in indices if (value := column[index]) is not None]


def _doubtful(values: Sequence[float]) -> Summary:
    """Return a median without an interval, for there is no confidence in values that are not valid."""
    return Summary(n=len(values), median=statistics.median(values), warnings=("not valid",))


def _summary(values: Mapping[int, Sequence[float]], medians: Mapping[int, float]) -> Summary:
    """Over launches where there are several, else over the iterations of the one."""
    if len(medians) > 1:
        return stats.summarize_launches(list(medians.values()))
    return stats.summarize_values(next(iter(values.values())))


def _load(run: Run, cell: int) -> dict[ModelCache | None, Summary]:
    """The load times of a cell's launches that finished, those apart that found the model cache in another way."""
    found: dict[ModelCache | None, list[float]] = {}
    for launch in run.launches:
        load_s = LOAD.of(launch)
        if launch.cell == cell and launch.is_finished and load_s is not None:
            found.setdefault(launch.model_cache, []).append(load_s)
    return {state: stats.summarize_launches(values) for state, values in found.items()}


def _with_cache_warnings(rows: Sequence[Row]) -> list[Row]:
    """The rows, with a warning on a first token far below the line through the other lengths of its cell."""
    return [dataclasses.replace(row, warnings=(*row.warnings, *_cache_warning(row, rows))) for row in rows]


def _cache_warning(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """The warning, where there is a line and the row is far below it."""
    points = {
        other.input_tokens: other.summaries["first_token"].median
        for other in rows
        if other.cell == row.cell
        and other.input_tokens != row.input_tokens
        and "first_token" in other.summaries
    }
    if len(points) < 2 or "first_token" not in row.summaries:
        return ()
    slope, intercept = statistics.linear_regression(list(points), list(points.values()))
    expected = intercept + slope * row.input_tokens
    seen = row.summaries["first_token"].median
    if seen >= expected * CACHE_SHARE:
        return ()
    shown = f"first token {seen * 1e3:.0f} ms where the other lengths suggest {expected * 1e3:.0f} ms"
    return (f"{shown}: did it hit a cache?",)


def varied_settings(config: RunConfig) -> dict[str, str]:
    """A configuration as flat text by name, prompts left out; properties and scheduler under their own names."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    properties, scheduler = fields.pop("properties"), fields.pop("scheduler")
    fields |= {f"draft {name}": value for name, value in fields.pop("draft_scheduler").items()}
    parameters = fields.pop("parameters")
    fields.pop("prompts")
    fields.pop("is_attention_fixed")  # what came of it is among the effective settings
    if config.is_load:
        fields.pop("warmups")  # they follow from the load
    flat = fields | dict(parameters) | dict(properties) | dict(scheduler)
    return {name: _as_text(value) for name, value in flat.items()}


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return "" if value is None else str(value)


def distinguish(cells: Sequence[RunConfig]) -> tuple[Mapping[str, str], ...]:
    """For each configuration the settings that are not the same in all.

    IRs beside each other are told apart by their weight format, and their paths are left out.
    """
    flat = [varied_settings(config) for config in cells]
    names = dict.fromkeys(name for found in flat for name in found)
    varied = [name for name in names if len({found.get(name, "") for found in flat}) > 1]
    if _are_reported_apart(cells):
        varied = [name for name in varied if name != "model"]
    return tuple({name: found.get(name, "") for name in varied} for found in flat)


def _are_reported_apart(cells: Sequence[RunConfig]) -> bool:
    """Whether weight formats name the models: all lie in one folder, each in a format of its own."""
    formats = {config.model: config.weight_format for config in cells}
    folders = {PurePath(model).parent for model in formats}
    return None not in formats.values() and len(folders) == 1 and len(set(formats.values())) == len(formats)
