"""OpenVINO GenAI's ``Text2SpeechPipeline`` and ``WhisperPipeline``.

The clock is ours around each call. What the engine reports of it becomes stages: of speech the synthesis, which leaves
out the phonemes of Kokoro; of recognition what comes before the first token (seen with OpenVINO GenAI 2026.4.1).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llmbench.engines.base import Beat, Generation, Spoken
from llmbench.engines.failures import engine_failures, timed
from llmbench.engines.openvino.device import check_device, compile_properties, import_openvino
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.genai import import_genai, load_pipeline
from llmbench.errors import InputError
from llmbench.models.integrity import is_kokoro
from llmbench.models.parts import need_lexicon
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Finish, Stage, StageSource
from llmbench.schema.units import ns_from_ms, ns_from_us

_ENGLISH = "en-us"
_Session = TypeVar("_Session")


class SpeakingSession:
    """A loaded ``Text2SpeechPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        self._options: dict[str, Any] = {}
        if is_kokoro(Path(config.model)):
            need_lexicon()
            self._options["language"] = str(config.parameters.get("speech_language", _ENGLISH))
        speaker = find_speaker(config)
        voice = () if speaker is None else (f"speaker: {speaker.name}",)
        self._pipeline, self.effective = load_pipeline(genai.Text2SpeechPipeline, config, notes=voice)
        if speaker is not None:
            with engine_failures("loading"):
                self._options["speaker_embedding"] = self._speaker(speaker)

    def _speaker(self, file: Path) -> Any:
        """The values of a speaker in the shape that the model takes."""
        is_raw = file.suffix == ".bin"
        values = np.fromfile(file, np.float32) if is_raw else np.load(file, allow_pickle=False)
        shape = tuple(self._pipeline.get_speaker_embedding_shape())
        if values.size != np.prod(shape):
            raise InputError(f"{file} has {values.size} values; the model takes {list(shape)}")
        return import_openvino().Tensor(np.ascontiguousarray(values.reshape(shape), dtype=np.float32))

    def speak(self, text: str) -> Spoken:
        """Speak a text in one call."""
        start_ns, result, end_ns = timed("speaking", self._pipeline.generate, text, **self._options)
        samples = np.array(result.speeches[0].data, dtype=np.float32).reshape(-1)
        return Spoken(
            start_ns=start_ns,
            end_ns=end_ns,
            samples=samples,
            sample_rate=int(result.output_sample_rate),
            engine_ns=ns_from_us(sum(result.perf_metrics.raw_metrics.generate_durations)),
        )


def find_speaker(config: RunConfig) -> Path | None:
    """Return the file of the speaker, ``None`` for the model's own; raise InputError where it is not there.

    Kokoro has none of its own: without a name it is the first of the folder ``voices``.
    """
    given, voice = (config.parameters.get(name) for name in ("speaker_embeddings", "speech_voice"))
    if given and voice:
        raise InputError("--speech-voice and --speaker-embeddings both name the speaker", hint="keep one")
    if given:
        file = Path(str(given)).expanduser()
        if not file.is_file() or file.suffix not in {".bin", ".npy"}:
            raise InputError(f"--speaker-embeddings {given} is not a .bin or .npy file that exists")
        return file
    voices = sorted((Path(config.model) / "voices").glob("*.bin"))
    found = [file for file in voices if file.stem == voice] if voice else voices[:1]
    if not found and (voice or is_kokoro(Path(config.model))):
        names = ", ".join(file.stem for file in voices) or "none"
        raise InputError(
            f"{config.model} has no voice{f' {voice!r}' if voice else ''}: its folder voices has {names}",
            hint="give one of them with --speech-voice, or a file with --speaker-embeddings",
        )
    return found[0] if found else None


class ListeningSession:
    """A loaded ``WhisperPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        self._pipeline, self.effective = load_pipeline(genai.WhisperPipeline, config)
        self._options = self._pipeline.get_generation_config()
        self._options.return_timestamps = bool(config.parameters.get("timestamps"))
        language = config.parameters.get("speech_language")
        if self._options.is_multilingual:
            self._options.task = "transcribe"
            self._options.language = f"<|{str(language or 'en').strip('<|>')}|>"
        elif language not in (None, "en"):
            raise InputError(f"{config.model} understands English only", hint="leave out --speech-language")

    def hear(self, samples: Sequence[float], beat: Beat) -> Generation:
        """Write down a sound in one call, features and detokenization inside."""
        beat(0, time.perf_counter_ns())
        start_ns, result, end_ns = timed(
            "recognizing speech", self._pipeline.generate, samples, self._options
        )
        raw = result.perf_metrics.raw_metrics
        sequence = measurement.Sequence(
            input_tokens=0,
            at_ns=tuple(ns_from_ms(at) for at in raw.m_new_token_times),
            text=result.texts[0],
            finish=Finish.STOP,
        )
        return Generation(
            start_ns=start_ns,
            end_ns=end_ns,
            sequences=(sequence,),
            infer_ns=tuple(map(ns_from_us, raw.token_infer_durations)),
            stages=_stages(result.perf_metrics.whisper_raw_metrics),
        )


def _stages(raw: Any) -> tuple[Stage, ...]:
    """What comes before the first token; of a sound beyond 30 seconds, which is read in parts, the first part's."""
    found = {
        "features": raw.features_extraction_durations,
        "encoder": raw.encode_inference_durations,
        "first_decoding": raw.decode_inference_durations,
    }
    return tuple(
        Stage(name=name, duration_ns=ns_from_us(durations[0]), source=StageSource.ENGINE)
        for name, durations in found.items()
        if len(durations)
    )


class _SpeechEngine(OpenvinoEngine[_Session]):
    """What both engines check."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline or the device cannot do, before anything is loaded."""
        if config.generation:
            raise InputError(
                f"{', '.join(config.generation)}: -t {config.task} has no such option",
                hint="leave such options out",
            )
        if config.batch_size != 1:
            raise InputError(f"-bs {config.batch_size}: -t {config.task} measures one at a time")
        check_device(config.device, compile_properties(config))

    def open_tokenizer(self, config: RunConfig) -> None:
        """Return nothing: no prompt could be refused by its tokens."""


class SpeakingEngine(_SpeechEngine[SpeakingSession]):
    """Loads text-to-speech models: SpeechT5, Kokoro."""

    session = SpeakingSession

    def check(self, config: RunConfig) -> None:
        """Refuse a speaker or a lexicon that is not there, too."""
        super().check(config)
        find_speaker(config)
        if is_kokoro(Path(config.model)):
            need_lexicon()


class ListeningEngine(_SpeechEngine[ListeningSession]):
    """Loads speech recognition models: Whisper."""

    session = ListeningSession
