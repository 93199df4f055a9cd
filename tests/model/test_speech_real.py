"""Real models of speech through OpenVINO GenAI: a voice speaks, and what it said is heard."""

import csv
import wave
from pathlib import Path

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.schema.measurement import Measurement
from llmbench.store import reader
from tests import conversions
from tests.command import RunCommand

pytestmark = [pytest.mark.model, pytest.mark.convert, pytest.mark.nightly]
QUIET = ("--foreign-cpu-limit", "1", "-n", "2", "--name", "speech", "-r", "speech.csv")
SENTENCE = "The light turned, and the whole village stood on the pier."


def last_request(folder: Path) -> Measurement:
    return reader.read_run(folder / "reports/speech.jsonl").launches[0].measurements[-1]


def columns(folder: Path) -> dict[str, str]:
    """Row of the first measured iteration in llm_bench's layout."""
    with (folder / "speech.csv").open(newline="") as file:
        return next(row for row in csv.DictReader(file) if row["iteration"] == "1")


def test_what_a_voice_says_is_heard(llmbench_workers: RunCommand, tmp_path: Path) -> None:
    """Whisper writes down the sentence that the recipe's voice speaks; its stages are the wait for the first token."""
    spoken = llmbench_workers(
        "run", "-c", "tts-two-stage", "-p", SENTENCE, "-n", "1", "--foreign-cpu-limit", "1"
    )
    assert spoken.returncode == 0, spoken.stderr
    (sound,) = (tmp_path / "reports").glob("*.wav")
    model = str(conversions.whisper_ir())
    done = llmbench_workers("run", "-t", "speech_to_text", "-m", model, "--media", str(sound), *QUIET)
    assert done.returncode == 0, done.stderr
    m, row = last_request(tmp_path), columns(tmp_path)
    with wave.open(str(sound)) as file:
        duration_s = file.getnframes() / file.getframerate()

    assert SENTENCE.lower() == (m.sequences[0].text or "").strip().lower()
    assert (m.end_ns - m.start_ns) / 1e9 / duration_s == pytest.approx(METRICS["rtf"].of(m), rel=1e-3)
    assert ["features", "encoder", "first_decoding"] == [stage.name for stage in m.stages]
    covered = sum(stage.duration_ns for stage in m.stages) / (m.sequences[0].at_ns[0] - m.start_ns)
    assert 0.9 < covered <= 1.001
    assert (str(m.output_tokens), str(m.output_tokens)) == (row["output_size"], row["infer_count"])
    assert float(row["1st_latency(ms)"]) > float(row["2nd_avg_latency(ms)"]) > 0


def test_kokoro_speaks_and_its_wav_has_the_rtf(llmbench_workers: RunCommand, tmp_path: Path) -> None:
    """The engine's clock is a stage within ours; llm_bench's output size is the number of samples."""
    options = ("-t", "text_to_speech", "-m", str(conversions.kokoro_ir()), "-p", "Hello.", *QUIET)
    done = llmbench_workers("run", *options, "--speech-voice", "jf_alpha")
    assert done.returncode == 0, done.stderr
    m = last_request(tmp_path)
    with wave.open(str(tmp_path / "reports/hello.wav")) as file:
        rate, count = file.getframerate(), file.getnframes()
        samples = np.frombuffer(file.readframes(count), "<i2") / 32767

    assert (24_000, str(count)) == (rate, columns(tmp_path)["output_size"])
    assert (m.end_ns - m.start_ns) / 1e9 / (count / rate) == pytest.approx(METRICS["rtf"].of(m))
    assert 0.02 < np.sqrt(np.mean(samples**2)) < 0.5
    assert 0 < m.stages[0].duration_ns <= m.end_ns - m.start_ns
    refused = llmbench_workers("run", *options, "--speech-voice", "nobody")
    assert refused.returncode == 2
    assert "no voice 'nobody': its folder voices has jf_alpha" in refused.stderr
