"""Completion: what Tab offers, the scripts that are installed, and real shells that use them."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from llmbench.cli.main import cli
from tests.command import RunCommand
from tests.waiting import PATIENCE_S


def _offers(*words: str) -> list[tuple[str, str]]:
    """What the last word may become, as type and value."""
    found = ShellComplete(cli, {}, "llmbench", "_LLMBENCH_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (("ru",), [("plain", "run")]),
        (("run", "-m", "mod"), [("file", "mod")]),
        (("run", "--model", ""), [("file", "")]),
        (("ab", "-m", "mod"), [("file", "mod")]),
        (("run", "-lc", "./x"), [("file", "./x")]),
        (("run", "-lc", "ov"), [("plain", "ov_distributed_config")]),
        (("run", "-pf", "sh"), [("plain", "short")]),
        (("run", "-pf", ""), [("file", "")]),
        (("run", "-c", "smollm2-135m-"), [("plain", "smollm2-135m-sweep")]),
        (("run", "-r", "out"), [("file", "out")]),
        (("run", "--engine", "o"), [("plain", "optimum")]),
        (("ab", "--engine", "o"), [("plain", "optimum")]),
        (("run", "--weight-format", "i"), [("plain", "int8"), ("plain", "int4")]),
        (("run", "--weight-format", "int8,int"), [("plain", "int8,int8"), ("plain", "int8,int4")]),
        (("run", "--attention", "s"), [("plain", "sdpa")]),
        (("run", "-rjx", "-m", "mod"), [("file", "mod")]),
    ],
)
def test_tab_offers_files_names_and_choices(words: tuple[str, ...], offers: list[tuple[str, str]]) -> None:
    """For the word that is being typed."""
    assert offers == _offers(*words)


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", {".bashrc", ".local/share/llmbench/completion.bash"}),
        ("zsh", {".zshrc", ".local/share/llmbench/completion.zsh"}),
        ("fish", {".config/fish/completions/llmbench.fish"}),
    ],
)
def test_completion_is_installed_once(
    llmbench: RunCommand, tmp_path: Path, shell: str, files: set[str]
) -> None:
    """A second time changes nothing; what stood in a start-up file stays."""
    home = tmp_path / "a home"
    home.mkdir()
    (home / ".bashrc").write_text("alias x=y", encoding="utf-8")
    variables = {"HOME": str(home), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "ZDOTDIR": ""}
    done = llmbench("--install-completion", shell, **variables)
    first = {path: path.read_text(encoding="utf-8") for path in home.rglob("*") if path.is_file()}
    llmbench("--install-completion", SHELL=f"/bin/{shell}", **variables)

    assert 0 == done.returncode, done.stderr
    assert files | {".bashrc"} == {str(path.relative_to(home)) for path in first}
    assert first == {path: path.read_text(encoding="utf-8") for path in first}
    assert first[home / ".bashrc"].startswith("alias x=y")


def test_an_unknown_shell_is_refused_with_those_there_are(llmbench: RunCommand) -> None:
    """Also the one that SHELL names."""
    for done in (
        llmbench("--install-completion", "tcsh"),
        llmbench("--install-completion", SHELL="/bin/tcsh"),
    ):
        assert 2 == done.returncode
        assert "hint: name one: llmbench --install-completion bash|zsh|fish" in done.stderr


class _Terminal:
    """A shell in a terminal of its own, that is typed into."""

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            arguments,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(follower)

    def type(self, text: str, *, until: str, limit_s: float = PATIENCE_S) -> str:
        """What the screen shows after some keys, at the latest after a limit."""
        os.write(self._leader, text.encode())
        seen, end = "", time.monotonic() + limit_s
        while until not in seen and time.monotonic() < end:
            if select.select([self._leader], [], [], 0.2)[0]:
                seen += os.read(self._leader, 4096).decode(errors="replace")
        return seen

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._leader)


@pytest.mark.parametrize(("shell", "arguments"), [("bash", ("--noprofile", "-i")), ("zsh", ("-i",))])
@pytest.mark.slow
def test_a_real_shell_completes(
    llmbench: RunCommand, tmp_path: Path, shell: str, arguments: tuple[str, ...]
) -> None:
    """Commands, choices, and the files of ``-m``, once the completion is installed."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "bin/llmbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmbench "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    (tmp_path / "modelfolder/inner").mkdir(parents=True)
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "ZDOTDIR": ""}
    assert 0 == llmbench("--install-completion", shell, **home).returncode
    search = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if name not in {"ZDOTDIR", "LLMBENCH_LAUNCHER"}}
    terminal = _Terminal(
        [path, *arguments], {**kept, "HOME": str(tmp_path), "PATH": search, "TERM": "dumb"}, tmp_path
    )
    try:
        terminal.type("echo be''gin\n", until="begin")
        assert "calibrate" in terminal.type("llmbench cal\t", until="calibrate")
        assert "--engine optimum" in terminal.type(" --engine opt\t", until="optimum")
        assert "modelfolder/" in terminal.type(" -m modelf\t", until="modelfolder/")
    finally:
        terminal.close()
