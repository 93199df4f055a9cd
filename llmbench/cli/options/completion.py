"""Completion in the shell: what the Tab key offers for values, and the scripts that make it do so."""

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from llmbench.errors import InputError, OutputError

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_VARIABLE = "_LLMBENCH_COMPLETE"
_COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }; "


class AsTyped(click.ParamType[str]):
    """A value that is parsed later as *parsed_as* is, and completed like it."""

    name = "text"

    def __init__(self, parsed_as: "click.ParamType[Any]") -> None:
        self._parsed_as = parsed_as

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what the later type offers."""
        return self._parsed_as.shell_complete(ctx, param, incomplete)


class FileText(click.ParamType[str]):
    """A text that may be the path of a file, or the name of something packaged: *names* returns those."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]] = tuple) -> None:
        self._names = names

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text; a recipe's list is not one."""
        if not isinstance(value, str | Path):
            self.fail(f"{value!r} is not one value", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin as typed and the files beside them, or leave it to the shell's files."""
        names = sorted(name for name in self._names() if incomplete and name.startswith(incomplete))
        if not names:
            return [CompletionItem(incomplete, type="file")]
        files = sorted(str(path) for path in Path().glob(f"{incomplete}*") if path.is_file())
        return [CompletionItem(name) for name in dict.fromkeys([*names, *files])]


def complete_list(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return the words that may end a list with commas, each with what is before it."""
    earlier, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{earlier}{comma}{word}") for word in words if word.startswith(last)]


def install_completion(shell: str | None, command: click.Command) -> tuple[Path, ...]:
    """Write the completion script of a shell, and load it in the shell's start-up file; the files written.

    Without a *shell* it is that of the variable SHELL. To do it again changes nothing.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise InputError(
            f"completion for {name or 'an unknown shell'} is not available",
            hint=f"name one: llmbench --install-completion {'|'.join(SHELLS)}",
        )
    source = SHELLS[name](command, {}, "llmbench", _VARIABLE).source()
    try:
        if name == "fish":
            script = _folder("XDG_CONFIG_HOME", ".config") / "fish/completions/llmbench.fish"
            return (_write(script, source),)
        script = _write(_folder("XDG_DATA_HOME", ".local/share") / f"llmbench/completion.{name}", source)
        start = Path.home() / ".bashrc" if name == "bash" else _folder("ZDOTDIR", "") / ".zshrc"
        return script, _load_in(
            start, f"{_COMPINIT if name == 'zsh' else ''}source {shlex.quote(str(script))}"
        )
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be written: {error.strerror}") from error


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _load_in(path: Path, line: str) -> Path:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if line not in text.splitlines():
        ending = "" if text.endswith("\n") or not text else "\n"
        _write(path, f"{text}{ending}{line}\n")
    return path
