import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser

import pytest

from llmbench.analysis import history
from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.report import summarize_run
from llmbench.render.html import document, plots, svg
from llmbench.render.html import page as html
from llmbench.render.html.document import Figures, Notes, Page, Section
from llmbench.render.html.history import history_value
from llmbench.render.html.svg import Axis, Bar, Figure, Line, Marks, Point
from llmbench.render.table import Cell, Column, Table
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement, Placement, SocketWork
from llmbench.schema.run import EffectiveSettings, Failure, Launch, Outcome, Provenance, Run
from llmbench.schema.units import Unit

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
NOISY = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)


class Reader(HTMLParser):
    """The tables of a page as lists of cells, and its figures as values."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.figures = [
            figure
            for section in page.sections
            for block in section.blocks
            if isinstance(block, Figures)
            for figure in block.figures
        ]
        self.titles = [figure.title for figure in self.figures]
        self._inside: list[str] = []
        self.text = document.render(page)
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Note where we are."""
        self._inside.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Forget what ended, and what needed no end before it."""
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Keep cells."""
        if "abbr" not in self._inside and (
            "td" in self._inside or ("th" in self._inside and "small" not in self._inside)
        ):
            self.tables[-1][-1][-1] += data

    def figure(self, title: str) -> Figure:
        """The figure under a title."""
        return self.figures[self.titles.index(title)]

    def column(self, head: str, *, of: str = "") -> list[str]:
        """The cells below a head, of the first table that has it and a head *of*."""
        for head_row, *rows in filter(None, self.tables):
            if head in head_row and (not of or of in head_row):
                return [row[head_row.index(head)] for row in rows]
        raise AssertionError(head)


def values(marks: Marks) -> list[float]:
    """The values of points, left to right."""
    return [point.y for point in marks.points]


@pytest.fixture
def page_of() -> Callable[..., Reader]:
    """Reads the page of some runs; with *compared* the first is the base."""

    def build(*runs: Run, compared: bool = False) -> Reader:
        reports = [summarize_run(run) for run in runs]
        comparisons = [compare(reports[0], each) for each in reports[1:]] if compared else ()
        return Reader(html.page_value(reports, comparisons))

    return build


def test_the_page_holds_everything_it_needs(story_of: BuildRun) -> None:
    """No element asks for another file: no address in src or href but the page's own parts."""
    text = html.page([summarize_run(story_of())])
    assert text.startswith("<!DOCTYPE html>")
    assert all(found.startswith(("#", "data:")) for found in re.findall(r'(?:src|href)="([^"]*)"', text))
    assert "default-src &#39;none&#39;" in text
    assert "script-src &#39;none&#39;" in text
    assert "url(" not in text
    assert "<script" not in text


def test_a_small_run_is_a_small_page(story_of: BuildRun) -> None:
    """A mail takes it: below 1.5 MB, and far below."""
    text = html.page([summarize_run(story_of(launches=3))])

    assert len(text.encode()) < 150_000


def test_a_page_without_measurements_says_so(run_of: BuildRun) -> None:
    """Nothing was measured: no plot, and a badge that says so."""
    text = html.page([summarize_run(run_of([]))])

    assert "nothing that counts was measured" in text
    assert "<svg" not in text


