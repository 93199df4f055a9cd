"""``bisect`` finds an injected slow version among six, in environments that a command makes."""

import sys
from pathlib import Path

import pytest

from tests.command import RunCommand

VERSIONS = "v1,v2,v3,v4,v5,v6"
SLOW = """
import math, random
random.Random.lognormvariate = lambda self, mu, sigma: 1.1 * math.exp(self.gauss(mu, sigma))
"""
"""What an environment injects into the scripted engine: each of its two spreads, 10 %, is 1.21 times as long."""

SCRIPT = "first=100ms,next=10ms,noise=0.1%,launch-noise=1%"
OPTIONS = ("-m", SCRIPT, "--engine", "scripted", "-n", "1", "--warmups", "0", "-ic", "4", "--blocks", "3")


def _environment(folder: Path, injected: str) -> None:
    """A Python that is this one, with something injected when it starts."""
    (folder / "bin").mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(injected)
    python = folder / "bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)


@pytest.fixture
def maker(tmp_path: Path) -> str:
    """A command that prints the Python of an environment; from v4 on they are slower, and there is no v3."""
    for number in range(1, 7):
        if number != 3:
            _environment(tmp_path / f"env-v{number}", SLOW if number >= 4 else "")
    script = tmp_path / "make.sh"
    script.write_text(f"test -d {tmp_path}/env-$1 && echo {tmp_path}/env-$1/bin/python\n")
    return f"sh {script} {{version}}"


@pytest.mark.slow
def test_the_slow_version_is_found_and_what_is_missing_is_named(
    llmbench_workers: RunCommand, maker: str, tmp_path: Path
) -> None:
    """v4 against v2; v3 cannot be made, and is left out."""
    done = llmbench_workers("bisect", "build", "--versions", VERSIONS, "--command", maker, *OPTIONS)

    assert 1 == done.returncode, done.stderr
    text = " ".join(done.stdout.split())
    assert "slower since build v4" in text
    assert "against v2" in text
    assert "not measurable and left out: v3" in text
    assert "v3 is not measurable" in done.stderr


@pytest.mark.slow
def test_a_version_whose_figures_are_doubtful_is_not_measurable(llmbench_workers: RunCommand) -> None:
    """Its engine reports what cannot be; it is named with that, and never compared."""
    make = ("--versions", "v1,v2", "--command", f"echo {sys.executable}")
    done = llmbench_workers("bisect", "build", *make, *OPTIONS, "-m", f"{SCRIPT},nan@1")

    assert 2 == done.returncode
    assert "v1 is not measurable: non-finite logits" in done.stderr
    assert "no two versions can be measured" in done.stderr
    assert "give the GGUF file, or convert with the oldest" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("openvino-genai",), "no versions of openvino-genai were given"),
        (("openvino-genai==1..2", "--versions", "a,b"), "both name versions"),
        (("build", "--versions", "a"), "1 version of build to search"),
        (("build", "--versions", "a,b", "--metric", "load"), "--metric load is not compared"),
        (("build", "--versions", "a,b", "-t", "rag"), "bisect does not measure rag"),
        (("build", "--versions", "a,b", "-t", "text_embed"), "bisect does not measure text_embed"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    llmbench: RunCommand, arguments: tuple[str, ...], message: str
) -> None:
    """Before an environment is made."""
    done = llmbench("bisect", *arguments, *OPTIONS)

    assert 2 == done.returncode
    assert message in done.stderr
