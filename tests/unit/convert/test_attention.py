from pathlib import Path

import pytest

from llmbench.convert.attention import attention_line, attention_warnings, read_attention
from llmbench.errors import ExitCode, LaunchError
from llmbench.schema.attention import Fusion
from tests.unit.models.test_attention import BASE, fused, plain
from tests.unit.models.test_ir_xml import ir

WHOLE = {"language model": Fusion(fused=30, layers=30)}
OLD = {"transformers": "5.5.0", "optimum-intel": "2.1.0"}
REMEDY = "convert it again after: pip install 'transformers==5.5.4' 'optimum-intel==2.1.0'"


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (WHOLE, "attention: 30 of 30 layers use fused attention (SDPA)"),
        (
            {**WHOLE, "vision tower": Fusion(fused=11, layers=11)},
            "attention: 30 of 30 layers use fused attention (SDPA); vision tower 11 of 11",
        ),
        ({"language model": Fusion(fused=0, layers=0)}, "attention: no layer has softmax attention"),
        ({}, "attention: unknown, the IR could not be read"),
    ],
)
def test_the_closing_line_has_the_language_model_first(found: dict[str, Fusion], line: str) -> None:
    """Other parts are counted for themselves."""
    assert line == attention_line(found)


def test_layers_that_are_not_fused_are_warned_about_with_what_repairs_it() -> None:
    """The versions that made it, and those known to be right; where these were used, nothing newer is known."""
    lost = {"language model": Fusion(fused=0, layers=42)}
    (text,) = attention_warnings(lost, OLD)
    (newest,) = attention_warnings(lost, {**OLD, "transformers": "5.5.4"})

    assert text.startswith(
        "only 0 of 42 layers use fused attention (SDPA): paged attention cannot run this model"
    )
    assert f"it was made with transformers 5.5.0, optimum-intel 2.1.0; {REMEDY}" in text
    assert "report the architecture to optimum-intel" in newest
    assert () == attention_warnings(WHOLE, OLD)


def test_fused_attention_can_be_required(tmp_path: Path) -> None:
    """Exit 5 with the count and the remedy where a layer is plain; a whole one passes."""
    ir(tmp_path, (*BASE, fused("a")))
    assert {"language model": Fusion(fused=1, layers=1)} == read_attention(
        tmp_path, is_required=True, versions=OLD
    )

    ir(tmp_path, (*BASE, fused("a"), *plain("b")))
    assert read_attention(tmp_path, is_required=False, versions=OLD)
    with pytest.raises(LaunchError, match="1 of 2 layers use fused attention") as error:
        read_attention(tmp_path, is_required=True, versions=OLD)

    assert ExitCode.LAUNCH == error.value.exit_code
    assert error.value.hint is not None
    assert error.value.hint.endswith(REMEDY)
