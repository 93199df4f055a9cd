"""Speech by one model: a request is a text that is spoken, or a sound that is written down."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from llmbench.engines.base import Beat, Generation, Listener, LoadedModel, Speaker, Spoken
from llmbench.errors import InputError
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage, StageSource
from llmbench.schema.pipeline import Product
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation, Workload
from llmbench.workloads.pipeline import describe
from llmbench.workloads.sound import HEARD_RATE, file_stem, read_sound, write_sound

COMPILED = "the first request of a length compiles the networks for it"
"""Why a request does not count that no warm-up came before."""


class SpeakingWorkload(Workload):
    """Text to speech: a request is one text, whose audio is written into the run's folder."""

    settings = WorkloadSettings(kind="text_to_speech", primary_metrics=("e2e",))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenSpeaking":
        """Make ready for the requests of one launch."""
        launch.folder.mkdir(parents=True, exist_ok=True)
        return OpenSpeaking(config, cast("Speaker", session), launch.folder)


class OpenSpeaking:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, speaker: Speaker, folder: Path) -> None:
        self._speaker = speaker
        self._folder = folder
        self._config = config

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Spoken]:
        """Return the request of a prompt; iterations speak the same text, whose audio has the same length."""
        text = self._config.prompts[prompt].text or ""
        is_first = iteration == 0 and self._config.warmups == 0
        return CalledRequest(
            partial(self._speaker.speak, text), partial(self._observe, text, is_first=is_first)
        )

    def _observe(self, text: str, made: Spoken, *, is_first: bool) -> Observation:
        """Write the audio, and return what was observed; what the engine's own clock left out is no stage."""
        product = Product(value="audio", kind="audio", sample_rate=made.sample_rate)
        artifact, faults = describe(product, made.samples, made.end_ns)
        write_sound(self._folder / f"{file_stem(text)}.wav", made.samples, made.sample_rate)
        synthesis = min(made.engine_ns, made.end_ns - made.start_ns)
        return Observation(
            start_ns=made.start_ns,
            end_ns=made.end_ns,
            stages=(Stage(name="synthesis", duration_ns=synthesis, source=StageSource.ENGINE),),
            outputs=(artifact,),
            suspicions=(*faults, *((COMPILED,) if is_first else ())),
        )


class ListeningWorkload(Workload):
    """Speech recognition: a request is one sound file."""

    settings = WorkloadSettings(kind="speech_to_text", primary_metrics=("e2e",))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenListening":
        """Read the sounds of one launch."""
        return OpenListening(config, cast("Listener", session), launch.beat)


class OpenListening:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, listener: Listener, beat: Beat) -> None:
        self._listener = listener
        self._beat = beat
        sounds = [prompt.audio for prompt in config.prompts]
        self._samples = [read_sound(Path(sound.path)).tolist() if sound else [] for sound in sounds]

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Generation]:
        """Return the request of a prompt; iterations hear the same sound."""
        del iteration
        if not self._samples[prompt]:
            raise InputError(f"prompt {prompt} is not a sound", hint="give WAV files with --media")
        samples = self._samples[prompt]
        return CalledRequest(
            partial(self._listener.hear, samples, self._beat), partial(_observe, len(samples) / HEARD_RATE)
        )


def _observe(seconds: float, made: Generation) -> Observation:
    """Return what was observed of a sound; text without a word is marked."""
    sequences = tuple(replace(each, audio_s=seconds) for each in made.sequences)
    is_empty = not any((each.text or "").strip() for each in sequences)
    return Observation.of(
        made,
        requested_tokens=sequences[0].output_tokens,  # as many as the sound has
        sequences=sequences,
        suspicions=("no word was recognized",) if is_empty else (),
    )
