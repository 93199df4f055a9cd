"""What people and jobs rely on, held still: help texts, exit codes, the run file's schema, and files of before."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from llmbench.cli.main import cli
from llmbench.errors import ExitCode
from llmbench.schema.measurement import Measurement
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded

Golden = Callable[[str, str], None]
DATA = Path(__file__).parents[1] / "data/run_files"
COMMANDS = (
    "",
    "run",
    "config",
    "config init",
    "ab",
    "calibrate",
    "convert",
    "sockets",
    "report",
    "report show",
    "report csv",
    "report json",
    "report html",
    "report compare",
    "report history",
    "report fleet",
    "report trace",
    "profile",
    "doctor",
    "demo",
)


def _output(*arguments: str) -> str:
    """What a command writes on standard output in this process, 80 columns wide."""
    done = CliRunner().invoke(cli, arguments, prog_name="llmbench", env={"COLUMNS": "80"}, terminal_width=80)
    assert not done.exit_code, done.output
    return done.stdout


def test_the_whole_help_of_run_is_as_it_was(golden: Golden) -> None:
    """Every option that says what to measure and how; other commands have some of them."""
    golden("help/run-all.txt", _output("run", "--help-all"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_it_was(command: str, golden: Golden) -> None:
    """Every option under its name, with its default."""
    golden(f"help/{command.replace(' ', '-') or 'llmbench'}.txt", _output(*command.split(), "--help"))


def test_exit_codes_are_as_they_were() -> None:
    """Jobs read them."""
    assert {
        "OK": 0,
        "REGRESSION": 1,
        "USAGE": 2,
        "STRICT": 3,
        "MACHINE": 4,
        "LAUNCH": 5,
        "OUTPUT": 6,
        "BUG": 70,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    } == {code.name: code.value for code in ExitCode}


def test_the_schema_of_a_run_file_is_as_it_was(golden: Golden) -> None:
    """Each line's fields and their types; changed only together with the number of the schema."""
    lines = (Header, LaunchStarted, Measurement, LaunchEnded, RunEnded)
    schema = {kind.__name__: msgspec.json.schema(kind) for kind in lines}
    golden("run_file.schema.json", f"{json.dumps(schema, indent=1, sort_keys=True)}\n")


@pytest.mark.parametrize(
    "path", sorted(DATA.glob("schema_*/*.jsonl")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_a_captured_run_file_reads_as_it_did(path: Path, golden: Golden) -> None:
    """Files from real runs, by schema: one model, a sweep, two sockets, a/b, a chat, speculative, cut short."""
    name = f"{path.parent.name}/{path.stem}"
    golden(f"{name}.summary.csv", _output("report", "csv", str(path), "--summary"))
    golden(f"{name}.csv", _output("report", "csv", str(path)))
