import dataclasses
import math
import random
from collections.abc import Callable, Sequence

import pytest

from llmbench import report
from llmbench.comparison import Comparison, compare
from llmbench.comparison.change import Sample, judge
from llmbench.comparison.rule import Rule, Threshold, Verdict, read_thresholds
from llmbench.config import Prompt, RunConfig
from llmbench.errors import InputError
from llmbench.measurement import Conditions, Measurement
from llmbench.run import InForce, Launch, Provenance, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
QUIET = (1.0, 1.001, 0.999)


def compared(base: Run, candidate: Run, **options: object) -> Comparison:
    """Two runs, summarised and compared."""
    return compare(report.summarize(base), report.summarize(candidate), **options)  # type: ignore[arg-type]


def verdicts(comparison: Comparison, metric: str) -> list[str]:
    """The verdicts of a metric, prompt by prompt."""
    return [c.verdict.value for pair in comparison.pairs for c in pair.changes if c.metric == metric]


def sample(*logs: float) -> Sample:
    """One side's launches from 0."""
    return Sample(logs=dict(enumerate(logs)))


THREE = Threshold(share=0.03)


def test_a_change_by_hand() -> None:
    """Logs 0, 0.01, 0.02 and 0.10, 0.11, 0.12: ratio e^0.1, error sqrt(2 * 0.0001 / 3) = 0.008165, df 4."""
    got = judge("tpot", sample(0.0, 0.01, 0.02), sample(0.10, 0.11, 0.12), threshold=THREE)

    assert pytest.approx(math.exp(0.1)) == got.ratio.ratio
    assert pytest.approx(math.exp(0.1 - 2.776445 * 0.0081650), rel=1e-5) == got.ratio.low
    assert Verdict.REGRESSED is got.verdict
    assert (3, 3) == got.launches
    assert pytest.approx([math.exp(0.01), math.exp(0.11)]) == [got.base, got.candidate]


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [
        (0.10, 0.001, Verdict.REGRESSED),
        (-0.10, 0.001, Verdict.IMPROVED),
        (0.00, 0.001, Verdict.UNCHANGED),
        (0.02, 0.001, Verdict.UNCHANGED),
        (0.02, 0.02, Verdict.INCONCLUSIVE),
        (0.10, 0.20, Verdict.INCONCLUSIVE),
        (0.029, 0.001, Verdict.INCONCLUSIVE),
        (0.04, 0.03, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_needs_interval_and_threshold(shift: float, noise: float, verdict: Verdict) -> None:
    """Regressed excludes 1 and is beyond 3 %; unchanged is whole within 3 %; the rest is undecided."""
    base = sample(-noise, 0.0, noise)

    assert (
        verdict
        is judge("tpot", base, sample(*(z + shift for z in base.logs.values())), threshold=THREE).verdict
    )


def test_a_threshold_in_milliseconds_counts_where_it_is_larger() -> None:
    """5 % and 2 ms: of 10 ms that is 20 %, of 1 s 5 %; both must be exceeded."""
    threshold = Threshold(share=0.05, seconds=0.002)

    assert pytest.approx(0.2) == threshold.of(0.010)
    assert 0.05 == threshold.of(1.0)


def test_undecided_says_what_it_could_have_seen() -> None:
    """Noise 2 %, 3 launches a side: error 1.633 %, seen from (2.776 + 0.941) times that; 4 would show 5 %."""
    got = judge("tpot", sample(-0.02, 0.0, 0.02), sample(0.0, 0.02, 0.04), threshold=THREE)

    assert pytest.approx(math.expm1((2.776445 + 0.940965) * 0.0163299), rel=1e-3) == got.smallest_visible
    assert 4 == got.needed


def test_pairs_use_the_launches_both_have() -> None:
    """Interleaved launches cancel a drift that independent ones would drown in."""
    drift = {0: 0.0, 1: 0.5, 2: 1.0}
    base = Sample(logs=drift | {7: 3.0})
    candidate = Sample(logs={launch: z + 0.1 + 0.001 * launch for launch, z in drift.items()})

    paired = judge("tpot", base, candidate, threshold=THREE, is_paired=True)

    assert ((3, 3), Verdict.REGRESSED) == (paired.launches, paired.verdict)
    assert pytest.approx(math.exp(0.101)) == paired.ratio.ratio
    assert Verdict.INCONCLUSIVE is judge("tpot", base, candidate, threshold=THREE).verdict


def test_pairs_are_made_by_block(story_of: BuildRun) -> None:
    """Launches 0, 2, 4 of one side and 1, 3, 5 of the other, made in turns: blocks 0, 1, 2 belong together."""
    drift = (1.0, 1.5, 2.0)

    def side(factor: float, offset: int) -> Run:
        run = story_of(factor, launches=3, noise=drift)
        launches = tuple(
            dataclasses.replace(
                launch,
                index=2 * launch.index + offset,
                block=launch.index,
                measurements=tuple(
                    dataclasses.replace(m, launch=2 * m.launch + offset) for m in launch.measurements
                ),
            )
            for launch in run.launches
        )
        return dataclasses.replace(run, launches=launches)

    got = compared(side(1.0, 0), side(1.1, 1), is_paired=True)

    assert (3, 3) == got.means[0].changes[0].launches
    assert Verdict.REGRESSED is got.verdict
    assert Verdict.INCONCLUSIVE is compared(side(1.0, 0), side(1.1, 1)).verdict


def test_no_launch_in_common_is_not_paired() -> None:
    """Launches that were not interleaved after all are compared as independent ones."""
    got = judge(
        "tpot", Sample(logs={0: 0.0, 1: 0.0}), Sample(logs={2: 0.0, 3: 0.0}), threshold=THREE, is_paired=True
    )

    assert (2, 2) == got.launches


def test_the_same_run_twice_is_unchanged(story_of: BuildRun) -> None:
    """Nothing moved: every row within its threshold, no alarm, nothing changed."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(launches=3, noise=QUIET))

    assert Verdict.UNCHANGED is got.verdict
    assert ((), ()) == (got.alarms, got.changes)
    assert ["unchanged"] * 2 == verdicts(got, "first_token")


def test_a_slower_candidate_regresses(story_of: BuildRun) -> None:
    """First tokens 20 % slower: their rows and their mean regress; the gaps between tokens did not move."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(1.2, launches=3, noise=QUIET))

    assert Verdict.REGRESSED is got.verdict
    assert ["regressed"] * 2 == verdicts(got, "first_token")
    assert ["unchanged"] * 2 == verdicts(got, "tpot")
    (mean,) = got.means
    assert 2 == mean.prompts
    assert pytest.approx(1.2, rel=1e-9) == mean.changes[0].ratio.ratio
    assert {"first_token", "e2e"} == {alarm.metric for alarm in got.alarms}


def test_a_faster_candidate_improves(story_of: BuildRun) -> None:
    """20 % faster is improved, and no alarm."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(0.8, launches=3, noise=QUIET))

    assert (Verdict.IMPROVED, ()) == (got.verdict, got.alarms)


def test_the_mean_is_geometric(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One prompt takes 1.5 times, the other 1 / 1.5: their mean did not change."""
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in range(2))
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=2),)

    def run(*firsts: float) -> Run:
        return run_of(
            [
                launch_of(
                    [request_of([ms, ms + 10], prompt=i, launch=n) for i, ms in enumerate(firsts)], index=n
                )
                for n in range(3)
            ],
            cells=cells,
        )

    got = compared(run(100, 1000), run(150, 1000 / 1.5))

    assert pytest.approx(1.0, abs=1e-6) == got.means[0].changes[0].ratio.ratio
    assert Verdict.REGRESSED is got.verdict  # a single row says so, beyond any doubt


