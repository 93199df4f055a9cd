"""Models that paged attention cannot run, and drafts that do not fit their main model."""

import shutil
from pathlib import Path

import pytest

from llmbench.schema.attention import Fusion
from tests.command import RunCommand
from tests.outcome import measured_run
from tests.tiny_ir import build_unfused

pytestmark = pytest.mark.model
row_43 = pytest.mark.fault(43, "attention not fused, or paged attention replaced by another in silence")
_SHORT = ("--input-tokens", "16", "-ic", "4", "-n", "1", "--foreign-cpu-limit", "1", "--name", "x")
_CAUSE = "paged attention cannot run this model: No ScaledDotProductAttention operation"


@pytest.fixture(scope="module")
def unfused(tmp_path_factory: pytest.TempPathFactory, demo_ir: Path) -> Path:
    """An IR whose attention is not fused, with a real tokenizer."""
    return build_unfused(tmp_path_factory.mktemp("model") / "unfused", demo_ir)


@row_43
def test_row_43_sdpa_replaces_paged_attention_with_a_warning(
    llmbench_workers: RunCommand, unfused: Path, tmp_path: Path
) -> None:
    """Without --attention the run goes on: a warning, a line of the card, and in the run file what was effective."""
    done = llmbench_workers("run", "-m", str(unfused), *_SHORT)

    (launch,) = measured_run(done, tmp_path / "reports/x.jsonl").launches
    alarm = f"FALLBACK: plain attention was used instead of paged attention, the default: {_CAUSE}"
    assert f"warning: {alarm}" in done.stderr
    assert alarm in " ".join(done.stdout.split())
    assert "genai (plain attention, NOT paged attention)" in done.stdout
    proof = launch.effective.attention_proof
    assert proof is not None
    assert ("plain attention", "default", Fusion(fused=0, layers=1)) == (
        launch.effective.attention,
        proof.request,
        proof.fusion,
    )
    assert (proof.fallback or "").startswith(_CAUSE)


@row_43
def test_row_43_strict_refuses_what_replaces_paged_attention(
    llmbench_workers: RunCommand, unfused: Path
) -> None:
    """With --strict nothing is measured: exit 3 with the cause."""
    done = llmbench_workers("run", "-m", str(unfused), *_SHORT, "--strict")

    assert 3 == done.returncode, done.stderr
    assert _CAUSE in done.stderr


@row_43
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--attention=pa", "hint: use --attention sdpa"),
        ("--num-beams=2", "GenAI's SDPA has no beam search (--num-beams)"),
    ],
)
def test_row_43_what_needs_paged_attention_is_refused(
    llmbench_workers: RunCommand, unfused: Path, option: str, words: str
) -> None:
    """Requested, or needed by another option: exit 2 with one line."""
    done = llmbench_workers("run", "-m", str(unfused), *_SHORT, option)

    assert 2 == done.returncode, done.stderr
    assert _CAUSE in done.stderr
    assert words in done.stderr


@row_43
def test_row_43_the_draft_is_named_where_it_is_to_blame(
    llmbench_workers: RunCommand, unfused: Path, demo_ir: Path
) -> None:
    """The main model is fine; exit 2 with the draft's path."""
    done = llmbench_workers("run", "-m", str(demo_ir), "--draft-model", str(unfused), *_SHORT)

    assert 2 == done.returncode, done.stderr
    assert f"paged attention cannot run the draft model {unfused}" in done.stderr


def test_a_draft_with_another_tokenizer_is_refused_before_loading(
    llmbench_workers: RunCommand, unfused: Path, demo_ir: Path, tmp_path: Path
) -> None:
    """One token is another text in its vocabulary; exit 2 with both models, in a dry run as well."""
    other = Path(shutil.copytree(unfused, tmp_path / "other"))
    for part in ("tokenizer", "detokenizer"):
        file = other / f"openvino_{part}.bin"
        file.write_bytes(file.read_bytes().replace(b"Hello", b"Jello"))
    done = llmbench_workers("run", "-m", str(demo_ir), "--draft-model", str(other), *_SHORT, "--dry-run")

    assert 2 == done.returncode, done.stderr
    assert f"the draft model {other} has another tokenizer than the main model {demo_ir}" in done.stderr


@pytest.mark.parametrize(
    ("device", "code"), [("GPU", "4: device GPU is not available"), ("", "2: the device name is empty")]
)
def test_the_device_of_a_draft_is_checked(
    llmbench_workers: RunCommand, demo_ir: Path, device: str, code: str
) -> None:
    """As the main model's is."""
    draft = ("--draft-model", str(demo_ir), "--draft-device", device)
    done = llmbench_workers("run", "-m", str(demo_ir), *draft, *_SHORT, "--dry-run")

    assert f"{done.returncode}: {done.stderr.removeprefix('error: ')}".startswith(code)


def test_a_draft_must_be_an_ir(llmbench_workers: RunCommand, demo_ir: Path, demo_gguf: Path) -> None:
    """GenAI reads no draft from a GGUF file; exit 2 with the command that converts it."""
    done = llmbench_workers("run", "-m", str(demo_ir), "--draft-model", str(demo_gguf), *_SHORT, "--dry-run")

    assert 2 == done.returncode, done.stderr
    assert f"hint: llmbench convert --model-id {demo_gguf}" in done.stderr
