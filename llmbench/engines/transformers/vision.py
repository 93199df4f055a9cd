"""optimum-intel's ``OVModelForVisualCausalLM``, each part of the wait for its first token timed from outside.

A part is a method of the model or of its processor, called through a watch; nothing of the libraries is copied. The
language model computes the logits of the last position only, as GenAI has it compute, so that both can be compared.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmbench.engines.base import EngineRequest, Generation, Question
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.core import slice_last_position
from llmbench.engines.openvino.device import compile_properties, import_openvino
from llmbench.engines.openvino.tokenizer import Tokenizer, open_tokenizer
from llmbench.engines.transformers.generate import GenerateSession, TokenWatch
from llmbench.engines.transformers.optimum import EVERY_POSITION, OptimumEngine, effective_settings
from llmbench.errors import InputError, LaunchError
from llmbench.models.image_tokens import image_token
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage
from llmbench.schema.units import Nanoseconds

_PREPARE, _PIXELS, _EMBED, _VISION, _LANGUAGE = "prepare", "pixels", "embed", "vision", "language"


class StageWatch:
    """Notes when each part was called first in a request, and how long that took; instants in ns."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[int, int]] = {}

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Call a method of an object through this watch from now on."""
        setattr(owner, method, self.timed(name, getattr(owner, method)))

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function that notes the first call of a request."""

        def timed(*args: Any, **options: Any) -> Any:
            start_ns = time.perf_counter_ns()
            result = call(*args, **options)
            self.calls.setdefault(name, (start_ns, time.perf_counter_ns()))
            return result

        return timed

    def stages(self) -> Iterator[Stage]:
        """Yield the parts of the wait, those that lie inside another taken out of it."""
        lengths = {name: end - start for name, (start, end) in self.calls.items()}
        inside = {_PREPARE: _PIXELS, _EMBED: _VISION}
        titles = {
            _PREPARE: "tokenization",
            _PIXELS: "image_preprocessing",
            _VISION: "vision_encoder",
            _EMBED: "text_embedding",
            _LANGUAGE: "prefill",
        }
        for name, title in titles.items():
            if name in lengths:
                own = lengths[name] - lengths.get(inside.get(name, ""), 0)
                yield Stage(name=title, duration_ns=max(0, own), at_ns=Nanoseconds(self.calls[name][0]))


class OptimumVisionSession(GenerateSession):
    """A vision-language model with transformers' ``generate``, and the processor that belongs to it."""

    def __init__(self, model: Any, tokenizer: Tokenizer, config: RunConfig, note: str) -> None:
        from transformers import AutoProcessor

        language = model.language_model
        super().__init__(
            model,
            tokenizer,
            config,
            read_effective=lambda: effective_settings(language.request.get_compiled_model(), config, note),
        )
        # transformers 5 left it out of composed configurations, and optimum-intel 2.1 reads it
        model.config.pad_token_id = getattr(model.config, "pad_token_id", None)
        self._processor = AutoProcessor.from_pretrained(config.model, local_files_only=True)
        self._template = tokenizer.template
        self._watch = StageWatch()
        self._prepare = self._watch.timed(_PREPARE, self._inputs)
        self._watch.watch(self._processor.image_processor, "preprocess", _PIXELS)
        self._watch.watch(model, "get_multimodal_embeddings", _EMBED)
        self._watch.watch(model, "get_vision_embeddings", _VISION)
        self._watch.watch(language, "forward", _LANGUAGE)

    def _inputs(self, question: Question) -> Any:
        """What the model's ``generate`` takes: token ids and pixels."""
        token = image_token(Path(self._config.model)) or "<image>"
        text = f"{token}\n" * len(question.images) + question.text
        if self._config.apply_chat_template:
            text = self._template(text)
        images = list(question.images) or None
        return self._processor(images=images, text=text, return_tensors="pt")

    def generate(self, request: EngineRequest) -> Generation:
        """One question: the processor's call, the library's own call, and observers in both."""
        question = request.question
        if question is None:
            raise LaunchError("a vision-language model takes a prompt as text, not as token ids")
        watch = TokenWatch(request.beat)
        self._watch.calls.clear()

        def generate(options: Mapping[str, Any]) -> Any:
            inputs = self._prepare(question)
            return inputs, self._model.generate(**inputs, **options)

        start_ns, (inputs, made), end_ns = self._timed(request, watch, generate)
        given = tuple(inputs["input_ids"][0].tolist())
        cut = EngineRequest(
            input_ids=(given,), output_tokens=request.output_tokens, stop_at_eos=request.stop_at_eos
        )
        return Generation(
            start_ns=start_ns,
            end_ns=end_ns,
            sequences=cut.cut(made[:, len(given) :].tolist(), watch.at_ns, eos_id=self._eos_id),
            stages=tuple(self._watch.stages()),
            suspicions=watch.doubts,
        )


class OptimumVisionEngine(OptimumEngine):
    """The IR of a vision-language model through optimum-intel."""

    def check(self, config: RunConfig) -> None:
        """Refuse what this engine, its packages or the device cannot do, before anything is loaded."""
        super().check(config)
        if any(prompt.earlier is not None for prompt in config.prompts):
            raise InputError("the optimum engine has no chat with images", hint="use --engine genai")

    def open(self, config: RunConfig) -> OptimumVisionSession:
        """Read and compile the model."""
        openvino = import_openvino()
        os.environ["HF_HUB_OFFLINE"] = "1"
        from optimum.intel import OVModelForVisualCausalLM

        with engine_failures("loading"):
            model = OVModelForVisualCausalLM.from_pretrained(
                config.model,
                export=False,
                local_files_only=True,
                device=config.device,
                compile=False,
                ov_config={"PERFORMANCE_HINT": "LATENCY", **compile_properties(config)},
            )
            is_sliced = slice_last_position(openvino, model.language_model.model)
            model.compile()
        note = (
            "the last position is sliced before the last MatMul, as in GenAI" if is_sliced else EVERY_POSITION
        )
        return OptimumVisionSession(model, open_tokenizer(config), config, note)