@pytest.mark.parametrize("launches", [(1, 1), (1, 3), (3, 1)])
def test_one_launch_a_side_is_always_inconclusive(story_of: BuildRun, launches: tuple[int, int]) -> None:
    """However large the change, one launch says nothing about noise; the ratio is shown."""
    got = compared(story_of(launches=launches[0]), story_of(3.0, launches=launches[1]))

    assert Verdict.INCONCLUSIVE is got.verdict
    assert {"inconclusive"} == {*verdicts(got, "first_token"), *verdicts(got, "tpot")}
    assert 2.9 < got.pairs[0].changes[0].ratio.ratio < 3.1


def test_unequal_launches_are_compared(story_of: BuildRun) -> None:
    """Three against two launches is Welch's case."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(1.5, launches=2, noise=QUIET))

    assert (3, 2) == got.pairs[1].changes[0].launches
    assert Verdict.REGRESSED is got.verdict


def test_identical_values_are_defined(story_of: BuildRun) -> None:
    """Where nothing varies at all, the same is unchanged and anything beyond the threshold is not."""
    same = (1.0,)

    assert Verdict.UNCHANGED is compared(story_of(noise=same), story_of(noise=same)).verdict
    assert Verdict.REGRESSED is compared(story_of(noise=same), story_of(1.2, noise=same)).verdict


def test_a_run_that_is_not_valid_convicts_nobody(story_of: BuildRun) -> None:
    """More than half of the candidate's requests beside a neighbour: undecided, whatever they show."""
    noisy = Conditions(wall_s=1.0, cpus=2, own_s=1.0, foreign_s=0.8)
    slow = story_of(2.0, launches=3, noise=QUIET)
    launches = tuple(
        dataclasses.replace(
            launch,
            measurements=tuple(
                dataclasses.replace(m, conditions=noisy) if m.iteration == 1 or m.prompt else m
                for m in launch.measurements
            ),
        )
        for launch in slow.launches
    )

    got = compared(story_of(launches=3, noise=QUIET), dataclasses.replace(slow, launches=launches))

    assert (Verdict.INCONCLUSIVE, ()) == (got.verdict, got.alarms)
    assert not got.is_clean


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
            dataclasses.replace(launch, in_force=InForce(attention="sdpa", notes=("a note",)))
            for launch in after.launches
        ),
    )

    got = compared(story_of(), after)

    assert {
        ("openvino", "2026.4.1", "2026.5.0"),
        ("kernel", "6.1.0", "6.2"),
        ("IR hash", "abababababab", "cdcdcdcdcdcd"),
        ("in force: INFERENCE_NUM_THREADS", "2", ""),
        ("in force: attention", "pa", "sdpa"),
        ("in force: notes", "", "a note"),
    } == {(c.name, c.base, c.candidate) for c in got.changes}


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
        ({"output_tokens": 5}, "output_tokens", "asked output tokens: 4 against 5"),
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
                    asked_tokens=3,
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
        "prompt 1 of ladder (512 tokens in) is in the base only",
        "prompt 1 of ladder (512 tokens in) is in the candidate only",
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


