"""A model on disk: found, checked file by file against its manifest, and described. No engine is needed."""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmbench.errors import InputError
from llmbench.files.cache import combined_sha256, file_sha256
from llmbench.models import ir_xml
from llmbench.models.context import context_of_config
from llmbench.models.gguf import is_gguf, read_gguf_header
from llmbench.models.gguf_file import (
    gguf_bytes,
    gguf_faults,
    gguf_kv_values,
    gguf_parameters,
    gguf_parts,
    gguf_read_bytes,
    gguf_sha256,
    gguf_weight_format,
)
from llmbench.models.integrity import (
    LANGUAGE_XML,
    MODEL_XML,
    PARTS,
    check_no_pointer,
    file_size,
    holds_ir,
    ir_faults,
    main_network,
    networks,
)
from llmbench.models.ir_task import check_network, check_other_task, is_other_task
from llmbench.models.manifest import Manifest, read_manifest
from llmbench.schema.config import weight_format_of
from llmbench.schema.run import Provenance
from llmbench.schema.tasks import DEFAULT_TASK, TASKS

PARTIAL_SUFFIX = ".partial"

_MAKE_ONE = "to fetch and convert a model of the Hugging Face Hub: llmbench run ORGANISATION/MODEL"
_SEARCH_DEPTH = 6
_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be run: an IR folder or a GGUF file.

    *manifest* is ``None`` for a GGUF and for an IR made elsewhere; *context_tokens* where it is not known.
    """

    path: Path
    kind: Literal["ir", "gguf"]
    manifest: Manifest | None = None
    context_tokens: int | None = None

    @property
    def takes_images(self) -> bool:
        """Whether it is a vision-language model."""
        return (self.path / LANGUAGE_XML).exists()


def locate(path: str | os.PathLike[str], *, weight_format: str | None = None) -> Model:
    """The model at *path*: an IR folder, a parent of exactly one, or a GGUF file; else an ``InputError``.

    *weight_format* chooses among several IRs below a parent.
    """
    location = Path(path).expanduser()
    if location.name in {MODEL_XML, LANGUAGE_XML}:
        location = location.parent
    if location.is_file():
        found = _gguf_model(location)
        if weight_format is not None:
            raise InputError(
                f"--weight-format {weight_format} chooses among IRs; {location} is a GGUF file, "
                "which keeps its weights",
                hint="leave out --weight-format, or name a folder of IRs with -m",
            )
        return found
    if not location.is_dir() or not os.fspath(path):
        raise InputError(
            f"there is no model at {location if os.fspath(path) else 'an empty path'}", hint=_MAKE_ONE
        )
    if any(part.endswith(PARTIAL_SUFFIX) for part in location.resolve().parts):
        raise InputError(f"{location} is an interrupted conversion", hint=_PARTIAL_REMEDY)
    check_other_task(location)
    folders = [location] if _holds_parts(location) else _irs_below(location)
    if weight_format is not None:
        folders = _of_format(weight_format, folders, location)
    if len(folders) > 1:
        raise _several(folders, location)
    manifest = read_manifest(folders[0])
    context = manifest.context_tokens if manifest else context_of_config(folders[0] / "config.json")
    return Model(path=folders[0], kind="ir", manifest=manifest, context_tokens=context)


def format_of(folder: Path) -> str | None:
    """The weight format that an IR goes by, by its folder's name or else its manifest; ``None``: unknown."""
    named = weight_format_of(str(folder), None)
    manifest = read_manifest(folder) if named is None else None
    return weight_format_of(str(folder), manifest.recipe.weight_format) if manifest else named


def check_model_files(model: Model) -> None:
    """Raise one ``InputError`` that names every missing, empty or truncated file with its size."""
    recorded = model.manifest.files if model.manifest else {}
    faults = tuple(gguf_faults(model.path) if model.kind == "gguf" else ir_faults(model.path, recorded))
    if faults:
        raise InputError(
            f"{model.path} is not a whole model: {'; '.join(faults)}",
            hint="fetch the file again" if model.kind == "gguf" else _CONVERT_AGAIN,
        )


def check_task(model: Model, *, needs_state: bool, task: str = DEFAULT_TASK) -> None:
    """Raise an ``InputError`` unless a model is one for *task*, with a KV cache of its own where that is needed."""
    if model.kind == "ir":
        network = ir_xml.read_ir_xml(main_network(model.path))
        check_network(model.path, network, task=TASKS[task], needs_state=needs_state)


def verify(model: Model) -> None:
    """Compare the SHA-256 of every file with the manifest; a model without one has nothing to compare with.

    A file that was hashed before and has not changed since is not read again.
    """
    if model.manifest is None:
        return
    for name, record in model.manifest.files.items():
        found = file_sha256(model.path / name)
        if found != record.sha256:
            raise InputError(
                f"{model.path / name} is not the file that was converted: "
                f"SHA-256 {found}, the manifest has {record.sha256}",
                hint=f"{_CONVERT_AGAIN}, or run it as it is with --no-verify",
            )


def provenance(model: Model) -> Provenance:
    """Where the model came from, for the run file; hashes a GGUF, once."""
    manifest = model.manifest
    if model.kind == "ir":
        made = {} if manifest is None else _origin(manifest)
        return Provenance(path=str(model.path), **(_sizes(model) | made))
    sha256 = gguf_sha256(model.path)
    return Provenance(
        path=str(model.path),
        known=True,
        source="gguf",
        source_id=model.path.name,
        revision=sha256,
        weight_format=gguf_weight_format(model.path),
        content_sha256=sha256,
        context_tokens=model.context_tokens,
        weight_bytes=gguf_read_bytes(model.path),
        kv_values=gguf_kv_values(model.path),
        parameters=gguf_parameters(model.path),
        file_bytes=gguf_bytes(model.path),
    )


