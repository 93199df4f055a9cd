"""The page in a real browser: it has no script, asks nothing of a network, and it fits a narrow window."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmbench.analysis import history
from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.report import summarize_run
from llmbench.render.html import page as html
from llmbench.render.html.history import history_page
from llmbench.schema.config import Prompt
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Failure, Launch, Outcome, Provenance, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Browse = Callable[..., "Seen"]

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        FOUND is None, reason="needs Chromium, such as Debian's package chromium-headless-shell"
    ),
]
DARK = "--blink-settings=preferredColorScheme=0"
LINK = "http://127.0.0.1:9/"
"""An address where nobody listens."""

EVIL = (
    f"<a href='{LINK}'>a</a><script>document.documentElement.dataset.evil=1</script>"
    '<img src=x onerror="document.documentElement.dataset.evil=1">&lt;b&gt;'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the browser made of a page: its elements, its console, and the addresses it requested."""

    dom: str
    console: tuple[str, ...]
    addresses: frozenset[str]

    @property
    def plots(self) -> int:
        """Plots that were drawn."""
        return self.dom.count("<figure")


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Opens a page and waits until its scripts are done."""

    def open_page(text: str, *options: str, width: int = 1200) -> Seen:
        page, log = tmp_path / "page.html", tmp_path / "net.json"
        page.write_text(text, encoding="utf-8")
        assert FOUND is not None
        done = subprocess.run(
            [
                FOUND,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--log-net-log={log}",
                "--enable-logging=stderr",
                f"--window-size={width},900",
                "--virtual-time-budget=20000",
                *options,
                "--dump-dom",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        output = tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line)
        return Seen(dom=done.stdout, console=output, addresses=_addresses(log))

    return open_page


def _addresses(log: Path) -> frozenset[str]:
    """Every address in the browser's log of its network."""
    text = log.read_text(encoding="utf-8", errors="replace")  # its last line may be cut
    return frozenset(json.loads(found) for found in re.findall(r'"url":("(?:[^"\\]|\\.)+")', text))


def is_local(address: str) -> bool:
    """Whether an address leaves nothing of this machine."""
    return address.startswith(("file:", "data:", "blob:", "about:", "chrome:", "devtools:"))


def test_every_plot_is_drawn_and_nothing_leaves(story_of: BuildRun, browse: Browse) -> None:
    """Every figure has its drawing, a table before them, no word on the console, no address but the file's."""
    page = html.page([summarize_run(story_of(launches=3))])
    seen = browse(page)

    assert () == seen.console
    assert seen.plots > 5
    assert seen.dom.count("<svg") > seen.plots
    assert "<td>101.0" in seen.dom
    assert not {address for address in seen.addresses if not is_local(address)}


def test_a_comparison_is_drawn(story_of: BuildRun, browse: Browse) -> None:
    """Base and candidate: the plot of changes stands among the others, its axis in percent."""
    base = summarize_run(story_of(launches=3))
    candidate = summarize_run(dataclasses.replace(story_of(1.2, launches=3), id="later"))

    seen = browse(html.page([base, candidate], [compare(base, candidate)]))

    assert () == seen.console
    assert seen.plots > 5
    assert "The candidate is slower" in seen.dom


def test_a_history_is_drawn(story_of: BuildRun, browse: Browse) -> None:
    """Two runs in a line: a plot a metric."""
    later = dataclasses.replace(story_of(1.2), id="later", started_at="2026-01-03T03:04:00+00:00")
    lines = history.history_lines(map(summarize_run, (story_of(), later)))

    seen = browse(history_page(lines, ("first_token", "tpot")))

    assert () == seen.console
    assert 2 == seen.plots


