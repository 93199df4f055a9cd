"""OpenVINO GenAI's own pipeline, timed from the instants it keeps of each token."""

import dataclasses
import functools
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmbench.engines.base import Beat, EngineRequest, Generation
from llmbench.engines.failures import engine_failures, timed
from llmbench.engines.openvino.attention import prove_pipeline_attention
from llmbench.engines.openvino.attention_trial import paging_fault
from llmbench.engines.openvino.device import check_device, compile_properties, import_openvino
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.engine_log import caught_output, read_effective
from llmbench.engines.openvino.lora import build_adapters, check_adapters, digest_adapters, note_unused
from llmbench.engines.openvino.raw_metrics import read_counters, read_sequences
from llmbench.engines.openvino.scheduler import build_scheduler, prefills_in_chunks
from llmbench.engines.openvino.tokenizer import TokenizedSession, Tokenizer, has_same_tokenizer
from llmbench.errors import InputError
from llmbench.schema.config import ASSISTANT_TOKENS, RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds, ns_from_us

_ATTENTION = {"pa": "PA", "sdpa": "SDPA"}
_NO_TOKEN = 1 << 30
"""An id that no vocabulary has: where it stands for the end of text, a beam cannot end early."""


def import_genai() -> Any:
    """Return the openvino_genai module, its log set to print the effective settings of what is loaded."""
    os.environ["OPENVINO_LOG_LEVEL"] = "2"
    import_openvino()
    import openvino_genai

    return openvino_genai


def load_pipeline(
    kind: Callable[..., Any], config: RunConfig, *given: Any, notes: tuple[str, ...] = ()
) -> tuple[Any, EffectiveSettings]:
    """Return a pipeline of GenAI that is no text generation, and what it reported of itself while it was loaded.

    Its log calls every network that is not paged SDPA; there is no KV cache here to choose it for.
    """
    with caught_output() as logged, engine_failures("loading"):
        pipeline = kind(config.model, config.device, *given, **compile_properties(config))
    return pipeline, dataclasses.replace(read_effective(logged.text, notes=notes), attention=None)


def _inputs(genai: Any, request: EngineRequest) -> Any:
    openvino = import_openvino()
    return genai.TokenizedInputs(*map(openvino.Tensor, request.padded()))


def _notes(config: RunConfig) -> tuple[str, ...]:
    notes = []
    if config.num_beams > 1:
        notes.append(
            f"beam search: a token's time is that of a step of all {config.num_beams} beams; "
            "which text wins is known only after the last"
        )
    if config.scheduler.get("enable_prefix_caching"):
        notes.append(
            "prefix caching is on: a prompt that begins like an earlier one has a faster first token"
        )
    return tuple(notes)


def _check_draft(config: RunConfig) -> None:
    """Refuse a draft in a format, on a device, with a tokenizer or an attention that the engine would refuse."""
    if config.draft_model is None:
        return
    draft, main = Path(config.draft_model), Path(config.model)
    if not draft.is_dir():
        raise InputError(
            f"--draft-model {draft} is a GGUF file; GenAI reads drafts as IR only",
            hint=f"llmbench convert --model-id {shlex.quote(str(draft))} --output-dir models",
        )
    if config.draft_device is not None and config.draft_device != config.device:
        check_device(config.draft_device, {})
    if main.is_dir() and not has_same_tokenizer(main, draft):
        raise InputError(
            f"the draft model {draft} has another tokenizer than the main model {main}",
            hint="give a --draft-model of the same family, made with the same tokenizer",
        )
    if (cause := paging_fault(str(draft))) is not None:
        raise InputError(
            f"paged attention cannot run the draft model {draft}: {cause}", hint="give another --draft-model"
        )


def _draft(genai: Any, config: RunConfig) -> Any:
    """The draft model, under the same properties as the main one where it shares its device."""
    device = config.draft_device or config.device
    options: dict[str, Any] = dict(compile_properties(config)) if device == config.device else {}
    if config.draft_scheduler:
        options["scheduler_config"] = build_scheduler(genai, config.draft_scheduler)
    return genai.draft_model(config.draft_model, device, **options)


