"""What the options describe, found on this machine: the models, the configurations, and the CPUs they run on."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from llmbench.analysis.placement_proof import Effect
from llmbench.cli.messages import folded, warn
from llmbench.engines.catalog import check_capabilities
from llmbench.errors import InputError, MachineError
from llmbench.machine.limits import read_resource_limits
from llmbench.models.resolve import (
    Side,
    adapter_file,
    check_images,
    check_lengths,
    complete,
    find_model_info,
)
from llmbench.runner import interpreter, limits, pinning
from llmbench.runner.configurations import configurations
from llmbench.schema.config import RunConfig

Resolve = Callable[[Mapping[str, Any]], tuple[Side, ...]]
"""Finds the configurations that options describe, and the model of each."""

MARK = f"tensor_parallel={Effect.INEFFECTIVE.value}"


def resolve_configurations(options: Mapping[str, Any]) -> tuple[Side, ...]:
    """Return the configurations, one or the cells of a sweep, and the model of each; nothing is loaded.

    Where *is_text_enough* is among the options, a vision-language model needs no image.

    Raises:
        InputError: no model there, or something that it or its engine cannot do.
        MachineError: an interpreter of another environment that cannot run a worker.
    """
    model, engine, is_verified = options["model"], options["engine"], not options["no_verify"]
    if not model:
        context = click.get_current_context(silent=True)
        command = context.command_path if context else "llmbench run"
        hint = f"{command} -m MODEL: an IR folder, a GGUF file, or a name of the hub"
        raise InputError("no model was given", hint=hint)
    options = {**options, "lora": tuple(map(adapter_file, options["lora"]))}
    if options["draft_model"]:
        draft = find_model_info(options["draft_model"], engine="genai", is_verified=is_verified)
        options = {**options, "draft_model": draft.path}
    model_infos = [
        find_model_info(
            model,
            engine=engine,
            is_verified=is_verified,
            weight_format=weight_format,
            task=options["task"],
            trusts_code=bool(options.get("trust_recipe_code")),
        )
        for weight_format in dict.fromkeys(options["weight_format"]) or (None,)
    ]
    found = [
        (model_info, config)
        for model_info in model_infos
        for config in configurations(options, model_info.path, model_info.weight_format)
    ]
    for model_info, config in found:
        if not options.get("is_text_enough"):
            check_images(config, model_info)
        check_capabilities(config)
        check_lengths(config, model_info.context_tokens)
    if options["python"] is not None:
        interpreter.check_interpreter(options["python"], engine=engine)
    return tuple(Side(model_info=complete(model_info, config), config=config) for model_info, config in found)


def resolve_models(options: Mapping[str, Any]) -> tuple[Side, ...]:
    """Return what `resolve_configurations` does for each of several models, one after the other."""
    models = options["model"]
    models = (models,) if isinstance(models, str) else models or (None,)
    return tuple(side for model in models for side in resolve_configurations({**options, "model": model}))


def resolve_one(
    options: Mapping[str, Any],
    *,
    refusal: str,
    hint: str = "give one value each",
    resolve: Resolve = resolve_models,
) -> Side:
    """Return the one configuration that options describe, and its model.

    Raises InputError where it is a sweep: *refusal*, in which ``{}`` is the number of its configurations.
    """
    found = resolve(options)
    if len(found) != 1:
        raise InputError(refusal.format(len(found)), hint=hint)
    return found[0]


def check_locations(cells: Sequence[RunConfig], *, is_strict: bool) -> None:
    """Find every configuration's placement before anything is loaded; warn, loudly, where nothing will be split.

    Warns of limits that will slow the process down, too.

    Raises ``MachineError`` where the machine has less than is requested, and under *is_strict* where tensor
    parallelism would split nothing.
    """
    found = [(config, pinning.find_placement(config)) for config in cells]
    _warn_of_limits([(config, len(pinned.cpus)) for config, pinned in found])
    sentences = [pinning.warn_of_no_split(config, pinned) for config, pinned in found]
    for sentence in dict.fromkeys(filter(None, sentences)):
        if is_strict:
            raise MachineError(
                sentence,
                hint="run it on a machine of two sockets, or without --strict: its rows are marked then",
            )
        _shout("TENSOR PARALLELISM WILL DO NOTHING HERE", f"{sentence}. Every row is marked {MARK}.")


def _warn_of_limits(cells: Sequence[tuple[RunConfig, int]]) -> None:
    """Refuse threads beyond a CPU quota; warn, once each, of limits that will stop or slow requests."""
    found = read_resource_limits()
    for config, _ in cells:
        limits.check_quota(config)
    sentences = (
        sentence for config, cpus in cells for sentence in limits.limit_warnings(config, found, cpus)
    )
    for sentence in dict.fromkeys(sentences):
        warn(sentence)


def _shout(title: str, sentence: str) -> None:
    text = folded(f"!!! {title}: {sentence}", err=True)
    click.echo(click.style(text, fg="red", bold=True) if "NO_COLOR" not in os.environ else text, err=True)
