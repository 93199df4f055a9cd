"""Command lines that measure again what was measured."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from typing import Any

from llmbench.schema.config import RunConfig
from llmbench.schema.settings.base import Setting, ValueKind
from llmbench.schema.settings.table import PARAMETERS, SETTINGS
from llmbench.schema.tasks import QUESTIONS
from llmbench.schema.units import format_list

_ELSEWHERE = frozenset({"model", "weight_format", "launches"})
"""Fields that a command names by itself; the weight format is that of the model's own folder."""

_LAST = (ValueKind.NEGATED_FLAG, ValueKind.PROPERTIES, ValueKind.TEXTS, ValueKind.NUMBERS)
_FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}
_SETTINGS = sorted(
    (each for each in SETTINGS if each.field and each.field not in _ELSEWHERE),
    key=lambda each: (
        _LAST.index(each.kind) if each.kind in _LAST else -1,
        list(_FIELDS).index(str(each.field)),
    ),
)


def run_command(config: RunConfig, launches: int, run_file: str = "") -> str:
    """Return the command line that measures a configuration again with so many launches.

    Prompts of a prompt file are read from the *run_file*, which holds the texts of those that were selected.
    """
    if config.server is not None:
        return load_command(config, launches)
    return shlex.join(["llmbench", "run", *_measured(config, run_file), "--launches", str(launches)])


def bisect_command(config: RunConfig, package: str, versions: tuple[str, str], run_file: str = "") -> str:
    """Return the command line that finds the version of a package between two that changed a configuration."""
    span = f"{package}=={'..'.join(versions)}"
    return shlex.join(["llmbench", "bisect", span, *_measured(config, run_file)])


def load_command(config: RunConfig, launches: int, other: RunConfig | None = None) -> str:
    """Return the command line that puts a server under the same load again, and beside it that of an *other* side."""
    parts = ["llmbench", "load"]
    for option, of in _LOAD_OPTIONS.items():
        values = dict.fromkeys(of(each) for each in (config, other or config))
        if option == "--server":
            options = ("--url" if "://" in str(server) else "--server" for server in values)
            parts += [part for pair in zip(options, map(str, values), strict=True) for part in pair]
        elif values.keys() != {None}:
            parts += [option, ",".join(map(str, values))]
    return shlex.join([*parts, "--launches", str(launches)])


_LOAD_OPTIONS: dict[str, Callable[[RunConfig], object]] = {
    "--server": lambda config: config.server,
    "-m": lambda config: config.model,
    "--concurrency": lambda config: config.concurrency,
    "--request-rate": lambda config: config.request_rate,
    "--input-tokens": lambda config: config.prompts[0].tokens,
    "-ic": lambda config: config.output_tokens,
    "-n": lambda config: config.iterations,
}
"""The options of a load that its configuration keeps."""


def tuned_properties(config: RunConfig) -> str:
    """Return the OpenVINO properties of a configuration as JSON for ``-lc``, its number of threads among them."""
    threads = {} if config.threads is None else {"INFERENCE_NUM_THREADS": config.threads}
    return json.dumps({**config.properties, **threads}, indent=2) + "\n"


def recipe_text(config: RunConfig) -> str:
    """Return a configuration as a recipe: its model, and the settings that are not at their defaults."""
    lines = [f"model = {json.dumps(config.model)}"]
    for setting in _SETTINGS:
        value = _options(config).get(setting.flags[0])
        if value is not None and setting.field != "properties":
            name = setting.name.replace("_", "-")
            lines.append(f"{name} = {json.dumps(value[0] if len(value) == 1 else list(value) or True)}")
    if config.properties:
        lines += ["", "[properties]", *(f"{k} = {json.dumps(v)}" for k, v in config.properties.items())]
    return "\n".join(lines) + "\n"


def _measured(config: RunConfig, run_file: str) -> list[str]:
    """The options that say what to measure."""
    parts = ["-m", config.model, *_prompt_options(config, run_file)]
    for option, values in _options(config).items():
        parts += [part for value in values for part in (option, value)] or [option]
    return parts


