import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence

import pytest
from rich.console import Console

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.report import summarize_run
from llmbench.render.html import page as html
from llmbench.render.markdown import comparison_markdown
from llmbench.render.sentences.remarks import instants, remarks
from llmbench.render.terminal.comparison import render_comparison
from llmbench.render.terminal.report import render_report
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run

BuildRun = Callable[..., Run]
LEVEL = (101, 99, 100.5, 99.5, 100.2, 100)
RISING = tuple(100 * 1.03**i for i in range(6))


@pytest.fixture
def run_with(
    request_of: Callable[..., Measurement], launch_of: Callable[..., Launch], run_of: BuildRun
) -> BuildRun:
    """Builds a run of two launches from the first tokens in ms of each prompt, the warm-ups first.

    Two gaps of a tenth of that follow. In launch 1 the last token of the variants in *stray* is another one.
    """

    def build(
        *prompts: Sequence[float],
        warmups: int = 1,
        stray: Mapping[int, Sequence[int]] | None = None,
        is_permuted: bool = True,
        cells: int = 1,
    ) -> Run:
        config = RunConfig(
            model="m",
            prompts=tuple(
                Prompt(set="s", index=i, tokens=32, is_permuted=is_permuted) for i in range(len(prompts))
            ),
            output_tokens=3,
            warmups=warmups,
            iterations=len(prompts[0]) - warmups,
        )

        def request(launch: int, number: int, i: int, ms: float) -> Measurement:
            made = request_of(
                [ms, ms * 1.1, ms * 1.2], launch=launch, prompt=number, iteration=i, is_warmup=i < warmups
            )
            other = launch % 2 and i in (stray or {}).get(number, ())
            sequence = dataclasses.replace(made.sequences[0], token_ids=(1, 2, 4 if other else 3))
            return dataclasses.replace(made, sequences=(sequence,))

        launches = [
            launch_of(
                [request(index, n, i, ms) for n, firsts in enumerate(prompts) for i, ms in enumerate(firsts)],
                index=index,
                cell=index // 2,
            )
            for index in range(2 * cells)
        ]
        threads = [dataclasses.replace(config, threads=n + 1 if cells > 1 else None) for n in range(cells)]
        return run_of(launches, cells=tuple(threads))

    return build


def texts(run: Run) -> list[str]:
    """What is said of a run, doubts with a mark."""
    return [f"{'! ' if each.is_doubt else ''}{each.text}" for each in remarks(summarize_run(run))]


@pytest.mark.parametrize(
    ("firsts", "warmups", "output"),
    [
        ((200, *LEVEL), 1, "1 warm-up was enough"),
        ((200, 180, *LEVEL), 2, "2 warm-ups were enough"),
        (LEVEL, 0, "no warm-up was needed"),
        ((100, *LEVEL), 1, "no warm-up would have been needed (1 made)"),
        ((200, 100, 100, *LEVEL), 3, "1 warm-up would have been enough (3 made)"),
    ],
)
def test_one_sentence_where_all_is_well(
    run_with: BuildRun, firsts: Sequence[float], warmups: int, output: str
) -> None:
    """Steadiness, warm-ups and agreement in one sentence, and nothing else."""
    assert [f"Stable over the iterations; {output}; output identical in all launches."] == texts(
        run_with(firsts, warmups=warmups)
    )


def test_the_slowest_prompt_says_how_many_warm_ups(run_with: BuildRun) -> None:
    """One prompt needed none and one needed one: one was enough."""
    (output,) = texts(run_with((100, *LEVEL), (200, *LEVEL)))

    assert "; 1 warm-up was enough;" in output


def test_a_drift_is_a_doubt(run_with: BuildRun) -> None:
    """Both metrics with their size on one line; stability and warm-ups are not claimed of the rest."""
    well, doubt = texts(run_with((200, *LEVEL), (99, *RISING)))

    assert "Output identical in all launches." == well
    assert doubt.startswith("! P1: not stable: first token +16 %, time per output token +16 % from the first")


@pytest.mark.parametrize(
    ("firsts", "warmups", "output"),
    [
        (
            (200, 180, *LEVEL),
            1,
            "2 warm-ups would have been needed, 1 was made: the first measured iteration is",
        ),
        ((200, 180, *LEVEL), 0, "2 warm-ups would have been needed, none was made: the first 2 measured"),
        ((300, 200, 180, *LEVEL), 2, "3 warm-ups would have been needed, 2 were made: the first measured"),
    ],
)
def test_too_few_warm_ups_are_a_doubt(
    run_with: BuildRun, firsts: Sequence[float], warmups: int, output: str
) -> None:
    """Prompts alike are named together."""
    *_, doubt = texts(run_with(firsts, firsts, warmups=warmups))

    assert doubt.startswith(f"! P0, P1: {output}")


def test_where_launches_part(run_with: BuildRun) -> None:
    """A line a prompt, with the variant that parts first and how many others do."""
    well, *doubts = texts(run_with((200, *LEVEL), (200, *LEVEL), stray={0: (3,), 1: (1, 2, 5)}))

    assert "Stable over the iterations; 1 warm-up was enough." == well
    assert [
        "! P0 variant 3: launches 1 and 2 part at token 3 of 3",
        "! P1 variant 1: launches 1 and 2 part at token 3 of 3, and in 2 more variants",
    ] == doubts


