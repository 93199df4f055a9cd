"""Draw the stages of a run, or one request of it: ``python docs/stage_picture.py RUN.jsonl IMAGE.svg [request]``."""

import html
import sys
from importlib.resources import files
from pathlib import Path

from llmbench.analysis.report import summarize_run
from llmbench.render.html import svg
from llmbench.render.html.document import Figures
from llmbench.render.html.series import all_series
from llmbench.render.html.stages import stage_blocks
from llmbench.render.stages import heaviest_stages
from llmbench.store import reader

WIDTH, HEAD = 760, 64
_STYLE = """
text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.answer { font-size: 15px; font-weight: 600; } .note { fill: var(--dim); }
.grid { stroke: var(--grid); } .axis { stroke: var(--dim); }
"""


def stages_picture(run: Path, *, is_request: bool) -> str:
    """Return the bars of a run's stages, or one request as it went; the heaviest named above, the machine below."""
    report = summarize_run(reader.read_run(run))
    (found,) = (block for block in stage_blocks(all_series([report], [""])) if isinstance(block, Figures))
    figure = found.figures[int(is_request)]
    title = figure.title if is_request else heaviest_stages(report).partition(";")[0]
    height = HEAD + figure.height + 20
    signs = [
        f'<rect x="{20 + 118 * number}" y="{HEAD - 24}" width="12" height="12" style="fill:{sign.colour}"/>'
        f'<text x="{36 + 118 * number}" y="{HEAD - 13}">{html.escape(sign.name)}</text>'
        for number, sign in enumerate(figure.key)
    ]
    style = files("llmbench.render.html").joinpath("page.css").read_text(encoding="utf-8")
    location = f' x="0" y="{HEAD}" width="{WIDTH}" height="{figure.height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<style>{style[: style.index('* {')]}{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" style="fill:var(--paper)"/>',
            f'<text x="20" y="24" class="answer">{html.escape(title)}</text>',
            *signs,
            svg.draw(figure, WIDTH, location),
            f'<text x="20" y="{height - 8}" class="note">{html.escape(report.run.environment.cpu_model)}</text>',
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    picture = stages_picture(Path(sys.argv[1]), is_request=sys.argv[3:] == ["request"])
    Path(sys.argv[2]).write_text(picture, encoding="utf-8")