def ab_command(base: RunConfig, candidate: RunConfig, blocks: int, run_file: str = "") -> str | None:
    """Return the command line that measures two configurations again in so many blocks.

    An option that is given twice has the first value for the base. ``None`` where they differ in what
    no option can say of one side alone, and where there are adapters, of which one side may have several.
    """
    if base.lora or candidate.lora or base.server or candidate.server:
        return None
    before, after = _options(base), _options(candidate)
    absent = {
        each.flags[0]: _words(each, default) for each in _SETTINGS if (default := _default(each)) is not None
    }
    parts = [
        "llmbench",
        "ab",
        *_twice("-m", base.model, candidate.model),
        *_prompt_options(candidate, run_file),
    ]
    for option in dict.fromkeys((*before, *after)):
        one, other = before.get(option), after.get(option)
        if one == other == ():
            parts.append(option)
            continue
        one, other = one or absent.get(option), other or absent.get(option)
        if not one or not other:
            return None
        parts += _twice(option, *one, *other)
    return shlex.join([*parts, "--blocks", str(blocks)])


def _twice(option: str, base: str, candidate: str) -> list[str]:
    """An option once where both sides have the same value, else twice."""
    return [option, base] if base == candidate else [option, base, option, candidate]


def _options(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """The options that are not at their defaults, with their values; a flag has none."""
    found = {}
    for setting in _SETTINGS:
        value = getattr(config, str(setting.field))
        if setting.field == "attention":
            is_default = not config.is_attention_fixed and value == config.engine_info.default_attention
        else:
            is_default = value == _default(setting)
        if not is_default:
            found[setting.flags[0]] = _words(setting, value)
    if not config.task_info.is_generating:
        found.pop("-ic", None)
    parameters = (each for each in PARAMETERS if each.name in config.parameters)
    return found | {each.flags[0]: _words(each, config.parameters[each.name]) for each in parameters}


def _default(setting: Setting) -> Any:
    field = _FIELDS[str(setting.field)]
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _words(setting: Setting, value: Any) -> tuple[str, ...]:
    match setting.kind:
        case ValueKind.FLAG | ValueKind.NEGATED_FLAG:
            return ()
        case ValueKind.PROPERTIES:
            return (json.dumps(dict(value)),)
        case ValueKind.RANGES:
            return (format_list(value),) if value else ()
        case ValueKind.TEXTS:
            return tuple(value)
        case ValueKind.NUMBERS:
            return tuple(str(each).removesuffix(".0") for each in value)
    return (str(value),)


def _image_options(config: RunConfig) -> list[str]:
    """The images that go in with every prompt, and their sizes."""
    paths = dict.fromkeys(image.path for prompt in config.prompts for image in prompt.images)
    sizes = dict.fromkeys(size for prompt in config.prompts if (size := prompt.image_size))
    given = [part for path in paths for part in ("--images", path)]
    return [*given, "--image-size", ",".join(sizes)] if given else []


def _prompt_options(config: RunConfig, run_file: str) -> list[str]:
    first = config.prompts[0]
    same = [] if first.is_permuted else ["--disable-prompt-permutation"]
    if first.set == QUESTIONS:
        return []
    if first.audio is not None and first.set == "sound":
        return [part for each in config.prompts if each.audio for part in ("--media", each.audio.path)]
    if first.recorded_sha256 is not None:
        return ["-pf", first.set, *same]
    if first.tokens is not None:
        return ["--input-tokens", ",".join(str(prompt.tokens) for prompt in config.prompts), *same]
    if first.set == "text" and not (first.images and run_file):
        texts = dict.fromkeys(prompt.text or "" for prompt in config.prompts)
        return [*(part for text in texts for part in ("-p", text)), *_image_options(config), *same]
    return ["-pf", run_file or first.set, *same]
