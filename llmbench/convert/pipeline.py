"""Convert a model to OpenVINO IR: export, verify against the source, hash, and leave a manifest beside it."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from llmbench._version import __version__
from llmbench.convert import exporter, output, preflight, vectors, verification, vision
from llmbench.convert.attention import attention_warnings, read_attention
from llmbench.convert.request import ConvertRequest, check_format, recipe_of
from llmbench.errors import InputError, LaunchError
from llmbench.models import hub, locate, sources
from llmbench.models.context import context_of_config
from llmbench.models.embedding import read_source_use
from llmbench.models.gguf import read_gguf_header
from llmbench.models.gguf_file import check_gguf_supported, gguf_bytes, gguf_weight_format
from llmbench.models.hub import HubModel
from llmbench.models.integrity import MODEL_XML
from llmbench.models.ir_task import is_reranker_source
from llmbench.models.manifest import (
    MANIFEST_SCHEMA,
    EmbeddingUse,
    Manifest,
    Recipe,
    Timings,
    record_files,
    write_manifest,
)
from llmbench.models.nan_check import published_fault
from llmbench.models.quantization import DESCRIPTION_FILES, check_exportable
from llmbench.models.sources import LocalSource
from llmbench.runner.step import StepProcess
from llmbench.schema.attention import Fusion
from llmbench.schema.progress import Progress, ProgressCallback
from llmbench.schema.tasks import DEFAULT_TASK

DEFAULT_FORMATS = ("fp16",)
_BYTES_PER_WEIGHT = {"fp32": 4.0, "fp16": 2.0, "int8": 1.1, "int4": 0.7}
_PACKAGES = (
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "optimum-intel",
    "transformers",
    "torch",
    "nncf",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A conversion in *folder*; *is_new* is false where it was there before.

    *attention* has the attention layers of each part of the model, by its title.
    """

    folder: Path
    manifest: Manifest
    is_new: bool
    attention: Mapping[str, Fusion] = field(default_factory=dict)


def convert(request: ConvertRequest, report: ProgressCallback) -> Iterator[Converted]:
    """Yield each conversion as it is whole; every fault that can be found beforehand is raised before the first."""
    output.check_writable(request.output_dir)
    report(Progress(label="looking at the source"))
    found = sources.find_source(
        request.model_id, revision=request.revision, trusts_remote_code=request.trusts_remote_code
    )
    if isinstance(found, HubModel):
        if found.holds_ir:
            yield _fetch_ir(request, found, report)
            return
        exporter.check_extra()
        _check_description(request, found, report)
        report(Progress(label=f"fetching {found.id}"))
        folder = hub.download(found, report=report)
        found = sources.inspect_folder(folder, trusts_remote_code=request.trusts_remote_code, hub_model=found)
    if found.kind == "gguf":
        yield _convert_gguf(request, found, report)
    else:
        exporter.check_extra(takes_images=found.takes_images)
        check_exportable(found.quantization, found.id)
        yield from _convert_folder(request, found, report)


def _check_description(request: ConvertRequest, model: HubModel, report: ProgressCallback) -> None:
    """Refuse a hub's model by its small files, before its weights are fetched."""
    names = tuple(name for name in DESCRIPTION_FILES if name in model.files)
    folder = hub.download(dataclasses.replace(model, files=names), report=report)
    sources.check_description(folder, name=model.id, trusts_remote_code=request.trusts_remote_code)
    preflight.examine_architecture(folder, report=report)


def _convert_folder(
    request: ConvertRequest, source: LocalSource, report: ProgressCallback
) -> Iterator[Converted]:
    pending: list[tuple[Recipe, Path]] = []
    for weight_format in request.weight_formats or DEFAULT_FORMATS:
        recipe = recipe_of(request, weight_format)
        target = output.target_folder(request.output_dir, weight_format)
        existing = output.existing_conversion(target, source.origin, recipe, overwrite=request.overwrite)
        if existing is None:
            pending.append((recipe, target))
        else:
            yield _found(target, existing, request)
    with ExitStack() as stack:
        partials = [stack.enter_context(output.partial_folder(target)) for _, target in pending]
        for partial in partials[:1]:
            output.check_space(partial, _needed_bytes(source, [recipe for recipe, _ in pending]))
        work = _FolderConversion(
            request,
            source,
            report,
            embedding=read_source_use(source.path),
            is_reranker=is_reranker_source(source.path),
        )
        if pending:
            work.examine(pending[0][0], partials[0])
        for (recipe, target), partial in zip(pending, partials, strict=True):
            export_s = work.export(recipe, partial)
            start = time.perf_counter()
            findings = work.verify(recipe, partial)
            timings = Timings(export_s=export_s, verify_s=time.perf_counter() - start)
            manifest = _manifest(
                source, recipe, context_tokens=work.context_tokens, findings=findings, timings=timings
            )
            manifest = dataclasses.replace(
                manifest, embedding=work.embedding, images=work.images, is_reranker=work.is_reranker
            )
            yield _finish(partial, target, manifest, request, report=report)


