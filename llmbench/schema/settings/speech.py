"""Settings of one model that speaks or hears."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

_speech = functools.partial(Setting, group=Group.SPEECH)

SPEECH_SETTINGS = (
    _speech(
        "--speech-voice",
        "Kokoro: a voice in the model's folder voices.  [default: the first one]",
        kind=ValueKind.TEXT,
        metavar="NAME",
        tasks=("text_to_speech",),
    ),
    _speech(
        "--speaker-embeddings",
        "The speaker: float32 values, or a NumPy array.  [SpeechT5's default: its own]",
        kind=ValueKind.TEXT,
        metavar="FILE.bin|FILE.npy",
        tasks=("text_to_speech",),
    ),
    _speech(
        "--speech-language",
        "Kokoro: en-us, en-gb, es, ...; Whisper of many languages: en, de, ...",
        kind=ValueKind.TEXT,
        metavar="LANGUAGE",
        tasks=("text_to_speech", "speech_to_text"),
    ),
    _speech(
        "--timestamps",
        "Whisper: predict the times of segments too, as llm_bench does by default.",
        kind=ValueKind.FLAG,
        tasks=("speech_to_text",),
    ),
)
