"""A pipeline's networks to OpenVINO IR: a folder a stage with its manifest, and a recipe that uses them.

Every stage is compared with the network it was made from, on the values that the recipe's first prompt has there.
"""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.convert import vectors
from llmbench.engines.openvino.device import import_openvino
from llmbench.engines.openvino.networks import read_network
from llmbench.engines.openvino.pipeline import CompiledStage, PipelineEngine
from llmbench.engines.openvino.programs import run_program
from llmbench.errors import InputError, OutputError, StrictError
from llmbench.files.atomic import write_atomically
from llmbench.files.cache import file_sha256
from llmbench.machine import environment
from llmbench.models.integrity import MODEL_XML
from llmbench.models.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    ModelSource,
    Recipe,
    Timings,
    record_files,
    write_manifest,
)
from llmbench.models.pipeline import PROGRAM_SUFFIX, RANDOM, PipelineFiles, find_pipeline
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.pipeline import PipelineStage
from llmbench.schema.progress import Progress, ProgressCallback
from llmbench.workloads.base import LaunchContext
from llmbench.workloads.pipeline import OpenPipeline

LEAST_STAGE_COSINE = 0.95
"""A stage whose output has a smaller cosine with that of its source is not what was to be converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedStage:
    """A stage that was converted: its folder, and the cosine of its outputs with those of its source.

    One that repeats is not compared: a rounding of one step changes what goes into the next. Its *cosine* is ``None``.
    """

    name: str
    folder: Path
    size_bytes: int
    cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedPipeline:
    """The recipe that uses the converted stages, and these."""

    recipe: Path
    stages: tuple[ConvertedStage, ...]


def is_pipeline(model: str) -> bool:
    """Return whether a model's name is that of a pipeline's recipe."""
    path = Path(model)
    return path.suffix == ".toml" and path.is_file() and "[[stages]]" in path.read_text(encoding="utf-8")


def convert_pipeline(
    path: Path,
    output: Path,
    *,
    text: str,
    weight_format: str,
    report: ProgressCallback,
    trusts_code: bool = False,
) -> ConvertedPipeline:
    """Write each network of a recipe as IR below *output*, compare it on *text*, and write the recipe for them.

    *weight_format* is ``fp16`` or ``fp32``: how constants are stored.

    Raises:
        InputError: a recipe that is wrong, code that is not trusted, or *output* that is there already.
        StrictError: a stage that gives other values than its source.
    """
    found = find_pipeline(path, trusts_code=trusts_code)
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} exists and is not empty", hint="choose another --output-dir")
    config = RunConfig(
        model=str(path),
        task="pipeline",
        engine="pipeline",
        attention="sdpa",
        output_tokens=0,
        properties={"INFERENCE_PRECISION_HINT": "f32"},
        prompts=(Prompt(set="convert", index=0, text=text),),
        trusts_recipe_code=trusts_code,
    )
    report(Progress(label="running the source"))
    values = _values(found, config, output)
    stages = tuple(
        _convert_stage(stage, found, config, _Work(output, weight_format, values, report))
        for stage in found.recipe.stages
        if stage.name in found.models
    )
    recipe = output / path.name
    write_atomically(recipe, _with_stages(path.read_text(encoding="utf-8"), found))
    for file in _local_files(found):
        shutil.copyfile(path.parent / file, output / file)
    return ConvertedPipeline(recipe=recipe, stages=stages)


@dataclass(frozen=True, slots=True)
class _Work:
    """Where stages are written and how, and what the source made of the text."""

    output: Path
    weight_format: str
    values: Mapping[str, Any]
    report: ProgressCallback


def _values(found: PipelineFiles, config: RunConfig, folder: Path) -> Mapping[str, Any]:
    """Every value of one request through the source; what it writes goes into *folder*."""
    session = PipelineEngine().open(config)
    work = OpenPipeline(config, session, LaunchContext(index=0, beat=lambda *_: None, folder=folder))
    request = work.prepare(0, 0)
    request.run()
    faults = [fault for fault in request.observe().suspicions if "compiled" not in fault]
    if faults:
        raise InputError(f"{found.recipe.name}: {faults[0]}", hint="the source itself is not right")
    return request.values


def _convert_stage(
    stage: PipelineStage, found: PipelineFiles, config: RunConfig, work: _Work
) -> ConvertedStage:
    """Save the network of a stage, compare it, and write its manifest."""
    work.report(Progress(label=f"converting {stage.name}"))
    folder, start = work.output / stage.name, time.monotonic()
    source = found.models[stage.name]
    network = read_network(source, inputs=tuple(stage.inputs), outputs=tuple(stage.outputs.values()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        import_openvino().save_model(
            network, folder / MODEL_XML, compress_to_fp16=work.weight_format == "fp16"
        )
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    exported = time.monotonic()
    cosine = _compare(stage, folder / MODEL_XML, config, source=source, values=work.values)
    files = record_files(sorted(folder.iterdir()))
    revision = None if source.startswith(RANDOM) else file_sha256(Path(source))
    name = found.recipe.name
    manifest = Manifest(
        schema=MANIFEST_SCHEMA,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=ModelSource(kind="pipeline", id=f"{name}/{stage.name}", revision=revision),
        recipe=Recipe(weight_format=work.weight_format),
        versions=environment.versions(),
        context_tokens=None,
        files=files,
        agreement=None if cosine is None else max(0.0, min(cosine, 1.0)),
        agreement_note="not compared: it repeats"
        if cosine is None
        else "cosine with the outputs of the source",
        timings=Timings(export_s=exported - start, verify_s=time.monotonic() - exported),
    )
    write_manifest(folder, manifest)
    size = sum(file.bytes for file in files.values())
    return ConvertedStage(name=stage.name, folder=folder, size_bytes=size, cosine=cosine)


def _compare(
    stage: PipelineStage, xml: Path, config: RunConfig, *, source: str, values: Mapping[str, Any]
) -> float | None:
    """The smallest cosine of an output with that of the source, for the inputs that the source had.

    What a PyTorch program gives is computed by PyTorch; of other files it is what the engine made of them.
    """
    if stage.repeat > 1:
        return None
    made = CompiledStage(stage, str(xml), config)
    rows = len(values[stage.inputs[stage.over[0]]]) if stage.over else 1
    size = stage.batch or 1 if stage.over else rows
    found: dict[str, list[Any]] = {value: [] for value in stage.outputs}
    wanted: dict[str, list[Any]] = {value: [] for value in stage.outputs}
    for first in range(0, rows, size):
        part = {
            port: values[value][first : first + size] if port in stage.over else values[value]
            for port, value in stage.inputs.items()
        }
        for value, array in made.infer(part).items():
            found[value].append(np.array(array))
        if source.endswith(PROGRAM_SUFFIX):
            given = {port: np.asarray(array, dtype=made.types[port]) for port, array in part.items()}
            own = run_program(Path(source), given, stage.outputs.values())
            for value, port in stage.outputs.items():
                wanted[value].append(own[port])
    joined = {value: _joined(arrays, stage) for value, arrays in found.items()}
    expected = {
        value: _joined(arrays, stage) if arrays else values[value] for value, arrays in wanted.items()
    }
    cosine = min(vectors.cosine(expected[value], array) for value, array in joined.items())
    if not cosine >= LEAST_STAGE_COSINE:
        raise StrictError(
            f"stage {stage.name} gives other values than its source (cosine {cosine:.3f})",
            hint="use --weight-format fp32",
        )
    return cosine


def _joined(arrays: list[Any], stage: PipelineStage) -> Any:
    return np.concatenate(arrays) if stage.over else arrays[0]


def _with_stages(text: str, found: PipelineFiles) -> str:
    """The recipe's text with the IR of each converted stage in place of its model."""
    head, *blocks = re.split(r"(?m)^(?=\[\[stages\]\])", text)
    return head + "".join(_with_model(block, found) for block in blocks)


def _with_model(block: str, found: PipelineFiles) -> str:
    name = re.search(r'(?m)^name\s*=\s*"(\w+)"', block)
    if name is None or name[1] not in found.models:
        return block
    return re.sub(r"(?m)^model\s*=.*$", f'model = "{name[1]}/{MODEL_XML}"', block)


def _local_files(found: PipelineFiles) -> Iterator[str]:
    """Files beside the recipe that its steps read, and its code."""
    yield from dict.fromkeys(file.name for file in found.code.values())
    for stage in found.recipe.stages:
        yield from (name for name in stage.files.values() if name not in found.recipe.parts)
