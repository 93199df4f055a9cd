"""What the options ask for, found on this machine: the model, and the configurations to measure it in."""

import dataclasses

from llmbench import interpreter, recording
from llmbench.cli.configuration import Asked, configurations
from llmbench.config import RunConfig
from llmbench.engines.abilities import check_abilities
from llmbench.errors import InputError
from llmbench.recording import Subject


def find(asked: Asked) -> tuple[Subject, tuple[RunConfig, ...]]:
    """The model and the configurations, one or the cells of a sweep; nothing is loaded.

    Raises:
        InputError: no model there, or something that it or its engine cannot do.
        MachineError: an interpreter of another environment that cannot run a worker.
    """
    if not asked.model:
        raise InputError("no model was given", hint="name an IR folder or a GGUF file with -m")
    is_verified = not asked.no_verify
    subject = recording.find_subject(asked.model, engine=asked.engine, is_verified=is_verified)
    if asked.draft_model:
        draft = recording.find_subject(asked.draft_model, engine="genai", is_verified=is_verified)
        asked = dataclasses.replace(asked, draft_model=draft.path)
    cells = configurations(asked, subject.path)
    for config in cells:
        check_abilities(config)
        recording.check_lengths(config, subject.context_tokens)
    if asked.python is not None:
        interpreter.check(asked.python, engine=asked.engine)
    return subject, cells
