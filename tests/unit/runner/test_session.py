import dataclasses
import itertools
from pathlib import Path

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.runner import plan, session
from llmbench.runner.launchers.base import LaunchEvent
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.runner.session import LaunchBegun, Outputs, Policy, RunBegun, RunFileRead, SessionEvent
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome, Run
from llmbench.store import reader
from llmbench.store.events import LaunchEnded, LaunchStarted

_CONFIG = RunConfig(
    model="first=200ms,next=10ms",
    engine="scripted",
    prompts=(Prompt(set="s", index=0, text="one two three"),),
    iterations=2,
    output_tokens=4,
    launches=2,
)


def _measure(folder: Path, *configurations: RunConfig, **options: object) -> Run:
    return session.measure(
        configurations or (_CONFIG,),
        outputs=Outputs(folder=folder, name="x"),
        launcher=InlineLauncher(),
        **options,  # type: ignore[arg-type]
    )


def test_each_event_is_on_the_disk_before_it_is_shown(tmp_path: Path) -> None:
    """The file has a line more than the events shown before: its header; the run returned is the file's."""
    lines: list[int] = []
    seen: list[SessionEvent] = []

    def show(event: SessionEvent) -> None:
        seen.append(event)
        lines.append(len((tmp_path / "x.jsonl").read_bytes().splitlines()))

    run = _measure(tmp_path, on_event=show)

    first, *rest = seen
    assert isinstance(first, RunBegun)
    assert (tmp_path / "x.jsonl", (_CONFIG,), 2, 0) == (
        first.path,
        first.configurations,
        len(first.planned),
        first.made,
    )
    requests = 3 * [Measurement]
    assert 2 * [LaunchBegun, LaunchStarted, *requests, LaunchEnded] == [type(e) for e in rest]
    assert [1, 1, *range(2, 7), 6, *range(7, 12)] == lines
    assert reader.read_run(tmp_path / "x.jsonl") == run
    assert run.is_complete


def test_a_run_without_a_measurement_leaves_no_file(tmp_path: Path) -> None:
    """A configuration that the worker refuses: its error, and nothing on the disk."""
    refused = dataclasses.replace(_CONFIG, model="fist=1ms")
    with pytest.raises(InputError, match="'fist=1ms' is not understood"):
        _measure(tmp_path, refused)

    assert [] == list(tmp_path.iterdir())


def test_an_interrupted_run_keeps_what_it_has_and_is_resumed(tmp_path: Path) -> None:
    """Stopped after the first request of the second launch, which is then made again, whole; the first is not."""
    seen = itertools.count()

    def interrupt(event: SessionEvent) -> None:
        if isinstance(event, Measurement) and next(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _measure(tmp_path, on_event=interrupt)
    path = tmp_path / "x.jsonl"
    assert [3, 1] == [len(launch.measurements) for launch in reader.read_run(path).launches]

    events: list[SessionEvent] = []
    run = session.resume(path, folder=tmp_path, launcher=InlineLauncher(), on_event=events.append)
    read, begun, *_ = events
    assert RunFileRead(path=path, warnings=(), is_complete=False) == read
    assert isinstance(begun, RunBegun)
    assert (1, 1) == (len(begun.planned), begun.made)
    outcomes = [(launch.block, launch.outcome, len(launch.measurements)) for launch in run.launches]
    assert [(0, Outcome.FINISHED, 3), (1, Outcome.ABORTED, 1), (1, Outcome.FINISHED, 3)] == outcomes
    assert run.is_complete

    events.clear()
    assert run == session.resume(path, folder=tmp_path, launcher=InlineLauncher(), on_event=events.append)
    assert [RunFileRead(path=path, warnings=(), is_complete=True)] == events


class _Failing:
    """The inline launcher, every launch of which fails at its end."""

    check = InlineLauncher.check

    def launch(self, task: object) -> object:
        for event in InlineLauncher().launch(task):  # type: ignore[arg-type]
            if isinstance(event, LaunchEnded):
                yield dataclasses.replace(event, outcome=Outcome.FAILED)
            else:
                yield event


@pytest.mark.parametrize(("keep_going", "launches"), [(False, 1), (True, 2)])
def test_a_failed_launch_is_the_last_unless_the_policy_goes_on(
    tmp_path: Path, *, keep_going: bool, launches: int
) -> None:
    """The run is whole only where every launch that was planned was made."""
    run = session.measure(
        [_CONFIG],
        outputs=Outputs(folder=tmp_path),
        policy=Policy(keep_going=keep_going),
        launcher=_Failing(),  # type: ignore[arg-type]
    )

    assert launches == len(run.launches)
    assert keep_going is run.is_complete


def test_launches_are_made_as_planned(tmp_path: Path) -> None:
    """Numbers and order are the plan's."""
    configurations = (_CONFIG, dataclasses.replace(_CONFIG, seed=1))
    planned = plan.plan_launches(configurations, seed=3, first_index=7)
    run = _measure(tmp_path, *configurations, planned=planned)

    assert [(7 + n, each.cell) for n, each in enumerate(planned)] == [(x.index, x.cell) for x in run.launches]


def test_what_cannot_work_is_refused_before_an_older_file_is_replaced(tmp_path: Path) -> None:
    """More cores than there are: the run of that name stands as it was."""
    _measure(tmp_path)
    before = (tmp_path / "x.jsonl").read_bytes()
    with pytest.raises((InputError, MachineError)):
        session.measure(
            [dataclasses.replace(_CONFIG, cores=(4095,))],
            outputs=Outputs(folder=tmp_path, name="x", overwrite=True),
            launcher=InlineLauncher(),
        )

    assert before == (tmp_path / "x.jsonl").read_bytes()


def test_the_next_request_waits_for_the_event_to_be_shown(tmp_path: Path) -> None:
    """A request starts after everything of the one before it was done."""
    ends: list[int] = []
    starts: list[int] = []

    def show(event: LaunchEvent | SessionEvent) -> None:
        if isinstance(event, Measurement):
            starts.append(event.start_ns)
            ends.append(__import__("time").perf_counter_ns())

    _measure(tmp_path, on_event=show)

    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