@dataclass(slots=True)
class _FolderConversion:
    """The conversions of one Hugging Face folder, which is examined and read by its own model once.

    *embedding* is how a text embedding model is to be used; of another one it is ``None``. One that *is_reranker*
    scores pairs of texts. *images* are the sizes
    that a vision-language model brings images to, known after its export.
    """

    request: ConvertRequest
    source: LocalSource
    report: ProgressCallback
    embedding: EmbeddingUse | None
    is_reranker: bool
    images: str | None = None
    warnings: tuple[str, ...] = ()
    reading: verification.Reading | None = None
    wanted: vectors.Vectors | None = None

    @property
    def task(self) -> str:
        """What the exporter calls the model's purpose."""
        if self.source.takes_images:
            return preflight.VISION
        if self.is_reranker:
            return preflight.RERANKING
        return preflight.GENERATION if self.embedding is None else preflight.EMBEDDING

    @property
    def context_tokens(self) -> int | None:
        """The longest text it takes; an exporter adds defaults to its own config.json, so the source's is read."""
        longest = None if self.embedding is None else self.embedding.max_tokens
        return longest or context_of_config(self.source.path / "config.json")

    def examine(self, recipe: Recipe, scratch: Path) -> None:
        """Examine the source before its first export."""
        self.report(Progress(label="examining the source"))
        if fault := published_fault(self.source.path):
            raise InputError(f"{self.source.id}: {fault}", hint="fetch its safetensors files again")
        self.warnings = preflight.examine_source(
            self.source, task=self.task, step=self._step(recipe, scratch)
        )

    def export(self, recipe: Recipe, partial: Path) -> float:
        """Run the exporter into *partial*; return the seconds it took."""
        self.report(Progress(label=f"exporting {recipe.weight_format}"))
        start = time.perf_counter()
        exporter.export(self.source.path, partial, task=self.task, recipe=recipe, report=self.report)
        elapsed = time.perf_counter() - start
        _check_whole(partial)
        if self.source.takes_images:
            self.images = vision.write_preprocessor(self.source.path, partial)
        return elapsed

    def verify(self, recipe: Recipe, partial: Path) -> verification.Findings:
        """Compare what was exported with the source."""
        found = (
            self._verify_vectors(recipe, partial)
            if self.embedding is not None or self.is_reranker
            else self._verify_tokens(recipe, partial)
        )
        return found.with_warnings(self.warnings)

    def _step(self, recipe: Recipe, folder: Path) -> StepProcess:
        return StepProcess(folder=folder, report=self.report, is_online=recipe.trusts_remote_code)

    def _verify_tokens(self, recipe: Recipe, partial: Path) -> verification.Findings:
        takes_images = self.source.takes_images
        if self.reading is None:
            self.report(Progress(label="reading with the source model"))
            read = vision.read_vision_source if takes_images else verification.read_source_model
            self.reading = read(self.source.path, self._step(recipe, partial))
        self.report(Progress(label=f"comparing {recipe.weight_format} with its source"))
        compare = vision.compare_vision if takes_images else verification.compare_readings
        return compare(
            self.reading,
            partial,
            weight_format=str(recipe.weight_format),
            least_agreement=self.request.least_agreement,
            report=self.report,
        )

    def _verify_vectors(self, recipe: Recipe, partial: Path) -> verification.Findings:
        if self.wanted is None:
            self.report(Progress(label="reading with the source model"))
            self.wanted = vectors.read_with_source(
                self.source.path, self.embedding, self._step(recipe, partial)
            )
        self.report(Progress(label=f"comparing {recipe.weight_format} with its source"))
        return vectors.compare_vectors(
            self.wanted,
            partial,
            self.embedding,
            weight_format=str(recipe.weight_format),
            least=self.request.least_agreement,
            report=self.report,
        )


def _convert_gguf(request: ConvertRequest, source: LocalSource, report: ProgressCallback) -> Converted:
    locate.check_model_files(locate.locate(source.path))
    check_gguf_supported(source.path)
    header = read_gguf_header(source.path)
    own = str(gguf_weight_format(source.path))
    precision = sources.precision_of_gguf(own)
    check_format(request, precision, f"{source.path} keeps its own weights, {own}")
    recipe, target = Recipe(weight_format=own), output.target_folder(request.output_dir, precision)
    existing = output.existing_conversion(target, source.origin, recipe, overwrite=request.overwrite)
    if existing is not None:
        return _found(target, existing, request)
    with output.partial_folder(target) as partial:
        output.check_space(partial, gguf_bytes(source.path))
        report(Progress(label=f"reading {source.path.name}"))
        start = time.perf_counter()
        exporter.export_gguf(source.path, partial, report=report)
        export_s = time.perf_counter() - start
        _check_whole(partial)
        has_template = "tokenizer.chat_template" in header.metadata
        findings, verify_s = _check_alone(
            partial, _ENGINE_READS_GGUF, has_template=has_template, report=report
        )
        timings = Timings(export_s=export_s, verify_s=verify_s)
        context = header.context_tokens
        manifest = _manifest(source, recipe, context_tokens=context, findings=findings, timings=timings)
        return _finish(partial, target, manifest, request, report=report)