def test_a_launch_that_parts_with_itself(run_with: BuildRun) -> None:
    """The same input in every iteration, and another answer in one of them."""
    run = run_with((200, *LEVEL), stray={0: (3,)}, is_permuted=False)
    one, other = (
        [dataclasses.replace(m, launch=1 - index) for m in launch.measurements]
        for index, launch in enumerate(run.launches)
    )
    turned = tuple(
        dataclasses.replace(launch, measurements=tuple(made))
        for launch, made in zip(run.launches, (other, one), strict=True)
    )

    assert ["! P0: launches 1 and 2 part at token 3 of 3"] == texts(run)[1:]
    assert ["! P0: launch 1 parts with itself at token 3 of 3"] == texts(
        dataclasses.replace(run, launches=turned)
    )[1:]


def test_many_rows_are_counted(run_with: BuildRun) -> None:
    """Six prompts are named, of more their number is told."""
    drifting = texts(run_with(*[(99, *RISING)] * 8))
    late = texts(run_with(*[(200, 180, *LEVEL, *LEVEL)] * 8))
    divergence = texts(run_with(*[(200, *LEVEL)] * 8, stray=dict.fromkeys(range(8), (1,))))

    assert "! not stable: 2 more prompts" == drifting[-1]
    assert late[-1].startswith("! P0, P1, P2, P3, P4, P5, 2 more: 2 warm-ups")
    assert "! launches part in 8 of 56 variants" == divergence[-1]


def test_configurations_are_told_apart(run_with: BuildRun) -> None:
    """In a sweep the settings stand beside the prompt."""
    doubts = texts(run_with((99, *RISING), cells=2))[1:]

    assert [f"! P0 [threads={n}]" for n in (1, 2)] == [doubt.split(":")[0] for doubt in doubts]


def test_nothing_is_said_of_what_is_not_known(run_with: BuildRun) -> None:
    """One launch of two iterations without a word of output: silence, neither well nor ill."""
    run = run_with((200, 100, 101))

    assert [] == texts(dataclasses.replace(run, launches=run.launches[:1]))


@pytest.mark.parametrize("width", [80, 40])
def test_the_foot_of_the_table(run_with: BuildRun, width: int) -> None:
    """What is well stands alone, a doubt is a note, and no line is longer than the screen."""
    file = io.StringIO()
    run = run_with((200, 180, *LEVEL), stray={0: (1,)})
    render_report(summarize_run(run), Console(file=file, width=width), is_explained=True)
    lines = file.getvalue().splitlines()

    reported = " ".join(" ".join(lines).split())
    assert "note: P0: 2 warm-ups would have been needed, 1 was made:" in reported
    assert "note: P0 variant 1: launches 1 and 2 part at token 3 of 3" in reported
    assert max(map(len, lines)) <= width


def test_every_form_of_a_comparison_tells_whether_the_tokens_are_the_same(run_with: BuildRun) -> None:
    """On screen, in Markdown and on a page; base and candidate part only where no launch of either agrees."""
    base, other = run_with((200, *LEVEL)), run_with((200, *LEVEL))
    other = dataclasses.replace(
        other,
        launches=tuple(
            dataclasses.replace(
                launch,
                measurements=tuple(
                    dataclasses.replace(
                        m, sequences=(dataclasses.replace(m.sequences[0], token_ids=(1, 9, 3)),)
                    )
                    if m.iteration in {2, 4}
                    else m
                    for m in launch.measurements
                ),
            )
            for launch in other.launches
        ),
    )
    for candidate, line in (
        (base, "greedy tokens: the same in 7 of 7 variants"),
        (other, "greedy tokens: part in 2 of 7 variants, first at token 2 (P0 variant 2)"),
    ):
        compared = compare(summarize_run(base), summarize_run(candidate))
        file = io.StringIO()
        render_comparison(compared, Console(file=file, width=120))

        assert line in file.getvalue()
        assert f"\n{line}\n" in comparison_markdown([compared])
        assert line in html.page([compared.base, compared.candidate], [compared])


def test_a_page_tells_of_each_run(run_with: BuildRun) -> None:
    """What is well and what is doubtful, by the name of the run where there are several."""
    runs = [run_with((200, *LEVEL)), dataclasses.replace(run_with((99, *RISING)), id="late")]

    page = html.page([summarize_run(run) for run in runs])

    assert f"<p>{runs[0].id}: Stable over the iterations; 1 warm-up was enough; output identical" in page
    assert "<p>late: P0: not stable: first token +16 %" in page
    assert "<p>Stable over the iterations; 1 warm-up" in html.page([summarize_run(runs[0])])


@pytest.mark.parametrize(
    ("fields", "begin"),
    [
        ({}, "s: the token ids are handed to the engine, tokenization outside;"),
        (
            {"concurrency": 2},
            "s: the request is due; queue, network, and tokenization by the server are inside;",
        ),
        (
            {"task": "visual_text_gen"},
            "s: question and images are handed to the engine, tokenization inside;",
        ),
        ({"task": "rag"}, "s: the text of the question is handed to the embedder;"),
    ],
)
def test_times_count_from_what_each_task_measures(
    run_with: BuildRun, fields: Mapping[str, object], begin: str
) -> None:
    """The definitions of a card and of a page begin where its requests do: a client waits for tokenization, too."""
    run = run_with((100, 100, 100))
    cell = dataclasses.replace(run.cells[0], **fields)  # type: ignore[arg-type]
    report = summarize_run(dataclasses.replace(run, cells=(cell,)))

    assert instants(report).startswith(begin)
    assert begin in html.page([report])
