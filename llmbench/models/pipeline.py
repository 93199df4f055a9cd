"""A pipeline's recipe, read and checked before anything is loaded: its wiring, and the files of its stages.

Whatever is wrong is named with the stage it is in. Parts of packages are fetched when they are first needed.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmbench.errors import InputError
from llmbench.files.cache import cache_folder, combined_sha256, file_sha256
from llmbench.models.parts import fetch_part
from llmbench.schema.pipeline import PROMPT, STEPS, PipelineRecipe, PipelineStage
from llmbench.schema.run import Provenance

PIPELINE_TABLES = ("pipeline", "parts", "constants", "stages")
"""The tables of a recipe that describe its pipeline; all other keys are options."""

RANDOM = "random:"
"""How the name of a network with random weights begins."""

MOST_REPEATS = 10_000
"""A stage that repeats more often is taken for a loop without an end."""

PROGRAM_SUFFIX = ".pt2"
"""How the name of a PyTorch program ends, written by ``torch.export.save``."""

_MODEL_SUFFIXES = (".xml", ".onnx", ".tflite", PROGRAM_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFiles:
    """A recipe and the files that its stages use: *models* by stage, *files* by stage and name, *code* by stage."""

    recipe: PipelineRecipe
    path: Path
    models: Mapping[str, str]
    files: Mapping[str, Mapping[str, Path]]
    code: Mapping[str, Path]


def parts_folder() -> Path:
    """Where parts are kept, below the user's cache folder."""
    return cache_folder() / "parts"


def read_pipeline(path: Path) -> PipelineRecipe:
    """Return the pipeline that a recipe describes, its wiring checked.

    Raises:
        InputError: no recipe of a pipeline, an unknown key, a value of another type, or an input that nothing gives.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    if "stages" not in table:
        raise InputError(
            f"{path} describes no pipeline: it has no [[stages]]", hint="see docs/pipelines.md for a recipe"
        )
    about = table.get("pipeline", {})
    if isinstance(about, dict):
        about = {"name": path.stem, **about}
    named: dict[str, object] = {
        name: table[name] for name in ("parts", "constants", "stages") if name in table
    }
    try:
        recipe = msgspec.convert({**about, **named}, PipelineRecipe)
    except (msgspec.ValidationError, TypeError) as error:
        raise InputError(
            f"{path}: {_located(str(error), named)}", hint="docs/pipelines.md lists the keys"
        ) from None
    for fault in _faults(recipe):
        raise InputError(f"{path}: {fault}", hint="docs/pipelines.md describes stages")
    return recipe


def _located(message: str, table: Mapping[str, object]) -> str:
    """A decoder's message, the stage by its name in place of its number."""
    stages = table["stages"]
    for number, stage in enumerate(stages if isinstance(stages, list) else ()):
        name = stage.get("name") if isinstance(stage, dict) else None
        message = message.replace(f"$.stages[{number}]", f"stage {name or number + 1}")
    lacks = re.sub(r"^Object missing required field `(\w+)`$", r"[pipeline] has no `\1`", message)
    return lacks.replace("`", "").replace("$.", "")


def _faults(recipe: PipelineRecipe) -> Iterator[str]:
    """What is wrong with the wiring: each stage uses only what was there before it."""
    known = {PROMPT, *recipe.constants}
    names: set[str] = set()
    for stage in recipe.stages:
        if stage.name in names or not stage.name.isidentifier():
            yield f"stage {stage.name!r}: a name is a word of letters, digits and _, and each stage has its own"
        names.add(stage.name)
        yield from (f"stage {stage.name}: {fault}" for fault in _stage_faults(stage, recipe, known))
        known |= set(stage.outputs)
    if recipe.product.value not in known - {PROMPT, *recipe.constants}:
        yield f"the product {recipe.product.value!r} is the output of no stage"
    if recipe.product.kind not in {"audio", "frames"}:
        yield f"the product is of kind {recipe.product.kind!r}; it can be audio or frames"
    if recipe.product.kind == "audio" and not recipe.product.sample_rate:
        yield "a product of audio needs its sample_rate"


def _stage_faults(stage: PipelineStage, recipe: PipelineRecipe, known: set[str]) -> Iterator[str]:
    if sum(map(bool, (stage.model, stage.step, stage.code))) != 1:
        yield "a stage is a model, a step, or code: give one of them"
    if stage.step and stage.step not in STEPS:
        yield f"step {stage.step!r} is unknown; choose one of {', '.join(STEPS)}"
    if not stage.outputs:
        yield "it has no outputs"
    for port, value in stage.inputs.items():
        if value not in known:
            yield f"input {port!r} takes {value!r}, which no constant and no earlier stage gives"
    for value in known.intersection(stage.outputs):
        yield f"output {value!r} is there already"
    yield from _model_faults(stage, recipe)
    yield from _loop_faults(stage)


