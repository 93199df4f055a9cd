"""A workload of one class and one row is measured, stored, read and reported like text."""

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import Verdict, compared_metrics
from llmbench.analysis.report import summarize_run
from llmbench.engines.base import Codec, EngineRequest, EngineSession
from llmbench.engines.scripted import ScriptedEngine
from llmbench.errors import InputError
from llmbench.render.csv import summary_csv
from llmbench.render.json import report_json
from llmbench.runner import session
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Artifact, Measurement, Stage, StageSource
from llmbench.schema.run import Run, WorkloadSettings
from llmbench.schema.tasks import WORKLOADS, WorkloadInfo
from llmbench.workloads.base import LaunchContext, Observation, find_workload, open_workload
from tests import builders

MS = 1_000_000
SETTINGS = WorkloadSettings(kind="speech", parameters={"vocoder_ms": 30}, primary_metrics=("e2e",))


class Speech:
    """A toy pipeline: a phrase is written (the scripted engine) and spoken (a given time); 10 ms are nobody's."""

    settings = SETTINGS

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse nothing."""

    def open(self, config: RunConfig, session: EngineSession, launch: LaunchContext) -> "_OpenSpeech":
        """Make ready."""
        assert config.engine == "scripted"
        return _OpenSpeech(session, launch, round(float(launch.parameters["vocoder_ms"]) * MS))


class _OpenSpeech:
    def __init__(self, engine: EngineSession, launch: LaunchContext, vocoder_ns: int) -> None:
        self.engine = engine
        self.launch = launch
        self.vocoder_ns = vocoder_ns

    def prepare(self, prompt: int, iteration: int) -> "_Phrase":
        ids = tuple(range(1 + prompt + iteration))
        return _Phrase(self, EngineRequest(input_ids=(ids,), output_tokens=4, launch=self.launch.index))


class _Phrase:
    def __init__(self, speech: _OpenSpeech, request: EngineRequest) -> None:
        self._speech = speech
        self._request = request

    def run(self) -> None:
        self._made = self._speech.engine.generate(self._request)

    def observe(self) -> Observation:
        made, spoken = self._made, self._speech.vocoder_ns
        samples = b"\0" * 48_000
        return Observation(
            start_ns=made.start_ns,
            end_ns=made.end_ns + spoken + 10 * MS,
            stages=(
                Stage(name="language_model", at_ns=made.start_ns, duration_ns=made.end_ns - made.start_ns),
                Stage(name="vocoder", duration_ns=spoken, count=2, source=StageSource.ENGINE),
            ),
            outputs=(
                Artifact(kind="audio", count=24_000, audio_s=1.0, sha256=hashlib.sha256(samples).hexdigest()),
            ),
            scores={"mos": 4.5},
            conditions=made.conditions,
        )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Two launches of two iterations, read back from their file."""
    monkeypatch.setitem(WORKLOADS, "speech", WorkloadInfo(factory=f"{__name__}:Speech"))
    config = RunConfig(
        model="first=40ms,next=20ms",
        engine="scripted",
        prompts=(Prompt(set="s", index=0, text="Good morning"),),
        iterations=2,
        output_tokens=4,
        launches=2,
    )
    outputs = session.Outputs(folder=tmp_path, name="speech")
    return session.measure((config,), workload=SETTINGS, outputs=outputs, launcher=InlineLauncher())


def test_a_workload_goes_through_the_worker_and_the_run_file(run: Run) -> None:
    """Stages, outputs and scores come back; a request without tokens has none."""
    assert SETTINGS == run.workload
    assert [3, 3] == [len(launch.measurements) for launch in run.launches]
    m = run.launches[1].measurements[2]
    assert [("language_model", 1), ("vocoder", 2)] == [(stage.name, stage.count) for stage in m.stages]
    assert [StageSource.CLOCK, StageSource.ENGINE] == [stage.source for stage in m.stages]
    assert m.start_ns == m.stages[0].at_ns
    assert (("audio", 24_000, 1.0),) == tuple((each.kind, each.count, each.audio_s) for each in m.outputs)
    assert {"mos": 4.5} == m.scores
    assert (0, 0, ()) == (m.input_tokens, m.output_tokens, m.events)


