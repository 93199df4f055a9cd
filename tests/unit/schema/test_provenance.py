import pytest

from llmbench.schema.run import Provenance
from llmbench.schema.units import format_count


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (
            Provenance(path="m/INT8", source="hub", source_id="HuggingFaceTB/SmolLM2-135M-Instruct"),
            "SmolLM2-135M-Instruct",
        ),
        (Provenance(path="m/INT8", source="folder", source_id="/home/me/models/tiny-llama"), "tiny-llama"),
        (
            Provenance(path="x", source="gguf", source_id="SmolLM2-135M.Q4_1.gguf", weight_format="Q4_1"),
            "SmolLM2-135M",
        ),
        (Provenance(path="a/mistral-7b-Q4_K.gguf", weight_format="q4_k"), "mistral-7b"),
        (Provenance(path="/data/qwen/pytorch/dldt/INT8"), "qwen"),
        (Provenance(path="pytorch/dldt/FP16"), "pytorch/dldt/FP16"),
    ],
)
def test_a_model_is_called_by_its_name(origin: Provenance, name: str) -> None:
    """Never by a path of this machine, unless nothing else is known of it."""
    assert name == origin.name


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (134_515_008, "135M"),
        (999_600_000, "1B"),
        (1_711_376_384, "1.7B"),
        (69_503_000_000, "70B"),
        (15_500, "16K"),
        (12, "12"),
    ],
)
def test_counts_of_parameters(count: int, shown: str) -> None:
    """As model cards write them."""
    assert shown == format_count(count)
