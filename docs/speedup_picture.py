"""Draw the speed-ups of `llmbench sockets` as a picture: ``python docs/speedup_picture.py [--show RUN.jsonl]``.

Without a run it measures on an emulated pair of sockets (`tests/two_sockets.py`), which the picture says: both sockets
are one there, so it shows the chart and no gain.
"""

import argparse
import html
import re
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from llmbench.analysis import speedup
from llmbench.analysis.report import Report, summarize_run
from llmbench.render.html import svg
from llmbench.render.html.sockets import speedup_figure
from llmbench.render.terminal.speedup import speedup_sentences
from llmbench.store import reader

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH, LINE = 760, 20
MEASURE = ("--input-tokens", "32,256", "-ic", "32")
_STYLE = """
text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.answer { font-size: 15px; font-weight: 600; } .note { fill: var(--dim); }
.grid { stroke: var(--grid); } .axis { stroke: var(--dim); }
"""
EMULATED = "An emulated pair of sockets: two halves of one. Made with tests/two_sockets.py."


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
    response = re.split(r"(?<=[,;]) (?=next tokens|it )", next(speedup_sentences(found)))
    head = LINE * (len(response) + 2) + 10
    height = head + figure.height + LINE
    key = [
        f'<rect x="{20 + 200 * number}" y="{head - 24}" width="12" height="12" style="fill:{sign.colour}"/>'
        f'<text x="{38 + 200 * number}" y="{head - 13}">{html.escape(sign.name)}</text>'
        for number, sign in enumerate(figure.key)
    ]
    lines = [
        f'<text x="20" y="{LINE * (number + 1) + 6}" class="answer">{html.escape(line)}</text>'
        for number, line in enumerate(response)
    ]
    location = f' x="0" y="{head}" width="{WIDTH}" height="{figure.height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<style>{_colours()}{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" style="fill:var(--paper)"/>',
            *lines,
            *key,
            svg.draw(figure, WIDTH, location),
            f'<text x="20" y="{height - 8}" class="note">{html.escape(note)}</text>',
            "</svg>\n",
        )
    )


def _colours() -> str:
    """The colours of the pages, light and dark."""
    style = files("llmbench.render.html").joinpath("page.css").read_text(encoding="utf-8")
    return style[: style.index("* {")]


def main() -> None:
    """Write docs/images/speedup.svg."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=str(Path("~/.cache/llmbench/demo/models").expanduser()))
    parser.add_argument("--show", type=Path, help="a run of llmbench sockets on a real pair")
    parser.add_argument("--foreign-cpu-limit", help="for a machine that is busy")
    given = parser.parse_args()
    more = ["--foreign-cpu-limit", given.foreign_cpu_limit] if given.foreign_cpu_limit else []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(given.model)
        report = summarize_run(reader.read_run(given.show)) if given.show else emulated_report(folder, more)
    note = report.run.environment.cpu_model if given.show else EMULATED
    (IMAGES / "speedup.svg").write_text(sockets_picture(report, note), encoding="utf-8")


if __name__ == "__main__":
    main()
