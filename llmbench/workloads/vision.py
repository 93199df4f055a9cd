"""Vision-language generation: the image and the question of each request, and where its first token's time went.

Each iteration has a variant of its images that nobody can tell from another (`images`), so that neither a prefix cache
nor a cache of encoded images makes a request faster than a user's.
"""

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from llmbench.engines.base import Codec, EngineSession, Generation, Question
from llmbench.engines.clock_check import suspicions
from llmbench.errors import InputError
from llmbench.models.image_tokens import image_token, tokens_per_slice
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Sequence, Stage, StageSource
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation
from llmbench.workloads.images import read_images

UNEXPLAINED_SHARE = 0.02
"""The share of the wait for the first token that its stages may leave unexplained, or exceed it by."""

UNEXPLAINED_NS = 5_000_000
"""... or so much, whichever is more."""


class VisionWorkload:
    """Questions about images: a request is one prompt with its images."""

    settings = WorkloadSettings(kind="vision", primary_metrics=("first_token", "tpot"))

    def open(self, config: RunConfig, session: EngineSession, launch: LaunchContext) -> "OpenVision":
        """Make ready for the requests of one launch; raise InputError where the model's context is too small."""
        self.check(config, session, launch.context_tokens)
        return OpenVision(config, session, launch)

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse, with the tokenizer alone, images that the model's template drops or its context does not hold."""
        if not config.warmups:
            raise InputError(
                "--warmups 0: the first request of each image size compiles the model for it, and must not count",
                hint="use --warmups 1; what the first request takes is shown all the same",
            )
        _check_template(config, codec)
        limit = None if config.ignores_context_limit else context_tokens
        least = tokens_per_slice(Path(config.model))
        for prompt in config.prompts:
            images = len(prompt.images) * (least or 1)
            texts = sum(text_tokens(text, config, prompt, codec) for text in _texts(prompt))
            output = config.output_tokens * len(_texts(prompt))
            if limit is not None and images + texts + output > limit:
                raise InputError(
                    f"{len(prompt.images)} x {least or 1} or more tokens of images, {texts} tokens of text and "
                    f"{output} output tokens make {images + texts + output}; the model's context is {limit}",
                    hint="give fewer images or a smaller -ic, or go beyond it with --ignore-context-limit",
                )


def _texts(prompt: Prompt) -> tuple[str, ...]:
    return (*(prompt.earlier or ()), prompt.text or "")


def text_tokens(text: str, config: RunConfig, prompt: Prompt, codec: Codec) -> int:
    """Return the tokens of a prompt without its images."""
    return len(codec.encode(text, chat=config.apply_chat_template or prompt.earlier is not None))


def _check_template(config: RunConfig, codec: Codec) -> None:
    """Refuse a chat template that does not write the token of an image which is in a turn."""
    is_templated = config.apply_chat_template or any(prompt.earlier is not None for prompt in config.prompts)
    token = image_token(Path(config.model))
    if not is_templated or token is None:
        return
    written = set(codec.encode(token, chat=False)) - {codec.bos_id}
    if not written <= set(codec.encode(f"{token}\na", chat=True)):
        raise InputError(
            f"the chat template of {config.model} has no image token: it drops {token!r}",
            hint="leave out --apply-chat-template, or put a template that keeps it beside the model",
        )


class OpenVision:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, session: EngineSession, launch: LaunchContext) -> None:
        self.config = config
        self.session = session
        self._launch = launch
        self._slice_tokens = tokens_per_slice(Path(config.model))

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Generation]:
        """Read the images of a request, in the variant of its iteration."""
        found = self.config.prompts[prompt]
        start_ns = time.perf_counter_ns()
        images = () if found.earlier else found.images
        pixels = read_images(images, variant=iteration if found.is_permuted else 0, seed=self.config.seed)
        decoding_ns = time.perf_counter_ns() - start_ns
        question = Question(
            text=found.text or "",
            images=pixels,
            is_chat=found.earlier is not None,
            is_later=bool(found.earlier),
        )
        request = self._launch.request(self.config, (), question)
        observe = partial(
            self._observe,
            found,
            decoding_ns=decoding_ns if images else None,
            is_warmup=iteration < self.config.warmups,
        )
        return CalledRequest(partial(self.session.generate, request), observe)

    def counted(self, sequence: Sequence, prompt: Prompt) -> Sequence:
        """Return a sequence with the tokens that its images added, and how many parts these stand for."""
        if prompt.earlier:
            return sequence
        text = text_tokens(prompt.text or "", self.config, prompt, self.session)
        tokens = max(0, sequence.input_tokens - text)
        slices = None if self._slice_tokens is None else tokens // self._slice_tokens
        return dataclasses.replace(sequence, image_tokens=tokens, image_slices=slices)

    def _observe(
        self, prompt: Prompt, made: Generation, *, decoding_ns: int | None, is_warmup: bool
    ) -> Observation:
        start_ns = time.perf_counter_ns()
        text = self.session.decode(made.sequences[0].token_ids)
        detokenize_ns = time.perf_counter_ns() - start_ns
        sequence = dataclasses.replace(self.counted(made.sequences[0], prompt), text=text)
        return Observation.of(
            made,
            requested_tokens=self.config.output_tokens,
            sequences=(sequence,),
            detokenize_ns=detokenize_ns,
            image_decoding_ns=decoding_ns,
            suspicions=(*suspicions(made), *(() if is_warmup else stage_doubts(made))),
        )


def stage_doubts(made: Generation) -> Iterator[str]:
    """Yield a sentence where the stages do not add up to the first token; which clock reported what is in it.

    The first call of an image size is no subject of it: there the engine does what no stage has. Stages that our clock
    timed cannot disagree with it; what they leave unexplained is the library's own.
    """
    events = made.sequences[0].at_ns
    if not events or not _is_reported(made.stages):
        return
    first_ns, total_ns = events[0] - made.start_ns, sum(stage.duration_ns for stage in made.stages)
    if abs(first_ns - total_ns) <= max(UNEXPLAINED_SHARE * first_ns, UNEXPLAINED_NS):
        return
    parts = ", ".join(
        f"{stage.name.replace('_', ' ')} {stage.duration_ns / 1e6:.4g} ms" for stage in made.stages
    )
    yield (
        f"the engine's stages add up to {total_ns / 1e6:.4g} ms, and the first token came after "
        f"{first_ns / 1e6:.4g} ms on our clock ({parts})"
    )


def _is_reported(stages: tuple[Stage, ...]) -> bool:
    """Whether the engine reported every stage, as it does not where a prompt is prefilled in chunks."""
    by_engine = {stage.name for stage in stages if stage.source is StageSource.ENGINE}
    return by_engine >= {"text_embedding", "prefill"}