def test_the_first_table_has_the_numbers(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """First tokens of 101.0 and 404.0 ms of two launches, the second 15 ms, and 3 of 4 requests that count."""
    page = page_of(story_of())

    assert [["101.0", "n=2"], ["404.0", "n=2"]] == [
        cell.split() for cell in page.column("first token", of="requests")
    ]
    assert ["15.00", "15.00"] == [cell.split()[0] for cell in page.column("second token", of="requests")]
    assert ["3 of 4", "4"] == page.column("requests")


def test_runs_stand_below_each_other(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """Two runs of two prompts: prompt by prompt, and what differs in their setups is side by side."""
    page = page_of(story_of(), dataclasses.replace(story_of(1.1), id="later"))

    assert ["20260102T030400Z-model-abc123", "later"] * 2 == page.column("run", of="requests")
    assert ["later"] == [
        row[2] for table in page.tables for row in table if row[0] == "run" and len(row) == 3
    ]


def test_what_differs_between_runs_is_marked(story_of: BuildRun) -> None:
    """Another engine is marked in both columns; the CPU they share is not."""
    base = story_of()
    environment = dataclasses.replace(base.environment, versions={"openvino": "2027.0"})
    later = dataclasses.replace(base, id="later", environment=environment)

    text = html.page([summarize_run(base), summarize_run(later)])

    assert '<td class="text warn">2026.4.1</td><td class="text warn">2027.0</td>' in text
    assert '<td class="text ">Example CPU 9000</td><td class="text ">Example CPU 9000</td>' in text


def test_first_token_against_length(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """32 and 512 tokens, from 0 ms up; the launches of 100 and 102 ms stand behind the centre."""
    figure = page_of(story_of()).figure("first token")
    launches, centres = figure.marks

    assert [32, 512] == [point.x for point in centres.points]
    assert pytest.approx([100.995, 403.98]) == values(centres)
    assert pytest.approx([100, 102, 400, 408]) == values(launches)
    assert (0, pytest.approx(408 * 1.15)) == (figure.y.low, figure.y.high)
    assert not figure.x.is_log


def test_bars_are_the_interval(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """What stands above and below a point adds up to the interval that the table tells."""
    page = page_of(story_of())
    point = page.figure("first token").marks[1].points[0]

    low, high = page.column("low", of="p90")[0], page.column("high", of="p90")[0]
    assert (float(low), float(high)) == pytest.approx((point.low, point.high), abs=0.05)


def test_an_unknown_interval_has_no_bar(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """One launch of one request: infinity is not drawn, and never written."""
    run = ladder(request_of, launch_of, run_of, {32: 100, 64: 150})

    _, centres = page_of(run).figure("first token").marks

    assert [None, None] == [point.high for point in centres.points]


@pytest.mark.parametrize(
    ("firsts", "x", "y"),
    [
        ({32: 100, 512: 400}, False, False),
        ({32: 100, 4096: 700}, True, False),
        ({32: 100, 4096: 1200}, True, True),
    ],
)
def test_wide_ladders_have_logarithmic_axes(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    page_of: Callable[..., Reader],
    *,
    firsts: Mapping[int, float],
    x: bool,
    y: bool,
) -> None:
    """Lengths from 1 to 128 times, and values from 1 to 8 times on."""
    figure = page_of(ladder(request_of, launch_of, run_of, firsts)).figure("first token")

    assert (x, y) == (figure.x.is_log, figure.y.is_log)


def test_one_length_has_no_plot_against_length(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """A single point is a number, and stands in the table."""
    page = page_of(ladder(request_of, launch_of, run_of, {32: 100}))

    assert "first token" not in page.titles
    assert ["100.0"] == page.column("first token", of="requests")


def test_gaps_are_drawn_by_prompt(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """Two prompts, each with a band and a line: 15 ms to the second token, 10 ms to the others."""
    lines = page_of(story_of()).figure("inter-token latency of every token").lines

    assert ["P0, 32 tokens in", "P1, 512 tokens in"] == [line.name for line in lines]
    assert all([2, 3, 4] == [token for token, _ in line.points] for line in lines)
    assert all(pytest.approx([15, 10, 10]) == [wait for _, wait in line.points] for line in lines)


def test_gaps_of_several_runs_are_drawn_by_run(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """A plot a prompt, a line a run."""
    page = page_of(story_of(), dataclasses.replace(story_of(), id="later"))

    for title in ("P0, 32 tokens in", "P1, 512 tokens in"):
        names = [line.name for line in page.figure(title).lines]
        assert ["20260102T030400Z-model-abc123", "later"] == names


def test_requests_stand_in_their_launch_in_order(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """Two iterations of launch 0 stand left and right of 0; of launch 1 one counts, and one is a cross."""
    figure = page_of(story_of()).figure("first token, P0, 32 tokens in")
    counted, crossed = figure.marks

    assert [-0.3, 0.3, 0.7] == sorted(point.x for point in (*counted.points, *crossed.points))[:3]
    assert 3 == len(counted.points)
    assert "cross" == crossed.shape
    assert "other processes used" in crossed.points[0].title
    assert pytest.approx([100, 100, 102, 102]) == [y for line in figure.lines for _, y in line.points]
    assert ("1", "2") == tuple(label for _, label in figure.x.labels())


def test_a_head_of_two_lines_has_a_space_between_them() -> None:
    """A terminal breaks it; a page does by itself."""
    table = Table(columns=(Column("image\ntokens"),), rows=((Cell("197"),),))
    text = document.render(
        Page(title="t", lead=(), badges=(), sections=(Section(name="s", title="s", blocks=(table,)),))
    )

    assert "image tokens" in text
    assert "image\\n" not in text


def test_a_section_without_content_is_left_out(story_of: BuildRun) -> None:
    """A run that is no load has nothing against load."""
    titles = [section.title for section in html.page_value([summarize_run(story_of())]).sections]

    assert "The numbers" in titles
    assert "Against load" not in titles


def test_an_invalid_run_is_drawn_in_crosses(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Nothing counts: the page says INVALID and shows what was seen all the same."""
    run = run_of([launch_of([request_of([100, 110, 120, 130], conditions=NOISY)])])
    page = page_of(run)

    assert "INVALID" in html.page([summarize_run(run)])
    counted, crossed = page.figure("first token, P0, 32 tokens in").marks
    assert ([], [100]) == (values(counted), values(crossed))


def test_of_many_prompts_some_are_drawn(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Eleven lengths: the shortest, the longest, and four between; the table has all."""
    page = page_of(ladder(request_of, launch_of, run_of, {n: n for n in range(10, 120, 10)}))

    drawn = [title for title in page.titles if title.startswith("first token, ")]
    assert [10, 30, 50, 70, 90, 110] == [int(title.split()[3]) for title in drawn]
    assert 11 == len(page.column("first token", of="requests"))


def test_the_slope_has_a_table(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Gaps of 10 ms behind 102 tokens and 12 behind 302: 2 ms in 200 tokens are 10 ms in 1,000."""
    prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((100, 300)))
    config = RunConfig(model="m", prompts=prompts, output_tokens=3)
    requests = [request_of([50, 90, 100 + 2 * i], prompt=i, input_tokens=100 + 200 * i) for i in range(2)]

    page = page_of(run_of([launch_of(requests)], cells=(config,)))

    slopes = next(table[1] for table in page.tables if "slope" in table[0][0])
    assert ["+10", "n=1: too few", "n/a", "102 to 302"] == slopes


def test_a_slope_that_launches_disagree_on_is_marked(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Slopes of +10, -10 and +10 ms per 1,000 tokens: mean 3.33 ± 4.303 * 11.547 / sqrt(3), which includes 0."""
    prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((100, 300)))
    config = RunConfig(model="m", prompts=prompts, output_tokens=3)
    launches = [
        launch_of(
            [
                request_of([50, 90, 100 + more * i], prompt=i, input_tokens=100 + 200 * i, launch=index)
                for i in range(2)
            ],
            index=index,
        )
        for index, more in enumerate((2, -2, 2))
    ]

    page = page_of(run_of(launches, cells=(config,)))

    slope, interval, *_ = next(table[1] for table in page.tables if "slope" in table[0][0])
    assert ("+10 ~", "-25.4 to +32") == (slope, interval)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/models/tiny/pytorch/dldt/INT8", "tiny int8"),
        ("models/pytorch/dldt/INT8", "models int8"),
        ("/data/tiny.gguf", "tiny int8"),
    ],
)
def test_no_title_is_a_path(story_of: BuildRun, path: str, name: str) -> None:
    """A model of unknown origin is called by its folder or file; the CPU and the verdict follow."""
    run = story_of()
    unknown = dataclasses.replace(
        run,
        provenance=Provenance(path=path, weight_format="int8"),
        cells=(dataclasses.replace(run.cells[0], model=path),),
    )
    later = dataclasses.replace(unknown, id="later")
    reports = [summarize_run(unknown), summarize_run(later)]
    comparison = compare(*reports)

    assert f"{name} on Example CPU 9000" == html.page_value(reports[:1]).title
    expected = f"{name} on Example CPU 9000: {comparison.verdict.value}"
    assert expected == html.page_value(reports, [comparison]).title


def test_change_and_verdict_stand_before_the_values(
    story_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """The first columns fit a narrow window."""
    page = page_of(story_of(), dataclasses.replace(story_of(1.2), id="later"), compared=True)

    heads = next(table[0] for table in page.tables if "verdict" in table[0])
    assert ["prompt", "metric", "change", "verdict"] == heads[:4]


def test_warnings_of_a_comparison_stand_once_at_its_verdict(
    story_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """The busy request of each side is named once, before the table of changes."""
    page = page_of(story_of(), dataclasses.replace(story_of(1.2), id="later"), compared=True)

    warnings = [found.start() for found in re.finditer("<p>[^<]*1 of 4 requests", page.text)]
    assert 2 == len(warnings)
    assert max(warnings) < page.text.index("<table>")


@pytest.mark.parametrize(("launches", "output"), [(2, "n=2: 400.0 to 408.0, at 512"), (3, "±3.8 %, at 512")])
def test_a_card_says_how_uncertain_it_is(story_of: BuildRun, launches: int, output: str) -> None:
    """Both ends of two launches, whose interval says nothing; the margin from three on."""
    text = html.page([summarize_run(story_of(launches=launches))])

    assert output in text


def test_bandwidths_say_whose_they_are(story_of: BuildRun) -> None:
    """Two runs of one configuration: each sentence begins with its run's name."""
    story = story_of()
    effective = EffectiveSettings(properties={"KV_CACHE_PRECISION": "f16"})
    known = dataclasses.replace(
        story,
        provenance=dataclasses.replace(story.provenance, weight_bytes=1 << 20, kv_values=10),
        launches=tuple(dataclasses.replace(launch, effective=effective) for launch in story.launches),
    )
    reports = [summarize_run(known), summarize_run(dataclasses.replace(known, id="later"))]

    text = html.page(reports, [compare(*reports)])

    assert "base: next tokens: 0.105" in text
    assert "candidate: next tokens: 0.105" in text


def test_a_comparison_has_its_ratios(story_of: BuildRun, page_of: Callable[..., Reader]) -> None:
    """Slower by a fifth: the point at 20 percent, bars to the ends that the table tells."""
    page = page_of(story_of(), dataclasses.replace(story_of(1.2), id="later"), compared=True)
    figure = page.figure("change of each metric")

    changes = {marks.name: marks.points[0].x for marks in figure.marks}
    assert pytest.approx(20) == changes["P0 first token"]
    assert len(changes) == len(figure.y.labels())
    assert "+20 %" in page.column("change", of="verdict")
    assert ["base", "candidate"] * 2 == page.column("run", of="requests")


def test_a_plot_of_many_changes_says_how_many_are_left_out(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Thirteen lengths of each metric and the two means are 67 changes for five metrics, of which 60 are drawn."""
    base = ladder(request_of, launch_of, run_of, {n: n for n in range(10, 140, 10)})
    reports = [summarize_run(base), summarize_run(dataclasses.replace(base, id="later"))]
    page = Reader(html.page_value(reports, [compare(*reports)]))

    count = 13 * len(COMPARED) + 2
    assert 60 == len(page.figure("change of each metric").marks)
    assert f"The first 60 of {count} are drawn." in page.text
    assert count == len(page.column("change", of="verdict"))


def test_what_cannot_be_compared_says_why(story_of: BuildRun) -> None:
    """Another CPU: no plot of changes, and the sentence names both."""
    base = story_of()
    environment = dataclasses.replace(base.environment, cpu_model="Example CPU 9001")
    reports = [
        summarize_run(base),
        summarize_run(dataclasses.replace(base, id="later", environment=environment)),
    ]

    text = html.page(reports, [compare(*reports)])

    assert "not compared: P0: cpu: Example CPU 9000 against Example CPU 9001" in text
    assert "change of each metric" not in text
    assert '<span class="badge warn">incomparable</span>' in text


def test_a_launch_that_failed_is_told(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Its outcome says where and how; its requests are listed, and do not count."""
    failed = launch_of(
        [request_of([100, 110, 120, 130], launch=1)],
        index=1,
        outcome=Outcome.FAILED,
        failure=Failure(phase="next tokens", message="it died", signal="SIGSEGV"),
    )
    page = page_of(run_of([launch_of([request_of([100, 110, 120, 130])]), failed], is_complete=False))

    assert ["finished", "failed in next tokens: it died"] == page.column("outcome")
    assert ["yes", "no: its launch failed"] == page.column("counts")


def test_of_many_caveats_the_later_ones_are_folded(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Eight launches were cut short and one finished: six caveats are shown, the rest on request."""
    launches = [launch_of(index=n, outcome=Outcome.ABORTED) for n in range(1, 9)]
    run = run_of([launch_of([request_of([100, 110, 120, 130])]), *launches])

    text = html.page([summarize_run(run)])

    assert "<summary>3 more caveats</summary>" in text
    assert (
        text.index("launch 7 was cut short") < text.index("3 more caveats") < text.index("launch 8 was cut")
    )


def test_configurations_of_their_own_models_are_told_apart(
    story_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """A run that measures two conversions has a column for each."""
    run = story_of()
    other = dataclasses.replace(run.cells[0], model="models/tiny/pytorch/dldt/INT4")
    origins = (run.provenance, dataclasses.replace(run.provenance, weight_format="int4"))

    page = page_of(dataclasses.replace(run, cells=(run.cells[0], other), origins=origins))

    assert ["int8", "int4"] == next(
        row[1:] for table in page.tables for row in table if row[0] == "weight format"
    )


@pytest.mark.parametrize(
    ("wall_s", "busy_s", "worker_s", "output"),
    [(0.1, 0.1, 0.1, "too short to decide"), (1.0, 1.0, 0.3, "unclear")],
)
def test_a_placement_may_not_tell(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    page_of: Callable[..., Reader],
    *,
    wall_s: float,
    busy_s: float,
    worker_s: float,
    output: str,
) -> None:
    """Too few ticks; or neighbours so busy that the worker was neither surely here nor surely elsewhere."""
    works = tuple(SocketWork(socket=n, cpus=1, expected_cpus=1, busy_s=busy_s) for n in range(2))
    placement = Placement(wall_s=wall_s, worker_s=worker_s, sockets=works)

    page = page_of(run_of([launch_of([request_of([100, 110, 120, 130], placement=placement)])]))

    assert output == page.column("worked")[0]
    assert "n/a" == page.column("pages")[0]


def test_two_sockets_have_their_placement(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """Socket 0 was busy for 15 of 16 CPU seconds, socket 1 for 2: one worked, one did not."""
    placement = Placement(
        wall_s=1.0,
        worker_s=17.0,
        sockets=tuple(
            SocketWork(socket=n, cpus=16, expected_cpus=16, busy_s=busy, unmigrated_s=busy, threads=16)
            for n, busy in enumerate((15.0, 2.0))
        ),
        pages={0: 3 << 30, 1: 1 << 20},
    )
    page = page_of(run_of([launch_of([request_of([100, 110, 120, 130], placement=placement)])]))

    assert ["yes", "no"] == page.column("worked")
    assert ["94 %", "12 %"] == page.column("busy")
    bars = [shape for shape in page.figure("how busy each socket was").shapes if isinstance(shape, Bar)]
    assert pytest.approx([93.75, 12.5]) == [bar.y[1] for bar in bars]
    assert "node 0: 3.0 GiB, node 1: 1 MiB" == page.column("pages")[0]


@pytest.mark.parametrize(
    ("later", "ticks"),
    [
        ("2026-01-04T03:04:00+00:00", ["2026-01-02", "2026-01-04"]),
        ("2029-01-02T03:04:00+00:00", ["2026-01-02", "2029-01-02"]),
        ("2026-01-02T15:30:00+00:00", ["2026-01-02 03:04", "2026-01-02 15:30"]),
    ],
)
def test_runs_of_one_day_are_told_apart_by_their_time(
    story_of: BuildRun, later: str, ticks: list[str]
) -> None:
    """Days below the plot, and days with times where a day has two runs."""
    (line,) = history.history_lines(
        map(summarize_run, (story_of(), dataclasses.replace(story_of(), started_at=later)))
    )

    page = Reader(history_value([line], ("first_token",)))

    assert ticks == [label for _, label in page.figure("first token").x.labels()]


def test_a_history_is_true_to_time(story_of: BuildRun) -> None:
    """One day and then three: the second run stands at a quarter of the way."""
    runs = [
        dataclasses.replace(story_of(), id=day, started_at=f"2026-01-{day}T03:04:00+00:00")
        for day in ("01", "02", "05")
    ]
    (line,) = history.history_lines(map(summarize_run, runs))

    first, second, third = (
        Reader(history_value([line], ("first_token",))).figure("first token").marks[0].points
    )

    assert (second.x - first.x) / (third.x - first.x) == pytest.approx(0.25)


def test_a_history_is_relative_to_its_oldest_run(story_of: BuildRun) -> None:
    """100 ms, then 110: the line begins at 0 and ends at 10 percent, and the step is told."""
    later = dataclasses.replace(story_of(1.1), id="later", started_at="2026-01-03T03:04:00+00:00")
    (line,) = history.history_lines(map(summarize_run, (story_of(), later)))

    page = Reader(history_value([line], ("first_token",)))

    assert all(pytest.approx([0, 10]) == values(marks) for marks in page.figure("first token").marks)
    assert ["", "+10 % regressed"] == page.column("step of the mean first token")


def test_every_colour_is_in_the_style_sheet(story_of: BuildRun) -> None:
    """What a figure names is defined for light and for dark."""
    text = html.page([summarize_run(story_of())])
    style = text[text.index("<style>") : text.index("</style>")]

    named = (
        set(re.findall(r"var\((--\w+)\)", text))
        | {f"--s{n}" for n in range(8)}
        | {f"--f{n}" for n in range(8)}
    )

    assert all(2 == len(re.findall(rf"{name}:", style)) for name in named)


def test_a_long_table_is_cut_and_says_so(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, page_of: Callable[..., Reader]
) -> None:
    """2,500 requests: 2,000 are listed, and the line above tells where all are."""
    run = run_of([launch_of([request_of([100, 110, 120, 130], iteration=i) for i in range(2500)])])

    page = page_of(run)
    text = page.text

    assert "all 2500 requests: the first 2000 of 2500 rows; llmbench report csv writes all" in text
    assert 2001 == max(len(table) for table in page.tables)
    assert "One request of 5 is drawn." in text


def test_text_of_a_table_is_escaped() -> None:
    """Markup, quotes and what steers a terminal or the direction of text are shown."""
    evil = "<i a='b'>\u202e\x1b\""
    cell = Cell(evil, note=evil, title=evil)
    table = Table((Column(evil, unit=evil),), ((cell,),), fold=evil)
    section = Section(name="s", title=evil, blocks=(table, Notes(lines=(evil,))))

    text = document.render(Page(title=evil, lead=(evil,), badges=((evil, "bad"),), sections=(section,)))

    assert "<i" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert text.count("&lt;i a=&#39;b&#39;&gt;\\u202e\\x1b&#34;") == text.count("&lt;i")


def test_labels_of_plots_are_letters() -> None:
    """Markup in a label, a title or a tick is shown letter by letter."""
    evil = "<a href='x'>\x1b&"
    figure = Figure(
        title=evil,
        x=Axis(low=0, high=1, title=evil, ticks=((0.5, evil),)),
        y=Axis(low=0, high=1, title=evil, suffix=evil),
        shapes=(
            Marks(points=(Point(0.5, 0.5, evil),), colour="c"),
            Line(points=((0, 0), (1, 1)), colour="c", title=evil),
            Bar(x=(0, 1), y=(0, 1), colour="c", title=evil),
        ),
    )

    text = svg.draw(figure)

    assert "<a" not in text
    assert "\x1b" not in text
    assert "&lt;a href=&#x27;x&#x27;&gt;\\x1b&amp;" in text


def test_an_axis_begins_at_zero() -> None:
    """Latencies of 5 and 10 ms: from 0 to 11.5; on a logarithmic axis from 4 to 12.5."""
    linear, logarithmic = (plots.latency_axis(5, 10, Unit.MILLISECONDS, is_log=log) for log in (False, True))

    assert (0, pytest.approx(11.5)) == (linear.low, linear.high)
    assert (pytest.approx(4), pytest.approx(12.5)) == (logarithmic.low, logarithmic.high)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (-110, 110, [-100, -50, 0, 50, 100]), (0.93, 0.99, [0.94, 0.96, 0.98])],
)
def test_ticks_stand_at_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    """Steps of 1, 2 or 5 times a power of ten."""
    assert pytest.approx(ticks) == [value for value, _ in Axis(low=low, high=high).labels()]


def test_a_clipped_interval_ends_in_an_arrow() -> None:
    """From -50 to 250 on an axis that ends at 100: a cap on the left, an arrow at the right edge."""
    axis = Axis(low=-100, high=100, ticks=())
    clipped, whole = (
        Figure(
            title="",
            x=axis,
            y=Axis(low=0, high=1, ticks=()),
            shapes=(Marks(points=(Point(0, 0.5, "", -50, high),), colour="c", horizontal=True),),
        )
        for high in (250, 50)
    )

    assert "l5.0 5.0l-5.0 5.0" in svg.draw(clipped)
    assert "l5.0" not in svg.draw(whole)


def ladder(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun, firsts: Mapping[int, float]) -> Run:
    """One launch of one request for each input length, with a first token as told and gaps of 10 ms."""
    prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate(firsts))
    config = RunConfig(model="m", prompts=prompts, output_tokens=4)
    requests = [
        request_of([ms, ms + 10, ms + 20, ms + 30], prompt=i, input_tokens=n)
        for i, (n, ms) in enumerate(firsts.items())
    ]
    return run_of([launch_of(requests)], cells=(config,))