def _model_faults(stage: PipelineStage, recipe: PipelineRecipe) -> Iterator[str]:
    model = stage.model or RANDOM
    if not (model in recipe.parts or model.startswith(RANDOM) or Path(model).suffix in _MODEL_SUFFIXES):
        yield f"model {model!r} is neither a part, nor an .xml, .onnx, .tflite or .pt2 file, nor {RANDOM}NAME"


def _loop_faults(stage: PipelineStage) -> Iterator[str]:
    if not 1 <= stage.repeat <= MOST_REPEATS:
        yield f"it repeats {stage.repeat} times; a loop ends after 1 to {MOST_REPEATS}"
    if stage.batch is not None and stage.batch < 1:
        yield f"a batch of {stage.batch}; at least 1 is needed"
    for port in {*stage.over, *stage.feedback}.difference(stage.inputs):
        yield f"{port!r} is not an input of it"
    for output in set(stage.feedback.values()).difference(stage.outputs):
        yield f"{output!r} is fed back and is not an output of it"
    if stage.over and (stage.repeat > 1 or stage.feedback):
        yield "it runs over rows, or repeats: not both"


def running_stage(recipe: PipelineRecipe, calls: int) -> str:
    """Return the stage that runs after this many calls have ended, or the first that it may be."""
    for stage in recipe.stages:
        if stage.over and calls:  # how often it runs is known only to its inputs
            return f"{stage.name} or a later one"
        if calls < stage.repeat:
            return stage.name
        calls -= stage.repeat
    return recipe.stages[-1].name


def find_pipeline(path: Path, *, trusts_code: bool = False) -> PipelineFiles:
    """Return a recipe with the files of its stages, its parts fetched where they are not in the cache.

    Raises:
        InputError: a recipe that is wrong, a file that is missing, or code that is not trusted.
        MachineError: a part that cannot be had.
    """
    recipe = read_pipeline(path)
    stages = recipe.stages
    return PipelineFiles(
        recipe=recipe,
        path=path,
        models={
            each.name: _model(each, recipe, path, trusts_code=trusts_code) for each in stages if each.model
        },
        files={
            each.name: {name: _file(each, value, recipe, path) for name, value in each.files.items()}
            for each in stages
        },
        code={
            each.name: _code(each, path, trusts_code=trusts_code) for each in stages if each.code is not None
        },
    )


def _model(stage: PipelineStage, recipe: PipelineRecipe, path: Path, *, trusts_code: bool) -> str:
    model = stage.model or ""
    if model.endswith(PROGRAM_SUFFIX) and not trusts_code:
        raise InputError(
            f"{path}: stage {stage.name} reads {model}, a file of PyTorch, which may run code when it is read",
            hint="if it is from somebody you trust, add --trust-recipe-code",
        )
    return model if model.startswith(RANDOM) else str(_file(stage, model, recipe, path))


def _file(stage: PipelineStage, name: str, recipe: PipelineRecipe, path: Path) -> Path:
    part = recipe.parts.get(name)
    if part is not None:
        return fetch_part(
            part,
            parts_folder() / part.sha256[:12],
            title=f"part {name} of {recipe.name}",
            hint=f"go online once, or put {part.name or Path(part.file).name} into {parts_folder() / part.sha256[:12]}",
        )
    found = path.parent / name
    if not found.is_file():
        raise InputError(
            f"{path}: stage {stage.name}: {found} was not found", hint="paths are relative to the recipe"
        )
    return found


def _code(stage: PipelineStage, path: Path, *, trusts_code: bool) -> Path:
    module, _, function = (stage.code or "").partition(":")
    if not module.isidentifier() or not function.isidentifier():
        raise InputError(f"{path}: stage {stage.name}: code is written module:function, not {stage.code!r}")
    file = path.parent / f"{module}.py"
    if not file.is_file():
        raise InputError(
            f"{path}: stage {stage.name}: {file} was not found", hint="code is beside its recipe"
        )
    if not trusts_code:
        raise InputError(
            f"{path}: stage {stage.name} runs {file}, which may do anything on this machine",
            hint="read it, then add --trust-recipe-code",
        )
    return file


def pipeline_provenance(found: PipelineFiles) -> Provenance:
    """Return where a pipeline came from: a hash over its description and every file that it uses."""
    text = msgspec.json.encode(found.recipe, order="deterministic")
    digests = {"recipe": hashlib.sha256(text).hexdigest()}
    digests |= {
        f"model {name}": file_sha256(Path(model))
        for name, model in found.models.items()
        if not model.startswith(RANDOM)
    }
    digests |= {
        f"{stage} {name}": file_sha256(file)
        for stage, files in found.files.items()
        for name, file in files.items()
    }
    code = tuple((f"code of {stage}", file_sha256(file)) for stage, file in found.code.items())
    content = combined_sha256(digests | dict(code))
    return Provenance(
        path=str(found.path),
        known=True,
        source="pipeline",
        source_id=found.recipe.name,
        content_sha256=content,
        stamp=content,
        companions=code,
    )
