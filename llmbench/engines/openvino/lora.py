"""LoRA adapters: checked, handed to GenAI, and compared with what it reports as unused.

An adapter whose layers have other names than the model's is accepted, and then does nothing (seen with GenAI 2026.4.1
on every IR made from a GGUF): it warns on standard error only.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llmbench.errors import InputError, readable
from llmbench.files.cache import file_sha256
from llmbench.models.integrity import MODEL_XML
from llmbench.models.ir_xml import read_constants, read_names
from llmbench.models.safetensors import read_safetensors_head
from llmbench.schema.config import RunConfig

_WEIGHT = re.compile(r"\.(weight|_openvino_orig_weight)\b")
_Part = TypeVar("_Part")
_PRODUCTS = frozenset(("MatMul", "Convolution"))
"""Operations that GenAI adds an adapter to."""

_UNUSED = re.compile(r"Unused LoRA tensor: (?P<name>\S+)")


def check_adapters(config: RunConfig) -> None:
    """Refuse, by its head alone, an adapter that is none, is damaged, or does not fit the model.

    Raises:
        InputError: the file, what is wrong with it, and the layer.
    """
    model = Path(config.model)
    layers = _layers(model) if config.lora else {}
    for file in config.lora:
        shapes = _tensor_shapes(Path(file))
        products = dict(_products(file, shapes))
        if not products:
            raise InputError(
                f"{file} contains no LoRA matrices",
                hint="give an adapter_model.safetensors as peft writes it",
            )
        if model.exists() and not _matches_any(products, model):
            raise _fits_nothing(config, next(iter(products)))
        for name, (rows, columns) in products.items():
            size = layers.get(name)
            if size is not None and {size, size[::-1]}.isdisjoint({(rows, columns)}):
                raise InputError(
                    f"LoRA adapter {file} does not fit this model: its {name} is {rows} x {columns}, "
                    f"the model's {size[0]} x {size[1]}",
                    hint="give an adapter that was trained on this model",
                )


def _matches_any(names: Iterable[str], model: Path) -> bool:
    """Return whether GenAI finds any of these layers, by a part of the names of an IR's products; in a GGUF none."""
    products = _product_names(model)
    return any(name in product for name in names for product in products)


def _product_names(model: Path) -> tuple[str, ...]:
    xml = model / MODEL_XML
    return read_names(xml, _PRODUCTS) if xml.is_file() else ()


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


def _parts(named: Iterable[tuple[str, _Part]]) -> dict[str, dict[str, _Part]]:
    """What belongs to the matrices A and B, by layer."""
    parts: dict[str, dict[str, _Part]] = {}
    for name, part in named:
        layer, _, side = name.partition(".lora_")
        if side[:1] in {"A", "B"}:
            parts.setdefault(layer.removeprefix("base_model.model."), {})[side[0]] = part
    return parts


def _pairs(named: Iterable[tuple[str, _Part]]) -> dict[str, tuple[_Part, _Part]]:
    """What belongs to the matrices A and B of each layer that has both."""
    return {layer: (found["A"], found["B"]) for layer, found in _parts(named).items() if len(found) == 2}


