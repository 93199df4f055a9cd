"""What is measured: a model found on this machine, its files compared with their manifest."""

import dataclasses
import hashlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from llmbench.errors import InputError
from llmbench.files.cache import file_sha256
from llmbench.models import locate, nan_check, sources
from llmbench.models.context import context_of_config
from llmbench.models.gguf_file import check_gguf_supported, gguf_parts
from llmbench.models.ir_task import check_causal
from llmbench.models.pipeline import find_pipeline, pipeline_provenance
from llmbench.models.quantization import check_readable
from llmbench.schema.config import RunConfig, weight_format_of
from llmbench.schema.engines import ENGINES, Capability, EngineInfo, ModelKind
from llmbench.schema.run import Provenance
from llmbench.schema.tasks import DEFAULT_TASK, TASKS

ADAPTER = "adapter_model.safetensors"
"""The weights of a LoRA adapter in a folder that peft has written."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is measured: the path handed to the engine, and what is known of it.

    *weight_format* is what it goes by among IRs of the same source; ``None``: unknown. *faults* are
    sentences on weights for which no request counts: those of the model, and of a draft that guesses for it. A
    vision-language model *takes_images*; ``None`` where that does not matter.
    """

    path: str
    provenance: Provenance
    context_tokens: int | None = None
    weight_format: str | None = None
    faults: tuple[str, ...] = ()
    takes_images: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is measured, alone or beside others: a configuration, and the model that was found for it."""

    model_info: ModelInfo
    config: RunConfig

    def changed(self, **changes: Any) -> Self:
        """Return it with these changes of its configuration."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))

    def with_faults(self, faults: Iterable[str]) -> Self:
        """Return it with more reasons why no request of it counts."""
        model_info = dataclasses.replace(self.model_info, faults=(*self.model_info.faults, *faults))
        return dataclasses.replace(self, model_info=model_info)


def find_model_info(
    model: str,
    *,
    engine: str,
    is_verified: bool = True,
    weight_format: str | None = None,
    task: str = DEFAULT_TASK,
    trusts_code: bool = False,
) -> ModelInfo:
    """Return the model at a path as *engine* loads it, checked file by file; for a simulated engine, its script.

    *weight_format* chooses among the IRs below the path. *task* is what the model is for. *trusts_code* allows a
    pipeline that has code of its own.

    Raises:
        InputError: no model there, or files that are missing, truncated or not those that were converted.
    """
    info = ENGINES[engine]
    if weight_format is not None and info.fixed_weights is not None:
        raise InputError(
            f"--weight-format {weight_format} chooses among IRs; {info.fixed_weights}",
            hint="leave out --weight-format",
        )
    if ModelKind.SCRIPT in info.models:
        return ModelInfo(
            path=model, provenance=Provenance(path=model, known=True, source="script", source_id="script")
        )
    if ModelKind.HUGGING_FACE in info.models:
        return _published(Path(model).expanduser())
    if ModelKind.PIPELINE in info.models:
        found_pipeline = find_pipeline(Path(model).expanduser(), trusts_code=trusts_code)
        return ModelInfo(path=model, provenance=pipeline_provenance(found_pipeline))
    if ModelKind.NAME in info.models and not Path(model).exists():
        return ModelInfo(path=model, provenance=Provenance(path=model, source="server", source_id=model))
    if ModelKind.IR not in info.models and Path(model).expanduser().is_dir():
        raise InputError(f"{info.title} needs a GGUF file; {model} is a folder", hint="give -m FILE.gguf")
    found = locate.locate(model, weight_format=weight_format)
    locate.check_model_files(found)
    locate.check_task(found, needs_state=info.needs_state, task=task)
    if is_verified:
        locate.verify(found)
    _check_kind(found, info, task)
    origin = dataclasses.replace(locate.provenance(found), stamp=_stamp(found.path))
    name = weight_format_of(str(found.path), origin.weight_format)
    fault = nan_check.fault(found.path)
    return ModelInfo(
        path=str(found.path),
        provenance=origin,
        context_tokens=found.context_tokens,
        weight_format=name,
        faults=(fault,) if fault else (),
        takes_images=found.takes_images,
    )


def _check_kind(found: locate.Model, info: EngineInfo, task: str) -> None:
    """Raise an ``InputError`` for a kind of model, or a kind of GGUF, that the engine does not load."""
    is_generating = TASKS[task].is_generating
    if found.kind == "gguf" and not (ModelKind.GGUF in info.models and is_generating):
        user = info.title if is_generating else TASKS[task].model_title
        raise InputError(
            f"{user} needs an IR; {found.path} is a GGUF file",
            hint=f"llmbench convert --model-id {shlex.quote(str(found.path))} --output-dir models",
        )
    if found.kind == "gguf" and ModelKind.IR in info.models and ModelKind.NAME not in info.models:
        check_gguf_supported(found.path)


