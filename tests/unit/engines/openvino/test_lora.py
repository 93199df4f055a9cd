import json
from pathlib import Path

import pytest

from llmbench.engines.openvino.lora import check_adapters, digest_adapters, note_unused
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig

LAYERS = ("layers.0.q_proj", "layers.1.q_proj")


def _adapter(folder: Path, *names: str) -> Path:
    """A safetensors file of one-element tensors."""
    tensors = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    head = json.dumps({"__metadata__": {"format": "pt"}} | tensors).encode()
    path = folder / "adapter.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4 * len(names)))
    return path


def _lora(folder: Path) -> Path:
    return _adapter(folder, *(f"{layer}.lora_{side}.weight" for layer in LAYERS for side in "AB"))


def _config(path: Path) -> RunConfig:
    return RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), lora=(str(path),))


def _warning(*layers: str) -> str:
    lines = "".join(f"    Unused LoRA tensor: {layer}\n" for layer in layers)
    return f"[ WARNING ] There unused LoRA tensors. The result of generation can be not accurate.\n{lines}"


def test_an_adapter_is_taken_and_hashed(tmp_path: Path) -> None:
    """Its content stands with what is in force, under its name."""
    config = _config(_lora(tmp_path))
    check_adapters(config)

    (entry,) = digest_adapters(config).items()
    assert "lora adapter.safetensors" == entry[0]
    assert entry[1].startswith("sha256:")


def test_what_is_no_adapter_is_refused_before_loading(tmp_path: Path) -> None:
    """No file, another format, and tensors that are not LoRA's."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        check_adapters(_config(tmp_path / "none"))
    (tmp_path / "text").write_text("not an adapter at all")
    with pytest.raises(InputError, match="is not a safetensors file"):
        check_adapters(_config(tmp_path / "text"))
    with pytest.raises(InputError, match="contains no LoRA matrices"):
        check_adapters(_config(_adapter(tmp_path, "weight")))


def test_layers_without_a_place_are_told(tmp_path: Path) -> None:
    """The engine goes on with a warning of its own; a reader of the report would not see it."""
    config = _config(_lora(tmp_path))

    assert () == note_unused(config, "")
    assert (f"LoRA: 1 of 2 layers match none of the model (first {LAYERS[1]})",) == note_unused(
        config, _warning(LAYERS[1]) * 2
    )


def test_an_adapter_that_does_nothing_is_an_error(tmp_path: Path) -> None:
    """All that would be measured is the model without it."""
    with pytest.raises(InputError, match=r"fit nothing in this model, which has no layer layers\.0\.q_proj"):
        note_unused(_config(_lora(tmp_path)), _warning(*LAYERS))
