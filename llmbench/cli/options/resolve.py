"""What the options ask for, found on this machine: the models, and the configurations to measure them in."""

import dataclasses

from llmbench.cli.options.config_options import Options, configurations
from llmbench.engines.catalog import check_capabilities
from llmbench.errors import InputError
from llmbench.models.resolve import Subject, check_lengths, complete, find_subject
from llmbench.runner import interpreter
from llmbench.schema.config import RunConfig


def resolve_configurations(asked: Options) -> tuple[tuple[Subject, ...], tuple[RunConfig, ...]]:
    """The configurations, one or the cells of a sweep, and the model of each; nothing is loaded.

    Raises:
        InputError: no model there, or something that it or its engine cannot do.
        MachineError: an interpreter of another environment that cannot run a worker.
    """
    model = asked.model
    if not model:
        raise InputError("no model was given", hint="name an IR folder or a GGUF file with -m")
    if asked.draft_model:
        draft = find_subject(asked.draft_model, engine="genai", is_verified=not asked.no_verify)
        asked = dataclasses.replace(asked, draft_model=draft.path)
    found = [
        (subject, config)
        for subject in _subjects(asked, model)
        for config in configurations(asked, subject.path, subject.weight_format)
    ]
    for subject, config in found:
        check_capabilities(config)
        check_lengths(config, subject.context_tokens)
    if asked.python is not None:
        interpreter.check_interpreter(asked.python, engine=asked.engine)
    return tuple(complete(subject, config) for subject, config in found), tuple(config for _, config in found)


def _subjects(asked: Options, model: str) -> list[Subject]:
    """The model asked for, or its IR of each weight format asked for."""
    return [
        find_subject(model, engine=asked.engine, is_verified=not asked.no_verify, weight_format=weight_format)
        for weight_format in dict.fromkeys(asked.weight_format) or (None,)
    ]
