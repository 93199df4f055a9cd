import dataclasses
import json
from pathlib import Path

import pytest

from llmbench.engines.openvino.lora import check_adapters, digest_adapters, note_unused
from llmbench.errors import InputError
from llmbench.models.resolve import adapter_file
from llmbench.schema.config import Prompt, RunConfig

row_49 = pytest.mark.fault(
    49, "cache properties, an adapter, or a kind of attention that the model cannot take"
)

LAYERS = ("layers.0.q_proj", "layers.1.q_proj")


def _adapter(folder: Path, *names: str) -> Path:
    """A safetensors file of matrices of one element."""
    tensors = {
        name: {"dtype": "F32", "shape": [1, 1], "data_offsets": [4 * i, 4 * i + 4]}
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


@row_49
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


_IR = (
    '<?xml version="1.0"?><net name="x" version="11"><layers><layer id="0" name="self.model.layers.0.q_proj.weight" '
    'type="Const"><data element_type="f32" shape="{shape}" offset="0" size="4"/></layer>'
    '<layer id="1" name="__module.model.layers.0.q_proj/ov_ext::linear/MatMul" type="MatMul"/></layers></net>'
)


def _sized(
    folder: Path, matrix_a: list[int], matrix_b: list[int], *, layer: str = "model.layers.0.q_proj"
) -> Path:
    """An adapter of one layer with matrices of these shapes, whose values are left out; without one that is empty."""
    sides = {"A": matrix_a, "B": matrix_b}
    shapes = {f"base_model.model.{layer}.lora_{side}.weight": shape for side, shape in sides.items() if shape}
    head = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    ).encode()
    path = folder / "adapter.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    return path


@pytest.mark.parametrize("shape", ["96, 64", "96, 4, 16", "64, 96"], ids=["plain", "in groups", "transposed"])
def test_matrices_of_the_model_s_size_are_accepted(tmp_path: Path, shape: str) -> None:
    """B times A has the rows and columns of the layer's weights, however those are stored."""
    (tmp_path / "openvino_model.xml").write_text(_IR.format(shape=shape))
    config = dataclasses.replace(_config(_sized(tmp_path, [8, 64], [96, 8])), model=str(tmp_path))

    check_adapters(config)


@row_49
@pytest.mark.parametrize(("matrix_a", "matrix_b"), [([8, 32], [96, 8]), ([8, 64], [48, 8])])
def test_matrices_of_another_size_are_refused_before_loading(
    tmp_path: Path, matrix_a: list[int], matrix_b: list[int]
) -> None:
    """An adapter of a smaller model of the family: its layer and both sizes are named."""
    (tmp_path / "openvino_model.xml").write_text(_IR.format(shape="96, 64"))
    config = dataclasses.replace(_config(_sized(tmp_path, matrix_a, matrix_b)), model=str(tmp_path))
    sizes = rf"model.layers.0.q_proj is {matrix_b[0]} x {matrix_a[1]}, the model's 96 x 64"

    with pytest.raises(InputError, match=sizes):
        check_adapters(config)


@row_49
@pytest.mark.parametrize(
    ("matrix_a", "matrix_b", "sizes"),
    [
        ([4, 64], [96, 8], "A 4 x 64 and B 96 x 8"),
        ([8, 64], [], "A 8 x 64 and B missing"),
        ([], [96, 8], "A missing and B 96 x 8"),
        ([64], [96], "A 64 and B 96"),
        ([8, 64], [8], "A 8 x 64 and B 8"),
    ],
)
def test_matrices_that_cannot_be_multiplied_are_refused_before_loading(
    tmp_path: Path, matrix_a: list[int], matrix_b: list[int], sizes: str
) -> None:
    """Another rank on either side, one side alone, no matrices: the layer and both sizes are named."""
    with pytest.raises(InputError, match=rf"damaged: the matrices of model\.layers\.0\.q_proj are {sizes}$"):
        check_adapters(_config(_sized(tmp_path, matrix_a, matrix_b)))


@row_49
@pytest.mark.parametrize(
    "layer", ["model.layers.7.q_proj", "transformer.h.0.attn.c_attn", "layers.0.q_projector"]
)
def test_an_adapter_that_fits_no_layer_is_refused_before_loading(tmp_path: Path, layer: str) -> None:
    """No product of the IR has its name, as the engine would report after loading."""
    (tmp_path / "openvino_model.xml").write_text(_IR.format(shape="96, 64"))
    adapter = _sized(tmp_path, [8, 64], [96, 8], layer=layer)

    with pytest.raises(InputError, match=f"fit nothing in this model, which has no layer {layer}"):
        check_adapters(dataclasses.replace(_config(adapter), model=str(tmp_path)))


@row_49
def test_no_adapter_fits_a_gguf(tmp_path: Path) -> None:
    """GenAI names its layers otherwise, whatever the adapter: refused before the file is read."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    config = dataclasses.replace(_config(_lora(tmp_path)), model=str(tmp_path / "model.gguf"))

    with pytest.raises(InputError, match="fit nothing in this model") as refused:
        check_adapters(config)
    assert "convert the Hugging Face model" in (refused.value.hint or "")


@row_49
def test_a_truncated_adapter_is_refused_before_loading(tmp_path: Path) -> None:
    """Its head is whole, and lists more bytes than the file has."""
    adapter = _lora(tmp_path)
    adapter.write_bytes(adapter.read_bytes()[:-3])

    with pytest.raises(InputError, match=r"is truncated: \d+ of \d+ bytes"):
        check_adapters(_config(adapter))


def test_the_hint_names_layers_of_the_model(tmp_path: Path) -> None:
    """Where an adapter has other names than the model, one of the model's is shown."""
    xml = _IR.format(shape="96, 64").replace("layers.0.q_proj", "layers.0.self_attn.q_proj")
    (tmp_path / "openvino_model.xml").write_text(xml)
    config = dataclasses.replace(_config(_lora(tmp_path)), model=str(tmp_path))

    with pytest.raises(InputError) as refused:
        note_unused(config, _warning(*LAYERS))

    assert "such as model.layers.0.self_attn.q_proj" in (refused.value.hint or "")


def test_a_folder_of_peft_stands_for_its_weights(tmp_path: Path) -> None:
    """A folder without them is refused; a file is kept as it was typed."""
    with pytest.raises(InputError, match=r"is a folder without adapter_model\.safetensors"):
        adapter_file(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")

    assert str(tmp_path / "adapter_model.safetensors") == adapter_file(str(tmp_path))
    assert "a.safetensors" == adapter_file("a.safetensors")
