"""The verdict on every request of a run, made once; reports, statistics and renderings read it from here."""

import collections
import itertools
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmbench.analysis import bandwidth, placement_proof, validity
from llmbench.analysis.bandwidth import BANDWIDTH, Decoding, Reads
from llmbench.analysis.load_validity import window_reasons
from llmbench.analysis.metrics.serving import LaunchLoad, read_goodput
from llmbench.analysis.placement_proof import Effect, Proof
from llmbench.analysis.stages import request_metric, row_metric
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run

_CACHED = 128
"""Requests that are read together while they are in the CPU's cache: of many the rate is that of memory."""


SIZES: Mapping[str, Callable[[Measurement], int]] = {
    "input_tokens": operator.attrgetter("input_tokens"),
    "output_tokens": operator.attrgetter("output_tokens"),
}
"""How much work a request was, by the name of the column."""


class EvaluatedRequest(NamedTuple):
    """A request, where it was measured, why it is not valid (empty if it is), and what its decode steps read.

    *number* is its index among the requests of the run.
    """

    launch: Launch
    config: RunConfig
    measurement: Measurement
    reasons: tuple[str, ...]
    reads: Reads | None
    number: int

    @property
    def is_measured(self) -> bool:
        """Whether it is one of those requested: no warm-up, and its launch finished."""
        return not self.measurement.is_warmup and self.launch.is_finished

    @property
    def is_counted(self) -> bool:
        """Whether summaries take it: measured and valid."""
        return self.is_measured and not self.reasons

    @property
    def prompt(self) -> Prompt:
        """The prompt it measured."""
        return self.config.prompts[self.measurement.prompt]

    def value(self, name: str) -> float | None:
        """Return a metric's value by the metric's name; ``None`` where it does not exist."""
        if name == BANDWIDTH.name:
            return BANDWIDTH.of(Decoding(measurement=self.measurement, reads=self.reads))
        return request_metric(name).of(self.measurement)


CellGroups = dict[tuple[int, int], list[EvaluatedRequest]]
"""Requests by cell and prompt, both by index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All requests of a run in the order of its launches, warm-ups and launches that did not finish included.

    *proofs* and *effects* have, for each cell, where it ran and what became of tensor parallelism; ``None`` where that
    is not known or was not requested. *known* are the columns that were read before.
    """

    run: Run
    requests: tuple[EvaluatedRequest, ...]
    proofs: tuple[Proof | None, ...]
    effects: tuple[Effect | None, ...]
    known: dict[str, list[Any]] = field(default_factory=dict, repr=False, compare=False)

    def groups(self) -> CellGroups:
        """Return the requests of finished launches, where at least one of the group is measured; keys ascend."""
        return self._groups(lambda launch: launch.is_finished)

    def cut_short(self) -> CellGroups:
        """Return the requests of launches that did not finish, of cells and prompts of which no launch did."""
        found = self._groups(lambda launch: not launch.is_finished)
        finished = self.groups() if found else {}
        return {key: group for key, group in found.items() if key not in finished}

    def columns(self, readers: Mapping[str, Callable[[Measurement], Any]]) -> dict[str, list[Any]]:
        """Return what each of the *readers*, by name, reads from each request, in the order of the requests."""
        missing = {name: read for name, read in readers.items() if name not in self.known}
        self.known.update({name: [] for name in missing})
        for part in self._parts() if missing else ():
            measurements = [request.measurement for request in part]
            for name, read in missing.items():
                self.known[name].extend(map(read, measurements))
        return {name: self.known[name] for name in readers}

    def metrics(self, names: Collection[str]) -> dict[str, list[float | None]]:
        """Return the values of each metric that any request has, in the order of the requests."""
        missing = {name: row_metric(name) for name in names if name not in self.known}
        self.known.update({name: [] for name in missing})
        fields = {field for metric in missing.values() for field in metric.made_of}
        for part in self._parts() if missing else ():
            measurements = [request.measurement for request in part]
            there = {field for field in fields if _is_anywhere(field, measurements)}
            for name, metric in missing.items():
                if metric.made_of and not there.intersection(metric.made_of):
                    self.known[name] += [None] * len(part)
                elif metric is BANDWIDTH:
                    self.known[name] += [None if each.reads is None else each.value(name) for each in part]
                else:
                    self.known[name].extend(map(metric.of, measurements))
        columns = {name: self.known[name] for name in names}
        return {name: values for name, values in columns.items() if values.count(None) < len(values)}

    def _parts(self) -> Iterator[tuple[EvaluatedRequest, ...]]:
        return (self.requests[start : start + _CACHED] for start in range(0, len(self.requests), _CACHED))

    def _groups(self, is_wanted: Callable[[Launch], bool]) -> CellGroups:
        found: CellGroups = collections.defaultdict(list)
        wanted = {launch.index for launch in self.run.launches if is_wanted(launch)}
        for request in self.requests if wanted else ():
            if request.launch.index in wanted:
                found[request.launch.cell, request.measurement.prompt].append(request)
        return {
            key: group
            for key, group in sorted(found.items(), key=lambda item: item[0])
            if not all(request.measurement.is_warmup for request in group)
        }


