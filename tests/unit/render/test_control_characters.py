"""What may reach a terminal, a CSV, JSON, Markdown, JUnit XML or a page: no character that steers a reader.

Control and direction characters of names (models, runs, prompts, CPUs, notes) are shown as escapes everywhere; JSON has
its own escapes, which mean the same. Only line feeds and tabs inside the quotes of a CSV stay.
"""

import csv
import dataclasses
import io
import json
import unicodedata
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import compared_metrics
from llmbench.analysis.history import history_lines
from llmbench.analysis.report import summarize_run
from llmbench.render import csv as csv_forms
from llmbench.render.html.history import history_page
from llmbench.render.html.page import page
from llmbench.render.json import comparison_json, llm_bench_json, report_json, report_lines
from llmbench.render.junit import comparison_junit
from llmbench.render.markdown import COMMENT_BYTES, comparison_markdown, report_markdown
from llmbench.render.terminal.comparison import render_comparison
from llmbench.render.terminal.history import render_history
from llmbench.render.terminal.plots import render_plots
from llmbench.render.terminal.report import render_report
from llmbench.render.text import plain, plain_json
from llmbench.render.trace import trace_json
from llmbench.schema.run import EffectiveSettings, Run
from tests.builders import story_of

item_7 = pytest.mark.security(
    7, "input is not trusted: capped, no duplicate keys, no NaN, nothing steers a reader"
)
STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
NAMES = st.text(st.characters(), min_size=1, max_size=8) | st.sampled_from(
    [
        "\x1b[31m",
        "\x9b31m",
        "\u202eexe",
        "a\rb",
        "a\nb",
        "\ud800",
        "\uffff",
        "\u2028",
        "\U000e0041",
        "]]>",
        "```",
        "|<b>&",
        "=1+1",
        "\x00",
        "\x7f",
    ]
)


def hostile(name: str, factor: float = 1.0) -> Run:
    """A run with this name in every text that a file or a machine gives it."""
    run = story_of(factor, launches=3)
    cells = tuple(
        dataclasses.replace(
            cell,
            model=name,
            properties={name: name},
            prompts=tuple(dataclasses.replace(prompt, set=name) for prompt in cell.prompts),
        )
        for cell in run.cells
    )
    return dataclasses.replace(
        run,
        id=f"{name}{factor}",
        version=name,
        cells=cells,
        environment=dataclasses.replace(
            run.environment, cpu_model=name, kernel=name, versions={"openvino": name}
        ),
        provenance=dataclasses.replace(run.provenance, path=name, source_id=name, revision=name),
        launches=tuple(
            dataclasses.replace(launch, effective=EffectiveSettings(notes=(name,))) for launch in run.launches
        ),
    )


def screen(render: Callable[[Console], None]) -> str:
    """What a terminal gets."""
    out = io.StringIO()
    render(Console(file=out, width=100, color_system=None))
    return out.getvalue()


def texts_of(name: str) -> dict[str, str]:
    """Every rendering of runs with such a name, by what it is."""
    runs = [hostile(name), hostile(name, 1.2)]
    reports = [summarize_run(run) for run in runs]
    found = compare(*(summarize_run(run, compared_metrics(run)) for run in runs))
    lines = history_lines(reports)
    evaluation = reports[0].evaluation
    return {
        "markdown comparison": comparison_markdown([found]),
        "markdown run": report_markdown(reports[0]),
        "xml": comparison_junit([found]),
        "html comparison": page(reports, [found]),
        "html history": history_page(lines, ("first_token",), {}),
        "json comparison": comparison_json([found]),
        "json run": report_json(reports[0]),
        "json lines": report_lines(reports[0]),
        "json llm_bench": llm_bench_json(evaluation),
        "json trace": trace_json(evaluation),
        "csv comparison": csv_forms.comparison_csv([found]),
        "csv tidy": csv_forms.tidy_csv(evaluation),
        "csv llm_bench": csv_forms.llm_bench_csv(evaluation),
        "csv summary": csv_forms.summary_csv(*reports),
        "screen comparison": screen(lambda console: render_comparison(found, console)),
        "screen run": screen(lambda console: render_report(reports[0], console, is_explained=True)),
        "screen plots": screen(lambda console: render_plots(reports[0], console)),
        "screen history": screen(lambda console: render_history(lines, ("first_token",), console, {})),
    }


def allowed_in(what: str) -> str:
    """The control characters that a form may contain."""
    return "\n\t" if what.startswith("csv") else "\n"


@item_7
@settings(max_examples=8, deadline=None)
@given(NAMES)
@example("\x1b]0;owned\x07\x9b2J\u202e\u2066\r\x00\ufeff\U000e0041\ud83d")
def test_no_rendering_has_a_character_that_steers(name: str) -> None:
    """Each can be encoded and is well-formed, too."""
    for what, text in texts_of(name).items():
        steering = {c for c in text if unicodedata.category(c) in STEERING and c not in allowed_in(what)}
        assert set() == steering, what
        assert text.encode(), what
        if what == "xml":
            ET.fromstring(text)  # noqa: S314  written by the code under test
        if what.startswith("json"):
            for line in text.splitlines() if what == "json lines" else [text]:
                json.loads(line)
        if what.startswith("csv"):
            assert 1 == len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}), what


@given(st.text())
@settings(max_examples=50)
def test_json_means_the_same(text: str) -> None:
    """Only halves of characters are written as text, for readers refuse them."""
    whole = "".join(c if unicodedata.category(c) != "Cs" else plain(c) for c in text)

    assert whole == json.loads(plain_json(json.dumps(text, ensure_ascii=False)))


@pytest.mark.parametrize("candidates", [1, 40])
@pytest.mark.parametrize(
    "name", ["x" * 5000, "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3000, "`" * 900, "|&#@<" * 800]
)
def test_a_comment_is_short_and_well_formed(name: str, candidates: int) -> None:
    """Below GitHub's 65,536 characters with long names of any kind; what is open is closed."""
    found = compare(*(summarize_run(hostile(name, factor)) for factor in (1.0, 1.03)))
    text = comparison_markdown([dataclasses.replace(found, warnings=(name,) * 50)] * candidates)
    fences = [line for line in text.splitlines() if line.startswith("```")]

    assert len(text.encode()) <= COMMENT_BYTES
    assert text.count("<details>") == text.count("</details>")
    assert all(one == other for one, other in zip(fences[::2], fences[1::2], strict=True))
    rows = [line.count("|") for line in text.splitlines() if line.startswith("| ")]
    assert 1 == len(set(rows))
