import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmbench.analysis import placement_proof, report
from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.placement_proof import Effect
from llmbench.render import csv, llm_bench, tidy
from llmbench.render.sentences import remarks, verdict
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Placement, SocketWork
from llmbench.schema.run import Cpu, EffectiveSettings, Environment, Launch, Pinning, Run, Split, Topology
from llmbench.store import events, importers

TENSOR_PARALLEL = {"MODEL_DISTRIBUTION_POLICY": "TENSOR_PARALLEL"}
TWO = Topology(
    cpus=(Cpu(number=0, socket=0, core=0, node=0), Cpu(number=1, socket=1, core=1, node=1)), allowed=(0, 1)
)
ONE_SOCKET, BOTH = Split(without=1, with_policy=1, parts=1), Split(without=1, with_policy=2, parts=2)


def _placed(*busy_s: float, worker_s: float | None = None, wall_s: float = 10.0) -> Placement:
    """One-core sockets that were busy for so long, with the worker's work unless *worker_s* is less."""
    works = tuple(
        SocketWork(socket=n, cpus=1, expected_cpus=1, busy_s=seconds, threads=1)
        for n, seconds in enumerate(busy_s)
    )
    worker_s = sum(busy_s) if worker_s is None else worker_s
    return Placement(wall_s=wall_s, worker_s=worker_s, sockets=works, migrations=3, pages={0: 300, 1: 100})


