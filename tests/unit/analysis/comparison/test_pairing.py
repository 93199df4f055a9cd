"""Rows pair one to one, also where a configuration has the same prompt several times."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence as Values

from hypothesis import given
from hypothesis import strategies as st

from llmbench.analysis import history
from llmbench.analysis.comparison.compare import Comparison, compare
from llmbench.analysis.comparison.paired_run import flags, settle
from llmbench.analysis.comparison.pairing import pair
from llmbench.analysis.report import Report, summarize_run
from llmbench.render.sentences.verdict import line_label
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from tests.builders import launch_of, request_of, run_of

NOISE = (1.0, 1.001, 0.999)


def run_with(texts: Values[str], first_ms: Values[float], **fields: object) -> Run:
    """Three launches over prompts of these texts, whose first tokens take so long."""
    prompts = tuple(Prompt(set="s", index=index, text=text) for index, text in enumerate(texts))

    def request(launch: int, prompt: int) -> Measurement:
        first = first_ms[prompt] * NOISE[launch]
        return request_of([first, first + 10, first + 20], launch=launch, prompt=prompt)

    launches = [
        launch_of([request(launch, prompt) for prompt in range(len(texts))], index=launch)
        for launch in range(3)
    ]
    return run_of(launches, cells=(RunConfig(model="m", prompts=prompts, output_tokens=3),), **fields)


def report_with(texts: Values[str], first_ms: Values[float]) -> Report:
    """The report of such a run."""
    return summarize_run(run_with(texts, first_ms))


def ratios(found: Comparison) -> dict[str, float]:
    """The ratio of each row's first token, by the row's label."""
    return {line_label(found, pair): round(pair.changes[0].ratio.ratio, 2) for pair in found.pairs}


def test_the_same_prompt_twice_pairs_in_order() -> None:
    """100 and 200 ms against 150 and 200 ms: the first is 1.5 times as slow, the second the same; none is lost."""
    base = report_with(["a", "a", "b"], [100, 200, 50])
    candidate = report_with(["a", "a", "b"], [150, 200, 50])

    found = compare(base, candidate)

    assert {"P0": 1.5, "P1": 1.0, "P2": 1.0} == ratios(found)
    assert () == found.unpaired
    assert {"P0"} == {
        line_label(found, pair) for pair in found.pairs if any(each.is_alarm for each in pair.changes)
    }


def test_a_repeat_without_partner_is_named_by_its_index() -> None:
    """Three times against once: the first has a partner, the second and the third are in the base only."""
    found = pair(report_with(["a", "a", "a"], [1, 2, 3]), report_with(["a"], [1]))

    assert 1 == len(found.couples)
    assert ["P1 of s", "P2 of s"] == [text.split(" (")[0] for text in found.unpaired]
    assert all("in the base only" in text for text in found.unpaired)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
)
def test_every_row_is_paired_once_or_named_once(base: list[str], candidate: list[str]) -> None:
    """Whatever prompts repeat on either side: k-th with k-th, as many pairs as both have, the rest in sentences."""
    found = pair(report_with(base, [100.0] * len(base)), report_with(candidate, [100.0] * len(candidate)))
    both = sum(min(base.count(text), candidate.count(text)) for text in "abc")

    assert both == len(found.couples)
    assert len(base) + len(candidate) - 2 * both == len(found.unpaired) == len(set(found.unpaired))
    for couple in found.couples:
        assert couple.base.prompt.text == couple.candidate.prompt.text
        before, after = couple.base.prompt.index, couple.candidate.prompt.index
        assert base[:before].count(base[before]) == candidate[:after].count(candidate[after])


def test_confirming_keeps_repeats_apart() -> None:
    """An alarm of the first repeat does not hold because the second repeat is slow in the confirmation."""
    base = report_with(["a", "a"], [100, 100])
    first, again = (compare(base, report_with(["a", "a"], slow)) for slow in ([150, 100], [100, 150]))

    settled, _ = settle(first, again)

    pinned = {prompt.index for (prompt, _), change in flags(settled) if change.is_alarm and prompt}
    assert set() == pinned


def test_history_follows_each_repeat() -> None:
    """Two runs of the same prompt twice: two tracks of two points each."""
    runs = [
        dataclasses.replace(run_with(["a", "a"], [100, 200]), id=name, started_at=f"2026-01-0{day}T00:00:00")
        for day, name in enumerate("xy", start=1)
    ]
    (line,) = history.history_lines(map(summarize_run, runs))

    tracks = history.tracks(line, ["first_token"])

    assert ["P0", "P1"] == [track.prompt.label for track in tracks]
    assert [[0.1, 0.1], [0.2, 0.2]] == [
        [round(point.median, 3) for point in track.points if point] for track in tracks
    ]


def test_lengths_that_repeat_pair_in_order(llmbench: Callable[..., object]) -> None:
    """``--input-tokens 32,32`` gives two rows with labels of their own, and both are compared."""
    for seed in ("1", "2"):
        options = ("--input-tokens", "32,32", "-ic", "4", "-n", "2", "--launches", "2", "--quiet")
        llmbench(
            "run",
            "--engine",
            "scripted",
            "-m",
            "first=20ms,noise=1%",
            *options,
            "--name",
            f"r{seed}",
            "-s",
            "7",
        )
    done = llmbench("report", "compare", "reports/r1.jsonl", "reports/r2.jsonl", "--csv", "-")

    rows = done.stdout.splitlines()[1:]  # type: ignore[attr-defined]
    assert 2 == sum(",first_token," in row and ",prompt," in row for row in rows)
