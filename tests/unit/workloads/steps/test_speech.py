"""Host steps of speech: phonemes, ids, and a WAV file that plays."""

# ruff: noqa: RUF001  phonemes
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from llmbench.errors import InputError
from llmbench.workloads.sound import file_stem
from llmbench.workloads.steps.base import find_step


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_words_become_phonemes_and_punctuation_stays(tmp_path: Path) -> None:
    """The first lexicon wins; a word with several forms has its usual one; diphthongs are written out."""
    files = {
        "first": written(tmp_path, "a.json", {"hello": "həlˈO", "read": {"DEFAULT": "ɹˈid", "VBD": "ɹˈɛd"}}),
        "more": written(tmp_path, "b.json", {"hello": "no", "tied": "tˈId"}),
    }
    step = find_step("english_phonemes")(files, {"alphabet": "espeak"})

    assert "həlˈoʊ, ɹˈid tˈaɪd." == step({"text": "Hello, read tied."})["phonemes"]
    with pytest.raises(InputError, match="no word 'Xyzzy'"):
        step({"text": "Hello Xyzzy"})


def test_phonemes_become_ids_with_a_pad_behind_each(tmp_path: Path) -> None:
    """Signs that the voice does not have are left out."""
    voice = written(
        tmp_path, "v.json", {"phoneme_id_map": {"_": [0], "^": [1], "$": [2], "h": [3], "ə": [4]}}
    )
    found = find_step("piper_ids")({"voice": voice}, {})({"phonemes": "həʘ"})

    assert [[1, 0, 3, 0, 4, 0, 2]] == found["ids"].tolist()
    assert [7] == found["lengths"].tolist()


def test_kokoro_takes_tokens_and_the_style_of_their_number(tmp_path: Path) -> None:
    """A zero at both ends; the style of two tokens is the second of the voice."""
    vocabulary = written(tmp_path, "v.json", {"vocab": {"h": 5, "ə": 7}})
    voices = tmp_path / "voices.npz"
    np.savez(voices, anna=np.arange(3 * 256, dtype=np.float32).reshape(3, 1, 256))
    files = {"vocabulary": vocabulary, "voices": voices}
    step = find_step("kokoro_ids")(files, {"voice": "anna"})
    found = step({"phonemes": "hʘə"})

    assert [[0, 5, 7, 0]] == found["tokens"].tolist()
    assert (1, 256) == found["style"].shape
    assert 256 == found["style"][0, 0]
    with pytest.raises(InputError, match="4 phonemes; Kokoro takes 1 to 3"):
        step({"phonemes": "həhə"})
    with pytest.raises(InputError, match="no voice 'bob'"):
        find_step("kokoro_ids")(files, {"voice": "bob"})


def test_letters_become_ids_below_the_vocabulary() -> None:
    """One each: h is 104, which is 4 of 100."""
    assert [[4, 5]] == find_step("letter_ids")({}, {"vocabulary": 100})({"text": "hi"})["ids"].tolist()


def test_a_vowel_is_as_long_as_requested() -> None:
    """Half a second, as loud as can be, and most at its first formant."""
    sound = find_step("vowel_sound")({}, {"seconds": 0.5, "sample_rate": 16_000})({})["audio"]

    assert (1, 8000) == sound.shape
    assert pytest.approx(1.0) == np.abs(sound).max()
    assert 600 < np.abs(np.fft.rfft(sound[0])).argmax() * 2 < 800


def test_a_wav_file_plays(tmp_path: Path) -> None:
    """A second of a tone at half of full scale: its rate, length and loudness."""
    tone = (0.5 * np.sin(np.arange(8000) * 0.3)).astype(np.float32).reshape(1, 1, -1)
    step = find_step("write_wav")({}, {"sample_rate": 8000, "folder": str(tmp_path / "new")})
    path = step({"audio": tone, "name": "Hello, you."})["path"]

    assert str(tmp_path / "new/hello-you.wav") == path
    with wave.open(path) as file:
        assert (1, 2, 8000, 8000) == (
            file.getnchannels(),
            file.getsampwidth(),
            file.getframerate(),
            file.getnframes(),
        )
        samples = np.frombuffer(file.readframes(8000), dtype="<i2") / 32767
    assert pytest.approx(0.5 / 2**0.5, rel=0.01) == np.sqrt(np.mean(samples**2))


def test_a_text_without_letters_has_a_file_name() -> None:
    """Whatever it is."""
    assert "request" == file_stem("…")


def test_texts_that_begin_alike_have_files_of_their_own() -> None:
    """A long one has a part of its hash; a short one is its words."""
    one, other = (f"The light turned, and the whole village {word}" for word in ("slept.", "rose."))

    assert "the-light-turned" == file_stem("The light turned.")
    assert len({file_stem(one), file_stem(other)}) == 2
    assert all(file_stem(each).startswith("the-light-turned-and-the") for each in (one, other))


def test_an_input_comes_from_a_file(tmp_path: Path) -> None:
    """An array, and no pickle."""
    np.save(tmp_path / "a.npy", np.array([1.5, 2.5]))
    assert [1.5, 2.5] == find_step("read_array")({"array": tmp_path / "a.npy"}, {})({})["array"].tolist()

    np.save(tmp_path / "b.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"is no \.npy file"):
        find_step("read_array")({"array": tmp_path / "b.npy"}, {})
