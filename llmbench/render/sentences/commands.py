"""Command lines that measure again what was measured."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.settings.base import Setting, ValueKind
from llmbench.schema.settings.serving import CONSTANT, LOAD_PARAMETERS, LOAD_SETTINGS, LOAD_TIMEOUT_S
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


def run_command(
    config: RunConfig, launches: int, run_file: str = "", *, workload: WorkloadSettings | None = None
) -> str:
    """Return the command line that measures a configuration again with this many launches.

    Prompts of a prompt file are read from the *run_file*, which contains the texts of those that were selected. The
    *workload* is that of its run.
    """
    if workload is not None and workload.is_concurrent:
        parts = [
            "llmbench",
            "load",
            *_target(config),
            *_spelled(_load_options(config)),
            *_shared_options(workload),
        ]
    else:
        parts = ["llmbench", "run", *_measured(config, run_file)]
    return shlex.join([*parts, "--launches", str(launches)])


def bisect_command(config: RunConfig, package: str, versions: tuple[str, str], run_file: str = "") -> str:
    """Return the command line that finds the version of a package between two that changed a configuration."""
    span = f"{package}=={'..'.join(versions)}"
    return shlex.join(["llmbench", "bisect", span, *_measured(config, run_file)])


def _target(config: RunConfig) -> list[str]:
    """The option that names what is put under load."""
    if config.server is None:
        return ["--engine", config.engine]
    return ["--url" if "://" in config.server else "--server", config.server]


_TARGETS = ("--url", "--server", "--engine")
"""The options that name it, in the order in which two of them are A and B."""

_ALWAYS = {"-ic": "output_tokens", "-n": "iterations", "--warmups": "warmups"}
"""Options whose default is another one under load."""


def _load_options(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """The options of one configuration of a load, but for what is put under it."""
    levels = {
        setting.flags[0]: (_plain(value),)
        for setting in LOAD_SETTINGS
        if setting.sweep is not None and (value := getattr(config, str(setting.field))) is not None
    }
    others = {
        option: words
        for option, words in _options(config).items()
        if option not in {"--engine", "--attention"}
    }
    always = {option: (str(getattr(config, field)),) for option, field in _ALWAYS.items()}
    lengths = {"--input-tokens": (str(config.prompts[0].tokens),)}
    return {"-m": (config.model,), **levels, **lengths, **others, **always}


def _shared_options(workload: WorkloadSettings) -> list[str]:
    """The options that all configurations of a load share."""
    found = workload.parameters
    parts = [
        part
        for name, setting in LOAD_PARAMETERS.items()
        if found.get(name)
        for part in (setting.flags[0], "inf" if found[name] == CONSTANT else _plain(found[name]))
    ]
    timeout_s = found.get("timeout_s", LOAD_TIMEOUT_S)
    return parts if timeout_s == LOAD_TIMEOUT_S else [*parts, "--timeout", _plain(timeout_s)]


def _plain(value: object) -> str:
    return str(value).removesuffix(".0")


def _spelled(options: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Options with their values; a flag has none."""
    return [
        part
        for option, values in options.items()
        for part in ([p for v in values for p in (option, v)] or [option])
    ]


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
    return ["-m", config.model, *_prompt_options(config, run_file), *_spelled(_options(config))]


def ab_command(
    base: RunConfig,
    candidate: RunConfig,
    blocks: int,
    run_file: str = "",
    *,
    workload: WorkloadSettings | None = None,
) -> str | None:
    """Return the command line that measures two configurations again in this many blocks.

    An option that is given twice has the first value for the base. ``None`` where they differ in what
    no option can say of one side alone, and where there are adapters, of which one side may have several. The
    *workload* is that of their run.
    """
    if base.lora or candidate.lora:
        return None
    if workload is not None and workload.is_concurrent:
        targets = [_target(each) for each in (base, candidate)]
        options = _on_both_sides(_load_options(base), _load_options(candidate))
        if options is None or targets != sorted(targets, key=lambda target: _TARGETS.index(target[0])):
            return None
        first, second = targets
        parts = [*first, *(second if second != first else ()), *options, *_shared_options(workload)]
    else:
        options = _on_both_sides(_options(base), _options(candidate))
        if options is None:
            return None
        models = _twice("-m", base.model, candidate.model)
        parts = [*models, *_prompt_options(candidate, run_file), *options]
    return shlex.join(["llmbench", "ab", *parts, "--blocks", str(blocks)])


def _on_both_sides(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> list[str] | None:
    """The options of two sides; ``None`` where no option can say what sets them apart."""
    absent = {
        each.flags[0]: _words(each, default) for each in _SETTINGS if (default := _default(each)) is not None
    }
    parts: list[str] = []
    for option in dict.fromkeys((*before, *after)):
        one, other = before.get(option), after.get(option)
        if one == other == ():
            parts.append(option)
            continue
        one, other = one or absent.get(option), other or absent.get(option)
        if not one or not other:
            return None
        parts += _twice(option, *one, *other)
    return parts


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
