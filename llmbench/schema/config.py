"""Everything that may change a number."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import Self

from llmbench.errors import InputError
from llmbench.schema.engines import ENGINES, SERVER_ENGINES, EngineInfo
from llmbench.schema.settings.any_workload import ATTENTIONS, POLICY, TENSOR_PARALLEL, WEIGHT_FORMATS
from llmbench.schema.settings.base import ValueKind
from llmbench.schema.settings.table import SETTINGS
from llmbench.schema.settings.text import GENERATION_SETTINGS, LORA_MODES
from llmbench.schema.tasks import DEFAULT_TASK, LOAD_BEGIN, TASKS, TaskInfo
from llmbench.schema.units import counted

PropertyValue = str | int | float | bool
"""A value of an OpenVINO property, as JSON can contain it."""

ASSISTANT_TOKENS = 5
"""Tokens guessed ahead in a step by default, as in GenAI."""
INTERFERENCE_LIMIT = 0.05
"""The CPU share of other processes above which a measurement is invalid."""

PLACES = tuple(row.field for row in SETTINGS if row.field and row.kind is ValueKind.RANGES)
"""Fields of a configuration that say where its launches run, each a list of numbers."""

LOAD_FIELDS = ("server", "concurrency", "request_rate")
"""Fields of a configuration of a server under load; no other command sets them."""

GENERATION = ("scheduler", *(row.field for row in GENERATION_SETTINGS if row.field))
"""Fields of a configuration that say how tokens are made; plain greedy search leaves all at their defaults."""


def weight_format_of(model: str, recorded: str | None) -> str | None:
    """The weight format that a model goes by; ``None`` where nothing says one.

    It is its folder's name, as in ``pytorch/dldt/INT8``, else the one *recorded* for it.
    """
    name = PurePath(model).name.lower()
    return name if name in WEIGHT_FORMATS else recorded.lower() if recorded else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """An image file, by the *sha256* of its content, and the pixels that it is resized to before it is handed over."""

    path: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInput:
    """A sound file, by the *sha256* of its content, and its duration in *seconds*."""

    path: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One input of a run: (set, index, length, seed).

    It has *text*, or it is synthetic and has *tokens*, the exact length requested. Iteration k uses variant k.
    A turn of a chat has the texts of the user's *earlier* turns (none before the first), which is ``None`` where the
    prompt is no chat; the turns of a chat share their index. *images* go in with it, those of a chat with its first
    turn. A prompt that is *audio* has its file's name as text. *recorded_sha256* is the hash that a report has, where
    neither text nor recipe is at hand.
    """

    set: str
    index: int
    text: str | None = None
    tokens: int | None = None
    seed: int = 42
    is_permuted: bool = True
    earlier: tuple[str, ...] | None = None
    images: tuple[ImageInput, ...] = ()
    audio: AudioInput | None = None
    recorded_sha256: str | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.tokens is None):
            raise InputError(f"prompt {self.index} of {self.set} needs either a text or a length")
        if self.tokens is not None and self.tokens < 1:
            raise InputError(f"an input of {self.tokens} tokens was requested; at least 1 is needed")

    @property
    def sha256(self) -> str:
        """Hash over the whole set of variants: the text or the recipe they are made from."""
        if self.recorded_sha256 is not None:
            return self.recorded_sha256
        recipe = f"text:{self.text}" if self.text is not None else f"synthetic:{self.tokens}:{self.seed}"
        if self.earlier is not None:
            recipe = f"chat:{json.dumps([*self.earlier, self.text])}"
        if self.images:
            recipe += (
                f":images:{json.dumps([(each.sha256, each.width, each.height) for each in self.images])}"
            )
        if self.audio is not None:
            recipe = f"audio:{self.audio.sha256}"
        kind = "rotated" if self.is_permuted else "same"
        return hashlib.sha256(f"v1:{kind}:{recipe}".encode()).hexdigest()

    @property
    def turn(self) -> int | None:
        """Which turn of a chat it is, counted from 0; ``None`` where it is no chat."""
        return None if self.earlier is None else len(self.earlier)

    @property
    def image_size(self) -> str | None:
        """The pixels of its images as they are handed over: ``640x480``, each size once; ``None`` without images."""
        return " ".join(dict.fromkeys(f"{each.width}x{each.height}" for each in self.images)) or None

    @property
    def image_label(self) -> str:
        """Its images in short: ``640x480``, ``640x480 x2`` of two; empty without images."""
        return " ".join([self.image_size or "", *([f"x{len(self.images)}"] if self.images[1:] else [])])

    @property
    def short_label(self) -> str:
        """Its number, as in llm_bench's log: ``P0``, and ``P0 turn 2`` for the second turn of a chat."""
        return f"P{self.index}" if self.turn is None else f"P{self.index} turn {self.turn + 1}"

    @property
    def label(self) -> str:
        """Its number, and what goes in with it: ``P0 640x480``."""
        sound = f" {self.audio.seconds:.3g} s" if self.audio else ""
        return f"{self.short_label} {self.image_label}".rstrip() + sound


