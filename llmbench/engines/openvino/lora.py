"""LoRA adapters: checked, handed to GenAI, and held against what it says it could not place.

An adapter whose layers have other names than the model's is accepted, and then does nothing (seen with GenAI 2026.4.1
on every IR made from a GGUF): it warns on standard error only.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmbench.errors import InputError
from llmbench.files.cache import file_sha256
from llmbench.models.integrity import MODEL_XML
from llmbench.models.ir_xml import read_constants
from llmbench.models.safetensors import read_safetensors_head
from llmbench.schema.config import RunConfig

_WEIGHT = re.compile(r"\.(weight|_openvino_orig_weight)\b")
_UNUSED = re.compile(r"Unused LoRA tensor: (?P<name>\S+)")


def check_adapters(config: RunConfig) -> None:
    """Refuse a file that is not there or holds no LoRA matrices, and matrices of another size than the model's."""
    layers = _layers(Path(config.model)) if config.lora else {}
    for file in config.lora:
        shapes = _tensor_shapes(Path(file))
        if not any("lora_A" in name or "lora_B" in name for name in shapes):
            raise InputError(
                f"{file} contains no LoRA matrices",
                hint="give an adapter_model.safetensors as peft writes it",
            )
        for name, (rows, columns) in _products(shapes).items():
            size = layers.get(name)
            if size is not None and {size, size[::-1]}.isdisjoint({(rows, columns)}):
                raise InputError(
                    f"LoRA adapter {file} does not fit this model: its {name} is {rows} x {columns}, "
                    f"the model's {size[0]} x {size[1]}",
                    hint="give an adapter that was trained on this model",
                )


def _layers(model: Path) -> dict[str, tuple[int, int]]:
    """The rows and columns of each layer of an IR whose weights bear its name; of a GGUF, none."""
    xml = model / MODEL_XML
    found: dict[str, tuple[int, int]] = {}
    for constant in read_constants(xml) if xml.is_file() else ():
        weight = _WEIGHT.search(constant.name)
        columns = math.prod(constant.shape[1:])
        if weight is not None and columns > 1:
            name = constant.name[: weight.start()].removeprefix("self.")
            found.setdefault(name, (constant.shape[0], columns))
    return found


def _products(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """The size of what each pair of matrices (B times A) adds to, by the name of the layer."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, side = name.partition(".lora_")
        if side[:1] in {"A", "B"} and len(shape) == 2:
            parts.setdefault(layer.removeprefix("base_model.model."), {})[side[0]] = shape
    return {
        layer: (found["B"][0], found["A"][1]) for layer, found in parts.items() if found.keys() == {"A", "B"}
    }


def _tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        return read_safetensors_head(path).shapes
    except OSError as error:
        raise InputError(
            f"LoRA adapter {path} cannot be read: {error.strerror}", hint="check the path"
        ) from None
    except ValueError:
        raise InputError(
            f"{path} is not a safetensors file", hint="GenAI takes adapters in that format only"
        ) from None


def build_adapters(genai: Any, config: RunConfig) -> Any:
    """The adapters with their weights, in the order given."""
    modes = genai.AdapterConfig.Mode
    adapters = genai.AdapterConfig(getattr(modes, f"MODE_{config.lora_mode.upper()}"))
    alphas = config.lora_alphas or (1.0,) * len(config.lora)
    for file, alpha in zip(config.lora, alphas, strict=True):
        adapters.add(genai.Adapter(file), alpha)
    return adapters


def digest_adapters(config: RunConfig) -> dict[str, str]:
    """The content of each adapter as a hash, to stand with what is in force."""
    return {f"lora {Path(file).name}": f"sha256:{file_sha256(Path(file))}" for file in config.lora}


def note_unused(config: RunConfig, warnings: str) -> tuple[str, ...]:
    """What a reader must know of layers that found no place in the model; empty where all did.

    Raises InputError where none did: what was measured would be the model alone.
    """
    unused = dict.fromkeys(found["name"] for found in _UNUSED.finditer(warnings))
    if not unused:
        return ()
    first = next(iter(unused))
    layers = {name.partition(".lora_")[0] for file in config.lora for name in _tensor_shapes(Path(file))}
    if unused.keys() >= layers:
        raise InputError(
            f"the LoRA adapters fit nothing in this model, which has no layer {first}",
            hint=_names_hint(config, first),
        )
    return (f"LoRA: {len(unused)} of {len(layers)} layers match none of the model (first {first})",)


def _names_hint(config: RunConfig, first: str) -> str:
    """What to do where no layer of an adapter has a place, judged by the names of the model's layers."""
    layers = _layers(Path(config.model))
    name = first.removeprefix("base_model.model.")
    if name in layers:
        return "GenAI applies LoRA to linear layers only; those of gpt2 (Conv1D) are none"
    example = next((layer for layer in layers if "attn" in layer or "attention" in layer), None)
    if example is not None:
        return (
            f"the model's layers have names such as {example}: give an adapter that was trained on this model"
        )
    return "an IR made from a GGUF has other names; convert the Hugging Face model instead"
