"""LoRA adapters: checked, handed to GenAI, and held against what it says it could not place.

An adapter whose layers have other names than the model's is accepted, and then does nothing (seen with GenAI 2026.4.1
on every IR made from a GGUF): it warns on standard error only.
"""

import re
from pathlib import Path
from typing import Any

from llmbench.errors import InputError
from llmbench.files.cache import file_sha256
from llmbench.models.safetensors import read_safetensors_head
from llmbench.schema.config import RunConfig

_UNUSED = re.compile(r"Unused LoRA tensor: (?P<name>\S+)")


def check_adapters(config: RunConfig) -> None:
    """Refuse a file that is not there, or that contains no LoRA matrices."""
    for file in config.lora:
        names = _tensor_names(Path(file))
        if not any("lora_A" in name or "lora_B" in name for name in names):
            raise InputError(
                f"{file} contains no LoRA matrices",
                hint="give an adapter_model.safetensors as peft writes it",
            )


def _tensor_names(path: Path) -> list[str]:
    try:
        return list(read_safetensors_head(path).weights)
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
    layers = {name.partition(".lora_")[0] for file in config.lora for name in _tensor_names(Path(file))}
    if unused.keys() >= layers:
        raise InputError(
            f"the LoRA adapters fit nothing in this model, which has no layer {first}",
            hint="an IR made from a GGUF has other names; convert the Hugging Face model instead",
        )
    return (f"LoRA: {len(unused)} of {len(layers)} layers match none of the model (first {first})",)
