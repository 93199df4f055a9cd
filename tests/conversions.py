"""Models that tests convert or build, made once and kept in the user's cache folder until their causes change.

A conversion is kept for one source, one set of package versions and one state of the code that converts, comments and
docstrings aside; a second session with the same three converts nothing. What was not used for two weeks is removed.
"""

import ast
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import llmbench
from llmbench.convert import exporter, pipeline
from llmbench.convert.pipeline import Converted
from llmbench.convert.request import ConvertRequest
from llmbench.files.cache import cache_folder
from llmbench.files.package_data import packaged_files
from llmbench.models import sources
from llmbench.models.manifest import Recipe
from llmbench.models.pipeline import find_pipeline
from tests import hf_model, speech_model, vision_model

_KEPT_S = 14 * 24 * 3600
_PACKAGE = Path(llmbench.__file__).parent
_CONVERTER = (*sorted((_PACKAGE / "convert").glob("*.py")), _PACKAGE / "models" / "manifest.py")


def converted(source: Path, *weight_formats: str) -> dict[str, Converted]:
    """The conversions of a GGUF or a Hugging Face folder by weight format; made now only where none is kept."""
    revision = sources.find_source(str(source), revision=None, trusts_remote_code=False).revision
    with _kept(f"{source.parents[1].name}-{source.stem}", _CONVERTER, str(source), revision) as folder:
        request = ConvertRequest(model_id=str(source), output_dir=folder, weight_formats=weight_formats)
        made = list(pipeline.convert(request, lambda _progress: None))
    return {str(each.manifest.recipe.weight_format): each for each in made}


def real_model(gguf: Path) -> Path:
    """A Hugging Face folder with the model of *gguf*, as a hub would hold it."""
    return _built(gguf.stem, lambda folder: hf_model.build(gguf, folder))


def tiny_model() -> Path:
    """A Hugging Face folder with a Llama of two layers and random weights, the same in every session."""
    return _built("tiny", hf_model.build_tiny)


def alibi_model() -> Path:
    """A Hugging Face folder with an MPT of two layers and random weights."""
    return _built("alibi", hf_model.build_alibi)


def vision_source(gguf: Path | None, *, has_slices: bool = False) -> Path:
    """A Hugging Face folder with a LLaVA of two layers, or with the model of *gguf* as its language part."""
    language = tiny_model() if gguf is None else real_model(gguf)
    name = f"llava-{'next-' * has_slices}{'tiny' if gguf is None else gguf.stem}"
    return _built(name, lambda folder: vision_model.build_llava(language, folder, has_slices=has_slices))


def vision_ir(source: Path) -> Path:
    """The IR of such a folder, as ``convert`` makes it."""
    return converted(source, "fp32")["fp32"].folder


def whisper_ir() -> Path:
    """The IR of Whisper tiny.en, which hears English."""
    source = _built("whisper", lambda folder: speech_model.whisper_source(folder, folder.parent / "parts"))
    with _kept("whisper-ir", _CONVERTER, str(source)) as folder:
        target = folder / "model"
        if not (target / "openvino_detokenizer.bin").exists():
            shutil.rmtree(target, ignore_errors=True)
            task, recipe = "automatic-speech-recognition-with-past", Recipe(weight_format="fp16")
            target.mkdir()
            exporter.export(source, target, task=task, recipe=recipe, report=lambda _progress: None)
    return target


def kokoro_ir() -> Path:
    """The IR of Kokoro-82M with its voices."""
    files = find_pipeline(packaged_files("model_configs", ".toml")["tts-four-stage"])
    parts = {"model": Path(files.models["decoder"]), **files.files["ids"]}
    return _built("kokoro", lambda folder: speech_model.kokoro_ir(folder, parts))


def _built(name: str, build: Callable[[Path], Path]) -> Path:
    with _kept(name, [Path(module.__file__) for module in (hf_model, speech_model, vision_model)]) as folder:
        model, partial = folder / "model", folder / "model.partial"
        if not model.exists():
            shutil.rmtree(partial, ignore_errors=True)
            build(partial).rename(model)
    return model


@contextmanager
def _kept(name: str, code: Iterable[Path], *causes: str) -> Iterator[Path]:
    """A folder of the cache for a name and these causes, held by one test at a time; tests of other models go on."""
    versions = [f"{package}={version}" for package, version in sorted(pipeline.converter_versions().items())]
    parts = [text.encode() for text in (*map(_meaning, code), *versions, *causes)]
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
    parent = cache_folder() / "tests" / name
    folder = parent / key
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(folder)
        _remove_unused(parent)
        yield folder


def _meaning(file: Path) -> str:
    """Return what a module does: its syntax without comments and docstrings."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            del node.body[0]
    return ast.dump(tree)


def _remove_unused(parent: Path) -> None:
    for folder in parent.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)
