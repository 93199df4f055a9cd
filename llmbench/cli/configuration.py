"""The configurations that options ask for: one, or the cells of a sweep."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from llmbench import recipes
from llmbench.cli.asked import Asked
from llmbench.cli.options import find_prompts
from llmbench.cli.placing import with_policy
from llmbench.config import COMPILER, Prompt, PropertyValue, RunConfig
from llmbench.errors import InputError
from llmbench.recipes import Properties

_KV_PRECISION = "KV_CACHE_PRECISION"
_MODEL_CACHE = "CACHE_DIR"


def configurations(asked: Asked, model: str, weight_format: str | None = None) -> tuple[RunConfig, ...]:
    """The configuration asked for, or the cells of a sweep: the cross product of every list, in the order given.

    *model* and its *weight_format* are those of all cells.
    """
    swept = itertools.product(
        asked.attention or ("pa" if asked.engine == "genai" else "sdpa",),
        asked.threads or (None,),
        _swept(_with_named(found, asked) for found in _read(asked.load_config, "-lc")),
        _swept(_read(asked.cb_config, "--cb-config")),
        asked.batch_size,
        asked.infer_count,
    )
    base = dataclasses.replace(_base(asked, model), weight_format=weight_format)
    return tuple(
        dataclasses.replace(
            base,
            attention=attention,
            threads=threads,
            properties=properties,
            scheduler=scheduler,
            batch_size=batch_size,
            output_tokens=output_tokens,
        )
        for attention, threads, properties, scheduler, batch_size, output_tokens in swept
    )


def _base(asked: Asked, model: str) -> RunConfig:
    """What every cell of a sweep has in common."""
    return RunConfig(
        model=model,
        prompts=_prompts(asked),
        engine=asked.engine,
        device=asked.device.upper() if asked.engine != "scripted" else asked.device,
        iterations=asked.num_iters,
        warmups=asked.warmups,
        launches=asked.launches,
        seed=asked.seed,
        num_beams=asked.num_beams,
        do_sample=asked.do_sample,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        is_streamed=asked.streaming,
        draft_model=asked.draft_model,
        draft_device=asked.draft_device.upper() if asked.draft_device else None,
        draft_scheduler=_single(asked.draft_cb_config, "--draft-cb-config"),
        num_assistant_tokens=asked.num_assistant_tokens,
        assistant_confidence_threshold=asked.assistant_confidence_threshold,
        max_ngram_size=asked.max_ngram_size,
        lora=asked.lora,
        lora_alphas=asked.lora_alphas,
        lora_mode=asked.lora_mode,
        is_lora_idle=asked.empty_lora,
        apply_chat_template=asked.apply_chat_template,
        stop_at_eos=asked.end_token_stopping,
        foreign_cpu_limit=asked.foreign_cpu_limit,
        sockets=asked.sockets,
        numa_nodes=asked.numa_nodes,
        cores=asked.cores,
        membind=asked.membind,
        interleave=asked.interleave,
        is_verified=not asked.no_verify,
        is_subsequent=asked.subsequent,
        interpreter=asked.python,
    )


def _prompts(asked: Asked) -> tuple[Prompt, ...]:
    """The prompts asked for, permuted each iteration or not."""
    found = find_prompts(
        text=asked.prompt,
        files=asked.prompt_file,
        indices=asked.prompt_index,
        lengths=asked.input_tokens,
        seed=asked.seed,
    )
    is_permuted = not asked.disable_prompt_permutation
    return tuple(dataclasses.replace(prompt, is_permuted=is_permuted) for prompt in found)


def _read(sources: tuple[str, ...], option: str) -> Iterator[Properties]:
    """The properties of every source together, later ones over earlier ones; of several sets each in turn."""
    for sets in itertools.product(*(recipes.read_properties(source, option=option) for source in sources)):
        yield {name: value for properties in sets for name, value in properties.items()}


def _single(sources: tuple[str, ...], option: str) -> dict[str, PropertyValue]:
    """The properties of every source, none of which is swept."""
    (found, *others) = _swept(_read(sources, option))
    if others:
        raise InputError(f"{option} takes one value a key", hint="sweep --cb-config instead")
    return found


def _with_named(properties: Properties, asked: Asked) -> Properties:
    """The OpenVINO properties of ``-lc``, and those that have an option of their own."""
    named = {
        _KV_PRECISION: ("--kv-cache-precision", asked.kv_cache_precision),
        _MODEL_CACHE: ("--model-cache", asked.model_cache),
        COMPILER: ("--torch-compile", asked.torch_compile),
    }
    for name, (option, value) in named.items():
        if value and name in properties:
            raise InputError(f"{name} stands in -lc and {option} is given as well", hint="keep one of them")
        if value:
            properties = {**properties, name: value}
    return with_policy(properties) if asked.tensor_parallel else properties


def _swept(sets: Iterable[Properties]) -> list[dict[str, PropertyValue]]:
    """Of each set every combination of the values listed, the last key changing fastest."""
    return [
        dict(zip(properties, values, strict=True))
        for properties in sets
        for values in itertools.product(*_lists(properties))
    ]


def _lists(properties: Properties) -> Iterator[tuple[PropertyValue, ...]]:
    """The values of each key; a single one as a list of one."""
    for value in properties.values():
        yield value if isinstance(value, tuple) else (value,)
