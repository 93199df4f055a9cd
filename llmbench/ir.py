"""A model on disk: found, checked file by file against its manifest, and described. No engine is needed."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmbench.digests import combined_sha256, file_sha256
from llmbench.errors import InputError
from llmbench.gguf_header import is_gguf, read_header
from llmbench.manifest import Manifest, read_manifest
from llmbench.run import Provenance

MODEL_XML = "openvino_model.xml"
PARTIAL_SUFFIX = ".partial"
PARTS = ("openvino_model", "openvino_tokenizer", "openvino_detokenizer")
"""The three networks of a model; each is an ``.xml`` and a ``.bin``."""

_SEARCH_DEPTH = 6
_CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
_CONSTANT = re.compile(rb'offset="(\d+)" size="(\d+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be run: an IR folder or a GGUF file.

    *manifest* is ``None`` for a GGUF and for an IR made elsewhere; *context_tokens* where nothing tells it.
    """

    path: Path
    kind: Literal["ir", "gguf"]
    manifest: Manifest | None = None
    context_tokens: int | None = None


def locate(path: str | os.PathLike[str]) -> Model:
    """The model at *path*: an IR folder, a parent of exactly one, or a GGUF file; else an ``InputError``."""
    place = Path(path).expanduser()
    if place.name == MODEL_XML:
        place = place.parent
    if place.is_file():
        return _gguf_model(place)
    if not place.is_dir() or not os.fspath(path):
        raise InputError(
            f"there is no model at {place if os.fspath(path) else 'an empty path'}",
            hint="make one with: llmbench convert --model-id ID --output-dir OUT",
        )
    if any(part.endswith(PARTIAL_SUFFIX) for part in place.resolve().parts):
        raise InputError(f"{place} is a conversion that was cut short", hint=_PARTIAL_REMEDY)
    folder = place if _holds_parts(place) else _only_ir_below(place)
    manifest = read_manifest(folder)
    context = manifest.context_tokens if manifest else context_of_config(folder / "config.json")
    return Model(path=folder, kind="ir", manifest=manifest, context_tokens=context)


def check_files(model: Model) -> None:
    """Raise one ``InputError`` that names every missing, empty or truncated file with its size."""
    faults = tuple(_gguf_faults(model.path) if model.kind == "gguf" else _ir_faults(model))
    if faults:
        raise InputError(
            f"{model.path} is not a whole model: {'; '.join(faults)}",
            hint="fetch the file again" if model.kind == "gguf" else _CONVERT_AGAIN,
        )


def verify(model: Model) -> None:
    """Compare the SHA-256 of every file with the manifest; a model without one has nothing to compare with.

    A file that was hashed before and has not changed since is not read again (``digests.py``).
    """
    if model.manifest is None:
        return
    for name, record in model.manifest.files.items():
        found = file_sha256(model.path / name)
        if found != record.sha256:
            raise InputError(
                f"{model.path / name} is not the file that was converted: "
                f"SHA-256 {found}, the manifest says {record.sha256}",
                hint=f"{_CONVERT_AGAIN}, or run it as it is with --no-verify",
            )


def provenance(model: Model) -> Provenance:
    """Where the model came from, for the run file; hashes a GGUF, once."""
    manifest = model.manifest
    if manifest is not None:
        return Provenance(
            path=str(model.path),
            known=True,
            source=manifest.source.kind,
            source_id=manifest.source.id,
            revision=manifest.source.revision,
            weight_format=manifest.recipe.weight_format,
            content_sha256=combined_sha256({name: file.sha256 for name, file in manifest.files.items()}),
            context_tokens=manifest.context_tokens,
        )
    if model.kind == "ir":
        return Provenance(path=str(model.path), context_tokens=model.context_tokens)
    sha256 = file_sha256(model.path)
    return Provenance(
        path=str(model.path),
        known=True,
        source="gguf",
        source_id=model.path.name,
        revision=sha256,
        weight_format=read_header(model.path).weight_format,
        content_sha256=sha256,
        context_tokens=model.context_tokens,
    )


_CONVERT_AGAIN = "convert the model again with: llmbench convert --overwrite"
_PARTIAL_REMEDY = "run the same llmbench convert again: it removes this folder and starts over"


def _gguf_model(path: Path) -> Model:
    """The model in a file, which must be a GGUF."""
    if not is_gguf(path):
        raise InputError(
            f"{path} is neither a folder nor a GGUF file",
            hint=f"give the folder that holds {MODEL_XML}, or FILE.gguf",
        )
    return Model(path=path, kind="gguf", context_tokens=read_header(path).context_tokens)


