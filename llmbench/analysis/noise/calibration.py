"""How much latencies vary on a machine when nothing changes: what calibrating measured, and what follows from it.

One calibration is a session of launches of the same configuration. Sessions are kept by machine, model and
configuration, so that what changes from session to session is seen once there are several.
"""

import collections
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from llmbench.analysis import stats
from llmbench.analysis.comparison.rule import COMPARED, compared_metrics
from llmbench.analysis.evaluation import Evaluation
from llmbench.analysis.history import Setup
from llmbench.analysis.report import Report, summarize_run
from llmbench.errors import LaunchError, OutputError
from llmbench.files import atomic
from llmbench.files.cache import cache_folder
from llmbench.files.redaction import redact
from llmbench.schema.config import Prompt
from llmbench.schema.run import Run

CALIBRATION_SCHEMA = 1
_MOST_SESSIONS = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSeries:
    """One metric of one prompt over the launches of a session, in the order of the session's launches.

    *prompt* is a prompt's hash, numbered where the same prompt was measured again. *logs* are the logarithms of launch
    medians in seconds; *iteration_sd* is how much the logarithms of single iterations vary inside a launch, ``None``
    where there was one iteration.
    """

    prompt: str
    label: str
    metric: str
    logs: tuple[float, ...]
    iteration_sd: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSession:
    """One calibration: its run, when and with which software it was made, and the block of each launch."""

    run: str
    started_at: str
    software: Mapping[str, str]
    blocks: tuple[int, ...]
    series: tuple[NoiseSeries, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The sessions of one machine, model and configuration, oldest first."""

    named: Mapping[str, str]
    prompts: tuple[str, ...]
    sessions: tuple[CalibrationSession, ...]
    schema: int = CALIBRATION_SCHEMA


def session_of(run: Run) -> CalibrationSession:
    """What the launches of a run say whose configurations are all the same; a launch without some value is left out.

    Raises LaunchError where fewer than two launches have every value.
    """
    report = summarize_run(run, compared_metrics(run))
    medians = _medians(report)
    whole = set.intersection(*(set(found) for found in medians.values())) if medians else set()
    launches = [launch for launch in run.launches if launch.index in whole]
    if len(launches) < 2:
        raise LaunchError(
            f"launches of {run.id} with valid measurements of everything: {len(launches)}; noise takes two",
            hint="see what disturbs this machine with: llmbench doctor",
        )
    spreads = _iteration_spreads(report.evaluation)
    keys = _keys(run.cells[0].prompts)
    return CalibrationSession(
        run=run.id,
        started_at=run.started_at,
        software=dict(run.software_of(0)),
        blocks=tuple(launch.index if launch.block is None else launch.block for launch in launches),
        series=tuple(
            NoiseSeries(
                prompt=keys[prompt],
                label=prompt.label,
                metric=metric,
                logs=tuple(math.log(found[launch.index]) for launch in launches),
                iteration_sd=spreads.get((prompt, metric)),
            )
            for (prompt, metric), found in medians.items()
        ),
    )


def _medians(report: Report) -> dict[tuple[Prompt, str], dict[int, float]]:
    """Launch medians by prompt and metric, those of all configurations together; values of 0 are left out."""
    found: dict[tuple[Prompt, str], dict[int, float]] = {}
    for row in report.rows:
        for metric, medians in row.medians.items():
            above = {launch: value for launch, value in medians.items() if value > 0}
            found.setdefault((row.prompt, metric), {}).update(above)
    return {key: medians for key, medians in found.items() if medians}


def _keys(prompts: Sequence[Prompt]) -> dict[Prompt, str]:
    """A key of each prompt: its hash, and where the same prompt stands again its number."""
    seen: collections.Counter[str] = collections.Counter()
    found = {}
    for prompt in prompts:
        seen[prompt.sha256] += 1
        number = seen[prompt.sha256]
        found[prompt] = prompt.sha256 if number == 1 else f"{prompt.sha256}#{number}"
    return found


def _iteration_spreads(evaluation: Evaluation) -> dict[tuple[Prompt, str], float]:
    """How the logarithms of iterations vary inside a launch, by prompt and metric; pooled over launches."""
    logs: dict[tuple[Prompt, str], dict[int, list[float]]] = {}
    for judged in evaluation.requests:
        if judged.is_counted:
            for metric in COMPARED:
                value = judged.value(metric)
                if value:
                    by_launch = logs.setdefault((judged.prompt, metric), {})
                    by_launch.setdefault(judged.launch.index, []).append(math.log(value))
    spreads = {key: stats.pooled_deviation(list(by_launch.values())) for key, by_launch in logs.items()}
    return {key: spread for key, spread in spreads.items() if spread is not None}


def calibration_file(setup: Setup) -> Path:
    """Where the calibration of a machine, model and configuration is kept."""
    text = json.dumps([sorted(setup.named.items()), setup.prompts])
    return cache_folder() / "calibrations" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def load_calibration(setup: Setup) -> Calibration | None:
    """What is kept of a machine, model and configuration; ``None`` if there is nothing, or nothing of this schema."""
    try:
        found = msgspec.json.decode(calibration_file(setup).read_bytes(), type=Calibration)
    except (OSError, ValueError):
        return None
    return found if found.schema == CALIBRATION_SCHEMA and found.sessions else None


def add_session(setup: Setup, session: CalibrationSession) -> Calibration:
    """Keep one more session; the calibration with it. Raises OutputError where it cannot be written."""
    known = load_calibration(setup)
    sessions = (*(known.sessions if known else ()), session)[-_MOST_SESSIONS:]
    named = {name: redact(value) for name, value in setup.named.items()}
    calibration = Calibration(named=named, prompts=setup.prompts, sessions=sessions)
    path = calibration_file(setup)
    try:
        atomic.cache_file(path, msgspec.json.encode(calibration))
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", hint="make room, or set XDG_CACHE_HOME"
        ) from error
    return calibration
