"""Our own greedy loop over the stateful IR: exact times of each forward pass, exact properties.

An IR made by optimum has inputs ``input_ids``, ``attention_mask``, ``position_ids`` and ``beam_idx``, keeps its KV
cache as a state that ``reset_state`` clears, and computes logits for every position of a prompt. The last matrix
multiplication needs the last position only: a slice before it is inserted, as GenAI does.
"""

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.engines.base import EngineRequest, Generation
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.attention import prove_attention
from llmbench.engines.openvino.device import compile_properties, import_openvino, read_back
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.tokenizer import TokenizedSession, open_tokenizer
from llmbench.errors import InputError
from llmbench.models.integrity import main_network
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds

_EMBEDDINGS_XML = "openvino_text_embeddings_model.xml"
_PASSED_THROUGH = {"Convert", "Add", "Multiply", "Divide", "Tanh", "Transpose"}


def slice_last_position(openvino: Any, model: Any) -> bool:
    """Have the last matrix multiplication see the last position only; false where there is none to slice.

    Its input has shape [batch, positions, hidden]; the operations between it and the result keep positions apart.
    """
    from openvino import opset13

    node = model.output("logits").get_node().input_value(0).get_node()
    while node.get_type_name() in _PASSED_THROUGH:
        node = node.input_value(0).get_node()
    if node.get_type_name() != "MatMul" or len(node.input_value(0).get_partial_shape()) != 3:
        return False
    ends = [np.array([value], dtype=np.int64) for value in (-1, np.iinfo(np.int64).max, 1, 1)]
    sliced = opset13.slice(node.input_value(0), *(openvino.op.Constant(end) for end in ends))
    node.input(0).replace_source_output(sliced.output(0))
    model.validate_nodes_and_infer_types()
    return True


def read_language_model(core: Any, xml: Path) -> Any:
    """Return the language model of an IR; one that reads embeddings gets the model beside it that makes them."""
    model = core.read_model(xml)
    words = xml.with_name(_EMBEDDINGS_XML)
    if not words.exists():
        return model
    embeddings = core.read_model(words)
    port = model.input("inputs_embeds").get_node()
    port.output(0).replace(embeddings.outputs[0].get_node().input_value(0))
    (ids,) = embeddings.get_parameters()
    ids.output(0).set_names({"input_ids"})
    model.remove_parameter(port)
    model.add_parameters([ids])
    return model


def compile_part(xml: Path) -> Any:
    """Return another part of a model, such as a vision tower, compiled for the CPU."""
    return import_openvino().Core().compile_model(xml, "CPU")


class CoreSession(TokenizedSession):
    """A compiled stateful IR and its one infer request.

    *source* is the IR's ``.xml`` with the language model, *compiled* the compiled model.
    """

    def __init__(self, config: RunConfig) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        self.source = main_network(Path(config.model))
        model = read_language_model(core, self.source)
        is_sliced = slice_last_position(openvino, model)
        self._inputs = {name for port in model.inputs for name in port.get_names()}
        self._check_inputs()
        properties = {"PERFORMANCE_HINT": "LATENCY", **compile_properties(config)}
        with engine_failures("compiling"):
            compiled = core.compile_model(model, config.device, properties)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._folder = Path(config.model)
        self.compiled = compiled
        self._note = (
            "the last position is sliced before the last MatMul" if is_sliced else "no last-position slice"
        )
        super().__init__(open_tokenizer(config))

    @functools.cached_property
    def effective(self) -> EffectiveSettings:
        """What the compiled model uses; read once, when the time of loading has been taken."""
        return prove_attention(self.compiled, self._folder).in_settings(
            EffectiveSettings(properties=read_back(self.compiled), notes=(self._note,))
        )

    @property
    def request(self) -> Any:
        """The infer request, for its counters and its compiled model."""
        return self._request

    def _check_inputs(self) -> None:
        unknown = self._inputs - {"input_ids", "attention_mask", "position_ids", "beam_idx"}
        if unknown or "input_ids" not in self._inputs:
            raise InputError(
                f"the core engine cannot feed the inputs {', '.join(sorted(unknown)) or 'of this IR'}",
                hint="use --engine genai",
            )

    def _set(self, name: str, values: np.ndarray[Any, Any]) -> None:
        if name in self._inputs:
            self._request.set_tensor(name, self._tensor(np.ascontiguousarray(values)))

    def _infer(
        self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], positions: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], float, int]:
        """One forward pass: the greedy tokens [batch], the smallest of their logits, and nanoseconds inside."""
        self._set("input_ids", ids)
        self._set("attention_mask", mask)
        self._set("position_ids", positions)
        start_ns = time.perf_counter_ns()
        self._request.start_async()
        self._request.wait()
        infer_ns = time.perf_counter_ns() - start_ns
        logits = self._request.get_tensor("logits").data[:, -1, :]
        tokens = logits.argmax(axis=-1)
        chosen = logits[np.arange(len(tokens)), tokens]
        return tokens, float(chosen.min()), infer_ns

    def generate(self, request: EngineRequest) -> Generation:
        """Greedy search; argmax of a row with NaN is NaN's place, so one look at the chosen logits is enough."""
        ids, mask = request.padded()
        self._request.reset_state()
        self._set("beam_idx", np.arange(len(ids), dtype=np.int32))
        columns: list[np.ndarray[Any, Any]] = []
        at_ns: list[int] = []
        infer_ns: list[int] = []
        is_finite = True
        lengths = mask.sum(axis=1, keepdims=True)
        positions = np.maximum(mask.cumsum(axis=1) - 1, 0)
        whole = np.pad(mask, ((0, 0), (0, request.output_tokens)), constant_values=1)
        width = ids.shape[1]
        request.beat(0, time.perf_counter_ns())
        start_ns = time.perf_counter_ns()
        for step in range(request.output_tokens):
            tokens, least, elapsed_ns = self._infer(ids, whole[:, : width + step], positions)
            at_ns.append(time.perf_counter_ns())
            request.beat(step + 1, at_ns[-1])
            infer_ns.append(elapsed_ns)
            columns.append(tokens)
            is_finite = is_finite and bool(np.isfinite(least))
            if request.stop_at_eos and (np.stack(columns, axis=1) == self._eos_id).any(axis=1).all():
                break
            ids, positions = tokens[:, None], lengths + step
        end_ns = time.perf_counter_ns()
        return Generation(
            start_ns=Nanoseconds(start_ns),
            end_ns=Nanoseconds(end_ns),
            sequences=request.cut(np.stack(columns, axis=1).tolist(), at_ns, eos_id=self._eos_id),
            infer_ns=tuple(infer_ns),
            suspicions=() if is_finite else ("non-finite logits",),
        )


class CoreEngine(OpenvinoEngine[CoreSession]):
    """The bare engine: read, compile, infer."""

    session = CoreSession
