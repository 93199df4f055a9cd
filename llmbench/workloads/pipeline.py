"""A pipeline of models: a request is one prompt taken through every stage of a recipe, networks and host steps alike.

Stages run one after the other. Each call of a stage is timed from the moment its inputs are taken to the moment its
outputs are there, copies and conversions included.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from llmbench.engines.base import Beat, LoadedModel
from llmbench.errors import InputError, LlmbenchError
from llmbench.models.pipeline import PipelineFiles
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Artifact, Stage
from llmbench.schema.pipeline import PROMPT, PipelineRecipe, PipelineStage, Product
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import LaunchContext, Observation, Workload
from llmbench.workloads.steps.base import Values, find_step, load_code

_Array = np.ndarray[Any, Any]

MOST_DENORMALS = 0.01
"""The share of denormal numbers in an output above which a request does not count."""

SILENT_BELOW = 1e-4
"""Audio of a root mean square below this share of full scale (-80 dB) is silence."""

_Call = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Inputs by port to outputs by value."""


class CompiledNetwork(Protocol):
    """A network that an engine has compiled."""

    @property
    def is_dynamic(self) -> bool:
        """Whether it compiles anew for a new shape."""

    def infer(self, inputs: Mapping[str, _Array]) -> dict[str, _Array]:
        """Return its outputs by the names of their values; they are valid until the next call."""

    def reset(self) -> None:
        """Clear its state, if it keeps one."""


class Networks(Protocol):
    """What an engine loads for a pipeline: its recipe, and its networks by stage."""

    @property
    def found(self) -> PipelineFiles:
        """The recipe and its files."""

    @property
    def compiled(self) -> Mapping[str, CompiledNetwork]:
        """The networks by stage."""


class PipelineWorkload(Workload):
    """A chain of networks and host steps, as a recipe describes it."""

    settings = WorkloadSettings(kind="pipeline", primary_metrics=("e2e",))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenPipeline":
        """Make the host steps ready; raise InputError where one of them is unknown or cannot be made."""
        return OpenPipeline(config, cast("Networks", session), launch)


@dataclass(slots=True)
class _RequestState:
    """A request on its way: its values, the calls of its stages, and when the product was there."""

    values: dict[str, Any]
    beat: Beat
    calls: list[Stage] = field(default_factory=list)
    ready_ns: int | None = None

    def add(self, name: str, start_ns: int) -> None:
        """Keep a call that ends now."""
        end_ns = time.perf_counter_ns()
        self.calls.append(Stage(name=name, at_ns=Nanoseconds(start_ns), duration_ns=end_ns - start_ns))
        self.beat(len(self.calls), end_ns)


class StageRunner:
    """A stage that is ready to run."""

    def __init__(
        self, stage: PipelineStage, call: _Call, network: CompiledNetwork | None, batch: int
    ) -> None:
        self.stage = stage
        self._batch = batch if stage.batch is not None else 1
        self._call = call
        self._network = network
        self._seen: set[tuple[tuple[int, ...], ...]] = set()

    def run(self, state: _RequestState) -> None:
        """Run it, once or as often as its recipe says, and add its outputs to the values."""
        stage = self.stage
        if stage.over:
            self._run_over(state)
        elif stage.repeat > 1 or stage.feedback:
            self._run_repeatedly(state)
        else:
            start_ns = time.perf_counter_ns()
            state.values |= self._call({port: state.values[value] for port, value in stage.inputs.items()})
            state.add(stage.name, start_ns)

    def _run_over(self, state: _RequestState) -> None:
        """Once for each batch of rows; the results are joined within the last call."""
        stage, values = self.stage, state.values
        inputs = {port: values[value] for port, value in stage.inputs.items()}
        rows = len(inputs[stage.over[0]])
        results: list[Mapping[str, _Array]] = []
        for first in range(0, rows, self._batch):
            start_ns = time.perf_counter_ns()
            part = {
                port: array[first : first + self._batch] if port in stage.over else array
                for port, array in inputs.items()
            }
            results.append({value: np.array(array) for value, array in self._call(part).items()})
            if first + self._batch >= rows:
                joined = {value: np.concatenate([each[value] for each in results]) for value in stage.outputs}
                values |= joined
            state.add(stage.name, start_ns)

    def _run_repeatedly(self, state: _RequestState) -> None:
        """A fixed number of times; what is fed back keeps its last value, the others are stacked."""
        stage = self.stage
        inputs = {port: state.values[value] for port, value in stage.inputs.items()}
        kept: dict[str, list[_Array]] = {
            value: [] for value in stage.outputs if value not in stage.feedback.values()
        }
        if self._network is not None:
            self._network.reset()
        found: Mapping[str, Any] = {}
        for number in range(stage.repeat):
            start_ns = time.perf_counter_ns()
            found = self._call(inputs)
            inputs |= {port: np.array(found[value]) for port, value in stage.feedback.items()}
            for value, arrays in kept.items():
                arrays.append(np.array(found[value]))
            if number + 1 == stage.repeat:
                state.values |= {value: np.stack(arrays) for value, arrays in kept.items()}
                state.values |= {value: inputs[port] for port, value in stage.feedback.items()}
            state.add(stage.name, start_ns)

    def faults(self, values: Values) -> Iterator[str]:
        """Yield why a request does not count: a network compiled for new shapes, or an output that is not finite."""
        if self._network is not None and self._network.is_dynamic:
            shapes = tuple(np.shape(values[value]) for value in self.stage.inputs.values())
            if shapes not in self._seen:
                self._seen.add(shapes)
                yield f"stage {self.stage.name} compiled for new shapes during the request"
        for value in self.stage.outputs:
            array = values[value]
            if not (isinstance(array, np.ndarray) and array.dtype.kind == "f"):
                continue
            if not np.isfinite(array).all():
                yield f"stage {self.stage.name} returned NaN or infinity in {value!r}"
            share = _denormal_share(array)
            if share > MOST_DENORMALS:
                yield (
                    f"stage {self.stage.name} returned {share:.0%} denormal numbers in {value!r}, which are slow "
                    "(-lc CPU_DENORMALS_OPTIMIZATION=true flushes them to 0)"
                )


