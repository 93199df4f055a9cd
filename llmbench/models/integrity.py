"""The files of a model: which there must be, and what is missing, empty or cut short, by their sizes."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmbench.errors import InputError
from llmbench.files.strict_json import read_object
from llmbench.models.ir_xml import read_constants
from llmbench.models.manifest import FileRecord

MODEL_XML = "openvino_model.xml"
LANGUAGE_XML = "openvino_language_model.xml"
"""The language model of a vision-language model, which has other networks beside it."""
DECODER_XML = "openvino_decoder_model.xml"
"""The decoder of a model that has an encoder too."""
MAIN_NETWORKS = (LANGUAGE_XML, DECODER_XML, MODEL_XML)
"""The network that generates tokens, by its file: the first that is there."""

_TOKENIZERS = ("openvino_tokenizer", "openvino_detokenizer")
PARTS = ("openvino_model", *_TOKENIZERS)
"""The three networks of a language model; each is an ``.xml`` and a ``.bin``."""

_VISION_PARTS = (
    "openvino_language_model",
    "openvino_text_embeddings_model",
    "openvino_vision_embeddings_model",
    *_TOKENIZERS,
)
"""What every vision-language model has; some have more."""

_PAIR = ("openvino_encoder_model", "openvino_decoder_model")


_POINTER = b"version https://git-lfs.github.com/spec/"


def check_no_pointer(path: Path) -> None:
    """Raise an ``InputError`` if a file is what Git leaves in place of a large one that was not fetched."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(
                f"{path} is a pointer of Git LFS, not the file itself",
                hint=f"fetch it: git -C {shlex.quote(str(path.parent))} lfs pull",
            )


def main_network(folder: Path) -> Path:
    """Return the ``.xml`` of the network that generates tokens, whether it is there or not."""
    found = (folder / name for name in MAIN_NETWORKS)
    return next((each for each in found if each.exists()), folder / MODEL_XML)


def is_kokoro(folder: Path) -> bool:
    """Return whether an IR speaks by the network of Kokoro, which reads phonemes and so has no tokenizer."""
    return read_object(folder / "config.json").get("model_type") == "kokoro"


def holds_ir(folder: Path) -> bool:
    """Return whether a network that generates tokens lies in a folder itself."""
    return main_network(folder).exists()


def networks(folder: Path) -> tuple[Path, ...]:
    """Return the ``.xml`` of each network of a model but for its tokenizers, the one that generates tokens first."""
    main = main_network(folder)
    others = () if main.name == MODEL_XML else sorted(folder.glob("openvino_*.xml"))
    return (main, *(each for each in others if each != main and each.stem not in _TOKENIZERS))


def _required(folder: Path) -> tuple[str, ...]:
    """The networks that a model must have, by what it has."""
    if (folder / LANGUAGE_XML).exists():
        return _VISION_PARTS
    if (folder / "openvino_vocoder.xml").exists() or (folder / "openvino_postnet.xml").exists():
        return (*_PAIR, "openvino_postnet", "openvino_vocoder", "openvino_tokenizer")
    if (folder / DECODER_XML).exists():
        return (*_PAIR, *_TOKENIZERS)
    return (Path(MODEL_XML).stem,) if is_kokoro(folder) else PARTS


def ir_faults(folder: Path, recorded: Mapping[str, FileRecord]) -> Iterator[str]:
    """What is wrong with an IR's files, the network first; *recorded* are those its manifest lists."""
    parts = _required(folder)
    required = [f"{part}.xml" for part in parts] + [f"{part}.bin" for part in parts]
    for name in [*required, *sorted(set(recorded) - set(required))]:
        size = file_size(folder / name)
        if size is not None:
            check_no_pointer(folder / name)
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
    if size is None and (needed or not file_size(xml)):
        yield f"{path.name} is missing"
    elif size is not None and size < needed:
        state = "is empty" if size == 0 else f"is truncated at {size} bytes"
        yield f"{path.name} {state}; {xml.name} needs {needed}"


def file_size(path: Path) -> int | None:
    """Return the size of a file in bytes; ``None`` where there is none."""
    return path.stat().st_size if path.is_file() else None