def _fetch_ir(request: ConvertRequest, model: HubModel, report: ProgressCallback) -> Converted:
    report(Progress(label=f"fetching {model.id}, which is an IR already"))
    peek = hub.download(dataclasses.replace(model, files=(MODEL_XML,)), report=report)
    precision = sources.precision_of_ir(peek / MODEL_XML)
    check_format(request, precision, f"{model.id} is an IR already, in {precision}")
    recipe, target = Recipe(weight_format=precision), output.target_folder(request.output_dir, precision)
    existing = output.existing_conversion(target, model.origin, recipe, overwrite=request.overwrite)
    if existing is not None:
        return _found(target, existing, request)
    with output.partial_folder(target) as partial:
        hub.download(model, target=partial, report=report)
        _check_whole(partial)
        findings, verify_s = _check_alone(partial, _SOURCE_IS_AWAY, has_template=False, report=report)
        context = context_of_config(partial / "config.json")
        timings = Timings(verify_s=verify_s)
        manifest = _manifest(model, recipe, context_tokens=context, findings=findings, timings=timings)
        return _finish(partial, target, manifest, request, report=report)


_ENGINE_READS_GGUF = "not measured: the engine reads the GGUF itself, and nothing here reads it otherwise"
_SOURCE_IS_AWAY = "not measured: the IR was fetched without the model it was made from"


def _check_alone(
    partial: Path, note: str, *, has_template: bool, report: ProgressCallback
) -> tuple[verification.Findings, float]:
    """What can be verified without a source, and the seconds it took: the tokenizer."""
    report(Progress(label="checking the tokenizer"))
    start = time.perf_counter()
    wanted = verification.expected_spelling(has_template=has_template)
    warnings = verification.check_spelling(partial, wanted, report=report)
    findings = verification.Findings(agreement=None, note=note, warnings=warnings)
    return findings, time.perf_counter() - start


def _needed_bytes(source: LocalSource, recipes: list[Recipe]) -> int:
    """Disk that the conversions take: each result, and the uncompressed one that compression starts from."""
    results = sum(_BYTES_PER_WEIGHT[str(recipe.weight_format)] for recipe in recipes)
    is_compressed = any(recipe.weight_format in {"int8", "int4"} for recipe in recipes)
    return round((source.parameters or 0) * (results + (_BYTES_PER_WEIGHT["fp16"] if is_compressed else 0)))


def _check_whole(partial: Path) -> None:
    try:
        locate.check_model_files(locate.Model(path=partial, kind="ir"))
    except InputError as error:
        faults = error.message.partition(": ")[2]
        raise LaunchError(
            f"what was written is not a whole model: {faults}",
            hint="where only tokenizer files are missing, openvino-tokenizers cannot convert this tokenizer",
        ) from error


def _manifest(
    source: LocalSource | HubModel,
    recipe: Recipe,
    *,
    context_tokens: int | None,
    findings: verification.Findings,
    timings: Timings,
) -> Manifest:
    return Manifest(
        schema=MANIFEST_SCHEMA,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=source.origin,
        recipe=recipe,
        versions=converter_versions(),
        context_tokens=context_tokens,
        files={},
        agreement=findings.agreement,
        agreement_note=findings.note,
        expected=findings.expected,
        warnings=findings.warnings,
        timings=timings,
    )


def converter_versions() -> dict[str, str]:
    """Return the installed versions of the packages that shape a conversion."""
    found = {"llmbench": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _found(target: Path, manifest: Manifest, request: ConvertRequest) -> Converted:
    """Return a conversion that was there before."""
    attention = read_attention(target, is_required=request.requires_sdpa, versions=manifest.versions)
    return Converted(folder=target, manifest=manifest, is_new=False, attention=attention)


def _finish(
    partial: Path, target: Path, manifest: Manifest, request: ConvertRequest, *, report: ProgressCallback
) -> Converted:
    attention = read_attention(partial, is_required=request.requires_sdpa, versions=manifest.versions)
    report(Progress(label="hashing"))
    start = time.perf_counter()
    files = record_files(output.files_of(partial))
    timings = dataclasses.replace(manifest.timings, hash_s=time.perf_counter() - start)
    lost = attention_warnings(attention, manifest.versions) if manifest.task == DEFAULT_TASK else ()
    manifest = dataclasses.replace(
        manifest, files=files, timings=timings, warnings=(*manifest.warnings, *lost)
    )
    write_manifest(partial, manifest)
    output.finish(partial, target)
    return Converted(folder=target, manifest=manifest, is_new=True, attention=attention)
