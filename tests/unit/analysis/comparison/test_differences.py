import dataclasses
from collections.abc import Callable, Sequence

import pytest

from llmbench.analysis.comparison.rule import Rule, Verdict
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings, Launch, Provenance, Run
from tests.unit.analysis.comparison.test_compare import compared, verdicts

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]


def edited(run: Run, **changes: object) -> Run:
    """A run whose every cell has another setting."""
    return dataclasses.replace(run, cells=tuple(dataclasses.replace(c, **changes) for c in run.cells))  # type: ignore[arg-type]


def test_settings_may_differ_and_are_named(story_of: BuildRun) -> None:
    """Threads and a property are what comparisons are for."""
    got = compared(story_of(), edited(story_of(), threads=1, properties={"NUM_STREAMS": 2}))

    assert [("threads", "", "1"), ("NUM_STREAMS", "1", "2")] == [
        (c.name, c.base, c.candidate) for c in got.changes
    ]
    assert all(pair.changes for pair in got.pairs)


def test_software_files_and_machine_are_named(story_of: BuildRun) -> None:
    """A version, the files' hash, the kernel, and what was in force."""
    after = story_of()
    after = dataclasses.replace(
        after,
        environment=dataclasses.replace(
            after.environment, versions={"openvino": "2026.5.0", "llmbench": "0.1.0"}, kernel="6.2"
        ),
        provenance=dataclasses.replace(after.provenance, content_sha256="cd" * 32),
        launches=tuple(
            dataclasses.replace(launch, effective=EffectiveSettings(attention="sdpa", notes=("a note",)))
            for launch in after.launches
        ),
    )

    got = compared(story_of(), after)

    assert {
        ("openvino", "2026.4.1", "2026.5.0"),
        ("kernel", "6.1.0", "6.2"),
        ("IR hash", "abababababab", "cdcdcdcdcdcd"),
        ("effective: INFERENCE_NUM_THREADS", "2", ""),
        ("effective: attention", "pa", "sdpa"),
        ("effective: notes", "", "a note"),
    } == {(c.name, c.base, c.candidate) for c in got.changes}


def test_of_two_engines_only_what_both_report_is_a_difference(story_of: BuildRun) -> None:
    """A property of one engine is no setting that the other lacks."""

    def of(engine: str, **properties: str) -> Run:
        effective = EffectiveSettings(properties=properties)
        run = edited(story_of(), engine=engine)
        launches = tuple(dataclasses.replace(launch, effective=effective) for launch in run.launches)
        return dataclasses.replace(run, launches=launches)

    got = compared(
        of("genai", KEY_CACHE_PRECISION="u8", NUM_STREAMS="1"),
        of("core", KEY_CACHE_PRECISION="f16", n_batch="2"),
    )

    assert [("effective: KEY_CACHE_PRECISION", "u8", "f16")] == [
        (c.name, c.base, c.candidate) for c in got.changes if c.name.startswith("effective")
    ]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cpu", lambda run: dataclasses.replace(run.environment, cpu_model="Other CPU")),
        ("model", lambda _: Provenance(path="x", known=True, source="hub", source_id="example/other")),
    ],
)
def test_what_must_match_makes_everything_incomparable(
    story_of: BuildRun, name: str, change: Callable[[Run], object]
) -> None:
    """Another CPU or another source model: no verdict, and the difference is named."""
    field = {"cpu": "environment", "model": "provenance"}[name]
    other = dataclasses.replace(story_of(), **{field: change(story_of())})  # type: ignore[arg-type]

    got = compared(story_of(), other)

    assert Verdict.INCOMPARABLE is got.verdict
    assert [name] == [found.name for found in got.mismatches]
    assert all(pair.reasons and not pair.changes for pair in got.pairs)


def test_the_model_may_be_varied_and_the_cpu_never(story_of: BuildRun) -> None:
    """``--vary model`` lifts the source model; asking for the CPU is refused."""
    other = dataclasses.replace(
        story_of(), provenance=dataclasses.replace(story_of().provenance, source_id="example/other")
    )

    assert all(
        pair.changes for pair in compared(story_of(), other, rule=Rule(vary=frozenset({"model"}))).pairs
    )
    with pytest.raises(InputError) as caught:
        Rule(vary=frozenset({"cpu"}))
    assert "the CPU never varies" in str(caught.value.hint)


def test_what_is_not_known_is_said(story_of: BuildRun) -> None:
    """Without a name for the CPU or the source nothing can be checked, and that is a warning."""
    run = story_of()
    blank = dataclasses.replace(
        run,
        environment=dataclasses.replace(run.environment, cpu_model=""),
        provenance=Provenance(path="m"),
    )

    got = compared(blank, story_of())

    assert "the CPU of the base is unknown, so it could not be checked" in got.warnings
    assert "the source model of the base is unknown, so it could not be checked" in got.warnings