def _check_choice(what: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise InputError(f"{what} {value!r} is unknown", hint=f"choose one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One configuration to measure.

    *task* is a key of `TASKS`, and *parameters* are what only some tasks have. *scheduler* has keys of GenAI's
    ``SchedulerConfig``, those of its parts behind a dot (``cache_eviction_config.start_size``). *temperature*,
    *top_p* and *top_k* mean something only where *do_sample* is set; *top_k* ``None`` is every token. A
    *draft_model*, or a *max_ngram_size* (prompt lookup), guesses ahead: *num_assistant_tokens* a step, or as many
    as it is sure of (*assistant_confidence_threshold*). *lora* are files of adapters, *lora_alphas* their weights
    in that order (none given: 1 each); with *is_lora_idle* they are loaded and no request uses them. With
    *trusts_recipe_code* code beside a pipeline's recipe is run. *interpreter* is the Python of another environment
    whose engine is measured, ``None`` this one. *allocator* is one of `ALLOCATORS`, ``None`` the system's.
    *weight_format* distinguishes the model's IR from others of the
    same source, see `weight_format_of`. Where *is_attention_fixed*, the attention was requested; else SDPA replaces
    paged attention for a model that cannot have it. With *is_subsequent* a launch makes all iterations of one
    prompt, or of one chat, and then those of the next; otherwise each iteration is a pass over all of them.

    Of a server under load, *server* is what serves: a name, a command, or an address. *concurrency* is how many
    requests are in flight at once, at most where there is a *request_rate*, the requests begun per second; ``None``
    is no limit. There *iterations* counts the requests of a launch, and *warmups* those before them.
    """

    model: str
    prompts: tuple[Prompt, ...]
    task: str = DEFAULT_TASK
    parameters: Mapping[str, PropertyValue] = field(default_factory=dict)
    weight_format: str | None = None
    engine: str = "genai"
    device: str = "CPU"
    attention: str = "pa"
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    output_tokens: int = 128
    iterations: int = 6
    warmups: int = 1
    launches: int = 1
    batch_size: int = 1
    seed: int = 42
    apply_chat_template: bool = False
    stop_at_eos: bool = False
    scheduler: Mapping[str, PropertyValue] = field(default_factory=dict)
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    is_streamed: bool = False
    draft_model: str | None = None
    draft_device: str | None = None
    draft_scheduler: Mapping[str, PropertyValue] = field(default_factory=dict)
    num_assistant_tokens: int | None = None
    assistant_confidence_threshold: float | None = None
    max_ngram_size: int | None = None
    lora: tuple[str, ...] = ()
    lora_alphas: tuple[float, ...] = ()
    lora_mode: str = "auto"
    is_lora_idle: bool = False
    threads: int | None = None
    sockets: tuple[int, ...] = ()
    numa_nodes: tuple[int, ...] = ()
    cores: tuple[int, ...] = ()
    membind: tuple[int, ...] = ()
    interleave: tuple[int, ...] = ()
    allocator: str | None = None
    foreign_cpu_limit: float = INTERFERENCE_LIMIT
    is_verified: bool = True
    ignores_context_limit: bool = False
    is_subsequent: bool = False
    is_attention_fixed: bool = False
    trusts_recipe_code: bool = False
    interpreter: str | None = None
    server: str | None = None
    concurrency: int | None = None
    request_rate: float | None = None

    def __post_init__(self) -> None:
        _check_choice("task", self.task, TASKS)
        for name, field_name, least in (
            ("output tokens", "output_tokens", int(self.task_info.is_generating)),
            ("iterations", "iterations", 1),
            ("warm-ups", "warmups", 0),
            ("launches", "launches", 1),
            ("batch size", "batch_size", 1),
            ("threads", "threads", 1),
            ("beams", "num_beams", 1),
            ("top-k", "top_k", 1),
        ):
            value = getattr(self, field_name)
            if value is not None and value < least:
                (option,) = (each.flags[0] for each in SETTINGS if each.field == field_name)
                raise InputError(
                    f"{name}: {value} was requested; at least {least} is needed",
                    hint=f"write {option} {least} or more",
                )
        self._check_sampling()
        self._check_speculation()
        self._check_adapters()
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("attention", self.attention, ATTENTIONS)
        if not self.prompts:
            raise InputError("no prompt was given", hint="use -p TEXT, -pf FILE.jsonl or --input-tokens N")

    def _check_sampling(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature {self.temperature:g}: a positive number is needed")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p {self.top_p:g}: a share above 0 and up to 1 is needed")
        if not self.do_sample and (self.temperature, self.top_p, self.top_k) != (1.0, 1.0, None):
            raise InputError(
                "temperature, top-p and top-k choose among sampled tokens; the search is greedy",
                hint="add --do-sample, or leave them out",
            )

    def _check_speculation(self) -> None:
        tokens, threshold = self.num_assistant_tokens, self.assistant_confidence_threshold
        if self.draft_model is not None and self.max_ngram_size is not None:
            raise InputError("a draft model and prompt lookup exclude each other", hint="choose one of them")
        draft = (self.draft_device, *self.draft_scheduler)
        if not self.is_speculative and (tokens, threshold, *draft) != (None, None, None):
            raise InputError(
                "assistant tokens, their confidence and a draft device belong to speculative decoding",
                hint="add --draft-model IR_DIR, or --max-ngram-size N for prompt lookup",
            )
        if tokens is not None and threshold is not None:
            raise InputError(
                "a number of assistant tokens and a confidence threshold were both given",
                hint="the one is fixed, the other grows with the draft's confidence; choose one",
            )
        if threshold is not None and not 0 < threshold < 1:
            raise InputError(f"confidence threshold {threshold:g}: a share between 0 and 1 is needed")
        if threshold is not None and self.draft_model is None:
            raise InputError("prompt lookup has no confidence", hint="give --num-assistant-tokens instead")
        for name, value in (("assistant tokens", tokens), ("n-gram size", self.max_ngram_size)):
            if value is not None and value < 1:
                raise InputError(f"{name}: {value} was requested; at least 1 is needed")

    def _check_adapters(self) -> None:
        _check_choice("LoRA mode", self.lora_mode, LORA_MODES)
        if self.lora_alphas and len(self.lora_alphas) != len(self.lora):
            raise InputError(
                f"{len(self.lora)} LoRA adapters but {len(self.lora_alphas)} alphas",
                hint="give one --lora-alphas a --lora, or none",
            )
        if not self.lora and (self.lora_mode != "auto" or self.is_lora_idle):
            raise InputError("a LoRA mode was given without an adapter", hint="add --lora FILE.safetensors")

    @property
    def task_info(self) -> TaskInfo:
        """What is known of its task."""
        return TASKS[self.task]

    @property
    def engine_info(self) -> EngineInfo:
        """What is known of its engine."""
        return ENGINES[self.engine]

    @property
    def computing_engine(self) -> EngineInfo | None:
        """The engine that computes, also in a server that llmbench starts; ``None`` in any other server."""
        return ENGINES.get(self.engine if self.server is None else SERVER_ENGINES.get(self.server, ""))

    @property
    def is_load(self) -> bool:
        """Whether it is of a server under load, or of a model that several requests are made of at once."""
        return any(getattr(self, name) is not None for name in LOAD_FIELDS)

    @property
    def begin(self) -> str:
        """What happens at the instant from which the times of a request count."""
        return LOAD_BEGIN if self.is_load else self.task_info.begin

    @property
    def has_images(self) -> bool:
        """Whether images go in with a prompt, so that a vision-language model is measured."""
        return any(prompt.images for prompt in self.prompts)

    @property
    def generation(self) -> dict[str, object]:
        """The fields named in `GENERATION` that are not at their defaults."""
        defaults = {field.name: field for field in fields(self)}
        found = {name: getattr(self, name) for name in GENERATION}
        return {name: value for name, value in found.items() if value and value != defaults[name].default}

    @property
    def is_speculative(self) -> bool:
        """Whether something guesses ahead, so that a step may give several tokens."""
        return self.draft_model is not None or self.max_ngram_size is not None

    @property
    def without_speculation(self) -> Self:
        """This configuration with nothing that guesses ahead."""
        return replace(
            self,
            draft_model=None,
            draft_device=None,
            draft_scheduler={},
            num_assistant_tokens=None,
            assistant_confidence_threshold=None,
            max_ngram_size=None,
        )

    @property
    def way(self) -> str:
        """How tokens are chosen, as a report says it.

        ``greedy``, ``4 beams``, ``sampled, temperature 0.8``, ``greedy, prompt lookup of 5 tokens``.
        """
        if self.num_beams > 1:
            return f"{self.num_beams} beams"
        if self.do_sample:
            limits = f", top-p {self.top_p:g}" if self.top_p < 1 else ""
            limits += f", top-k {self.top_k}" if self.top_k is not None else ""
            return f"sampled, temperature {self.temperature:g}{limits}"
        if not self.is_speculative:
            return "greedy"
        kind = "prompt lookup" if self.draft_model is None else f"draft {PurePath(self.draft_model).name}"
        sure = self.assistant_confidence_threshold
        how = (
            f"while surer than {sure:g}"
            if sure is not None
            else f"of {counted(self.num_assistant_tokens or ASSISTANT_TOKENS, 'token')}"
        )
        return f"greedy, {kind} {how}"

    @property
    def is_tensor_parallel(self) -> bool:
        """Whether every product is to be split over the CPU's sockets."""
        return TENSOR_PARALLEL in str(self.properties.get(POLICY, "")).upper()

    @property
    def iterations_per_launch(self) -> int:
        """Warm-up and measured iterations of one launch."""
        return self.warmups + self.iterations