def generation_config(genai: Any, requested: RunConfig, request: EngineRequest) -> Any:
    """Return how tokens are chosen: exactly this many, or up to them where the end of text may stop it."""
    config = genai.GenerationConfig()
    config.max_new_tokens = request.output_tokens
    config.ignore_eos = not request.stop_at_eos
    config.apply_chat_template = False
    config.num_beams = requested.num_beams
    if requested.num_beams > 1 and not request.stop_at_eos:
        config.set_eos_token_id(_NO_TOKEN)  # beams end at an end of text even where it is ignored
    config.do_sample = requested.do_sample
    if requested.do_sample:
        config.rng_seed = requested.seed
        config.temperature = requested.temperature
        config.top_p = requested.top_p
        if requested.top_k is not None:
            config.top_k = requested.top_k
    if requested.assistant_confidence_threshold is not None:
        config.assistant_confidence_threshold = requested.assistant_confidence_threshold
    elif requested.is_speculative:
        config.num_assistant_tokens = requested.num_assistant_tokens or ASSISTANT_TOKENS
    if requested.max_ngram_size is not None:
        config.max_ngram_size = requested.max_ngram_size
    if requested.is_lora_idle:
        config.adapters = genai.AdapterConfig()
    return config


class GenaiSession(TokenizedSession):
    """A loaded ``LLMPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        self._genai = import_genai()
        self._config = config
        options: dict[str, Any] = dict(compile_properties(config))
        options["ATTENTION_BACKEND"] = _ATTENTION[config.attention]
        if config.attention == "pa":
            options["scheduler_config"] = build_scheduler(self._genai, config.scheduler)
        if config.max_ngram_size is not None:
            options["prompt_lookup"] = True
        if config.lora:
            options["adapters"] = build_adapters(self._genai, config)
        with caught_output() as logged, caught_output(2) as warned, engine_failures("loading"):
            if config.draft_model is not None:
                options["draft_model"] = _draft(self._genai, config)
            self._pipeline = self._load(options)
        self._logs = logged.text, warned.text
        self._native_tokenizer = self._pipeline.get_tokenizer()
        super().__init__(Tokenizer(self._native_tokenizer))

    def _load(self, options: Mapping[str, Any]) -> Any:
        return self._genai.LLMPipeline(self._config.model, self._config.device, **options)

    @functools.cached_property
    def effective(self) -> EffectiveSettings:
        """What the pipeline reported of itself while it was loaded, and what its IR shows of attention."""
        logged, warned = self._logs
        notes = (*_notes(self._config), *note_unused(self._config, warned))
        found = read_effective(logged, notes=notes, also=digest_adapters(self._config))
        return prove_pipeline_attention(found.attention, Path(self._config.model)).in_settings(found)

    def _streamer(self, seen: list[int], beat: Beat) -> tuple[Any, ...]:
        """A streamer of text that notes when it is called; nothing where no streaming is requested."""
        if not self._config.is_streamed:
            return ()

        def note(_text: str, now: Callable[[], int] = time.perf_counter_ns) -> None:
            seen.append(now())
            beat(len(seen), seen[-1])

        return (self._genai.TextStreamer(self._native_tokenizer, note),)

    def generate(self, request: EngineRequest) -> Generation:
        """One request, observed through the pipeline's own raw metrics."""
        inputs = _inputs(self._genai, request)
        seen: list[int] = []
        arguments = (
            inputs,
            generation_config(self._genai, self._config, request),
            *self._streamer(seen, request.beat),
        )
        start_ns, result, end_ns = timed("generating", self._pipeline.generate, *arguments)
        sequences, doubts = read_sequences(request, result, is_search=self._config.num_beams > 1)
        metrics = result.perf_metrics
        return Generation(
            start_ns=start_ns,
            end_ns=end_ns,
            sequences=sequences,
            infer_ns=self._infer_ns(sum(map(len, request.input_ids)), metrics.raw_metrics),
            callback_ns=tuple(map(Nanoseconds, seen)),
            counters=read_counters(metrics.raw_metrics, metrics.get_num_generated_tokens()),
            suspicions=doubts,
        )

    def _infer_ns(self, input_tokens: int, raw: Any) -> tuple[int, ...]:
        """The forward passes; none where the first reported one is only a chunk's, or all are reported as 0."""
        if prefills_in_chunks(self._config.scheduler, input_tokens):
            return ()
        infer_ns = tuple(ns_from_us(duration) for duration in raw.token_infer_durations)
        return infer_ns if any(infer_ns) else ()


class GenaiEngine(OpenvinoEngine[GenaiSession]):
    """OpenVINO GenAI's ``LLMPipeline``, with paged attention or SDPA."""

    session = GenaiSession

    def check_options(self, config: RunConfig) -> None:
        """Refuse adapters, a draft and scheduler settings that the pipeline cannot use."""
        check_adapters(config)
        _check_draft(config)
        for scheduler in (config.scheduler, config.draft_scheduler):
            if scheduler:
                build_scheduler(import_genai(), scheduler)