@pytest.mark.parametrize(
    ("change", "vary", "reason"),
    [
        ({"output_tokens": 5}, "output_tokens", "requested output tokens: 4 against 5"),
        ({"batch_size": 2}, "batch_size", "batch: 1 against 2"),
        (
            {"stop_at_eos": True},
            "generation",
            "way of generating: exact length against ends at its end token",
        ),
        (
            {"apply_chat_template": True},
            "generation",
            "way of generating: exact length against exact length, chat template",
        ),
    ],
)
def test_rows_that_differ_in_kind_are_incomparable(
    story_of: BuildRun, change: dict[str, object], vary: str, reason: str
) -> None:
    """Named with both values; ``--vary`` lifts it."""
    other = edited(story_of(), **change)

    assert [(reason,)] * 2 == [pair.reasons for pair in compared(story_of(), other).pairs]
    assert [()] * 2 == [
        pair.reasons for pair in compared(story_of(), other, rule=Rule(vary=frozenset({vary}))).pairs
    ]


def test_output_counts_that_differ_are_incomparable(story_of: BuildRun) -> None:
    """Both ended where they liked, one a token earlier: their times are of different things."""
    before, after = (edited(story_of(), stop_at_eos=True) for _ in range(2))
    launches = tuple(
        dataclasses.replace(
            launch,
            measurements=tuple(
                dataclasses.replace(
                    m,
                    requested_tokens=3,
                    sequences=(dataclasses.replace(m.sequences[0], at_ns=m.sequences[0].at_ns[:3]),),
                )
                for m in launch.measurements
            ),
        )
        for launch in after.launches
    )

    got = compared(before, dataclasses.replace(after, launches=launches))

    assert [("output tokens: 4 against 3",)] * 2 == [pair.reasons for pair in got.pairs]


def test_a_prompt_of_one_side_only_is_listed(story_of: BuildRun) -> None:
    """Nothing is dropped in silence."""
    other = story_of()
    prompts = (other.cells[0].prompts[0], Prompt(set="ladder", index=1, tokens=600))

    got = compared(story_of(), edited(other, prompts=prompts))

    assert 1 == len(got.pairs)
    assert (
        "P1 of ladder (512 tokens in) is in the base only",
        "P1 of ladder (512 tokens in) is in the candidate only",
    ) == got.unpaired
    assert not got.is_clean


def test_no_common_prompt_is_incomparable(story_of: BuildRun) -> None:
    """No row, no verdict."""
    got = compared(story_of(), edited(story_of(), prompts=(Prompt(set="a", index=0, tokens=1),) * 2))

    assert (Verdict.INCOMPARABLE, ()) == (got.verdict, got.pairs)


def sweep(build: Callable[..., Launch], run_of: BuildRun, threads: Sequence[int], **settings: object) -> Run:
    """A run with a cell for each number of threads, two launches each."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = tuple(
        RunConfig(model="m", prompts=prompts, output_tokens=4, threads=n, **settings)  # type: ignore[arg-type]
        for n in threads
    )
    launches = [
        build(cell=cell, index=2 * cell + i, ms=100 * n + i)
        for cell, n in enumerate(threads)
        for i in range(2)
    ]
    return run_of(launches, cells=cells)


def test_cells_of_a_sweep_are_paired_by_what_sets_them_apart(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """1, 2 and 4 threads against 2, 1 and 8 with another property: 1 with 1, 2 with 2, the others alone."""

    def build(*, cell: int, index: int, ms: float) -> Launch:
        return launch_of([request_of([ms, ms + 10, ms + 20, ms + 30], launch=index)], cell=cell, index=index)

    got = compared(
        sweep(build, run_of, (1, 2, 4)), sweep(build, run_of, (2, 1, 8), properties={"NUM_STREAMS": 2})
    )

    assert [(1, 1), (2, 2)] == [
        (pair.base.config.threads, pair.candidate.config.threads) for pair in got.pairs
    ]
    assert [{"threads": "1"}, {"threads": "2"}] == [dict(mean.settings) for mean in got.means]
    assert ["base only", "candidate only"] == [text.split(" is in the ")[1] for text in got.unpaired]
    assert ["NUM_STREAMS"] == [found.name for found in got.changes]


@pytest.mark.parametrize("side", [0, 1])
def test_one_foreign_side_is_enough_to_pair_by_index(story_of: BuildRun, side: int) -> None:
    """The hash that one side does not tell cannot be asked of the other; nor can settings."""
    ours = edited(story_of(launches=2), threads=1)
    foreign = dataclasses.replace(
        edited(
            story_of(launches=2),
            prompts=(Prompt(set="llm_bench", index=0, tokens=1), Prompt(set="llm_bench", index=1, tokens=2)),
        ),
        version="",
        source="llm_bench CSV a.csv",
    )
    sides = (foreign, ours) if side == 0 else (ours, foreign)

    got = compared(*sides)

    assert [(), ()] == [pair.reasons for pair in got.pairs]
    assert () == got.changes


def test_memory_that_was_changed_is_named(story_of: BuildRun) -> None:
    """A machine with half of its memory gone is another machine."""
    after = story_of()
    after = dataclasses.replace(
        after, environment=dataclasses.replace(after.environment, memory_bytes=12 << 30)
    )

    assert ["memory"] == [found.name for found in compared(story_of(), after).changes]


def test_a_foreign_report_is_paired_by_index_and_never_decides(story_of: BuildRun) -> None:
    """llm_bench's reports tell no hash and one launch: paired by number and length, always undecided."""
    foreign = dataclasses.replace(story_of(launches=1), version="", source="llm_bench CSV a.csv")

    got = compared(foreign, story_of(2.0, launches=3))

    assert [2, 2] == [len(verdicts(got, name)) for name in ("first_token", "tpot")]
    assert Verdict.INCONCLUSIVE is got.verdict