def _holds_parts(folder: Path) -> bool:
    """Whether *folder* is an IR's own, even one whose network is missing."""
    return any((folder / f"{part}{end}").exists() for part in PARTS for end in (".xml", ".bin"))


def _only_ir_below(parent: Path) -> Path:
    """The one IR folder below *parent*; an ``InputError`` lists what is there where it is not one."""
    found: list[Path] = []
    partial: list[Path] = []
    for folder in _folders_below(parent):
        if folder.name.endswith(PARTIAL_SUFFIX):
            partial.append(folder)
        elif (folder / MODEL_XML).exists():
            found.append(folder)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(str(folder) for folder in found[:8]) + (", …" if len(found) > 8 else "")
        raise InputError(f"{parent} holds {len(found)} models: {listed}", hint=f"choose one: -m {found[0]}")
    if partial:
        raise InputError(
            f"{parent} holds only a conversion that was cut short: {partial[0]}", hint=_PARTIAL_REMEDY
        )
    raise InputError(f"{parent} holds no model: there is no {MODEL_XML} in it or below", hint=_remedy(parent))


def _folders_below(parent: Path) -> Iterator[Path]:
    """*parent* and the folders below it, a few levels deep, in order of name.

    Symlinks are not followed, nor is what lies in a partial folder.
    """
    for root, folders, _ in os.walk(parent):
        place = Path(root)
        yield place
        folders.sort()
        if place.name.endswith(PARTIAL_SUFFIX) or len(place.relative_to(parent).parts) >= _SEARCH_DEPTH:
            folders.clear()


def _remedy(folder: Path) -> str:
    """What to type for a folder without an IR, judged by what it does hold."""
    gguf_files = sorted(folder.glob("*.gguf"))
    if gguf_files:
        return f"give the file itself: -m {gguf_files[0]}"
    if (folder / "config.json").exists():
        return f"convert it first: llmbench convert --model-id {folder} --output-dir OUT"
    return "make one with: llmbench convert --model-id ID --output-dir OUT"


def _gguf_faults(path: Path) -> Iterator[str]:
    """What is wrong with a GGUF's size; a damaged head raises by itself."""
    size = path.stat().st_size
    needed = max((tensor.end for tensor in read_header(path).tensors), default=0)
    if size < needed:
        yield f"it has {size} bytes; its tensors end at {needed}"


def _ir_faults(model: Model) -> Iterator[str]:
    """What is wrong with an IR's files, the network first."""
    required = [f"{part}.xml" for part in PARTS] + [f"{part}.bin" for part in PARTS]
    recorded = model.manifest.files if model.manifest else {}
    for name in [*required, *sorted(set(recorded) - set(required))]:
        size = _size(model.path / name)
        if name in recorded:
            if size is None:
                yield f"{name} is missing"
            elif size != recorded[name].bytes:
                yield f"{name} has {size} bytes; the manifest says {recorded[name].bytes}"
        elif name.endswith(".xml"):
            yield from _xml_faults(model.path / name, size)
        else:
            yield from _bin_faults(model.path / name, size)


def _xml_faults(path: Path, size: int | None) -> Iterator[str]:
    """What is wrong with a network file by a look at its two ends."""
    if size is None:
        yield f"{path.name} is missing"
        return
    if size == 0:
        yield f"{path.name} is empty"
        return
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, size - 512))
        tail = file.read()
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<net")) or b"<net" not in head:
        yield f"{path.name} is not an IR ({size} bytes)"
    elif not tail.rstrip().endswith(b"</net>"):
        yield f"{path.name} is truncated at {size} bytes: it does not end with </net>"


def _bin_faults(path: Path, size: int | None) -> Iterator[str]:
    """What is wrong with a weights file, against the constants that its network names."""
    xml = path.with_suffix(".xml")
    content = xml.read_bytes() if xml.is_file() else b""
    needed = max((int(offset) + int(length) for offset, length in _CONSTANT.findall(content)), default=0)
    if size is None and (needed or not content):
        yield f"{path.name} is missing"
    elif size is not None and size < needed:
        state = "is empty" if size == 0 else f"is truncated at {size} bytes"
        yield f"{path.name} {state}; {xml.name} needs {needed}"


def _size(path: Path) -> int | None:
    """Bytes of a file; ``None`` where there is none."""
    return path.stat().st_size if path.is_file() else None


def context_of_config(path: Path) -> int | None:
    """The longest context that ``config.json`` tells, of a nested text model too; ``None`` if it does not."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    nested = config.get("text_config") if isinstance(config, dict) else None
    sections = [section for section in (config, nested) if isinstance(section, dict)]
    told = (section.get(key) for section in sections for key in _CONTEXT_KEYS)
    return next((value for value in told if isinstance(value, int) and value > 0), None)