def _config(**fields: object) -> RunConfig:
    values: dict[str, object] = {"model": "m", "prompts": (Prompt(set="s", index=0, tokens=8),)}
    return RunConfig(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture
def ran(
    request_of: Callable[..., Measurement], launch_of: Callable[..., Launch], run_of: Callable[..., Run]
) -> Callable[..., Run]:
    """Builds a run of one launch on a machine of two sockets from the placement of its one request."""

    def build(placed: Placement | None, *, split: Split | None = None, **fields: object) -> Run:
        measured = dataclasses.replace(request_of([5.0, 6.0, 7.0]), placement=placed)
        pinned = Pinning(cpus=(0, 1), sockets=(0, 1), memory="default", pages={0: 200, 1: 200})
        launch = launch_of([measured], effective=EffectiveSettings(split=split), pinned=pinned)
        run = run_of([launch], cells=(_config(**fields),))
        return dataclasses.replace(run, environment=_on_two_sockets(run.environment))

    return build


def _on_two_sockets(environment: Environment) -> Environment:
    return dataclasses.replace(environment, topology=TWO)


def _sentence(run: Run) -> str:
    found = placement_proof.prove(run, 0)
    assert found is not None
    return remarks.placement_sentence(found)


def test_both_sockets_worked(ran: Callable[..., Run]) -> None:
    """Asked by the policy, seen in CPU time: the rows count, and the sentence has shares of time and pages."""
    run = ran(_placed(9.0, 8.0), split=BOTH, properties=TENSOR_PARALLEL)

    assert report.summarize_run(run).rows[0].invalid == 0
    assert (
        "both sockets worked: 53 % / 47 % of the CPU time, 1 / 1 threads; pages by node 75 % / 25 % "
        "(after loading 50 % / 50 %); threads moved 3 times"
    ) == _sentence(run)


@pytest.mark.parametrize("fields", [{"properties": TENSOR_PARALLEL}, {"sockets": (0, 1)}])
def test_one_socket_that_did_all_the_work_makes_the_rows_invalid(
    ran: Callable[..., Run], fields: dict[str, object]
) -> None:
    """Two sockets were asked to work, by the policy or by name, and one did 9.5 of 10 s."""
    run = ran(_placed(9.5, 0.5), split=BOTH, **fields)
    (row,) = report.summarize_run(run).rows

    assert 1 == row.invalid
    assert "one socket did all the work: 95% / 5% of the CPU time" in row.warnings[-1]
    assert _sentence(run).startswith(
        "ONE SOCKET DID ALL THE WORK: 95 % / 5 % of the CPU time, 1 / 1 threads; pages"
    )


def test_one_thread_is_not_one_threads(ran: Callable[..., Run]) -> None:
    """A launch that was pinned to one socket of one CPU."""
    assert "100 % of the CPU time, 1 thread; pages" in _sentence(ran(_placed(9.0), sockets=(0,)))


def test_one_socket_is_enough_where_nobody_asked_for_two(ran: Callable[..., Run]) -> None:
    """The engine chose one socket of two, as it does by default: said, and fine."""
    run = ran(_placed(9.5, 0.5))

    assert report.summarize_run(run).rows[0].invalid == 0
    assert _sentence(run).startswith("socket 0 worked: 95 % / 5 %")


def test_a_launch_held_to_one_socket_says_so(ran: Callable[..., Run]) -> None:
    """There is no second socket to be idle; the policy is then ineffective, which is another matter."""
    run = ran(_placed(9.0), split=ONE_SOCKET, properties=TENSOR_PARALLEL)

    assert report.summarize_run(run).rows[0].invalid == 0
    assert _sentence(run).startswith("socket 0 worked (these launches were pinned to it): 100 %")


def test_neighbours_can_hide_who_worked(ran: Callable[..., Run]) -> None:
    """Both sockets were busy for 10 s and the worker had 10 s in all: neither idle nor proved, so no row falls."""
    run = ran(_placed(10.0, 10.0, worker_s=10.0), split=BOTH, properties=TENSOR_PARALLEL)
    found = placement_proof.prove(run, 0)

    assert found is not None
    assert ((), False) == (found.idle, found.is_proved)
    assert report.summarize_run(run).rows[0].invalid == 0
    assert "other processes hide which sockets worked" in _sentence(run)


def test_too_short_to_tell(ran: Callable[..., Run]) -> None:
    """In 0.2 s the kernel counts 20 ticks; nothing is claimed and nothing is refused."""
    run = ran(_placed(0.2, 0.0, wall_s=0.2), split=BOTH, properties=TENSOR_PARALLEL)

    assert report.summarize_run(run).rows[0].invalid == 0
    assert "too short to decide which sockets worked" in _sentence(run)


def test_two_of_four_sockets_that_did_not_work_are_named(ran: Callable[..., Run]) -> None:
    """The policy asks all of them."""
    run = ran(_placed(9.0, 9.0, 0.5, 0.5), split=BOTH, properties=TENSOR_PARALLEL)

    assert "not every socket worked" in report.summarize_run(run).rows[0].warnings[-1]
    assert _sentence(run).startswith("SOCKET 2-3 DID NOT WORK")


@pytest.mark.parametrize(
    ("split", "properties", "effect"),
    [
        (BOTH, TENSOR_PARALLEL, Effect.EFFECTIVE),
        (ONE_SOCKET, TENSOR_PARALLEL, Effect.INEFFECTIVE),
        (None, TENSOR_PARALLEL, Effect.UNKNOWN),
        (None, {}, None),
    ],
)
def test_what_came_of_the_policy(
    ran: Callable[..., Run], split: Split | None, properties: dict[str, str], effect: Effect | None
) -> None:
    """The engine's split tells, not that the policy was taken; without a split nothing is known."""
    run = ran(None, split=split, properties=properties)
    marks = [w for w in report.summarize_run(run).rows[0].warnings if w.startswith("tensor_parallel")]

    assert effect is placement_proof.effect(run, 0)
    shown = effect if effect in (Effect.INEFFECTIVE, Effect.UNKNOWN) else None
    assert ([] if shown is None else [f"tensor_parallel={shown.value}"]) == marks


def test_an_ineffective_policy_is_an_alarm_and_a_mark(ran: Callable[..., Run]) -> None:
    """The sentence names sockets and threads and is the first warning; llm_bench's CSV has the mark in its model."""
    run = ran(None, split=ONE_SOCKET, properties=TENSOR_PARALLEL)
    summarized = report.summarize_run(run)
    (alarm,) = summarized.alarms

    assert alarm == summarized.warnings[0]
    assert "INEFFECTIVE: tensor parallelism split nothing; 2 sockets seen (0-1, CPUs 0-1)" in alarm
    assert "1 thread without the policy and 1 with it" in alarm
    assert llm_bench.model_name(evaluate(run), 0).endswith(" [tensor_parallel=ineffective]")


@pytest.mark.parametrize("changes", [{"busy_s": -0.1}, {"expected_cpus": 0}])
def test_a_placement_that_cannot_be_is_a_damaged_line(
    request_of: Callable[..., Measurement], changes: dict[str, float]
) -> None:
    """A run file is input: a negative time or no CPU to fill is refused, not divided by."""
    placed = _placed(9.0, 8.0)
    broken = dataclasses.replace(placed, sockets=(dataclasses.replace(placed.sockets[0], **changes),))  # type: ignore[arg-type]
    measured = dataclasses.replace(request_of([5.0, 6.0]), placement=broken)
    line = msgspec.json.encode({"event": "measurement"} | msgspec.to_builtins(measured))

    with pytest.raises(events.BadLineError):
        events.decode(line)


def test_nobody_looked(ran: Callable[..., Run]) -> None:
    """A script or an imported report has no placement, and no proof."""
    assert placement_proof.prove(ran(None), 0) is None


def test_the_mark_and_the_place_survive_a_csv(ran: Callable[..., Run], tmp_path: Path) -> None:
    """Written as a tidy CSV and read back, a run that split nothing is still marked, and its place is known."""
    run = ran(None, split=ONE_SOCKET, properties=TENSOR_PARALLEL, cores=(0, 2), membind=(0,))
    path = tmp_path / "run.csv"
    path.write_text(csv.tidy_csv(evaluate(run)))
    back = importers.read_report(path)

    assert Effect.INEFFECTIVE is placement_proof.effect(back, 0)
    assert ((0, 2), (0,)) == (back.cells[0].cores, back.cells[0].membind)
    assert report.summarize_run(back).alarms


def test_a_comparison_marks_the_side_that_split_nothing(ran: Callable[..., Run]) -> None:
    """In every row, on the screen as in the records for machines, and among what changed."""
    plain = ran(None)
    found = compare(
        report.summarize_run(plain),
        report.summarize_run(ran(None, split=ONE_SOCKET, properties=TENSOR_PARALLEL)),
    )

    mark = "candidate tensor_parallel=ineffective"
    assert {f"P0 [{mark}]"} == {line.where for line in verdict.verdict_lines(found)}
    rows = [record for record in tidy.comparison_records(found) if record["scope"] == "prompt"]
    assert {mark} == {record["settings"] for record in rows}
    assert ("effective: tensor_parallel", "", "ineffective") in [
        (each.name, each.base, each.candidate) for each in found.changes
    ]