def test_stages_are_metrics_whose_shares_add_up(run: Run) -> None:
    """40 + 3 x 20 ms written, 30 ms spoken, 10 ms unexplained: 140 ms, of which 71.4, 21.4 and 7.1 %."""
    report = summarize_run(run)
    rows = {row["metric"]: row for row in csv.DictReader(summary_csv(report).splitlines())}
    shares = [float(row["median"]) for name, row in rows.items() if name.startswith("share.")]

    assert [100.0, 30.0, 10.0] == [
        float(rows[f"stage.{name}"]["median"]) for name in ("language_model", "vocoder", "unexplained")
    ]
    assert pytest.approx([100 / 1.4, 30 / 1.4, 10 / 1.4], rel=1e-3) == shares
    assert pytest.approx(100, rel=1e-4) == sum(shares)
    assert "first_token" not in rows
    shown = json.loads(report_json(report))
    assert shown["rows"][0]["metrics"]["stage.vocoder"]["median"] == 30.0
    assert "the whole - its stages" == shown["metrics"]["stage.unexplained"]["definition"]


def _slower(run: Run, factor: float) -> Run:
    """The run with requests that took longer, all of it in the vocoder."""

    def slow(m: Measurement) -> Measurement:
        added = round((m.end_ns - m.start_ns) * (factor - 1))
        model, vocoder = m.stages
        longer = dataclasses.replace(vocoder, duration_ns=vocoder.duration_ns + added)
        return dataclasses.replace(m, end_ns=m.end_ns + added, stages=(model, longer))

    launches = (
        dataclasses.replace(each, measurements=tuple(map(slow, each.measurements))) for each in run.launches
    )
    return dataclasses.replace(run, launches=tuple(launches))


def test_the_primary_metrics_of_the_workload_decide(run: Run) -> None:
    """The end to end time of 140 ms, a tenth longer; no mean of a first token, which there is none of."""
    noisy = dataclasses.replace(run, launches=(run.launches[0], *_slower(run, 1.001).launches[1:]))
    sides = (noisy, _slower(noisy, 1.1))
    found = compare(*(summarize_run(side, compared_metrics(side)) for side in sides))

    assert [("e2e", Verdict.REGRESSED)] == [(each.metric, each.verdict) for each in found.primary]
    assert pytest.approx(1.1) == found.primary[0].ratio.ratio


def test_a_stage_may_be_primary(run: Run) -> None:
    """It has a verdict of its own."""
    workload = dataclasses.replace(SETTINGS, primary_metrics=("stage.vocoder",))
    base = dataclasses.replace(run, workload=workload)
    found = compare(*(summarize_run(side, compared_metrics(side)) for side in (base, _slower(base, 1.1))))

    assert ["stage.vocoder"] == [each.metric for each in found.primary]
    assert pytest.approx(44 / 30) == found.primary[0].ratio.ratio


def test_runs_of_two_workloads_are_not_compared(run: Run) -> None:
    """A spoken phrase is no text."""
    other = dataclasses.replace(run, workload=WorkloadSettings())
    found = compare(*(summarize_run(side, compared_metrics(side)) for side in (run, other)))

    assert ["workload"] == [each.name for each in found.mismatches]
    assert Verdict.INCOMPARABLE is found.verdict


def test_text_has_no_stage_and_its_own_primary_metrics() -> None:
    """The row of today's workload."""
    assert WorkloadSettings() == find_workload("text").settings
    assert not [name for name in summarize_run(builders.story_of()).rows[0].summaries if "." in name]


def test_an_unknown_workload_is_refused() -> None:
    """With those there are."""
    with pytest.raises(InputError, match="workload 'dance' is unknown"):
        find_workload("dance")


def test_a_parameter_that_a_workload_does_not_have_is_refused() -> None:
    """Instead of measuring as if it had not been given."""
    launch = LaunchContext(index=0, beat=lambda _tokens, _at: None)
    config = RunConfig(model="", engine="scripted", prompts=(Prompt(set="s", index=0, tokens=4),))
    wrong = WorkloadSettings(parameters={"speed": 1})

    with pytest.raises(InputError, match="text has no parameter 'speed'"):
        open_workload(wrong, config, ScriptedEngine().open(config), launch)
