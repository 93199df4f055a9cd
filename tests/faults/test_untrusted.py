"""What SECURITY.md promises of input: none is trusted."""

import contextlib
import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.schema.run import Run as WholeRun

from .conftest import FAST, SCRIPTED, write_run

Run = Callable[..., subprocess.CompletedProcess[str]]

untrusted = pytest.mark.security(
    7, "input is not trusted: capped, no duplicate keys, no NaN, nothing steers a reader"
)


_HOSTILE = "\x1b]0;title\x07\x1b[31m\r\u202e<script>alert(1)</script>|`[x](http://y)\n=1+1"


@pytest.fixture
def hostile_run(story_of: Callable[..., WholeRun], tmp_path: Path) -> Path:
    """A run file in which whatever is text would steer a terminal, a browser or a spreadsheet."""
    write_run(story_of(), tmp_path / "x.jsonl")
    lines = []
    for line in (tmp_path / "x.jsonl").read_text().splitlines():
        event = json.loads(line)
        if "configurations" in event:
            event["environment"]["cpu_model"] = event["environment"]["kernel"] = _HOSTILE
            event["provenance"] |= dict.fromkeys(("source_id", "revision", "weight_format", "path"), _HOSTILE)
            event["id"] = _HOSTILE
            for cell in event["configurations"]:
                cell["model"] = _HOSTILE
                cell["properties"] = {_HOSTILE: _HOSTILE}
                for prompt in cell["prompts"]:
                    prompt["set"] = _HOSTILE
        if "effective" in event:
            event["effective"]["notes"] = [_HOSTILE]
            event["effective"]["properties"] = {_HOSTILE: _HOSTILE}
        if "sequences" in event:
            event["suspicions"] = [_HOSTILE] if event["iteration"] == 1 else []
            event["sequences"][0]["text"] = _HOSTILE
        lines.append(json.dumps(event))
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    second = json.loads(lines[0]) | {"id": f"{_HOSTILE} 2", "started_at": "2026-01-03T03:04:00+00:00"}
    (tmp_path / "y.jsonl").write_text("\n".join([json.dumps(second), *lines[1:]]) + "\n")
    return tmp_path / "x.jsonl"


@untrusted
def test_nothing_in_a_run_file_steers_a_terminal(llmbench: Run, hostile_run: Path) -> None:
    """Control and direction characters are shown as what they are, by show and by compare."""
    assert hostile_run.exists()
    for command in (("report", "show", "x.jsonl"), ("report", "compare", "x.jsonl", "y.jsonl")):
        done = llmbench(*command)
        assert "Traceback" not in done.stderr, done.stderr
        assert not set("\x1b\x07\r\u202e") & set(done.stdout + done.stderr)
        assert "\\x1b" in done.stdout


@untrusted
def test_nothing_in_an_argument_or_a_file_name_steers_a_terminal(llmbench: Run, tmp_path: Path) -> None:
    """Errors quote what was given, harmlessly."""
    name = "x\x1b[31m\x07\u202e"
    (tmp_path / f"{name}.jsonl").write_text(f'{{"prompt": 7, "{name}": 1}}\n{{"{name}')
    for command in (
        ("report", "show", f"{name}.jsonl"),
        ("run", "-m", name, *SCRIPTED),
        ("run", "-m", name),
        ("run", "-m", "first=1ms", *SCRIPTED, "-pf", f"{name}.jsonl"),
        ("run", "-m", "first=1ms", *SCRIPTED, "-lc", f"{{{name}"),
        ("run", "--resume", f"{name}.jsonl"),
        ("run", f"--{name}"),
        (name,),
        ("convert", "--model-id", name, "--output-dir", "models"),
    ):
        done = llmbench(*command)
        assert done.returncode in {2, 4}, done.stderr
        assert not set("\x1b\x07\u202e") & set(done.stdout + done.stderr), command


