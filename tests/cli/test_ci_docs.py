"""The commands of docs/ci.md and of its sample workflow, run as written with a script in place of a model."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from llmbench.errors import ExitCode

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (DOCS / "ci.md").read_text(), re.MULTILINE | re.DOTALL)
RECIPE = """model = "first={first},next=10ms,noise=1%,launch-noise=1%"
engine = "scripted"
input-tokens = [4, 8]
infer-count = 6
num-iters = 2
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder: the recipe, two environments, and llmbench on the path."""
    (tmp_path / "bench.toml").write_text(RECIPE.format(first="20ms"))
    for name in ("bin", "old/bin", "new/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name, command in (
        ("bin/llmbench", f"{sys.executable} -m llmbench"),
        ("old/bin/python", sys.executable),
        ("new/bin/python", sys.executable),
    ):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tmp_path / name).chmod(0o755)
    return tmp_path


def sh(command: str, folder: Path, *, build: str = "1") -> subprocess.CompletedProcess[str]:
    """A block as a runner runs it: ends at the first command that fails. Only other environments need workers."""
    environment = {
        **os.environ,
        "LLMBENCH_LAUNCHER": "process" if "--python" in command else "inline",
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "BUILD": build,
        "OLD": str(folder / "old"),
        "NEW": str(folder / "new"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
    }
    return subprocess.run(
        ["bash", "-e", "-c", command],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_every_block_runs_as_written(job: Path) -> None:
    """From top to bottom, on an unchanged build: each exits 0. Of ten blocks of launches three are made."""
    assert 12 == len(BLOCKS)
    for block in BLOCKS:
        done = sh(block.replace("--blocks 10", "--blocks 3"), job)

        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert "### llmbench: " in (job / "summary.md").read_text()
    assert ET.parse(job / "latency.xml").getroot().tag == "testsuites"  # noqa: S314  our own file
    assert (job / "ab.md").is_file()
    assert any((job / "cache/llmbench/calibrations").iterdir())


@pytest.mark.slow
def test_a_slower_build_fails_the_job(job: Path) -> None:
    """The block that compares exits 1 where the first token takes 30 % longer, and its files are written."""
    keep, compare = BLOCKS[0], BLOCKS[1]
    assert sh(keep, job).returncode == 0
    (job / "bench.toml").write_text(RECIPE.format(first="26ms"))
    done = sh(compare, job)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "**regressed**" in (job / "latency.md").read_text()
    assert "slower: see latency.md" in sh(next(block for block in BLOCKS if "case" in block), job).stdout


@pytest.mark.slow
def test_a_slower_run_of_the_main_branch_is_taken_out_of_the_baselines(job: Path) -> None:
    """The block leaves the first run, which has no baseline, and moves the second, which is slower."""
    keep, promote = BLOCKS[0], next(block for block in BLOCKS if "mv " in block)
    for build, first in (("1", "20ms"), ("2", "26ms")):
        (job / "bench.toml").write_text(RECIPE.format(first=first))
        for block in (keep, promote):
            assert sh(block, job, build=build).returncode == 0

    assert ["main-1.jsonl"] == [path.name for path in (job / "reports").iterdir()]
    assert (job / "slower-2.jsonl").is_file()


@pytest.mark.slow
def test_the_first_job_of_a_machine_is_not_green(job: Path) -> None:
    """Without a baseline the comparison exits 2."""
    assert sh(BLOCKS[1], job).returncode == 2


def test_every_exit_code_is_explained() -> None:
    """The table has them all."""
    reported = re.findall(r"^\| (\d+(?:, \d+)*) \|", (DOCS / "ci.md").read_text(), re.MULTILINE)

    assert {int(code) for row in reported for code in row.split(", ")} == {int(code) for code in ExitCode}


def steps() -> list[dict[str, Any]]:
    """The steps of the sample workflow."""
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load((DOCS / "ci-example.yml").read_text())["jobs"]["latency"]["steps"])


@pytest.mark.slow
def test_the_sample_workflow_runs(job: Path) -> None:
    """Its commands, as a push and then as a pull request; what installs and what looks at the machine is left out."""
    commands = {step["name"]: step["run"] for step in steps() if "run" in step}
    assert {"Name the CPU", "Measure", "Compare", "Show"} < set(commands)

    for build, names in (("1", ("Name the CPU", "Measure")), ("2", ("Measure", "Compare", "Show"))):
        for name in names:
            done = sh(commands[name], job, build=build)
            assert done.returncode == 0, f"{name}\n{done.stderr}"
    assert re.fullmatch(r"key=latency-[\w-]+\n", (job / "output").read_text())
    assert "### llmbench: " in (job / "summary.md").read_text()


def test_the_sample_workflow_saves_only_what_the_main_branch_measured() -> None:
    """A pull request's own run is no baseline, and the comparison is made in pull requests."""
    by_name = {step["name"]: step for step in steps() if "name" in step}

    assert "github.event_name == 'push'" == by_name["Save the baselines"]["if"]
    assert "github.event_name == 'pull_request'" == by_name["Compare"]["if"]
