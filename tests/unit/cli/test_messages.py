"""Messages on a terminal."""

import io
from collections.abc import Callable

import pytest

from llmbench.cli import main, messages


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


TEXT = (
    "others use 31 % of the CPUs; results will be marked invalid\nwritten: reports/a-very-long-name-of-a-run"
)


@pytest.mark.parametrize("tell", [messages.say, messages.warn, messages.complain])
def test_a_terminal_has_lines_broken_between_words(
    tell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider than it, but a word that is; elsewhere lines stay whole."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = {}
    for kind in (_Terminal, io.StringIO):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(f"sys.{name}", shown.setdefault(kind, kind()))
        tell(TEXT)
    terminal, file = (stream.getvalue() for stream in shown.values())

    assert TEXT in file
    assert file.split() == terminal.split()
    assert "  reports/a-very-long-name-of-a-run" in terminal.splitlines()
    assert 30 >= max(len(line) for line in terminal.splitlines() if " reports/" not in line)


def test_a_hint_and_what_is_whole_are_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have commands to copy."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", terminal := _Terminal())
        command = "llmbench run -m models/pytorch/dldt/INT8"
        messages.say(command, is_whole=True) if name == "stdout" else messages.complain("no", hint=command)
        assert command in terminal.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-m", "LONG", "-p", "x"),
        ("run", "--engine", "scripted", "-m", "first=1ms", "-p", "x", "-r", "LONG"),
        ("run", "--engine", "scripted", "-m", "first=1ms", "-p", "x", "--output-dir", "LONG"),
        ("convert", "--model-id", "LONG"),
        ("report", "show", "LONG"),
        ("report", "compare", "LONG", "LONG"),
        ("profile", "-m", "LONG"),
    ],
    ids=" ".join,
)
def test_a_path_longer_than_the_system_allows_is_wrong_input(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with one line and a hint, whichever option it was given to; never a traceback."""
    code = main.invoke([argument.replace("LONG", "x" * 300) for argument in arguments])

    shown = capfd.readouterr().err
    assert 2 == code
    assert "error: a path is longer than this system allows\nhint: use a shorter name\n" in shown
    assert "Traceback" not in shown