@untrusted
def test_nothing_in_a_run_file_runs_in_a_browser_or_breaks_a_report(
    llmbench: Run, hostile_run: Path, tmp_path: Path
) -> None:
    """HTML, Markdown and JUnit have the text as text."""
    assert hostile_run.exists()
    html = llmbench("report", "html", "x.jsonl", "-o", "x.html")
    assert html.returncode == 0, html.stderr
    compare = (
        "report",
        "compare",
        "x.jsonl",
        "y.jsonl",
        "--md",
        "x.md",
        "--junit",
        "x.xml",
        "--json",
        "x.json",
    )
    assert "Traceback" not in llmbench(*compare).stderr
    page = (tmp_path / "x.html").read_text()
    assert "<script>alert(1)" not in page
    assert "alert(1)</script>" not in page
    markdown = (tmp_path / "x.md").read_text()
    assert "<script>" not in markdown
    assert "](http://y)" not in markdown.replace("\\]", "")
    assert ET.parse(tmp_path / "x.xml").getroot().tag.startswith("testsuite")  # noqa: S314  it is our own
    json.loads((tmp_path / "x.json").read_text())


@untrusted
@pytest.mark.parametrize(
    ("name", "content", "output"),
    [
        ("p.jsonl", b'{"prompt": "a", "prompt": "b"}', "duplicate key 'prompt'"),
        ("p.jsonl", b'{"prompt": NaN}', "NaN is not JSON"),
        ("c.json", b'{"A": 1, "A": 2}', "duplicate key 'A'"),
        ("c.json", b'{"A": NaN}', "finite"),
        ("r.toml", b"seed = nan\n", "finite"),
        ("r.toml", b"seed = 1\nseed = 2\n", "r.toml:2"),
    ],
)
def test_doubled_keys_and_numbers_that_are_none_are_refused(
    llmbench: Run, tmp_path: Path, *, name: str, content: bytes, output: str
) -> None:
    """Two readers could read them differently, so neither is read: exit 2."""
    (tmp_path / name).write_bytes(content)
    option = {"p.jsonl": "-pf", "c.json": "-lc", "r.toml": "-c"}[name]
    done = llmbench(*FAST, option, name)

    assert done.returncode == 2, done.stderr
    assert output in done.stderr


@untrusted
def test_a_duplicate_key_in_a_run_file_is_damage(llmbench: Run, tmp_path: Path) -> None:
    """In the header, in a measurement, and in a sequence of it."""
    llmbench(*FAST, "--name", "x")
    path = tmp_path / "reports/x.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for number, key in ((1, '"version":'), (3, '"start_ns":'), (3, '"at_ns":'), (3, '"input_tokens":')):
        changed = list(lines)
        changed[number - 1] = changed[number - 1].replace(key, f"{key}1,{key}", 1)
        path.write_text("".join(changed))
        done = llmbench("report", "show", "reports/x.jsonl")
        assert done.returncode == 2
        assert (
            f"x.jsonl:{number}: damaged line: duplicate key '{key.strip(chr(34) + chr(58))}'" in done.stderr
        )


_LARGE = (
    ("p.jsonl", ("-pf", "p.jsonl"), 65 << 20),
    ("c.json", ("-lc", "c.json"), 2 << 20),
    ("r.toml", ("-c", "r.toml"), 2 << 20),
)


@untrusted
@pytest.mark.parametrize(("name", "options", "size"), _LARGE)
@pytest.mark.slow
def test_files_that_are_too_large_are_not_read_into_memory(
    llmbench: Run, tmp_path: Path, *, name: str, options: tuple[str, ...], size: int
) -> None:
    """A file beyond its cap is refused: exit 2 with the cap, though it would go on for a TiB."""
    with (tmp_path / name).open("wb") as file:
        file.write(b"{" * size)
        file.truncate(1 << 40)
    done = llmbench(*FAST, *options)

    assert done.returncode == 2, done.stderr
    assert "larger than" in done.stderr


@untrusted
@pytest.mark.slow
def test_a_run_file_of_one_endless_line_is_refused(llmbench: Run, tmp_path: Path) -> None:
    """Read up to the cap of a line, and no further."""
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"event": "run started", ')
        file.truncate(1 << 40)
    done = llmbench("report", "show", "x.jsonl")

    assert done.returncode == 2, done.stderr
    assert "a line of more than 256 MiB" in done.stderr
    with contextlib.suppress(OSError):
        path.unlink()
