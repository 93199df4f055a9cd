"""The safetensors files that the weights of a Hugging Face folder consist of, and what lies there instead."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from llmbench.errors import InputError
from llmbench.files.strict_json import read_object
from llmbench.models.safetensors import first_few

_ADAPTER = "adapter_model.safetensors"
"""What PEFT calls the weights of an adapter, in a folder of its own."""

_SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
_WEIGHTS = ".safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_OTHER_WEIGHTS = (*(f"*{end}" for end in _PICKLED), "*.h5", "*.msgpack", "*.onnx", "*.gguf")
"""Weights in formats that are not read."""


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that transformers reads: those of the index, or the only one.

    Raises:
        InputError: files are missing, or the weights are in another format.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return _indexed_files(index)
    found = sorted(file for file in folder.glob(f"*{_WEIGHTS}") if file.name != _ADAPTER)
    shard = next((file for file in found if _SHARD.search(file.name)), None)
    whole = [file for file in found if file.name == f"model{_WEIGHTS}"]
    if shard is not None and not whole:
        raise InputError(
            f"{folder} contains shards, such as {shard.name}, but no {index.name}",
            hint="fetch the index of the same revision",
        )
    if not found:
        raise _no_weights(folder)
    return whole or found


def _indexed_files(index: Path) -> list[Path]:
    placed = read_description(index).get("weight_map")
    names = list(placed.values()) if isinstance(placed, dict) else []
    if not names or not all(isinstance(name, str) and name.endswith(_WEIGHTS) for name in names):
        raise InputError(
            f"{index} does not map tensors to safetensors files (weight_map)", hint="fetch the index again"
        )
    files = [index.with_name(Path(name).name) for name in sorted(set(names))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"{index} names shards that are missing: {first_few(missing)}",
            hint="fetch them, all of one revision",
        )
    return files


def _no_weights(folder: Path) -> InputError:
    others = sorted(file.name for pattern in _OTHER_WEIGHTS for file in folder.glob(pattern))
    gguf_files = [name for name in others if name.endswith(".gguf")]
    why = f"only {first_few(others)}" if others else "no weights"
    if any(name.endswith(_PICKLED) for name in others):
        why += ", which can run code when read"
    return InputError(
        f"{folder} contains {why}; safetensors are needed",
        hint=f"give the file itself: --model-id {shlex.quote(str(folder / gguf_files[0]))}"
        if gguf_files
        else "find or save the model with safetensors weights",
    )


def check_adapter(folder: Path) -> None:
    """Raise an ``InputError`` if *folder* contains an adapter and no model."""
    settings = folder / "adapter_config.json"
    if not settings.exists() or any(file.name != _ADAPTER for file in folder.glob(f"*{_WEIGHTS}")):
        return
    base = read_object(settings).get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    raise InputError(
        f"{folder} is an adapter{of}, not a model",
        hint=f"convert the model it was trained on, and run that with --lora {shlex.quote(str(folder / _ADAPTER))}",
    )


def read_description(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file that describes a model; an ``InputError`` says why it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} is not a Hugging Face model: it has no {path.name}",
            hint="give the folder that contains config.json",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} cannot be read: {reason}", hint="fetch it again, or correct it") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a JSON object", hint="fetch it again, or correct it")
    return found
