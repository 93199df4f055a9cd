"""``torch.compile``: what cannot work is refused before anything is loaded."""

import dataclasses
import shutil
import sysconfig
from pathlib import Path

import pytest

from llmbench.engines.catalog import check_capabilities
from llmbench.engines.transformers.compile import check_compiler
from llmbench.errors import ExitCode, InputError, MachineError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.settings.any_workload import COMPILER

CONFIG = RunConfig(
    model="m",
    engine="torch",
    attention="sdpa",
    prompts=(Prompt(set="s", index=0, text="x"),),
    properties={COMPILER: "inductor"},
)


def test_only_pytorch_compiles() -> None:
    """Any other engine is refused with the one that can, exit 2."""
    check_capabilities(CONFIG)
    with pytest.raises(
        InputError, match=r"the core engine has no torch\.compile \(--torch-compile\)"
    ) as caught:
        check_capabilities(dataclasses.replace(CONFIG, engine="core"))

    assert "use --engine torch" == caught.value.hint
    assert ExitCode.USAGE == caught.value.exit_code


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        ("openvino", "it fails on the key-value cache"),
        ("tvm", "it is not one of inductor"),
        (1, "not one of"),
    ],
)
def test_a_back_end_that_does_not_work_is_refused_with_the_reason(backend: str | int, why: str) -> None:
    """One that is there and fails, and one that nobody has tried here."""
    with pytest.raises(InputError, match=f"cannot use the back end .*: .*{why}"):
        check_compiler(backend, CONFIG)


def test_without_a_warm_up_the_compilation_would_be_measured() -> None:
    """It happens in the first request."""
    with pytest.raises(InputError, match="compiles in the first request"):
        check_compiler("inductor", dataclasses.replace(CONFIG, warmups=0))


def test_a_missing_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler that CXX names, else g++; and the headers of Python, which belong to it. Exit 4."""
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(MachineError, match=r"needs a C\+\+ compiler; there is no .*none"):
        check_compiler("inductor", CONFIG)
    monkeypatch.setenv("CXX", shutil.which("env") or "")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(MachineError, match=r"there is no Python\.h") as caught:
        check_compiler("inductor", CONFIG)

    assert ExitCode.MACHINE == caught.value.exit_code
