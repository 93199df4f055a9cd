"""Sources whose weights are quantized already: recognized in each layout, and refused with the remedy."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.models.quantization import Quantization, check_exportable, check_readable, find_quantization

METHODS: list[tuple[str, Any, str, type[Exception]]] = [
    ("gptq", {"quant_method": "gptq", "bits": 4, "desc_act": False}, "GPTQ, 4 bits", MachineError),
    ("awq", {"quant_method": "awq", "bits": 4, "version": "gemm"}, "AWQ, 4 bits", MachineError),
    ("fp8", {"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8", InputError),
    ("bnb", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes, 4 bits", InputError),
    ("bnb8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits", InputError),
    ("ct", {"quant_method": "compressed-tensors"}, "compressed-tensors", InputError),
    ("ct_unnamed", {"config_groups": {}}, "compressed-tensors", InputError),
    ("hqq", {"quant_method": "hqq"}, "HQQ", InputError),
    ("awq_unnamed", {"w_bit": 4, "q_group_size": 128, "zero_point": True}, "AWQ, 4 bits", MachineError),
    ("gptq_unnamed", {"bits": 4, "desc_act": False}, "GPTQ, 4 bits", MachineError),
    ("text_bits", {"quant_method": "awq", "bits": "4"}, "AWQ, 4 bits", MachineError),
    ("text", "AWQ", "AWQ", MachineError),
    ("unnamed", {"bits": 3}, "unknown method, 3 bits", InputError),
    ("future", {"quant_method": "never-heard-of"}, "never-heard-of", InputError),
]


@pytest.mark.fault(42, "the effective path gives other tokens than the source")
@pytest.mark.parametrize(
    ("settings", "title", "error"), [row[1:] for row in METHODS], ids=[row[0] for row in METHODS]
)
@pytest.mark.parametrize("location", ["config", "text_config", "compression_config"])
def test_each_method_is_refused_before_the_weights_are_read(
    *, settings: object, title: str, error: type[Exception], location: str, tmp_path: Path
) -> None:
    """Exit 4 where a package would do, else 2; the method in the field's words, and the remedy."""
    config: dict[str, Any] = {
        "config": {"quantization_config": settings},
        "text_config": {"thinker_config": {"text_config": {"quantization_config": settings}}},
        "compression_config": {"compression_config": settings},
    }[location]

    with pytest.raises(error) as caught:
        check_exportable(find_quantization(tmp_path, config), "org/Model-7B-AWQ")

    assert f"are quantized already ({title})" in str(caught.value)
    hint = str(caught.value.hint)  # type: ignore[attr-defined]
    assert "convert the unquantized model (org/Model-7B)" in hint
    assert (error is MachineError) == ("pip install gptqmodel" in hint)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128}, Quantization(method="gptq", bits=4)),
        ("quant_config.json", {"w_bit": 4}, Quantization(method="awq", bits=4)),
        ("quantize_config.json", {"zero_point": True, "w_bit": 4}, Quantization(method="awq", bits=4)),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}, Quantization(method="nvfp4")),
    ],
)
def test_settings_in_a_file_of_their_own_are_found(
    name: str, settings: dict[str, Any], expected: Quantization, tmp_path: Path
) -> None:
    """Older tools wrote nothing into config.json."""
    (tmp_path / name).write_text(json.dumps(settings))

    assert expected == find_quantization(tmp_path, {"model_type": "llama"})


@pytest.mark.parametrize("config", [{}, {"quantization_config": {}}, {"quantization_config": None}])
def test_unquantized_weights_pass(config: dict[str, Any], tmp_path: Path) -> None:
    """An empty section is none, and what transformers itself dequantizes can be exported."""
    assert find_quantization(tmp_path, config) is None
    check_exportable(None, "org/model")
    check_exportable(Quantization(method="mxfp4"), "org/model")
    check_readable(Quantization(method="mxfp4"), "org/model")


@pytest.mark.parametrize(("method", "needed"), [("gptq", "gptqmodel"), ("hqq", "hqq"), ("fp8", None)])
def test_pytorch_needs_the_package_of_the_method(method: str, needed: str | None) -> None:
    """A missing package, or a GPU: exit 4 either way."""
    with pytest.raises(MachineError) as caught:
        check_readable(Quantization(method=method), "m")

    assert f"pip install {needed}" in str(caught.value.hint) if needed else "CPU" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("Qwen/Qwen3-8B-AWQ", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
        ("RedHatAI/Llama-3-8B-quantized.w4a16", "RedHatAI/Llama-3-8B"),
        ("unsloth/llama-3-8b-bnb-4bit", "unsloth/llama-3-8b"),
        ("/home/me/models-awq/tiny", None),
    ],
)
def test_the_unquantized_model_is_guessed_from_the_hub_s_name(name: str, original: str | None) -> None:
    """A path of this disk is not a name."""
    with pytest.raises(InputError) as caught:
        check_exportable(Quantization(method="fp8"), name)

    assert (f"({original})" if original else "model with") in str(caught.value.hint)
