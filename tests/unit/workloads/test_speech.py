"""Requests of speech: what is observed of a text that is spoken, and of a sound that is written down."""

import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.engines.base import Generation, Spoken
from llmbench.errors import InputError
from llmbench.schema import measurement
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import LaunchContext, Observation, find_workload
from llmbench.workloads.prompts import sounds
from llmbench.workloads.sound import write_sound
from llmbench.workloads.speech import COMPILED

MS = 1_000_000


class KnownVoice:
    """Takes 300 ms for 1.5 s of audio at 8 kHz, of which the engine reports 200 ms; and hears two words in 100 ms."""

    effective = EffectiveSettings()

    def __init__(self, level: float = 0.5, words: str = " two words") -> None:
        self.level = level
        self.words = words
        self.heard: list[float] = []

    def speak(self, text: str) -> Spoken:
        """Make a sound of one level."""
        assert text
        samples = np.full(12_000, self.level, dtype=np.float32)
        return Spoken(
            start_ns=Nanoseconds(0),
            end_ns=Nanoseconds(300 * MS),
            samples=samples,
            sample_rate=8000,
            engine_ns=200 * MS,
        )

    def hear(self, samples: Sequence[float], beat: Callable[[int, int], None]) -> Generation:
        """Hear nothing, and write what is known."""
        beat(0, 0)
        self.heard = list(samples)
        sequence = measurement.Sequence(
            input_tokens=0, at_ns=tuple(map(Nanoseconds, (60 * MS, 80 * MS))), text=self.words
        )
        return Generation(start_ns=Nanoseconds(0), end_ns=Nanoseconds(100 * MS), sequences=(sequence,))

    def close(self) -> None:
        """Let go of nothing."""


def observe(voice: KnownVoice, task: str, prompt: Prompt, folder: Path, *, warmups: int = 1) -> Observation:
    config = RunConfig(model="m", task=task, prompts=(prompt,), output_tokens=0, warmups=warmups)
    context = LaunchContext(index=0, beat=lambda _tokens, _at_ns: None, folder=folder)
    request = find_workload(task).open(config, voice, context).prepare(0, 0)  # type: ignore[union-attr]
    request.run()
    return request.observe()


def as_measured(seen: Observation) -> Measurement:
    return Measurement(
        launch=0,
        iteration=0,
        prompt=0,
        is_warmup=False,
        start_ns=Nanoseconds(seen.start_ns),
        end_ns=Nanoseconds(seen.end_ns),
        started_at="",
        ended_at="",
        requested_tokens=seen.requested_tokens,
        sequences=seen.sequences,
        stages=seen.stages,
        outputs=seen.outputs,
    )


def test_spoken_text_is_a_file_of_the_run_and_its_rtf(tmp_path: Path) -> None:
    """300 ms for 1.5 s are 0.2; the file has the samples, and what the engine did not time is in no stage."""
    seen = observe(KnownVoice(), "text_to_speech", Prompt(set="text", index=0, text="Hello you."), tmp_path)
    with wave.open(str(tmp_path / "hello-you.wav")) as file:
        found = file.getframerate(), file.getnframes(), file.readframes(1)

    assert (8000, 12_000, (32767 // 2).to_bytes(2, "little")) == found
    assert METRICS["rtf"].of(as_measured(seen)) == pytest.approx(0.2)
    assert [("synthesis", 200 * MS)] == [(stage.name, stage.duration_ns) for stage in seen.stages]
    assert not seen.suspicions


def test_a_first_request_without_a_warm_up_does_not_count(tmp_path: Path) -> None:
    """It compiles."""
    prompt = Prompt(set="text", index=0, text="Hello.")
    seen = observe(KnownVoice(), "text_to_speech", prompt, tmp_path, warmups=0)

    assert (COMPILED,) == seen.suspicions


def test_silence_does_not_count(tmp_path: Path) -> None:
    """Neither as speech nor as a sound to hear."""
    seen = observe(KnownVoice(0.0), "text_to_speech", Prompt(set="text", index=0, text="Hello."), tmp_path)
    assert ("the audio is silent",) == seen.suspicions

    write_sound(tmp_path / "silent.wav", np.zeros(8000), 8000)
    with pytest.raises(InputError, match="is silent"):
        sounds([tmp_path / "silent.wav"])


def test_sound_is_heard_at_16000_samples_and_its_duration_is_the_rtf(tmp_path: Path) -> None:
    """Half a second at 8 kHz, two channels of which one is silent; 100 ms for it are 0.2."""
    path = tmp_path / "tone.wav"
    tone = np.sin(np.arange(4000) * 2 * np.pi * 200 / 8000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.stack([tone * 32767, tone * 0], axis=1).astype("<i2").tobytes())
    (prompt,) = sounds([path])
    voice = KnownVoice()
    seen = observe(voice, "speech_to_text", prompt, tmp_path)
    m = as_measured(seen)

    assert (8000, "P0 0.5 s") == (len(voice.heard), prompt.label)
    assert max(voice.heard[1000:-1000]) == pytest.approx(0.5, abs=0.01)
    assert (0.5, pytest.approx(0.2)) == (METRICS["audio"].of(m), METRICS["rtf"].of(m))
    assert (0.06, 0.02) == (METRICS["first_token"].of(m), METRICS["tpot"].of(m))
    assert (2, ()) == (seen.requested_tokens, seen.suspicions)


def test_no_word_does_not_count(tmp_path: Path) -> None:
    """A transcript of spaces is none."""
    write_sound(tmp_path / "a.wav", np.full(8000, 0.1), 8000)
    seen = observe(KnownVoice(words="  "), "speech_to_text", *sounds([tmp_path / "a.wav"]), tmp_path)

    assert ("no word was recognized",) == seen.suspicions


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a WAV file"), (b"ID3 music", "not a WAV file"), (b"RIFF\0\0\0\0WAVE", "not a WAV file")],
)
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Before anything is loaded."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        sounds([path])
    with pytest.raises(InputError, match="cannot be read"):
        sounds([tmp_path / "none.wav"])


def test_shorter_sound_than_a_tenth_of_a_second_is_refused(tmp_path: Path) -> None:
    """50 ms are no word."""
    write_sound(tmp_path / "a.wav", np.full(400, 0.1), 8000)
    with pytest.raises(InputError, match=r"0\.05 s of sound"):
        sounds([tmp_path / "a.wav"])
