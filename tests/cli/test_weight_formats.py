import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import ir_of

__all__ = ["ir_of"]  # a fixture of models that are files only

Run = Callable[..., subprocess.CompletedProcess[str]]
BOTH = ("run", "-m", "models", "--weight-format", "int8,int4")


@pytest.fixture
def models(tmp_path: Path, ir_of: Callable[..., Path]) -> Path:
    """A folder with an IR of each of two formats, laid out as convert does."""
    for name, context in (("INT8", 8192), ("INT4", 512)):
        ir_of(name=f"models/pytorch/dldt/{name}", context=context)
    return tmp_path / "models"


@pytest.mark.usefixtures("models")
def test_each_format_is_a_cell_of_the_sweep(llmbench: Run, tmp_path: Path) -> None:
    """With every value of the other lists, from the command line as from a recipe; a dry run lists them."""
    options = ("-ic", "8,16", "--threads", "1,2", "--order", "given", "--dry-run")
    reported = llmbench(*BOTH, *options)
    (tmp_path / "run.toml").write_text(
        'model = "models"\nweight-format = ["int8", "int4"]\ninfer-count = [8, 16]\nthreads = [1, 2]\norder = "given"\n'
    )
    written = llmbench("run", "-c", "run.toml", "--dry-run")

    assert 0 == reported.returncode, reported.stderr
    launches = re.findall(
        r"dldt/(\w+) on .*weight_format=(\w+), output_tokens=(\d+), threads=(\d)", reported.stdout
    )
    assert [
        (name.upper(), name, tokens, threads)
        for name in ("int8", "int4")
        for threads in "12"
        for tokens in ("8", "16")
    ] == launches
    assert re.search(r"about .*, an estimate from", reported.stdout)
    assert reported.stdout == written.stdout


def test_one_format_chooses_and_is_no_sweep(llmbench: Run, models: Path) -> None:
    """Without one, the formats that are there are named with the option."""
    chosen = llmbench("run", "-m", "models", "--weight-format", "INT4", "--dry-run")
    none = llmbench("run", "-m", "models", "--dry-run")

    assert 0 == chosen.returncode, chosen.stderr
    assert "1 launch: models/pytorch/dldt/INT4 on CPU" in chosen.stdout
    assert "weight_format" not in chosen.stdout
    assert 2 == none.returncode
    assert f"{models.name} contains 2 models" in none.stderr
    assert "--weight-format int4,int8" in none.stderr


@pytest.mark.usefixtures("models")
def test_a_format_that_is_not_there_is_refused(llmbench: Run, tmp_path: Path) -> None:
    """The others of the list are not measured without it."""
    done = llmbench("run", "-m", "models", "--weight-format", "int8,fp16")

    assert 2 == done.returncode
    assert "models contains no IR with fp16 weights; there is int4 (" in done.stderr
    assert [] == list(tmp_path.rglob("*.jsonl"))


def test_every_ir_is_verified_before_the_first_launch(llmbench: Run, models: Path, tmp_path: Path) -> None:
    """A flipped byte in the last one ends the sweep before it begins, unless nobody wants to know."""
    weights = models / "pytorch/dldt/INT4/openvino_model.bin"
    weights.write_bytes(b"\xff" + weights.read_bytes()[1:])
    done = llmbench(*BOTH)

    assert 2 == done.returncode
    assert "INT4/openvino_model.bin is not the file that was converted" in done.stderr
    assert [] == list(tmp_path.rglob("*.jsonl"))
    assert 0 == llmbench(*BOTH, "--no-verify", "--dry-run").returncode


@pytest.mark.usefixtures("models")
def test_each_model_s_own_context_is_held_against_the_lengths(llmbench: Run) -> None:
    """The second one holds less."""
    fits = llmbench(*BOTH, "--input-tokens", "256", "--dry-run")
    done = llmbench(*BOTH, "--input-tokens", "1024", "--dry-run")

    assert 0 == fits.returncode, fits.stderr
    assert 2 == done.returncode
    assert "the model's context is 512" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("-m", "models", "-f", "pt"), "PyTorch runs the weights as they were published"),
        (("-m", "first=1ms", "--engine", "scripted"), "the scripted engine has no weights"),
        (("-m", "models", "--weight-format", "q4"), "'q4' is not one of fp32, fp16, int8, int4"),
    ],
)
def test_where_there_is_nothing_to_choose_from_it_is_refused(
    llmbench: Run, arguments: tuple[str, ...], output: str
) -> None:
    """With the reason, on one line."""
    done = llmbench("run", "--weight-format", "int8", *arguments)

    assert 2 == done.returncode
    assert output in done.stderr


@pytest.mark.usefixtures("models")
def test_sides_of_a_trial_may_be_formats(llmbench: Run) -> None:
    """Given twice, the first is A's."""
    done = llmbench("ab", "-m", "models", "--weight-format", "int8", "--weight-format", "int4", "--dry-run")

    assert 0 == done.returncode, done.stderr
    assert "A: models/pytorch/dldt/INT8, weight_format=int8\n" in done.stdout
    assert "B: models/pytorch/dldt/INT4, weight_format=int4\n" in done.stdout


@pytest.mark.usefixtures("models")
def test_sets_of_properties_are_listed_with_what_they_leave_out(llmbench: Run) -> None:
    """An empty one is the engine's own choice."""
    sets = '[{}, {"NUM_STREAMS": 1}]'
    done = llmbench(*BOTH[:3], "--weight-format", "int8", "-lc", sets, "--order", "given", "--dry-run")

    assert 0 == done.returncode, done.stderr
    assert ["not set", "1"] == re.findall(r"NUM_STREAMS=(.*)", done.stdout)
