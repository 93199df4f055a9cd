"""The stages of a pipeline as compiled networks, each called with arrays by the names of its ports."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.engines.base import Engine
from llmbench.engines.catalog import check_capabilities
from llmbench.engines.failures import engine_failures, engine_words
from llmbench.engines.openvino.device import check_device, compile_properties, import_openvino, read_back
from llmbench.engines.openvino.networks import port_of, read_network
from llmbench.errors import InputError, LlmbenchError
from llmbench.models.pipeline import PipelineFiles, find_pipeline
from llmbench.schema.config import RunConfig
from llmbench.schema.pipeline import PipelineStage
from llmbench.schema.run import EffectiveSettings

_Array = np.ndarray[Any, Any]


class StageNetwork:
    """A network as a stage uses it, not compiled: its ports by their names, all of them wired."""

    def __init__(self, stage: PipelineStage, model: str) -> None:
        openvino = import_openvino()
        self.network = read_network(model, inputs=tuple(stage.inputs), outputs=tuple(stage.outputs.values()))
        self.inputs = {name: port for port in self.network.inputs for name in port.get_names()}
        outputs = {name: port for port in self.network.outputs for name in port.get_names()}
        for name in stage.inputs:
            port_of(self.inputs, name, "input")
        missing = [port for port in self.network.inputs if not port.get_names() & set(stage.inputs)]
        if missing:
            names = ", ".join(port.get_any_name() for port in missing)
            raise InputError(f"nothing is given for {names}", hint="name each input of the network")
        if stage.shapes:
            try:
                self.network.reshape(
                    {name: openvino.PartialShape(shape) for name, shape in stage.shapes.items()}
                )
            except RuntimeError as error:
                raise InputError(
                    f"its shapes do not fit the network ({engine_words(error)})",
                    hint=f"change shapes = {stage.shapes}",
                ) from error
        self.outputs = {value: port_of(outputs, name, "output") for value, name in stage.outputs.items()}


class CompiledStage:
    """A network that was compiled, and its one infer request."""

    def __init__(self, stage: PipelineStage, model: str, config: RunConfig) -> None:
        openvino = import_openvino()
        read = StageNetwork(stage, model)
        properties = {"PERFORMANCE_HINT": "LATENCY", **compile_properties(config), **stage.properties}
        with engine_failures("compiling"):
            self.compiled = openvino.Core().compile_model(
                read.network, stage.device or config.device, properties
            )
        self.request = self.compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self.is_dynamic = bool(read.network.is_dynamic())
        self.types = {name: port.get_element_type().to_dtype() for name, port in read.inputs.items()}
        ranks = {name: port.get_partial_shape().rank for name, port in read.inputs.items()}
        self._ranks = {name: rank.get_length() for name, rank in ranks.items() if rank.is_static}
        outputs = {name: port for port in self.compiled.outputs for name in port.get_names()}
        self._outputs = {value: outputs[name] for value, name in stage.outputs.items()}

    def reset(self) -> None:
        """Clear the state of a network that keeps one."""
        self.request.reset_state()

    def infer(self, inputs: Mapping[str, _Array]) -> dict[str, _Array]:
        """Return the outputs by their values' names; each is valid until the next call.

        Raises:
            InputError: an array that does not fit its port.
        """
        for name, array in inputs.items():
            fitting = np.ascontiguousarray(array, dtype=self.types[name])
            if fitting.ndim != self._ranks.get(name, fitting.ndim):
                raise InputError(
                    f"input {name!r} has {self._ranks[name]} dimensions; {list(fitting.shape)} was given"
                )
            self.request.set_tensor(name, self._tensor(fitting, shared_memory=True))
        try:
            self.request.start_async()
            self.request.wait()
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise InputError(
                f"its inputs do not fit ({shapes})", hint=str(error).strip().splitlines()[-1][:200]
            ) from error
        return {value: self.request.get_tensor(port).data for value, port in self._outputs.items()}


class PipelineSession:
    """A pipeline whose networks are compiled."""

    def __init__(self, found: PipelineFiles, config: RunConfig) -> None:
        self.found = found
        self.compiled: dict[str, CompiledStage] = {}
        for stage in found.recipe.stages:
            if stage.name in found.models:
                with _named(found, stage):
                    self.compiled[stage.name] = CompiledStage(stage, found.models[stage.name], config)
        self.effective = EffectiveSettings(
            properties=self._properties(), attention="none", notes=tuple(self._notes())
        )

    def _properties(self) -> dict[str, str]:
        """The properties that all networks have in common."""
        every = [read_back(stage.compiled) for stage in self.compiled.values()]
        first = every[0] if every else {}
        return {
            name: value
            for name, value in first.items()
            if name != "NETWORK_NAME" and all(each.get(name) == value for each in every)
        }

    def _notes(self) -> list[str]:
        shared = self._properties()
        return [
            f"stage {name}: {key} {value}"
            for name, stage in self.compiled.items()
            for key, value in read_back(stage.compiled).items()
            if key in {"INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "EXECUTION_DEVICES"}
            and key not in shared
        ]


@contextlib.contextmanager
def _named(found: PipelineFiles, stage: PipelineStage) -> Iterator[None]:
    """Name the stage in whatever is refused."""
    try:
        yield
    except LlmbenchError as error:
        error.message = f"{found.path.name}: stage {stage.name}: {error.message}"
        raise


def _check_shapes(stage: PipelineStage, network: StageNetwork, made: Mapping[str, tuple[str, Any]]) -> None:
    """Refuse an earlier network's output whose shape fits no shape of the input that takes it."""
    for name, value in stage.inputs.items():
        if value not in made or name in stage.over:
            continue
        giver, port = made[value]
        given, wanted = port.get_partial_shape(), network.inputs[name].get_partial_shape()
        if not given.compatible(wanted):
            raise InputError(
                f"input {name!r} of shape {wanted} does not fit {value!r} of stage {giver}, whose shape is {given}"
            )


class PipelineEngine(Engine):
    """Reads and compiles the networks of a pipeline."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the device cannot do, and networks that do not fit the recipe; nothing is compiled."""
        check_capabilities(config)
        properties = compile_properties(config)
        check_device(config.device, properties)
        found = find_pipeline(Path(config.model), trusts_code=config.trusts_recipe_code)
        made: dict[str, tuple[str, Any]] = {}
        for stage in found.recipe.stages:
            if stage.name not in found.models:
                continue
            if stage.device or stage.properties:
                check_device(stage.device or config.device, {**properties, **stage.properties})
            with _named(found, stage):
                network = StageNetwork(stage, found.models[stage.name])
                _check_shapes(stage, network, made)
            made |= {value: (stage.name, port) for value, port in network.outputs.items()}

    def open(self, config: RunConfig) -> PipelineSession:
        """Read and compile every network."""
        return PipelineSession(
            find_pipeline(Path(config.model), trusts_code=config.trusts_recipe_code), config
        )
