"""From options to the configurations they describe: one, or the cells of a sweep."""

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.errors import InputError
from llmbench.retrieval.database import take_password
from llmbench.runner.properties import PropertySets, read_properties, suggest
from llmbench.schema.config import Prompt, PropertyValue, RunConfig
from llmbench.schema.engines import ENGINES
from llmbench.schema.settings.any_workload import POLICY, TENSOR_PARALLEL
from llmbench.schema.settings.base import Setting, ValueKind
from llmbench.schema.settings.table import PARAMETERS, SETTINGS
from llmbench.schema.tasks import DEFAULT_TASK, RAG, SPEECH_TO_TEXT, TASKS, TEXT_TO_SPEECH, VISION_TASK
from llmbench.workloads import prompts
from llmbench.workloads.rag.questions import read_questions
from llmbench.workloads.rag.settings import demo_questions

DEFAULT_PROMPT = "What is OpenVINO?"
SPOKEN_PROMPT = "The boat came home before the storm, with the lamp still burning."
"""What is spoken where nothing else is given: words that every lexicon has."""

_SAME_EACH_TIME = ("pipeline", TEXT_TO_SPEECH, SPEECH_TO_TEXT)
"""Tasks whose iterations all have the same input: another phrase would be audio of another length."""

_FIELDS = {setting.field: setting for setting in SETTINGS if setting.field}
_KEYS = [setting for setting in SETTINGS if setting.key and setting.key != POLICY]


def configurations(
    options: Mapping[str, Any], model: str, weight_format: str | None = None
) -> tuple[RunConfig, ...]:
    """Return the configuration that options describe, or the cells of a sweep: the cross product of every list.

    *options* are those of `table.MEASUREMENT`; *model* and its *weight_format* are those of all cells.
    """
    options = _with_retrieved_chunks(options)
    fixed = {field: _value(setting, options) for field, setting in _FIELDS.items() if setting.sweep is None}
    fixed |= {"model": model, "weight_format": weight_format, "prompts": _prompts(options)}
    fixed["is_attention_fixed"] = bool(options["attention"])
    task = TASKS[options["task"]]
    base = RunConfig(**fixed, output_tokens=int(task.is_generating))
    if base.has_images:
        base = dataclasses.replace(base, task=VISION_TASK)
    lists = {
        field: _distinct(tuple(_swept_values(setting, options)), setting.flags[0])
        for field, setting in sorted(_FIELDS.items(), key=lambda item: item[1].sweep or 0)
        if setting.sweep is not None
    }
    if not task.is_generating:
        lists["output_tokens"] = (0,)
    lists["parameters"] = tuple(_parameters(options))
    return tuple(
        dataclasses.replace(base, **dict(zip(lists, values, strict=True)))
        for values in itertools.product(*lists.values())
    )


