"""Greedy tokens of the paths that ``run`` takes, against what the model itself chooses."""

import json
from pathlib import Path

import pytest

from llmbench.convert import generation
from llmbench.convert.generation import Generated
from tests import tiny_ir


def _generated(*, pa: float | None, sdpa: float | None) -> Generated:
    """Two texts of which the second is surer; ``None`` is a kind of attention that failed."""
    shares = {kind: share for kind, share in (("pa", pa), ("sdpa", sdpa)) if share is not None}
    return Generated(
        texts=[[1, 2], [3, 4]],
        tokens={key: [[5, 6], [7, 8]] for key in shares},
        agreement=shares,
        margins={key: [[9.0, 0.1], [9.0, 2.5]] for key in shares},
        faults={kind: "beam_idx" for kind in ("pa", "sdpa") if kind not in shares},
    )


@pytest.mark.parametrize(
    ("pa", "sdpa", "expected"),
    [
        (1.0, 1.0, []),
        (0.9, 1.0, []),
        (0.25, 1.0, ["paged attention chooses other tokens", "25% of 32", "run it with --attention sdpa"]),
        (1.0, 0.0, ["SDPA chooses other tokens", "0% of 32", "run it with --attention pa"]),
        (0.0, 0.0, ["run it with --engine optimum"]),
        (None, 1.0, ["paged attention cannot run this model (beam_idx); run it with --attention sdpa"]),
        (None, None, ["SDPA cannot run this model", "run it with --engine optimum"]),
    ],
)
def test_each_disagreement_has_its_remedy(pa: float | None, sdpa: float | None, expected: list[str]) -> None:
    """What disagrees, by how much, and what to type."""
    warnings = "\n".join(generation.describe_faults(_generated(pa=pa, sdpa=sdpa)))

    assert bool(expected) == bool(warnings)
    assert all(words in warnings for words in expected)


def test_the_surest_text_is_kept() -> None:
    """Both choices after the second text have a margin above 2, after the first only one."""
    kept = generation._surest(_generated(pa=1.0, sdpa=1.0))

    assert kept is not None
    assert ((3, 4), 2, (7, 8)) == (kept.prompt, kept.sure, kept.tokens["pa"])
    assert generation._surest(_generated(pa=None, sdpa=None)) is None


def test_a_text_beyond_the_window_repeats_the_others() -> None:
    """Exactly so many tokens."""
    assert [1, 2, 3, 1, 2, 3, 1] == generation.repeat_to([[1, 2], [3]], 7)
    assert [1] == generation.repeat_to([[1, 2], [3]], 1)


@pytest.mark.parametrize(
    ("config", "positions"), [({}, [0, 1, 2, 3, 4, 5]), ({"conv_kernel": 4}, [0, 1, 2, 3])]
)
def test_positions_of_a_mamba_say_that_a_text_begins(
    tmp_path: Path, config: dict[str, int], positions: list[int]
) -> None:
    """optimum-intel's IR knows the beginning by as many positions as its convolution has; here they are its logits."""
    tiny_ir.save_positions(tmp_path / "openvino_model.xml")
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert positions == generation.IrReader(tmp_path).read([7, 8, 9, 7, 8, 9]).tolist()
