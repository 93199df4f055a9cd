"""A change of level in a sentence, and the command that finds its cause."""

import dataclasses
from collections.abc import Sequence

from llmbench.analysis import history
from llmbench.analysis.history import LevelChange
from llmbench.analysis.report import summarize_run
from llmbench.render.sentences.level_changes import level_command, level_sentence
from llmbench.schema.config import RunConfig
from tests import builders

CONFIG = builders.run_of().cells[0]


def _change(days: Sequence[tuple[float, str, RunConfig]]) -> LevelChange:
    """The one change among days: each has the time of its first token, the version, and the configuration."""
    runs = []
    for day, (ms, version, config) in enumerate(days, 1):
        launch = builders.launch_of([builders.request_of([ms, ms + 12, ms + 22, ms + 32])])
        versions = {"openvino": version, "openvino-genai": f"{version}.0"}
        runs.append(
            builders.run_of(
                [launch],
                id=f"day{day}",
                started_at=f"2026-01-{day:02d}T03:04:00+00:00",
                cells=(config,),
                environment=dataclasses.replace(builders.ENVIRONMENT, versions=versions),
            )
        )
    (line,) = history.history_lines(map(summarize_run, runs))
    (found,) = history.level_changes(line, "first_token")
    return found


def test_a_change_of_the_engine_is_to_be_bisected() -> None:
    """The sentence has both versions, the command the package of the engine."""
    found = _change([(100.0, "2026.1.0", CONFIG)] * 5 + [(110.0, "2026.2.0", CONFIG)] * 5)

    assert (
        "first token changed by +10 % [+10 %, +10 %] at day6 (2026-01-06 03:04 UTC): "
        "openvino 2026.1.0 to 2026.2.0, openvino-genai 2026.1.0.0 to 2026.2.0.0, 5 runs before, 5 runs since"
    ) == level_sentence(found)
    assert (
        "llmbench bisect openvino-genai==2026.1.0.0..2026.2.0.0 -m models/tiny -pf short -ic 4"
    ) == level_command(found)


def test_a_change_of_the_model_is_to_be_compared() -> None:
    """Both models are in the command."""
    other = dataclasses.replace(CONFIG, model="models/new")
    found = _change([(100.0, "2026.1.0", CONFIG)] * 5 + [(110.0, "2026.1.0", other)] * 5)

    assert "llmbench ab -m models/tiny -m models/new -pf short -ic 4 --blocks 10" == level_command(found)


def test_a_change_without_a_known_cause_is_to_be_measured_again() -> None:
    """Nothing that is recorded differs."""
    found = _change([(100.0, "2026.1.0", CONFIG)] * 5 + [(90.0, "2026.1.0", CONFIG)] * 5)

    assert "llmbench run -m models/tiny -pf short -ic 4 --launches 10" == level_command(found)
    assert not found.is_regression
