"""The help texts: groups, widths, examples, and what a first mistake is answered with."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llmbench.cli.main import SUBCOMMANDS, cli
from llmbench.cli.options.help import OTHER, HelpCommand, HelpFormatter
from llmbench.cli.options.table import OPTIONS
from tests.command import RunCommand

TWO_SCREENS = 72


def _commands() -> dict[str, click.Command]:
    """Every command by what a person types, groups included."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in SUBCOMMANDS}
    report = found["report"]
    assert isinstance(report, click.Group)
    found |= {f"report {name}": command for name, command in report.commands.items()}
    return {name: command for name, command in found.items() if command}


def _help(*arguments: str, columns: int = 80) -> str:
    done = CliRunner().invoke(cli, arguments, prog_name="llmbench", env={"COLUMNS": str(columns)})
    assert not done.exit_code, done.output
    return done.stdout


def _examples() -> list[str]:
    texts = (command.epilog or "" for command in [cli, *_commands().values()])
    return [
        line.strip() for text in texts for line in text.splitlines() if line.strip().startswith("llmbench")
    ]


def test_help_of_run_fits_on_two_screens() -> None:
    """Options that few need wait behind --help-all."""
    assert TWO_SCREENS >= len(_help("run", "--help").splitlines())


@pytest.mark.parametrize("command", ["run", "ab", "calibrate"])
def test_help_all_lists_more_than_help(command: str) -> None:
    """``--help`` says so."""
    short, whole = _help(command, "--help"), _help(command, "--help-all")

    assert "--help-all" in short
    assert "--draft-model" not in short
    assert "--draft-model" in whole
    assert set(re.findall(r"^  (--?[\w-]+)", short, re.MULTILINE)) < set(
        re.findall(r"^  (--?[\w-]+)", whole, re.MULTILINE)
    )


def test_every_option_of_run_is_in_a_group_and_in_help_all() -> None:
    """A new row of the table shows up by itself."""
    whole = _help("run", "--help-all")

    for spellings, attributes in OPTIONS.values():
        assert OTHER != attributes["group"]
        assert all(spelling in whole for spelling in spellings)


@pytest.mark.parametrize("command", ["", *_commands()])
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_help_keeps_to_the_width_of_the_terminal(command: str, columns: int) -> None:
    """Below its examples, which are to be pasted, and terms that cannot be broken."""
    text = _help(*command.split(), "--help", columns=columns).partition("Examples:")[0]

    too_long = [line for line in text.splitlines() if len(line) > columns and not line.startswith("  -")]
    assert [] == too_long


def test_values_have_one_spelling() -> None:
    """``a|b`` for choices, N and X for numbers: nothing of click's."""
    for command in _commands():
        text = _help(*command.split(), "--help")
        assert not re.search(r" (INTEGER|FLOAT|\[\w+\|\w+.*\])(  |$)", text, re.MULTILINE), command


def test_a_command_has_its_options_of_help_without_a_parent() -> None:
    """The parser of a command that is first made alone is that of the whole command line, too."""
    command = HelpCommand("alone")
    context = command.make_context("alone", [])

    assert {"-h", "--help"} == set(command.get_help_option_names(context))


@pytest.mark.parametrize("line", _examples())
def test_an_example_can_be_typed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options exist and take such values; models are where ``convert`` puts them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    for name in ("base", "new"):
        (tmp_path / f"reports/{name}.jsonl").touch()
    for folder in re.findall(r"reports/(?:fleet-\S+|rack\b)", line):
        (tmp_path / folder).mkdir()
    _, name, *arguments = shlex.split(line)
    context = click.Context(cli, info_name="llmbench", **cli.context_settings)
    command = cli.get_command(context, name)
    while isinstance(command, click.Group) and arguments:
        command = command.get_command(context, name := arguments.pop(0))
    assert command is not None

    assert command.make_context(name, arguments, parent=context) is not None
    assert not re.search(r"models/(INT|FP)", line)


def test_every_command_that_takes_arguments_has_examples() -> None:
    """A reader types one before reading the rest."""
    assert [] == [name for name, command in _commands().items() if not command.epilog]


def test_headings_and_terms_are_coloured_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click strips them where no terminal reads."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, colour = HelpFormatter(width=80), HelpFormatter(width=80)
    colour.write_dl([("--name", "Text.")])
    monkeypatch.setenv("NO_COLOR", "1")
    plain.write_dl([("--name", "Text.")])

    assert "\x1b[" in colour.getvalue()
    assert plain.getvalue() == click.unstyle(colour.getvalue())