def evaluate(run: Run) -> Evaluation:
    """Return every request of a run with its verdict."""
    cells, numbers = range(len(run.cells)), itertools.count()
    return Evaluation(
        run=run,
        requests=tuple(
            itertools.chain.from_iterable(_requests(run, launch, numbers) for launch in run.launches)
        ),
        proofs=tuple(placement_proof.prove(run, cell) for cell in cells),
        effects=tuple(placement_proof.effect(run, cell) for cell in cells),
    )


def _requests(run: Run, launch: Launch, numbers: Iterator[int]) -> list[EvaluatedRequest]:
    config, reads = run.config_of(launch), bandwidth.reads(run, launch)
    verdicts = validity.judge_launch(launch.measurements, config)
    if launch.window is not None:
        measured = [m for m in launch.measurements if not m.is_warmup]
        shared = window_reasons(launch.window, config, measured)
        verdicts = tuple(reasons or shared for reasons in verdicts)
    return [
        EvaluatedRequest(launch, config, measurement, reasons, reads, number)
        for measurement, reasons, number in zip(launch.measurements, verdicts, numbers, strict=False)
    ]


def _is_anywhere(field: str, measurements: Sequence[Measurement]) -> bool:
    """Whether any request has a field that is neither empty nor ``None``; 0 is a value."""
    values = list(map(operator.attrgetter(field), measurements))
    return values[0] not in (None, (), {}) or values.count(values[0]) < len(values)


def launch_loads(run: Run, requests: Sequence[EvaluatedRequest]) -> Iterator[tuple[int, LaunchLoad]]:
    """Yield the load of each launch, by its index, of the requests of one row; none where they were made in turn."""
    if not run.workload.is_concurrent:
        return
    limits = read_goodput(str(run.workload.parameters.get("goodput", "")))
    for index, group in itertools.groupby(requests, key=lambda request: request.launch.index):
        found = list(group)
        measured = [request for request in found if not request.measurement.is_warmup]
        if measured:
            begin_ns, end_ns = _window(found[0].launch.window, [each.measurement for each in measured])
            load = LaunchLoad(
                begin_ns=begin_ns,
                end_ns=end_ns,
                requests=tuple(each.measurement for each in found),
                measured=tuple(each.measurement for each in measured),
                counted=tuple(each.measurement for each in measured if not each.reasons),
                limits=limits,
            )
            yield index, load


def _window(window: LoadWindow | None, measured: Sequence[Measurement]) -> tuple[int, int]:
    """The window of a launch; of one that did not finish, the time of its measured requests."""
    if window is not None:
        return window.begin_ns, window.end_ns
    return min(m.start_ns for m in measured), max(m.end_ns for m in measured) + 1
