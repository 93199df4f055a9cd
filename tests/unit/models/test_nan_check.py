"""Weights that are no numbers, in every format that a model keeps them in."""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from llmbench.errors import InputError
from llmbench.models import nan_check

LAYER = (
    '<layer id="{id}" name="{name}" type="Const" version="opset1">\n'
    '  <data element_type="{kind}" shape="{shape}" offset="{offset}" size="{size}" />'
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llmbench"


def _ir(folder: Path, *constants: tuple[str, bytes]) -> Path:
    """An IR of these constants: type and content of each, named c0, c1 ... in their order."""
    folder.mkdir(exist_ok=True)
    layers, content = [], b""
    for number, (kind, raw) in enumerate(constants):
        layers.append(
            LAYER.format(
                id=number, name=f"c{number}", kind=kind, shape="?", offset=len(content), size=len(raw)
            )
        )
        content += raw
    (folder / "openvino_model.xml").write_text("<net>\n" + "\n</layer>\n".join(layers) + "\n</layer></net>")
    (folder / "openvino_model.bin").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("kind", "one", "nan"),
    [
        ("f64", struct.pack("<d", 1), struct.pack("<d", float("nan"))),
        ("f32", struct.pack("<f", 1), struct.pack("<f", float("nan"))),
        ("f16", struct.pack("<e", 1), struct.pack("<e", float("nan"))),
        ("bf16", b"\x80\x3f", b"\xc0\x7f"),
        ("bf16", b"\x80\x3f", b"\xc0\xff"),
        ("f8e4m3", b"\x38", b"\x7f"),
        ("f8e5m2", b"\x3c", b"\xfe"),
        ("f8e8m0", b"\x7f", b"\xff"),
    ],
)
def test_one_nan_among_many_is_found(tmp_path: Path, kind: str, one: bytes, nan: bytes) -> None:
    """In each format, whatever its sign, and in the last of half a million values."""
    many = one * 500_000

    assert nan_check.fault(_ir(tmp_path / "whole", ("i64", b"\xff" * 8), (kind, many))) is None
    found = nan_check.fault(_ir(tmp_path / "broken", ("i64", b"\xff" * 8), (kind, many), (kind, many + nan)))
    assert "NaN weights: 1 of 2 tensors have some (first c2)" == found


@pytest.mark.fault(47, "a checkpoint that is not whole, or whose files are something else")
@pytest.mark.parametrize(
    ("kind", "content", "is_bad"),
    [
        ("F32", struct.pack("<2f", 1, float("nan")), True),
        ("BF16", b"\x80\x3f\xc0\x7f", True),
        ("F8_E4M3", b"\x38\x7f", True),
        ("F32", struct.pack("<2f", 1, float("inf")), False),
        ("I8", b"\xff\x7f", False),
    ],
)
def test_a_published_model_is_read_as_well(
    tmp_path: Path, kind: str, content: bytes, *, is_bad: bool
) -> None:
    """What would be exported, or run by PyTorch, at a plausible speed."""
    place = {"dtype": kind, "shape": [2], "data_offsets": [0, len(content)]}
    head = json.dumps({"a": place}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + content)

    expected = "NaN weights: 1 of 1 tensors have some (first a)" if is_bad else None
    assert expected == nan_check.published_fault(tmp_path)


def test_what_is_no_number_by_intention_is_no_fault(tmp_path: Path) -> None:
    """A mask of infinities, integers of any bits, and a single value that stands for what is undefined."""
    folder = _ir(
        tmp_path / "model",
        ("f32", struct.pack("<2f", float("-inf"), float("inf"))),
        ("f16", struct.pack("<2e", float("-inf"), float("inf"))),
        ("u8", b"\xff" * 64),
        ("f32", struct.pack("<f", float("nan"))),
    )

    assert nan_check.fault(folder) is None


def test_a_file_is_read_again_when_it_or_its_network_has_changed(tmp_path: Path) -> None:
    """The same weights under another network are other values."""
    import time

    raw = struct.pack("<2f", 1, float("nan"))
    folder = _ir(tmp_path / "model", ("i32", raw))
    time.sleep(0.15)  # longer than a change must be old to be remembered
    assert nan_check.fault(folder) is None
    assert nan_check.fault(folder) is None
    network = folder / "openvino_model.xml"
    network.write_text(network.read_text().replace('"i32"', '"f32"'))

    assert nan_check.fault(folder) is not None


def _gguf(path: Path, kind: str, *, bad: int | None) -> Path:
    """A GGUF of one tensor of 512 zeros, of which the byte pair at *bad* is a NaN in half precision."""
    quantized = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[quantized]
    raw = np.zeros(512 // block * size, dtype=np.uint8)
    if bad is not None:
        raw[bad : bad + 2] = (0x00, 0x7E)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor("blk.0.attn_q.weight", raw, raw_shape=(1, len(raw)), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        *(("Q4_0", 18), ("Q8_0", 34), ("Q5_0", 22), ("IQ4_NL", 18)),
        *(("Q4_1", 20 + 2), ("Q5_1", 24 + 2), ("Q4_K", 144 + 2), ("Q5_K", 176 + 2)),
        *(("Q2_K", 84 + 82), ("Q3_K", 110 + 108), ("Q6_K", 210 + 208), ("F16", 500)),
    ],
)
def test_a_scale_of_a_gguf_that_is_no_number_is_found(tmp_path: Path, kind: str, bad: int) -> None:
    """In the second block of each type: in its first scale, or in its second where it has two."""
    sentence = "NaN weights: 1 of 1 tensors have some (first blk.0.attn_q.weight)"

    assert nan_check.fault(_gguf(tmp_path / "whole.gguf", kind, bad=None)) is None
    assert sentence == nan_check.fault(_gguf(tmp_path / "broken.gguf", kind, bad=bad))


def test_what_is_no_model_has_no_fault(tmp_path: Path) -> None:
    """A script, or a folder of other weights: their engines show logits, or there is none."""
    (tmp_path / "config.json").write_text("{}")

    assert nan_check.fault(tmp_path) is None
    assert nan_check.fault("first=1ms") is None


@pytest.mark.parametrize(("left", "state"), [(0, "is empty"), (2, "is truncated at 2 bytes")])
def test_weights_cut_short_are_one_line_that_names_the_file(tmp_path: Path, left: int, state: str) -> None:
    """No file of fewer bytes than its tensors need is looked at."""
    weights = _ir(tmp_path / "ir", ("f32", bytes(16))) / "openvino_model.bin"
    weights.write_bytes(bytes(left))

    with pytest.raises(InputError) as caught:
        nan_check.fault(tmp_path / "ir")

    assert f"{weights} {state}; its tensors need 16" == caught.value.message


def test_a_network_without_weights_may_have_an_empty_file(tmp_path: Path) -> None:
    """A tokenizer's network may have no floating-point constant."""
    assert nan_check.fault(_ir(tmp_path / "ir")) is None