def without_invalid(run: Run) -> Run:
    """A story whose every request counts."""
    launches = tuple(
        dataclasses.replace(
            launch, measurements=tuple(dataclasses.replace(m, conditions=None) for m in launch.measurements)
        )
        for launch in run.launches
    )
    return dataclasses.replace(run, launches=launches)


def test_clean_is_decided_whole_and_valid(story_of: BuildRun) -> None:
    """A single invalid request on either side, or a row undecided, is not clean."""
    dirty = story_of(launches=3, noise=QUIET)
    clean = without_invalid(dirty)

    assert compared(clean, clean).is_clean
    assert not compared(dirty, clean).is_clean
    assert not compared(clean, dirty).is_clean
    assert not compared(without_invalid(story_of(launches=1)), clean).is_clean


def test_a_mean_needs_a_quarter_of_the_error(story_of: BuildRun) -> None:
    """+6 % with p = 0.018: regressed at 5 %, but no alarm at 1.25 %; without that noise it is one."""
    noise = (1 - 0.019, 1.0, 1 + 0.019)
    doubtful = compared(story_of(launches=3, noise=noise), story_of(1.06, launches=3, noise=noise))
    sure = compared(story_of(launches=3, noise=QUIET), story_of(1.06, launches=3, noise=QUIET))

    (first, _) = doubtful.means[0].changes
    assert first.ratio.p is not None
    assert 0.0125 < first.ratio.p < 0.025
    assert Verdict.REGRESSED is first.verdict
    assert (False, Verdict.INCONCLUSIVE) == (first.is_alarm, doubtful.verdict)
    assert sure.means[0].changes[0].is_alarm


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


