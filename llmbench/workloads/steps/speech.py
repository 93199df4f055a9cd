"""Host steps of speech: from English words to phonemes and ids of a voice, and from samples to a WAV file."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.errors import InputError
from llmbench.schema.pipeline import RecipeScalar
from llmbench.workloads.sound import file_stem, write_sound
from llmbench.workloads.steps.base import Step, Values

_WORD = re.compile(r"[A-Za-z']+|[.,;:!?]")
# ruff: noqa: RUF001  phonemes
_ESPEAK = {"A": "eɪ", "I": "aɪ", "O": "oʊ", "W": "aʊ", "Y": "ɔɪ", "ʤ": "dʒ", "ʧ": "tʃ", "ᵊ": "ə", "T": "ɾ"}
"""Signs of the lexicon of misaki, and how eSpeak writes these sounds."""

_PITCH_HZ, _FORMANTS_HZ = 120, (700, 1200, 2600)


def english_phonemes(files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``text`` to ``phonemes``, by the lexicon of misaki: JSON in every file, the first one first.

    *parameters*: ``alphabet`` is ``espeak`` where diphthongs are to be written out, else as in the lexicon.
    """
    lexicon: dict[str, Any] = {}
    for file in reversed(tuple(files.values())):
        lexicon |= json.loads(file.read_text(encoding="utf-8"))
    signs = str.maketrans(_ESPEAK if parameters.get("alphabet") == "espeak" else {})
    return lambda values: {"phonemes": "".join(_spoken(str(values["text"]), lexicon)).translate(signs)}


def _spoken(text: str, lexicon: Mapping[str, Any]) -> Iterator[str]:
    for index, word in enumerate(_WORD.findall(text)):
        if word in ".,;:!?":
            yield word
            continue
        found = lexicon.get(word, lexicon.get(word.lower()))
        if found is None:
            raise InputError(
                f"the lexicon has no word {word!r}", hint="write it in words that it has, or as it is spoken"
            )
        spoken = found["DEFAULT"] if isinstance(found, dict) else found
        yield f"{' ' * bool(index)}{spoken}"


def piper_ids(files: Mapping[str, Path], _parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``phonemes`` to ``ids`` [1, n] and ``lengths`` [1], by a Piper voice's map (``files.voice``)."""
    ids = json.loads(files["voice"].read_text(encoding="utf-8"))["phoneme_id_map"]
    pad = ids["_"]

    def step(values: Values) -> dict[str, Any]:
        """Return ``ids``, int64 of shape [1, length], and ``lengths``, of shape [1]."""
        found = [*ids["^"], *pad]
        for sign in values["phonemes"]:
            found += [*ids.get(sign, ()), *(pad if sign in ids else ())]
        found += ids["$"]
        return {"ids": np.array([found], dtype=np.int64), "lengths": np.array([len(found)], dtype=np.int64)}

    return step


def kokoro_ids(files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``phonemes`` to ``tokens`` [1, n] of Kokoro and a voice's ``style`` [1, 256] at that length.

    ``files.vocabulary`` is JSON, ``files.voices`` an archive of NumPy with a style for each number of tokens.
    *parameters*: ``voice``, its name there.
    """
    vocabulary = json.loads(files["vocabulary"].read_text(encoding="utf-8"))["vocab"]
    with np.load(files["voices"], allow_pickle=False) as voices:
        name = str(parameters["voice"])
        if name not in voices:
            raise InputError(f"there is no voice {name!r}", hint=f"choose one of {', '.join(voices)}")
        styles = voices[name]

    def step(values: Values) -> dict[str, Any]:
        """Return ``tokens``, int64 [1, phonemes + 2], and ``style``; raise InputError on a text that is too long."""
        tokens = [vocabulary[sign] for sign in values["phonemes"] if sign in vocabulary]
        if not 0 < len(tokens) <= len(styles):
            raise InputError(
                f"{len(tokens)} phonemes; Kokoro takes 1 to {len(styles)}", hint="use a shorter text"
            )
        return {"tokens": np.array([[0, *tokens, 0]], dtype=np.int64), "style": styles[len(tokens) - 1]}

    return step


def write_wav(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that writes ``audio`` in [-1, 1] as 16 bits of one channel, and gives its ``path``.

    *parameters*: ``sample_rate``, and the ``folder``, which is made; it is the run's where the recipe has none. The
    file is called by the text in ``name``, and replaced by each request.
    """
    folder, rate = Path(str(parameters["folder"])), int(parameters["sample_rate"])
    folder.mkdir(parents=True, exist_ok=True)

    def step(values: Values) -> dict[str, Any]:
        """Write the samples, floats in [-1, 1], and return the ``path``."""
        path = folder / f"{file_stem(str(values['name']))}.wav"
        write_sound(path, values["audio"], rate)
        return {"path": str(path)}

    return step


def letter_ids(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``text`` to ``ids``, int64 of shape [1, letters], below ``vocabulary`` (*parameters*).

    They are those of no model: for networks with random weights, whose time does not depend on them.
    """
    size = int(parameters["vocabulary"])
    return lambda values: {
        "ids": np.array([[ord(letter) % size for letter in values["text"]]], dtype=np.int64)
    }


def vowel_sound(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that gives the ``audio`` [1, samples] of a sung vowel, which is made when the step is made.

    *parameters*: ``seconds`` and ``sample_rate``.
    """
    rate = int(parameters["sample_rate"])
    sound = vowel(round(float(parameters["seconds"]) * rate), rate).astype(np.float32)[None]
    return lambda _values: {"audio": sound}


def vowel(samples: int, rate: int) -> "np.ndarray[Any, Any]":
    """Return a sung vowel in [-1, 1]: 120 pulses a second with a vibrato, through three formants."""
    time = np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(_PITCH_HZ * (1 + 0.02 * np.sin(2 * np.pi * 5 * time))) / rate
    sound = np.zeros(samples)
    for harmonic in range(1, 40):
        distances = (_PITCH_HZ * harmonic - np.array(_FORMANTS_HZ)) / 150
        sound += (0.05 + np.exp(-(distances**2)).sum()) * np.sin(harmonic * phase)
    loudest: float = np.abs(sound).max()
    return sound / loudest
