"""What ``convert`` shows; what it does is in tests/unit/test_convert.py and tests/model."""

import dataclasses
from pathlib import Path

import pytest

from llmbench.cli import convert
from llmbench.convert.pipeline import Converted
from llmbench.models.manifest import FileRecord, Manifest, ModelSource, Recipe, Timings
from llmbench.runner.step import Progress

CONVERTED = Converted(
    folder=Path("out/pytorch/dldt/INT8"),
    is_new=True,
    manifest=Manifest(
        schema=1,
        created_at="2026-01-02T03:04:05+00:00",
        source=ModelSource(kind="hub", id="example/tiny", revision="0" * 40),
        recipe=Recipe(weight_format="int8", is_symmetric=False),
        versions={},
        context_tokens=8192,
        files={"openvino_model.bin": FileRecord(sha256="ab" * 32, bytes=138 << 20)},
        agreement=0.9427,
        timings=Timings(export_s=80.2, verify_s=9.94, hash_s=0.12),
    ),
)


def test_a_conversion_is_five_lines() -> None:
    """Where it is, what it is, how far it agrees, and each step's time apart."""
    assert (
        "out/pytorch/dldt/INT8",
        "  weights    int8, 138 MiB; context 8192 tokens",
        "  agreement  0.943 of next tokens",
        "             usual for int8: 6% of next tokens differ from the source; small models lose more than large ones",
        "  took       export 1 min 20 s, verification 9.9 s, hashing 0.1 s",
    ) == convert.describe_conversion(CONVERTED)


def test_what_is_unknown_is_said_so() -> None:
    """No agreement, no context, no export: words, not zeros."""
    manifest = dataclasses.replace(
        CONVERTED.manifest,
        agreement=None,
        agreement_note="not measured: no source",
        context_tokens=None,
        timings=Timings(verify_s=1.0),
    )

    lines = convert.describe_conversion(dataclasses.replace(CONVERTED, manifest=manifest, is_new=False))

    assert lines[0].endswith("was there already, nothing was done")
    assert lines[1].endswith("context unknown")
    assert "  agreement  not measured: no source" == lines[2]
    assert "  took       verification 1.0 s" == lines[3]


def test_a_source_read_in_another_type_is_said_so() -> None:
    """A bfloat16 reading of the source blurs the agreement."""
    manifest = dataclasses.replace(CONVERTED.manifest, agreement_note="the source was read in bfloat16")

    lines = convert.describe_conversion(dataclasses.replace(CONVERTED, manifest=manifest))

    assert "  agreement  0.943 of next tokens (the source was read in bfloat16)" == lines[2]


def test_progress_without_a_terminal_is_a_line_a_step(capfd: pytest.CaptureFixture[str]) -> None:
    """Percentages are for terminals; a log has the steps, on standard error."""
    screen = convert._Plain()
    with screen.shown():
        screen.report(Progress(label="exporting int8"))
        screen.report(Progress(label="Loading weights", share=0.5))

    assert ("", "exporting int8 …\n") == tuple(capfd.readouterr())


def test_progress_on_a_terminal_names_step_and_part(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing of it goes to standard output; after a finished part the step goes on under its own name."""
    screen = convert._Live()
    with screen.shown():
        screen.report(Progress(label="exporting int8"))
        screen.report(Progress(label="Loading weights", share=0.5))
        assert ("exporting int8", "loading weights 50%") == screen.describe()
        screen.report(Progress(label="Loading weights", share=1.0))
        assert ("exporting int8", "") == screen.describe()
        screen.report(Progress(label="hashing"))
        assert ("hashing", "") == screen.describe()

    assert "" == capfd.readouterr().out


@pytest.mark.parametrize(
    ("weight_format", "agreement", "output"),
    [
        ("int4", 0.648, "usual for int4: 35% of next tokens differ from the source"),
        ("int4", 0.55, "LOW: 45% of next tokens differ from the source; int4 usually agrees on 60% or more"),
        ("fp16", 0.99, "as good as the source for most purposes: 1% of next tokens differ"),
        ("q4_1", 0.648, ""),
    ],
)
def test_an_agreement_is_judged(weight_format: str, agreement: float, output: str) -> None:
    """Against what the format usually reaches; one that nobody knows has no judgement."""
    recipe = Recipe(weight_format=weight_format, is_symmetric=False)
    manifest = dataclasses.replace(CONVERTED.manifest, recipe=recipe, agreement=agreement)
    lines = convert.describe_conversion(dataclasses.replace(CONVERTED, manifest=manifest))

    assert lines[3].strip().startswith(output or "took")
