"""Make the README's outputs and pictures from real runs: ``python docs/pictures.py HUGGING_FACE_FOLDER``.

Two sockets are emulated on one by tests/two_sockets.py, which the captions mention. Run it on a quiet machine, or with
``--busy`` on another. ``docs/speedup_picture.py`` makes the picture of two sockets.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

_ROOT = Path(__file__).parents[1]
_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
_OUTSIDE = re.compile(r"@font-face \{.*?\}|<!-- .*? -->", re.DOTALL)
"""What a picture would fetch or advertise: fonts, and its maker."""

_PAIR = [sys.executable, str(_ROOT / "tests/two_sockets.py")]
_MODEL = "-m models/pytorch/dldt/INT8"
_LONG = f"run {_MODEL} -pf prompts/llama-2-7b-chat_l.jsonl -n 2"


def _llmbench(command: str, folder: Path, *, is_paired: bool = False) -> str:
    """Return what a command prints on standard output, coloured, 80 columns wide."""
    done = subprocess.run(
        [*(_PAIR if is_paired else ()), sys.executable, "-m", "llmbench", *command.split()],
        check=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "FORCE_COLOR": "1", "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _draw(name: str, title: str, text: str) -> None:
    """Write a picture of a terminal; fonts are those of the reader, not fetched."""
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = re.sub(
        r"@font-face \{.*?\}|<!-- .*? -->",
        "",
        console.export_svg(title=title, unique_id=name),
        flags=re.DOTALL,
    )
    path = _ROOT / "docs/images" / f"{name}.svg"
    path.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


def _insert(name: str, text: str) -> None:
    """Replace the output below a marker of the README."""
    readme = _ROOT / "README.md"
    block = f"<!-- {name} -->\n```text\n{Text.from_ansi(text).plain.strip()}\n```"
    pattern = re.compile(rf"<!-- {name} -->\n```text\n.*?\n```", re.DOTALL)
    readme.write_text(pattern.sub(lambda _: block, readme.read_text(encoding="utf-8")), encoding="utf-8")


def _workspace(source: Path, folder: Path) -> None:
    """Lay out prompts and the model under its hub's name."""
    shutil.copytree(_ROOT / "prompts", folder / "prompts")
    shutil.copytree(source, folder / _NAME)


def _lenient(arguments: list[str]) -> str:
    """Return the option for a machine that is not quiet, if it was given."""
    return " --foreign-cpu-limit 1" if "--busy" in arguments else ""


def main(arguments: list[str]) -> None:
    """Measure, and write the README and docs/images."""
    busy = _lenient(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _workspace(Path(arguments[0]), folder)
        _insert(
            "convert",
            _llmbench(f"convert --model-id {_NAME} --output-dir models --weight-format int8", folder),
        )
        for marker, command, is_paired in (
            ("run", _LONG, False),
            ("two-sockets", f"{_LONG} -bs 1 -lc ov_distributed_config.json", True),
        ):
            _llmbench(f"{command} --name {marker}{busy}", folder, is_paired=is_paired)
            _insert(marker, _llmbench(f"report show {marker}", folder))
        _draw("run", "llmbench run", _llmbench("report show run", folder))


if __name__ == "__main__":
    main(sys.argv[1:])