def test_thresholds_are_read() -> None:
    """A percentage, milliseconds, or both; ``all`` is every metric; the others keep theirs."""
    got = read_thresholds(["all=4%", "first_token=5%,2ms", "tpot=1.5ms"])

    assert Threshold(share=0.05, seconds=0.002) == got["first_token"]
    assert Threshold(share=0.0, seconds=0.0015) == got["tpot"]
    assert Threshold(share=0.04) == got["e2e"]
    assert Threshold(share=0.03) == read_thresholds([])["e2e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=5%", "'speed' is no metric"),
        ("memory=5%", "'memory' is not compared"),
        ("tpot=5", "is not understood"),
        ("tpot", "is not understood"),
        ("tpot=5%,6%", "is not understood"),
        ("tpot=-5%", "is not understood"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(text: str, message: str) -> None:
    """What was wrong, and what would be right."""
    with pytest.raises(InputError) as caught:
        read_thresholds([text])

    assert message in caught.value.message
    assert caught.value.hint


class Machine:
    """Makes runs of three prompts whose launches differ by 1.5 % and whose iterations by 1 %, from one seed."""

    def __init__(self, seed: int, builders: tuple[Build, BuildLaunch, BuildRun]) -> None:
        self._random = random.Random(seed)  # noqa: S311  a simulation, not a secret
        self._request_of, self._launch_of, self._run_of = builders
        prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((32, 256, 1024)))
        self._cells = (RunConfig(model="m", prompts=prompts, output_tokens=4),)

    def run(self, factor: float = 1.0, *, launches: int = 5, iterations: int = 3) -> Run:
        """A run whose every latency is *factor* times what it would be."""
        return self._run_of([self._launch(n, factor, iterations) for n in range(launches)], cells=self._cells)

    def _launch(self, index: int, factor: float, iterations: int) -> Launch:
        """A launch with a factor of its own."""
        own = factor * math.exp(self._random.gauss(0, 0.015))
        requests = [
            self._request(index, iteration, prompt, own)
            for iteration in range(1, iterations + 1)
            for prompt in range(3)
        ]
        return self._launch_of(requests, index=index)

    def _request(self, launch: int, iteration: int, prompt: int, own: float) -> Measurement:
        """A request whose every gap has a noise of its own."""
        at, instants = 0.0, []
        for gap in ((40, 300, 1200)[prompt], 15, 10, 10):
            at += gap * own * math.exp(self._random.gauss(0, 0.01))
            instants.append(at)
        return self._request_of(
            instants, launch=launch, iteration=iteration, prompt=prompt, input_tokens=(32, 256, 1024)[prompt]
        )


@pytest.mark.parametrize(
    ("factor", "tries", "least", "most"),
    [(1.0, 800, 0.0, 0.01), (1.01, 1000, 0.0, 0.03), (1.10, 300, 0.99, 1.0)],
)
def test_the_gate_alarms_as_seldom_and_as_surely_as_promised(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    *,
    factor: float,
    tries: int,
    least: float,
    most: float,
) -> None:
    """Five launches a side: A/A at most 1 %, +1 % against 3 % at most 3 %, +10 % at least 99 %."""
    machine = Machine(17, (request_of, launch_of, run_of))
    names = ("first_token", "second_token", "next_token", "tpot", "e2e")

    def alarms() -> bool:
        base, candidate = machine.run(), machine.run(factor)
        return bool(compare(report.summarize(base, names), report.summarize(candidate, names)).alarms)

    share = sum(alarms() for _ in range(tries)) / tries

    assert least <= share <= most
