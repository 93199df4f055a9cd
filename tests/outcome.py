"""What became of a measurement, for tests that are about tokens and not about time."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

from llmbench.analysis import validity
from llmbench.schema.run import Launch, Outcome, Run
from llmbench.store import reader
from tests.command import Done


def assert_measured(done: Done) -> None:
    """Exit 0; or 5 because no time of a row is valid, which other work on this machine may do to any."""
    is_disturbed = done.returncode == 5 and "without a valid request" in done.stderr
    assert done.returncode == 0 or is_disturbed, done.stderr + done.stdout


def measured_again(command: Callable[[], Done]) -> Done:
    """Call a command, which must replace its outputs, up to three times until the times of its requests are valid."""
    for _ in range(3):
        done = command()
        if done.returncode != 5:
            break
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def measured_run(done: Done, path: Path) -> Run:
    """Return the run that a command measured, whose outputs are all valid; exit code 0, or 5 for its times alone.

    A machine that is busy, or whose disk must first read the model, makes times invalid. Tokens are the same.
    """
    assert done.returncode in {0, 5}, done.stderr + done.stdout
    run = reader.read_run(path)
    assert {Outcome.FINISHED} == {launch.outcome for launch in run.launches}, done.stderr + done.stdout
    assert [] == list(itertools.chain.from_iterable(_output_reasons(run, launch) for launch in run.launches))
    return run


def _output_reasons(run: Run, launch: Launch) -> list[str]:
    """Why its measurements would be invalid if nothing else had run on the machine."""
    undisturbed = [dataclasses.replace(m, conditions=None) for m in launch.measurements if not m.is_warmup]
    verdicts = validity.judge_launch(undisturbed, run.config_of(launch))
    return list(itertools.chain.from_iterable(verdicts))
