"""The manifest beside a converted model: what it was made from, how, and the hash of every file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from llmbench.errors import InputError, OutputError
from llmbench.files.atomic import replace_file, sync
from llmbench.files.cache import file_sha256
from llmbench.files.strict_json import read_json_file
from llmbench.schema.tasks import DEFAULT_TASK

MANIFEST_NAME = "llmbench_manifest.json"
MANIFEST_SCHEMA = 1
SIZE_CAP_BYTES = 4 << 20

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
AgreementShare = Annotated[float, msgspec.Meta(ge=0, le=1)]
FileCount = Annotated[int, msgspec.Meta(ge=0)]
StepSeconds = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """What was converted. *revision* is a hub's commit, or the SHA-256 of a local source's content."""

    kind: Literal["hub", "folder", "gguf", "pipeline"]
    id: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the weights are stored; ``None`` is what does not apply, or what a fetched IR does not report.

    *may_shrink_groups* says that layers whose channels *group_size* does not divide have smaller groups.
    """

    weight_format: str | None
    ratio: float | None = None
    group_size: int | None = None
    may_shrink_groups: bool = False
    is_symmetric: bool | None = None
    trusts_remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of the model."""

    sha256: Sha256
    bytes: FileCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds each step of the conversion took; ``None`` for a step that did not happen."""

    export_s: StepSeconds | None = None
    verify_s: StepSeconds | None = None
    hash_s: StepSeconds | None = None


LEAST_AGREEMENT = 0.9
"""The share of greedy tokens below which a kind of attention gives other text than the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyTokens:
    """What GenAI generated from *prompt* (token ids) under EXECUTION_MODE_HINT=ACCURACY, by kind of attention.

    *sure* is how many of the first tokens were chosen by so large a margin that any right engine chooses them.
    *agreement* is the share of tokens, of several texts, that the model itself chooses at the same place.
    """

    prompt: tuple[int, ...]
    tokens: Mapping[str, tuple[int, ...]]
    sure: FileCount
    agreement: Mapping[str, AgreementShare]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingUse:
    """How a text embedding model is to be used.

    *pooling* is ``mean``, ``cls`` or ``last_token``. Texts are cut at *max_tokens*, at the context where it is
    ``None``.
    """

    pooling: str
    is_normalized: bool
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything known about a converted model.

    *agreement* is the share of next tokens, teacher-forced, on which the IR and its source agree; of a model with an
    *embedding*, which is how it is to be used, the mean cosine of both vectors of a text instead, and of one that
    *is_reranker* the mean correlation of both scores. It is ``None`` with *agreement_note* saying why it was not
    measured. *warnings* are what the verification found that a
    person should know. *expected* are greedy tokens, ``None`` where they were not generated. *created_at* is UTC in
    ISO 8601.
    """

    schema: int
    created_at: str
    source: ModelSource
    recipe: Recipe
    versions: Mapping[str, str]
    context_tokens: Annotated[int, msgspec.Meta(ge=1)] | None
    files: Mapping[str, FileRecord]
    agreement: AgreementShare | None = None
    agreement_note: str | None = None
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)
    expected: GreedyTokens | None = None
    embedding: EmbeddingUse | None = None
    images: str | None = None
    is_reranker: bool = False

    @property
    def task(self) -> str:
        """What ``-t`` measures it with."""
        if self.embedding is not None:
            return "text_embed"
        return "text_rerank" if self.is_reranker else DEFAULT_TASK


def record_files(files: Iterable[Path]) -> dict[str, FileRecord]:
    """Return the hash and size of each file, by its name."""
    return {file.name: FileRecord(sha256=file_sha256(file), bytes=file.stat().st_size) for file in files}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an IR folder; ``None`` where there is none. A damaged one is an ``InputError``."""
    path = folder / MANIFEST_NAME
    try:
        parsed = read_json_file(path, most_bytes=SIZE_CAP_BYTES)
        schema = parsed.get("schema") if isinstance(parsed, dict) else None
        if isinstance(schema, int) and schema != MANIFEST_SCHEMA:
            raise InputError(
                f"{path} has schema {schema}; this llmbench reads {MANIFEST_SCHEMA}",
                hint="use the llmbench that converted the model, or convert it again with --overwrite",
            )
        manifest = msgspec.convert(parsed, Manifest)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # msgspec's and json's errors are ValueErrors
        raise _damaged(path, str(error)) from error
    for name in manifest.files:
        if name in {"", ".."} or Path(name).name != name or "\0" in name:
            raise _damaged(path, f"{name!r} is not the name of a file in this folder")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into *folder* as a whole, and sync it."""
    path = folder / MANIFEST_NAME
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        sync(folder)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged: {reason}",
        hint="convert the model again with --overwrite, or remove the file to run without provenance",
    )