def _with_retrieved_chunks(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take --top-k of a retrieval for its chunks, as the field does, unless tokens are sampled."""
    if options["task"] != RAG or options["do_sample"] or not options["top_k"]:
        return options
    if options["retrieve_top_k"]:
        raise InputError(
            "--top-k and --retrieve-top-k were given: without --do-sample both are the chunks retrieved",
            hint="leave one of them out",
        )
    return {**options, "retrieve_top_k": options["top_k"], "top_k": ()}


def _value(setting: Setting, options: Mapping[str, Any]) -> Any:
    value = options[setting.name]
    match setting.kind:
        case ValueKind.DEVICE if value and not ENGINES[options["engine"]].is_simulated:
            return value.upper().rstrip(".:") or value  # CPU: is CPU
        case ValueKind.NEGATED_FLAG:
            return not value
        case ValueKind.PROPERTIES:
            return _single(value, setting.flags[0])
    return value


def _swept_values(setting: Setting, options: Mapping[str, Any]) -> Iterable[Any]:
    value = options[setting.name]
    if setting.kind is not ValueKind.PROPERTIES:
        return value or (
            ENGINES[options["engine"]].default_attention if setting.field == "attention" else None,
        )
    sets = _read(value, setting.flags[0])
    return (
        _swept(_with_named(each, options) for each in sets) if setting.field == "properties" else _swept(sets)
    )


def _parameters(options: Mapping[str, Any]) -> Iterator[dict[str, PropertyValue]]:
    """Every combination of what is given of the options that only this task has; the last one changes fastest."""
    given: dict[str, tuple[PropertyValue, ...]] = {}
    for setting in PARAMETERS:
        value = options[setting.name]
        if value in (None, False, ()):
            continue
        if options["task"] not in setting.tasks:
            raise InputError(
                f"{setting.flags[0]} belongs to -t {' and -t '.join(setting.tasks)}", hint="leave it out"
            )
        given[setting.name] = _distinct(value, setting.flags[0]) if isinstance(value, tuple) else (value,)
    _check_needs(given)
    if "database" in given:
        given["database"] = (take_password(str(given["database"][0])),)
    found: list[dict[str, PropertyValue]] = []
    for values in itertools.product(*given.values()):
        meant = _meant(dict(zip(given, values, strict=True)))
        if meant not in found:
            found.append(meant)
    yield from found


_NEEDS = {setting.name: setting.needs for setting in PARAMETERS if setting.needs}


def _check_needs(given: Mapping[str, Sequence[PropertyValue]]) -> None:
    """Refuse a parameter whose condition no configuration fulfils."""
    for name in given:
        needed = _NEEDS.get(name)
        if needed is not None and needed[1] not in given.get(needed[0], ()):
            raise InputError(
                f"--{name.replace('_', '-')} is for --{needed[0]} {needed[1]}", hint="leave it out"
            )


def _meant(parameters: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """The parameters that mean something together; two that differ in others alone are one configuration."""
    return {
        name: value
        for name, value in parameters.items()
        if name not in _NEEDS or parameters.get(_NEEDS[name][0]) == _NEEDS[name][1]
    }


def _distinct(values: tuple[Any, ...], option: str) -> tuple[Any, ...]:
    """The values of a sweep; raise InputError where two are equal, whose rows could not be distinguished."""
    for number, value in enumerate(values):
        if value in values[:number]:
            raise InputError(
                f"the sweep has two equal configurations: {option} gives {value} twice",
                hint="list each value once",
            )
    return values


def _prompts(options: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """The prompts, permuted each iteration or not; without any, the field's own question."""
    texts, files, lengths = (options[name] for name in ("prompt", "prompt_file", "input_tokens"))
    if sum(map(bool, (texts, files, lengths))) > 1:
        raise InputError(
            "-p, -pf and --input-tokens each name the prompts; more than one was given", hint="choose one"
        )
    if options["task"] == RAG:
        found = _questions(options)
    elif options["task"] == SPEECH_TO_TEXT:
        found = _sounds(options)
    elif lengths:
        found = prompts.synthetic(lengths, options["seed"])
    elif files:
        found = prompts.join(prompts.read_prompts(file) for file in files)
    else:
        default = SPOKEN_PROMPT if options["task"] == TEXT_TO_SPEECH else DEFAULT_PROMPT
        found = prompts.given(texts or (default,))
    if options["prompt_index"]:
        found = prompts.select(found, options["prompt_index"])
    if options["task"] != SPEECH_TO_TEXT:
        found = prompts.with_images(found, options["images"], options["image_size"])
    _check_task(options["task"], found)
    is_permuted = options["task"] not in _SAME_EACH_TIME and not options["disable_prompt_permutation"]
    return tuple(dataclasses.replace(prompt, is_permuted=is_permuted) for prompt in found)


def _sounds(options: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """The sounds of files; those of a prompt file as llm_bench has them."""
    files = options["prompt_file"]
    if options["prompt"] or options["input_tokens"] or bool(options["images"]) == bool(files):
        raise InputError(
            f"-t {SPEECH_TO_TEXT} hears sounds",
            hint='give --media FILE.wav, or -pf FILE.jsonl with lines of {"media": "FILE.wav"}',
        )
    if files:
        return prompts.join(prompts.read_sounds(file) for file in files)
    return prompts.sounds(map(Path, options["images"]))


def _check_task(task: str, found: Sequence[Prompt]) -> None:
    """Refuse a task that the prompts do not fit."""
    has_images = any(prompt.images for prompt in found)
    if task == VISION_TASK and not has_images:
        raise InputError(f"-t {task} needs an image", hint="add --images FILE")
    if has_images and task not in {DEFAULT_TASK, VISION_TASK}:
        raise InputError(f"-t {task} takes no image", hint="leave out -t, or the images")


def _questions(options: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """The questions of a file, which are one prompt, or those typed; without any, the demo's."""
    if options["prompt"]:
        return prompts.given(options["prompt"])
    if options["prompt_file"] or options["input_tokens"]:
        raise InputError("-t rag measures questions", hint="use -p QUESTION or --questions FILE.jsonl")
    return read_questions(Path(options["questions"] or demo_questions()).expanduser())


def _read(sources: tuple[str, ...], option: str) -> Iterator[PropertySets]:
    """The properties of every source together, later ones over earlier ones; of several sets each in turn."""
    for sets in itertools.product(*(read_properties(source, option=option) for source in sources)):
        yield {name: value for properties in sets for name, value in properties.items()}


def _single(sources: tuple[str, ...], option: str) -> dict[str, PropertyValue]:
    (found, *others) = _swept(_read(sources, option))
    if others:
        raise InputError(f"{option} accepts one value per key", hint="sweep --cb-config instead")
    return found


def _with_named(properties: PropertySets, options: Mapping[str, Any]) -> PropertySets:
    """The OpenVINO properties of ``-lc``, and those that have an option of their own."""
    for setting in _KEYS:
        key, value = str(setting.key), options[setting.name]
        if value and key in properties:
            raise InputError(
                f"{key} is in -lc and {setting.flags[0]} is given as well", hint="keep one of them"
            )
        if value:
            properties = {**properties, key: value}
    if not options["tensor_parallel"]:
        return properties
    policy = properties.get(POLICY, TENSOR_PARALLEL)
    if policy != TENSOR_PARALLEL:
        raise InputError(
            f"--tensor-parallel was given, and -lc sets {POLICY} to {policy!r}", hint="keep one of the two"
        )
    return {**properties, POLICY: TENSOR_PARALLEL}


def _swept(sets: Iterable[PropertySets]) -> list[dict[str, PropertyValue]]:
    """Of each set every combination of the values listed, the last key changing fastest."""
    return [
        dict(zip(properties, values, strict=True))
        for properties in sets
        for values in itertools.product(
            *(value if isinstance(value, tuple) else (value,) for value in properties.values())
        )
    ]


def option_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option that says what to measure: those given, as Python has values, the others at their defaults.

    Names are those of the command line with underscores (``input_tokens``), or fields of `RunConfig`. A number is
    a list of one, a mapping the properties of ``-lc``.

    Raises:
        InputError: an option that there is not, or a value of another type.
    """
    known = {setting.name: setting for setting in SETTINGS if not setting.engines and setting.name != "model"}
    names = {setting.field: name for name, setting in known.items() if setting.field}
    values = {"model": None} | {name: _default(setting) for name, setting in known.items()}
    for written, value in given.items():
        name = names.get(written, written)
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean {near}?" if near else f"the options are {', '.join(known)}"
            raise InputError(f"there is no option {written!r}", hint=hint)
        values[name] = _from_python(written, known[name], value)
    return values


_LISTS: dict[ValueKind, Any] = {
    ValueKind.INTEGERS: int,
    ValueKind.RANGES: int,
    ValueKind.WORDS: str,
    ValueKind.TEXTS: (str, os.PathLike),
    ValueKind.NUMBERS: (int, float),
    ValueKind.PROPERTIES: (str, os.PathLike, Mapping),
}
_SINGLE: dict[ValueKind, Any] = {
    ValueKind.FLAG: bool,
    ValueKind.NEGATED_FLAG: bool,
    ValueKind.INTEGER: int,
    ValueKind.NUMBER: (int, float),
}


def _default(setting: Setting) -> Any:
    default = next(
        (each.default for each in dataclasses.fields(RunConfig) if each.name == setting.field), None
    )
    if setting.kind in {ValueKind.FLAG, ValueKind.NEGATED_FLAG}:
        return False
    if setting.kind is ValueKind.INTEGERS and default is not None:
        return (default,)
    return () if setting.kind in _LISTS else default


def _from_python(name: str, setting: Setting, value: Any) -> Any:
    wrong = InputError(
        f"{name}={value!r} is not a value of this option", hint=f"as {setting.flags[0]}: {setting.help}"
    )
    kinds = _LISTS.get(setting.kind)
    if kinds is None:
        return _plain(value, _SINGLE.get(setting.kind, (str, os.PathLike)), wrong)
    if isinstance(value, kinds) or not isinstance(value, Iterable):
        return (_plain(value, kinds, wrong),)
    return tuple(_plain(each, kinds, wrong) for each in value)


def _plain(value: Any, kinds: Any, wrong: InputError) -> Any:
    """A value as a command line has it, if it is of these types; true and false are not numbers."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise wrong
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    return os.fspath(value) if isinstance(value, os.PathLike) else value