def _origin(manifest: Manifest) -> dict[str, Any]:
    """The origin of an IR as its manifest has it."""
    return {
        "known": True,
        "source": manifest.source.kind,
        "source_id": manifest.source.id,
        "revision": manifest.source.revision,
        "weight_format": manifest.recipe.weight_format,
        "content_sha256": combined_sha256({name: file.sha256 for name, file in manifest.files.items()}),
        "context_tokens": manifest.context_tokens,
    }


def _sizes(model: Model) -> dict[str, Any]:
    """What a decode step reads of the network that generates tokens, and the sizes of all networks together."""
    files = networks(model.path)
    found = [ir_xml.read_ir_xml(file) for file in files]
    return {
        "context_tokens": model.context_tokens,
        "weight_bytes": found[0].weight_bytes,
        "kv_values": found[0].kv_values,
        "parameters": _total(each.parameters for each in found),
        "file_bytes": _total(file_size(file.with_suffix(".bin")) for file in files),
    }


def _total(sizes: Iterable[int | None]) -> int | None:
    found = tuple(sizes)
    return None if None in found else sum(each for each in found if each is not None)


_CONVERT_AGAIN = "convert the model again with: llmbench convert --overwrite"
_PARTIAL_REMEDY = "run the same llmbench convert again: it removes this folder and starts over"


def _gguf_model(path: Path) -> Model:
    check_no_pointer(path)
    if not is_gguf(path):
        raise InputError(
            f"{path} is neither a folder nor a GGUF file",
            hint=f"give the folder that contains {MODEL_XML}, or FILE.gguf",
        )
    gguf_parts(path)
    return Model(path=path, kind="gguf", context_tokens=read_gguf_header(path).context_tokens)


def _holds_parts(folder: Path) -> bool:
    return holds_ir(folder) or any(
        (folder / f"{part}{end}").exists() for part in PARTS for end in (".xml", ".bin")
    )


def _irs_below(parent: Path) -> list[Path]:
    """The IR folders below *parent*, in order of name; an ``InputError`` where there is none."""
    found: list[Path] = []
    partial: list[Path] = []
    for folder in _folders_below(parent):
        if folder.name.endswith(PARTIAL_SUFFIX):
            partial.append(folder)
        elif holds_ir(folder) and not is_other_task(folder):
            found.append(folder)
    if found:
        return found
    if partial:
        raise InputError(
            f"{parent} contains only an interrupted conversion: {partial[0]}", hint=_PARTIAL_REMEDY
        )
    for folder in _folders_below(parent):
        check_other_task(folder)
    problem = f"{parent} contains no model: there is no {MODEL_XML} in it or below"
    links = [
        str(link)
        for folder in _folders_below(parent)
        for link in sorted(folder.iterdir())
        if link.is_symlink() and link.is_dir()
    ]
    if links:
        raise InputError(
            f"{problem}; symbolic links are not followed: {_listed(links)}",
            hint=f"give the link itself: -m {shlex.quote(links[0])}",
        )
    raise InputError(problem, hint=_remedy(parent))


def _of_format(requested: str, folders: Sequence[Path], location: Path) -> list[Path]:
    """Those of some IRs that go by a weight format; an ``InputError`` says which formats there are."""
    formats = {folder: format_of(folder) for folder in folders}
    found = [folder for folder, name in formats.items() if name == requested]
    if found:
        return found
    there = [f"{name or 'an unknown one'} ({folder})" for folder, name in formats.items()]
    raise InputError(
        f"{location} contains no IR with {requested} weights; there is {_listed(there)}",
        hint="choose what is there, or make it: "
        f"llmbench convert --model-id ID --output-dir OUT --weight-format {requested}",
    )


def _several(folders: Sequence[Path], location: Path) -> InputError:
    formats = [format_of(folder) for folder in folders]
    choice = f"choose one: -m {shlex.quote(str(folders[0]))}"
    if None not in formats and len(set(formats)) == len(formats):
        choice += (
            f"; or run one of them, or all in a sweep, with --weight-format {','.join(map(str, formats))}"
        )
    return InputError(
        f"{location} contains {len(folders)} models: {_listed([*map(str, folders)])}", hint=choice
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")


def _folders_below(parent: Path) -> Iterator[Path]:
    """*parent* and the folders below it, a few levels deep, in order of name.

    Symlinks are not followed, nor is what lies in a partial folder.
    """
    for root, folders, _ in os.walk(parent):
        location = Path(root)
        yield location
        folders.sort()
        if location.name.endswith(PARTIAL_SUFFIX) or len(location.relative_to(parent).parts) >= _SEARCH_DEPTH:
            folders.clear()


def _remedy(folder: Path) -> str:
    gguf_files = sorted(folder.glob("*.gguf"))
    if gguf_files:
        return f"give the file itself: -m {shlex.quote(str(gguf_files[0]))}"
    if (folder / "config.json").exists():
        return f"convert it first: llmbench convert --model-id {shlex.quote(str(folder))} --output-dir OUT"
    return _MAKE_ONE
