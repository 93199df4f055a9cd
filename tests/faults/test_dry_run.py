"""What `run` refuses before its first launch, `run --dry-run` refuses too, with the same code and words."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]
_SYNTHETIC = ("--input-tokens", "8", "-ic", "4", "-n", "1")

CASES = [
    (("-d", "GPU"), 4, "device GPU is not available"),
    (("-d", ""), 2, "the device name is empty"),
    (("--threads", "9999"), 4, "9999 threads, got"),
    (("--sockets", "7"), 4, "socket"),
    (("-lc", '[{"NUM_STREAMS": 1}, {"NUM_STREAMS": "x"}]'), 2, "NUM_STREAMS does not take 'x'"),
    (("-lc", "CACHE_DIR=/etc"), 2, "CACHE_DIR leads to /etc"),
    (("--name", "old"), 2, "old.jsonl exists"),
    (("-ic", "8192"), 2, "the model's context is 8192"),
    (("--cb-config", "max_num_seq=1"), 2, "did you mean max_num_seqs?"),
    (("--lora", "none.safetensors"), 2, "none.safetensors"),
    (("--draft-model", "none"), 2, "there is no model at none"),
]


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case[0]) for case in CASES])
@pytest.mark.slow
def test_a_dry_run_refuses_what_a_run_refuses(
    llmbench_workers: Run, ir_of: MakeIr, tmp_path: Path, case: tuple[tuple[str, ...], int, str]
) -> None:
    """The machine, the properties of each configuration, the name, lengths and companions; nothing is written."""
    options, code, words = case
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/old.jsonl").write_text("")
    run = ("run", "-m", str(ir_of()), *_SYNTHETIC, *options)
    dry, wet = llmbench_workers(*run, "--dry-run"), llmbench_workers(*run)

    assert code == dry.returncode == wet.returncode, dry.stderr + wet.stderr
    assert words in dry.stderr
    assert words in wet.stderr
    assert "nothing was run" not in dry.stdout
    assert ["old.jsonl"] == [file.name for file in (tmp_path / "reports").iterdir()]


@pytest.mark.skipif(shutil.which("numactl") is not None, reason="numactl is installed")
def test_memory_cannot_be_bound_without_numactl(llmbench: Run) -> None:
    """Exit 4, in a dry run as well."""
    done = llmbench("run", "-m", "first=1ms", "--engine", "scripted", "--membind", "0", "--dry-run")

    assert 4 == done.returncode
    assert "numactl" in done.stderr


def test_a_dry_run_has_a_line_per_configuration(llmbench: Run) -> None:
    """Not one per launch: five launches of each are counted in its line."""
    done = llmbench(
        "run", "-m", "first=1ms", "--engine", "scripted", "-ic", "4,8", "--launches", "5", "--dry-run"
    )

    lines = done.stdout.splitlines()
    assert 3 == len(lines)
    assert all(line.startswith("5 launches: first=1ms on CPU") for line in lines[:2])
    assert lines[2].endswith("launches: 10; nothing was run")


def test_a_dry_run_of_ab_checks_both_sides(llmbench: Run) -> None:
    """The second side's script is wrong; exit 2 and nothing is said to be measurable."""
    models = ("-m", "first=1ms", "-m", "fist=1ms")
    done = llmbench("ab", *models, "--engine", "scripted", "--dry-run")

    assert 2 == done.returncode
    assert "'fist=1ms' is not understood" in done.stderr