def complete(model_info: ModelInfo, config: RunConfig) -> ModelInfo:
    """Return the model with the draft and the adapters that a configuration has beside it, each with its hash.

    Raises:
        InputError: a draft that is not whole or not what was converted, or an adapter that cannot be read.
    """
    found: list[tuple[str, str]] = []
    faults = model_info.faults
    if config.draft_model is not None and not config.engine_info.is_simulated:
        draft = find_model_info(config.draft_model, engine="genai", is_verified=config.is_verified)
        found.append(("draft model", identity(draft.provenance, is_verified=config.is_verified) or ""))
        faults += tuple(f"the draft model: {fault}" for fault in draft.faults)
    found += [(f"lora {Path(file).name}", file_sha256(Path(file))) for file in config.lora]
    origin = dataclasses.replace(model_info.provenance, companions=tuple(found))
    return dataclasses.replace(model_info, provenance=origin, faults=faults)


def adapter_file(path: str) -> str:
    """Return the file of a LoRA adapter: of a folder as peft writes it, the weights inside.

    Raises:
        InputError: a folder without them.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    file = folder / ADAPTER
    if not file.is_file():
        raise InputError(f"--lora {path} is a folder without {ADAPTER}", hint="give the file of the adapter")
    return str(file)


def identity(origin: Provenance, *, is_verified: bool) -> str | None:
    """Return what identifies a model: the hash of its content where that was verified, else of sizes and times."""
    return origin.content_sha256 if origin.content_sha256 and is_verified else origin.stamp


def _published(folder: Path) -> ModelInfo:
    if folder.is_file():
        raise InputError(
            f"PyTorch needs a Hugging Face folder; {folder} is a file", hint="use --engine genai, or -f ov"
        )
    check_causal(folder)
    source = sources.inspect_folder(folder, trusts_remote_code=False)
    check_readable(source.quantization, str(folder))
    fault = nan_check.published_fault(folder)
    origin = Provenance(
        path=str(folder),
        known=True,
        source=source.kind,
        source_id=source.id,
        revision=source.revision,
        content_sha256=source.revision,
        context_tokens=context_of_config(folder / "config.json"),
        stamp=_stamp(folder),
    )
    return ModelInfo(
        path=str(folder),
        provenance=origin,
        context_tokens=origin.context_tokens,
        faults=(fault,) if fault else (),
        takes_images=False,
    )


def _stamp(model: Path) -> str:
    files = (
        sorted(file for file in model.iterdir() if file.is_file()) if model.is_dir() else gguf_parts(model)
    )
    states = [(file.name, file.stat()) for file in files]
    lines = [f"{name}:{state.st_size}:{state.st_mtime_ns}\n" for name, state in states]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_images(config: RunConfig, model_info: ModelInfo) -> None:
    """Refuse, before loading, images for a language model, and a vision-language model without an image.

    A chat needs one in its first turn.
    """
    path, engine = model_info.path, config.engine_info.title
    if model_info.takes_images is False and config.has_images:
        raise InputError(
            f"{path} is a language model and takes no image",
            hint="leave out --images, or give a vision-language model with -m",
        )
    without = [prompt for prompt in config.prompts if not (prompt.images or prompt.earlier)]
    if not (model_info.takes_images and without):
        return
    if Capability.IMAGES not in config.engine_info.capabilities_with(config.attention):
        raise InputError(
            f"{path} is a vision-language model, which {engine} cannot run",
            hint="use --engine genai or optimum",
        )
    some = f"prompt {without[0].index} has none" if config.has_images else "no image was given"
    raise InputError(
        f"{path} is a vision-language model, and {some}",
        hint='give one with --images FILE, or in the prompt file: {"prompt": ..., "images": [...]}',
    )


def check_lengths(config: RunConfig, context_tokens: int | None) -> None:
    """Refuse, before loading, a synthetic input that the model's context does not hold."""
    longest = max((prompt.tokens or 0) for prompt in config.prompts)
    needed = longest + config.output_tokens
    check_context(
        config,
        (needed, context_tokens),
        f"{longest} input + {config.output_tokens} output tokens make {needed}",
        hint="use fewer --input-tokens or a smaller -ic, or go beyond it with --ignore-context-limit",
    )


def check_context(config: RunConfig, counts: tuple[int, int | None], sentence: str, *, hint: str) -> None:
    """Refuse more tokens than a model's context has, the *counts* of both; ``None`` where its size is not known.

    Raises:
        InputError: the *sentence* that counts what was requested, and the context.
    """
    needed, limit = counts
    if limit is not None and needed > limit and not config.ignores_context_limit:
        raise InputError(f"{sentence}; the model's context is {limit}", hint=hint)
