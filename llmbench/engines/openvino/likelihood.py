"""The logits of every position of a text, from the stateful IR or through paged attention, in chunks of tokens.

A forward pass over the whole text never reads the KV cache back, so its precision has no effect; from the second chunk
on every pass reads what the chunks before wrote. Paged attention is applied by the transformation that GenAI uses, and
the CPU plug-in reports which precision and shape each cache has.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Never

import numpy as np

from llmbench.engines.base import EngineRequest
from llmbench.engines.failures import PagedAttentionError, engine_failures, engine_words
from llmbench.engines.openvino.device import compile_properties, import_openvino, read_back
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.lora import add_adapters, check_adapters
from llmbench.engines.openvino.tokenizer import TokenizedSession, open_tokenizer
from llmbench.errors import InputError
from llmbench.models.integrity import MODEL_XML
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings

_CACHES = ("key_cache", "value_cache")


class _StatefulModel:
    """A stateful IR: attention is SDPA, and the cache is the model's own."""

    attention = "SDPA"

    def __init__(self, openvino: Any, model: Any, config: RunConfig) -> None:
        self.openvino = openvino
        self.compiled = openvino.Core().compile_model(model, config.device, compile_properties(config))
        self.request = self.compiled.create_infer_request()
        self._names = {name for port in model.inputs for name in port.get_names()}

    def begin(self, count: int) -> None:
        """Forget the text before; *count* tokens will follow."""
        del count
        self.request.reset_state()

    def inputs(self, ids: "np.ndarray[Any, Any]", start: int) -> dict[str, "np.ndarray[Any, Any]"]:
        """Return the inputs of a chunk that begins at position *start*."""
        end = start + len(ids)
        found = {
            "input_ids": ids[None],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        return {name: value for name, value in found.items() if name in self._names}

    def run(self, ids: "np.ndarray[Any, Any]", start: int) -> "np.ndarray[Any, Any]":
        """Return the logits of a chunk, shape [tokens, vocabulary]; valid until the next one runs."""
        for name, value in self.inputs(ids, start).items():
            self.request.set_tensor(name, self.openvino.Tensor(np.array(value, order="C")))
        self.request.infer()
        found: np.ndarray[Any, Any] = self.request.get_tensor("logits").data
        return found.reshape(len(ids), -1)


class _PagedModel(_StatefulModel):
    """The IR with paged attention in place of SDPA, and caches of as many blocks as the text needs."""

    attention = "PA"

    def __init__(self, openvino: Any, model: Any, config: RunConfig) -> None:
        from openvino._offline_transformations import paged_attention_transformation

        try:
            paged_attention_transformation(model)
        except RuntimeError as error:
            raise PagedAttentionError(engine_words(error)) from error
        super().__init__(openvino, model, config)
        self._blocks = 0
        values = next(port for port in self.compiled.inputs if port.any_name.startswith(_CACHES[1]))
        self._block_tokens = values.partial_shape[2].get_length()

    def begin(self, count: int) -> None:
        """Make the caches large enough; what is in them is overwritten before it is read."""
        blocks = math.ceil(count / self._block_tokens)
        if blocks <= self._blocks:
            return
        self._blocks = blocks
        for port in self.compiled.inputs:
            if port.any_name.startswith(_CACHES):
                shape = port.partial_shape
                shape[0] = blocks
                self.request.set_tensor(
                    port.any_name, self.openvino.Tensor(port.element_type, shape.to_shape())
                )

    def inputs(self, ids: "np.ndarray[Any, Any]", start: int) -> dict[str, "np.ndarray[Any, Any]"]:
        """Return the inputs of a chunk that begins at position *start*."""
        end = start + len(ids)
        used = math.ceil(end / self._block_tokens)
        return {
            "input_ids": ids,
            "position_ids": np.arange(start, end, dtype=np.int64),
            "max_context_len": np.array(end, np.int32),
            "past_lens": np.array([start], np.int32),
            "subsequence_begins": np.array([0, len(ids)], np.int32),
            "block_indices_begins": np.array([0, used], np.int32),
            "block_indices": np.arange(used, dtype=np.int32),
        }


class LikelihoodSession(TokenizedSession):
    """A compiled model that shows the logits of every position."""

    def __init__(self, config: RunConfig) -> None:
        openvino = import_openvino()
        model = openvino.Core().read_model(Path(config.model) / MODEL_XML)
        if config.lora:
            add_adapters(model, config)
        kind = _PagedModel if config.attention == "pa" else _StatefulModel
        with engine_failures("compiling"):
            self._model = kind(openvino, model, config)
        self.effective = EffectiveSettings(
            properties=read_back(self._model.compiled), attention=self._model.attention
        )
        super().__init__(open_tokenizer(config))

    def logits(self, ids: Sequence[int], chunk: int) -> "Iterator[np.ndarray[Any, Any]]":
        """Yield the logits of *ids* chunk by chunk, shape [tokens, vocabulary] each; copy what is to be kept."""
        tokens = np.array(ids, np.int64)
        self._model.begin(len(tokens))
        for start in range(0, len(tokens), chunk):
            yield self._model.run(tokens[start : start + chunk], start)

    def generate(self, request: EngineRequest) -> Never:
        """Refuse: the logits of a text are read, and nothing is generated."""
        raise InputError(
            f"the likelihood engine generates nothing; {request.output_tokens} tokens were requested",
            hint="use --engine genai",
        )


class LikelihoodEngine(OpenvinoEngine[LikelihoodSession]):
    """Reads an IR for its logits."""

    session = LikelihoodSession

    def check(self, config: RunConfig) -> None:
        """Refuse what the device or this engine cannot do, before anything is loaded."""
        super().check(config)
        check_adapters(config)
