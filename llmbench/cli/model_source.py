"""From a model's name to what can be measured: a hub's model or a Hugging Face folder is converted once, and kept."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from llmbench.cli.convert import convert_once
from llmbench.cli.messages import shown
from llmbench.cli.retrieval_source import with_retrieval_models
from llmbench.convert import library
from llmbench.errors import InputError, LlmbenchError
from llmbench.models import hub
from llmbench.models.ir_task import check_causal
from llmbench.schema.engines import ENGINES, ModelKind
from llmbench.schema.tasks import DEFAULT_TASK


def prepared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with each model that needs it converted; *model* is a tuple where there are several.

    Raises:
        LlmbenchError: the hub cannot be reached, has no such model, or the model cannot be converted.
    """
    options = with_retrieval_models(options)
    given = options.get("model") or ()
    models = (given,) if isinstance(given, str) else tuple(given)
    engine, formats = ENGINES.get(str(options.get("engine") or "genai")), _formats(options)
    if engine is None or ModelKind.SCRIPT in engine.models or not any(map(library.is_source, models)):
        return dict(options)
    if ModelKind.IR not in engine.models and ModelKind.HUGGING_FACE not in engine.models:
        raise InputError(f"{engine.title} needs a GGUF file; {models[0]} is none", hint="give -m FILE.gguf")
    if ModelKind.HUGGING_FACE in engine.models:
        return {**options, "model": _single(tuple(map(_fetched, models)))}
    if (options.get("task") or DEFAULT_TASK) == DEFAULT_TASK:
        for folder in filter(Path.is_dir, (Path(model).expanduser() for model in models)):
            check_causal(folder)
    found: list[str] = []
    for model in models:
        found += map(str, _converted(model, formats)) if library.is_source(model) else [model]
    are_all = all(map(library.is_source, models))
    return {**options, "model": _single(tuple(found))} | ({"weight_format": ()} if are_all else {})


def converted_gguf(model: str) -> str:
    """Return the IR of a GGUF file, which is made once and kept in the cache; any other model as it is."""
    path = Path(model).expanduser()
    if not path.is_file():
        return model
    found = library.find_gguf_conversion(path)
    if found is None:
        (found,) = convert_once(library.gguf_request(path), model)
    return str(found)


def would_convert(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the models that would have to be converted before they are measured."""
    models = options.get("model") or ()
    models = (models,) if isinstance(models, str) else models
    engine = ENGINES[options["engine"]]
    if ModelKind.SCRIPT in engine.models or ModelKind.HUGGING_FACE in engine.models:
        return ()
    formats = _formats(options)
    return tuple(m for m in models if library.is_source(m) and not library.find_conversions(m, formats))


def _formats(options: Mapping[str, Any]) -> tuple[str, ...]:
    found = options.get("weight_format") or ()
    return (found,) if isinstance(found, str) else tuple(dict.fromkeys(found))


def _single(models: tuple[str, ...]) -> str | tuple[str, ...]:
    return models[0] if len(models) == 1 else models


def _fetched(model: str) -> str:
    if not library.is_hub_name(model):
        return model
    click.echo(shown(f"fetching {model}"), err=True)
    found = hub.find_model(model, revision=None, with_code=False)
    return str(hub.download(found, report=lambda _progress: None))


def _converted(model: str, formats: tuple[str, ...]) -> tuple[Path, ...]:
    found = library.find_conversions(model, formats)
    if found:
        return found
    try:
        return tuple(convert_once(library.library_request(model, formats), model))
    except LlmbenchError as error:
        raise _with_command(error, model, formats) from error


def _with_command(error: LlmbenchError, model: str, formats: tuple[str, ...]) -> LlmbenchError:
    """The error with the command that does the step by itself, where it can be typed."""
    if isinstance(error, hub.UnreachableError):
        command = ["llmbench", "convert", "--model-id", model, "--output-dir", "models", "--weight-format"]
        command.append(",".join(formats or (library.DEFAULT_FORMAT,)))
        error.hint = f"when online: {shlex.join(command)}; or name an IR folder or a GGUF file with -m"
    return error
