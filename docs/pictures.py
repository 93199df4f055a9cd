"""Make the pictures of the README from real runs: ``python docs/pictures.py [run] [sockets]``.

``docs/images/run.svg`` is a terminal in which the demo model is measured. ``docs/images/sockets.svg`` are the speed-ups
of `llmbench sockets` on an emulated pair of sockets (`tests/two_sockets.py`), which the picture says: both sockets are
one there, so it shows the chart and no gain. With ``--show RUN.jsonl`` the chart is that of a run made on a real pair.
"""

import argparse
import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.text import Text

from llmbench.analysis import speedup
from llmbench.analysis.report import Report, summarize_run
from llmbench.render.html import svg
from llmbench.render.html.sockets import speedup_figure
from llmbench.render.terminal.speedup import speedup_sentences
from llmbench.store import reader

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS, WIDTH, LINE = 90, 760, 20
REQUESTS_SHOWN = 5
MEASURE = ("--input-tokens", "32,256", "-ic", "32")
_STYLE = """
text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.answer { font-size: 15px; font-weight: 600; } .note { fill: var(--dim); }
.grid { stroke: var(--grid); } .axis { stroke: var(--dim); }
"""
EMULATED = "An emulated pair of sockets: two halves of one. Made with tests/two_sockets.py."


def terminal_output(command: list[str], folder: str) -> str:
    """Return what a command prints on a terminal of COLUMNS columns, its colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=folder, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux reports so that the other end is closed
            break
        if not part:
            break
        parts.append(part)
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def run_picture(folder: str, more: list[str]) -> str:
    """Return a terminal in which the model in a folder is measured."""
    arguments = ["run", "-m", "models", *MEASURE, "-n", "3", "--launches", "5", *more]
    output = terminal_output([sys.executable, "-m", "llmbench", *arguments], folder)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text(f"$ llmbench {' '.join(arguments)}", style="bold"))
        console.print(Text.from_ansi("\n".join(without_most_requests(output.rstrip().split("\n")))))
        drawn = console.export_svg(title="llmbench")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # fonts from a network


def without_most_requests(lines: list[str]) -> list[str]:
    """Return the lines of a terminal with an ellipsis in place of all requests but the first few and the last."""
    requests = [number for number, line in enumerate(lines) if line.startswith("launch ")]
    left_out = requests[REQUESTS_SHOWN:-1]
    if not left_out:
        return lines
    return [*lines[: left_out[0]], "…", *lines[left_out[-1] + 1 :]]


def emulated_report(folder: str, more: list[str]) -> Report:
    """Return the report of `llmbench sockets` on an emulated pair."""
    pair = [sys.executable, str(ROOT / "tests" / "two_sockets.py"), sys.executable, "-m", "llmbench"]
    command = [*pair, "sockets", "-m", "models", *MEASURE, "--name", "pair", *more]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return summarize_run(reader.read_run(Path(folder) / "reports" / "pair.jsonl"))


def sockets_picture(report: Report, note: str) -> str:
    """Return the speed-ups of a run of setups, its answer above and a *note* below."""
    found = speedup.tabulate(report)
    figure = speedup_figure(found)
    if figure is None:
        raise SystemExit("nothing can be compared in this run")
    answer = re.split(r"(?<=[,;]) (?=next tokens|it )", next(speedup_sentences(found)))
    head = LINE * (len(answer) + 2) + 10
    height = head + figure.height + LINE
    key = [
        f'<rect x="{20 + 200 * number}" y="{head - 24}" width="12" height="12" style="fill:{sign.colour}"/>'
        f'<text x="{38 + 200 * number}" y="{head - 13}">{html.escape(sign.name)}</text>'
        for number, sign in enumerate(figure.key)
    ]
    lines = [
        f'<text x="20" y="{LINE * (number + 1) + 6}" class="answer">{html.escape(line)}</text>'
        for number, line in enumerate(answer)
    ]
    place = f' x="0" y="{head}" width="{WIDTH}" height="{figure.height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<style>{_colours()}{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" style="fill:var(--paper)"/>',
            *lines,
            *key,
            svg.draw(figure, WIDTH, place),
            f'<text x="20" y="{height - 8}" class="note">{html.escape(note)}</text>',
            "</svg>\n",
        )
    )


def _colours() -> str:
    """The colours of the pages, light and dark."""
    style = files("llmbench.render.html").joinpath("page.css").read_text(encoding="utf-8")
    return style[: style.index("* {")]


def main() -> None:
    """Make the pictures that are named, or both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", nargs="*", default=["run", "sockets"], help="run, sockets")
    parser.add_argument("--model", default=str(Path("~/.cache/llmbench/demo/models").expanduser()))
    parser.add_argument("--show", type=Path, help="a run of llmbench sockets on a real pair")
    parser.add_argument("--foreign-cpu-limit", help="for a machine that is busy; the picture shows it")
    given = parser.parse_args()
    more = ["--foreign-cpu-limit", given.foreign_cpu_limit] if given.foreign_cpu_limit else []
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(given.model)
        if "run" in given.pictures:
            (IMAGES / "run.svg").write_text(run_picture(folder, more), encoding="utf-8")
        if "sockets" in given.pictures:
            report = (
                summarize_run(reader.read_run(given.show)) if given.show else emulated_report(folder, more)
            )
            note = report.run.environment.cpu_model if given.show else EMULATED
            (IMAGES / "sockets.svg").write_text(sockets_picture(report, note), encoding="utf-8")


if __name__ == "__main__":
    main()
