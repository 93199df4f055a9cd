"""The files of a model: which there must be, and what is missing, empty or cut short, by their sizes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from llmbench.models.ir_xml import read_constants
from llmbench.models.manifest import FileRecord

MODEL_XML = "openvino_model.xml"
PARTS = ("openvino_model", "openvino_tokenizer", "openvino_detokenizer")
"""The three networks of a model; each is an ``.xml`` and a ``.bin``."""


def ir_faults(folder: Path, recorded: Mapping[str, FileRecord]) -> Iterator[str]:
    """What is wrong with an IR's files, the network first; *recorded* are those its manifest lists."""
    required = [f"{part}.xml" for part in PARTS] + [f"{part}.bin" for part in PARTS]
    for name in [*required, *sorted(set(recorded) - set(required))]:
        size = _size(folder / name)
        if name in recorded:
            if size is None:
                yield f"{name} is missing"
            elif size != recorded[name].bytes:
                yield f"{name} has {size} bytes; the manifest has {recorded[name].bytes}"
        elif name.endswith(".xml"):
            yield from _xml_faults(folder / name, size)
        else:
            yield from _bin_faults(folder / name, size)


def _xml_faults(path: Path, size: int | None) -> Iterator[str]:
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
    xml = path.with_suffix(".xml")
    needed = max((each.offset + each.size for each in read_constants(xml)), default=0) if xml.is_file() else 0
    if size is None and (needed or not _size(xml)):
        yield f"{path.name} is missing"
    elif size is not None and size < needed:
        state = "is empty" if size == 0 else f"is truncated at {size} bytes"
        yield f"{path.name} {state}; {xml.name} needs {needed}"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