def _denormal_share(array: _Array) -> float:
    """The share of numbers that are nearer to 0 than the format's precision allows."""
    if not array.size:
        return 0.0
    return float(np.mean((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)))


class OpenPipeline:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, networks: Networks, launch: LaunchContext) -> None:
        self.recipe: PipelineRecipe = networks.found.recipe
        self._config = config
        self._beat = launch.beat
        self._constants = {
            name: value if isinstance(value, str) else np.asarray(value)
            for name, value in self.recipe.constants.items()
        }
        self.runners = [
            _runner(stage, networks, launch, int(config.parameters.get("stage_batch") or stage.batch or 1))
            for stage in self.recipe.stages
        ]

    def prepare(self, prompt: int, iteration: int) -> "PipelineRequest":  # noqa: ARG002  each is the same
        """Return the request of a prompt, whose text is the first value."""
        text = self._config.prompts[prompt].text or ""
        return PipelineRequest(self, _RequestState({PROMPT: text, **self._constants}, self._beat))


def _runner(stage: PipelineStage, networks: Networks, launch: LaunchContext, batch: int) -> StageRunner:
    network = networks.compiled.get(stage.name)
    if network is not None:
        return StageRunner(stage, network.infer, network, batch)
    try:
        if stage.code is not None:
            made = load_code(networks.found.code[stage.name], stage.code.partition(":")[2])
        else:
            parameters = {"folder": str(launch.folder), **stage.parameters}
            made = find_step(stage.step or "")(networks.found.files[stage.name], parameters)
    except LlmbenchError as error:
        error.message = f"stage {stage.name}: {error.message}"
        raise
    except KeyError as error:
        raise InputError(f"stage {stage.name}: step {stage.step} needs {error.args[0]!r}") from error

    def call(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values of the stage, its outputs under the recipe's names."""
        found = made(inputs)
        return {value: found[port] for value, port in stage.outputs.items()}

    return StageRunner(stage, call, None, batch)


class PipelineRequest:
    """One prompt on its way through the stages."""

    def __init__(self, pipeline: OpenPipeline, state: _RequestState) -> None:
        self._pipeline = pipeline
        self._state = state
        self._start_ns = self._end_ns = 0

    @property
    def values(self) -> Mapping[str, Any]:
        """Every value so far, by name."""
        return self._state.values

    def run(self) -> None:
        """Run every stage in its order; raise InputError, with the stage's name, where its inputs do not fit."""
        state, product = self._state, self._pipeline.recipe.product.value
        state.beat(0, time.perf_counter_ns())
        self._start_ns = time.perf_counter_ns()
        for runner in self._pipeline.runners:
            try:
                runner.run(state)
            except LlmbenchError as error:
                error.message = f"stage {runner.stage.name}: {error.message}"
                raise
            if product in runner.stage.outputs:
                state.ready_ns = time.perf_counter_ns()
        self._end_ns = time.perf_counter_ns()

    def observe(self) -> Observation:
        """Return the calls of each stage and what came out, with the reasons for which it does not count."""
        state, pipeline = self._state, self._pipeline
        product = pipeline.recipe.product
        artifact, faults = describe(product, state.values[product.value], state.ready_ns)
        found = [fault for runner in pipeline.runners for fault in runner.faults(state.values)]
        return Observation(
            start_ns=self._start_ns,
            end_ns=self._end_ns,
            stages=tuple(state.calls),
            outputs=(artifact,),
            suspicions=(*found, *faults),
        )


def describe(
    product: Product, value: "np.ndarray[Any, Any]", ready_ns: int | None
) -> tuple[Artifact, tuple[str, ...]]:
    """Return a product's description and a sentence on each fault; *ready_ns* is when it was there."""
    array = np.ascontiguousarray(value)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    ready = None if ready_ns is None else Nanoseconds(ready_ns)
    if product.kind == "frames":
        faults = ("no frame came out",) if not len(array) else ()
        return Artifact(kind="frames", count=len(array), sha256=digest, ready_ns=ready), faults
    audio_s = array.size / (product.sample_rate or 1)
    level = float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) if array.size else 0.0
    faults = () if level >= SILENT_BELOW else ("the audio is silent",)
    return (Artifact(kind="audio", count=array.size, audio_s=audio_s, sha256=digest, ready_ns=ready), faults)