@pytest.mark.parametrize("group", [(), ("config",), ("rag",)])
def test_a_group_alone_prints_its_help_and_nothing_is_wrong(
    llmbench: RunCommand, group: tuple[str, ...]
) -> None:
    """On standard output, exit code 0."""
    done = llmbench(*group)

    assert 0 == done.returncode
    assert done.stdout.startswith(shlex.join(["Usage:", "llmbench", *group]))
    assert not done.stderr


@pytest.mark.parametrize("command", ["ab", "calibrate", "tune", "bisect"])
def test_a_command_for_one_configuration_mentions_no_sweep(command: str) -> None:
    """Nor does it write values as a list, which it would refuse."""
    text = _help(command, "--help-all")

    assert "sweep]" not in text
    assert "--threads N " in text


@pytest.mark.parametrize(("command", "hint"), [("sockets", "-m"), ("tune", "-m"), ("doctor", "--help")])
def test_a_model_without_its_option_gets_what_to_type(llmbench: RunCommand, command: str, hint: str) -> None:
    """Where the command takes a model."""
    done = llmbench(command, "models/INT8")

    shown = f"llmbench {command} {hint}{' models/INT8' * (hint == '-m')}"
    assert done.stderr.splitlines()[1] == f"hint: {'to name a model: ' * (hint == '-m')}{shown}"


@pytest.mark.parametrize("command", ["run", "quality", "tune", "sockets", "serve", "profile"])
def test_a_missing_model_is_asked_for_by_the_command_that_was_typed(
    llmbench: RunCommand, command: str
) -> None:
    """The hint can be typed as it is, with a model."""
    done = llmbench(command)

    assert 2 == done.returncode
    assert f"hint: llmbench {command} -m MODEL: an IR folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("rnu", "-m", "a b"), "did you mean run? llmbench run -m 'a b'"),
        (("Convert",), "did you mean convert? llmbench convert"),
        (("Org/Model", "-n", "2"), "to measure a model: llmbench run Org/Model -n 2"),
        (("model.gguf",), "to measure a model: llmbench run model.gguf"),
        (("xyzzy",), "the commands are run, ab, calibrate"),
    ],
)
def test_a_wrong_command_gets_what_to_type(
    llmbench: RunCommand, arguments: tuple[str, ...], hint: str
) -> None:
    """One error line, one hint line, exit code 2."""
    done = llmbench(*arguments)

    assert 2 == done.returncode
    assert f"error: there is no command {arguments[0]!r}" == done.stderr.splitlines()[0]
    assert f"hint: {hint}" in done.stderr
    assert 2 == len(done.stderr.splitlines())


@pytest.mark.parametrize("command", ["", *_commands()])
@pytest.mark.parametrize("columns", [40, 80])
def test_an_example_that_takes_several_lines_is_the_same_command(command: str, columns: int) -> None:
    """A shell joins them; at 80 columns no line is longer."""
    shown = _help(*command.split(), "--help", columns=columns).partition("Examples:\n")[2]
    written = (_commands()[command] if command else cli).epilog or ""
    lines = [line for line in written.splitlines() if line.strip() not in {"", "\b", "Examples:"}]

    assert [*map(shlex.split, lines)] == [*map(shlex.split, shown.replace("\\\n", "").splitlines())]
    too_long = [line for line in shown.splitlines() if len(line) > columns]
    assert [] == [line for line in too_long if columns == 80 or (line.endswith("\\") and '"' not in line)]


def test_a_wrong_word_is_answered_with_the_spelling_of_the_help(llmbench: RunCommand) -> None:
    """``text_gen``, as in llm_bench, and never click's own dashes."""
    done = llmbench("run", "-m", "first=1ms", "-t", "text_gne")

    assert 2 == done.returncode
    assert "'text_gne' is not one of text_gen, visual_text_gen," in done.stderr
    assert "did you mean text_gen?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--genai",), "instead of llm_bench's --genai: leave it out"),
        (("-mc", "1"), "instead of llm_bench's -mc: leave it out"),
        (("-np", "64"), "instead of llm_bench's -np: --input-tokens N"),
        (("--set_torch_thread", "4"), "instead of llm_bench's --set-torch-thread: --threads N"),
    ],
)
def test_an_option_of_llm_bench_that_is_not_here_gets_what_to_type(
    llmbench: RunCommand, arguments: tuple[str, ...], hint: str
) -> None:
    """A pasted command line; ``-mc 1`` is no ``-m c``."""
    done = llmbench("run", "-m", "first=1ms", *arguments)

    assert 2 == done.returncode
    assert "No such option" in done.stderr.splitlines()[0]
    assert f"hint: {hint}" in done.stderr