def test_the_policy_stops_every_other_script_and_address(story_of: BuildRun, browse: Browse) -> None:
    """A script and an image that someone adds later neither run nor load: the page's own policy refuses them."""
    page = html.page([summarize_run(story_of())])
    added = f'<script>document.documentElement.dataset.evil=1</script><img src="{LINK}x.png">'
    changed = page.replace("</body>", f"{added}</body>")

    seen = browse(changed)
    unguarded = browse(re.sub(r"<meta http-equiv[^>]*>", "", changed))

    assert "data-evil" not in seen.dom
    assert 2 == len([line for line in seen.console if "Content Security Policy" in line])
    assert not {address for address in seen.addresses if not is_local(address)}
    assert "data-evil" in unguarded.dom
    assert f"{LINK}x.png" in unguarded.addresses


def test_nothing_from_a_file_becomes_an_element(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, browse: Browse
) -> None:
    """Markup in every text of a run is shown letter by letter, in tables and in plots."""
    evil = run_of(
        [
            launch_of(
                [request_of([100, 112, 122, 132], suspicions=(EVIL,)), request_of([100, 112, 122, 132])]
            ),
            launch_of([request_of([100, 112, 122, 132], launch=1)], index=1, cell=1),
            launch_of(
                index=2, outcome=Outcome.FAILED, failure=Failure(phase=EVIL, message=EVIL, signal="SIGSEGV")
            ),
        ],
        id=EVIL,
        source=EVIL,
        provenance=Provenance(path=EVIL, known=True, source_id=EVIL, revision=EVIL, weight_format=EVIL),
    )
    cells = tuple(
        dataclasses.replace(
            evil.cells[0],
            model=EVIL,
            prompts=(Prompt(set=EVIL, index=0, text=EVIL),),
            properties={EVIL: f"{EVIL}{number}"},
        )
        for number in range(2)
    )
    environment = dataclasses.replace(
        evil.environment, cpu_model=EVIL, kernel=EVIL, versions={EVIL: EVIL}, variables={EVIL: EVIL}
    )
    evil = dataclasses.replace(evil, cells=cells, environment=environment)
    other = dataclasses.replace(evil, id=f"{EVIL}2")
    reports = [summarize_run(evil), summarize_run(other)]

    seen = browse(html.page(reports, [compare(*reports)]))

    assert () == seen.console
    assert "data-evil" not in seen.dom
    assert seen.plots > 2
    assert "<img" not in seen.dom
    assert "<script" not in seen.dom
    assert not re.search(rf"<a\b[^>]*{LINK}", seen.dom)
    assert re.search(r"<title>[^<]*&lt;a href", seen.dom)


@pytest.mark.parametrize(
    ("options", "ink"), [((), "rgb(27, 31, 36)"), ((DARK,), "rgb(230, 233, 238)")], ids=["light", "dark"]
)
def test_plots_take_the_colours_of_the_page(
    story_of: BuildRun, browse: Browse, options: tuple[str, ...], ink: str
) -> None:
    """Text in a plot has the page's ink, in light and in dark."""
    measure = (
        "<script>document.documentElement.dataset.ink="
        "getComputedStyle(document.querySelector('figure text')).fill</script>"
    )
    page = html.page([summarize_run(story_of())])
    unguarded = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", f"{measure}</body>")

    seen = browse(unguarded, *options)

    assert f'data-ink="{ink}"' in seen.dom


def test_a_narrow_window_is_not_overrun(story_of: BuildRun, browse: Browse) -> None:
    """At the width of a telephone only tables scroll sideways, each in its own frame; the page does not."""
    base = summarize_run(story_of(launches=3))
    candidate = summarize_run(
        dataclasses.replace(story_of(1.2, launches=3), id="20260103T030400Z-a-long-name-abc123")
    )
    page = html.page([base, candidate], [compare(base, candidate)])
    measure = (
        "<script>addEventListener('load',()=>setTimeout(()=>{const e=document.documentElement;"
        "e.dataset.inner=innerWidth;e.dataset.over=e.scrollWidth-e.clientWidth},3000))</script>"
    )
    unguarded = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", f"{measure}</body>")

    seen = browse(unguarded, width=400)

    assert re.search(r'data-inner="[45]00"', seen.dom)
    assert 'data-over="0"' in seen.dom