def _products(file: str, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each layer that an adapter adds to, and the size of what it adds: its matrix B times its matrix A.

    Raises:
        InputError: a layer with one matrix only, or two that cannot be multiplied.
    """
    for layer, found in _parts(shapes.items()).items():
        a, b = (found.get(side, ()) for side in "AB")
        if min(len(a), len(b)) < 2 or a[0] != b[1]:
            sizes = " and ".join(f"{side} {_size(shape)}" for side, shape in (("A", a), ("B", b)))
            raise InputError(
                f"LoRA adapter {file} is damaged: the matrices of {layer} are {sizes}",
                hint="fetch it again, or give one as peft writes it: A has as many rows as B has columns",
            )
        yield layer, (b[0], math.prod(a[1:]))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "missing"


def _tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with readable(f"LoRA adapter {path}", hint="check the path"):
            head = read_safetensors_head(path)
            size = path.stat().st_size
    except ValueError:
        raise InputError(
            f"{path} is not a safetensors file", hint="GenAI takes adapters in that format only"
        ) from None
    if size < head.file_bytes:
        raise InputError(
            f"LoRA adapter {path} is truncated: {size} of {head.file_bytes} bytes", hint="fetch it again"
        )
    return head.shapes


def build_adapters(genai: Any, config: RunConfig) -> Any:
    """The adapters with their weights, in the order given."""
    modes = genai.AdapterConfig.Mode
    adapters = genai.AdapterConfig(getattr(modes, f"MODE_{config.lora_mode.upper()}"))
    alphas = config.lora_alphas or (1.0,) * len(config.lora)
    for file, alpha in zip(config.lora, alphas, strict=True):
        adapters.add(genai.Adapter(file), alpha)
    return adapters


def add_adapters(model: Any, config: RunConfig) -> None:
    """Add the adapters of a configuration to a model that is not compiled: y + alpha x A^T B^T for each layer.

    It is what GenAI computes in its modes that keep the weights as they are. Raises InputError where no layer of an
    adapter is one of the model's.
    """
    from openvino import opset13

    layers = {
        found["layer"]: node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul" and (found := _LINEAR.match(node.get_friendly_name()))
    }
    alphas = config.lora_alphas or (1.0,) * len(config.lora)
    for file, alpha in zip(config.lora, alphas, strict=True):
        products = _pairs(_tensors(Path(file)))
        if not layers.keys() & products.keys():
            raise _fits_nothing(config, next(iter(products)))
        for name in layers.keys() & products.keys():
            node, (a, b) = layers[name], products[name]
            readers = node.output(0).get_target_inputs()
            low = opset13.matmul(
                node.input_value(0), opset13.constant(a), transpose_a=False, transpose_b=True
            )
            part = opset13.matmul(low, opset13.constant(b * alpha), transpose_a=False, transpose_b=True)
            whole = opset13.add(node.output(0), part)
            for reader in readers:
                reader.replace_source_output(whole.output(0))
    model.validate_nodes_and_infer_types()


_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LINEAR = re.compile(r"__module\.(?P<layer>.+)/[a-z_]+::linear/MatMul")


def _tensors(path: Path) -> "Iterator[tuple[str, np.ndarray[Any, Any]]]":
    """Each tensor as float32; those of bf16 have its bits in front."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + length])
    for name in head.keys() - {"__metadata__"}:
        kind, (start, end) = head[name]["dtype"], head[name]["data_offsets"]
        if kind not in _DTYPES:
            raise InputError(f"{path}: {name} has type {kind}", hint=f"use {', '.join(_DTYPES)}")
        raw = np.frombuffer(data[8 + length + start : 8 + length + end], _DTYPES[kind])
        values = (raw.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else raw.astype(np.float32)
        yield name, values.reshape(head[name]["shape"])


def digest_adapters(config: RunConfig) -> dict[str, str]:
    """The content of each adapter as a hash, to be recorded with the effective settings."""
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
        raise _fits_nothing(config, first)
    return (f"LoRA: {len(unused)} of {len(layers)} layers match none of the model (first {first})",)


def _fits_nothing(config: RunConfig, first: str) -> InputError:
    sentence = f"the LoRA adapters fit nothing in this model, which has no layer {first}"
    return InputError(sentence, hint=_names_hint(config, first))


def _names_hint(config: RunConfig, first: str) -> str:
    """What to do where no layer of an adapter has a place, judged by the names of the model's layers."""
    model = Path(config.model)
    name = first.removeprefix("base_model.model.")
    if name in _layers(model):
        return "GenAI applies LoRA to linear layers only; those of gpt2 (Conv1D) are none"
    linear = [found["layer"] for found in map(_LINEAR.match, _product_names(model)) if found]
    example = next((layer for layer in linear if "attn" in layer or "attention" in layer), None)
    if example is not None:
        return (
            f"the model's layers have names such as {example}: give an adapter that was trained on this model"
        )
    return "an IR made from a GGUF has other names; convert the Hugging Face model instead"
