"""Sound files: WAV read as what a model of speech hears, and written from what one says."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import InputError, OutputError
from llmbench.schema.config import AudioInput

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, Any]

HEARD_RATE = 16_000
"""Samples per second that speech recognition takes."""

_FULL_SCALE = 32767
_SHORTEST_S = 0.1
_LONGEST_S = 3600.0
_LONGEST_NAME = 32


def describe_sound(path: Path) -> AudioInput:
    """Return a WAV file as a prompt has it; raise InputError where it is none, damaged, silent or of no length."""
    samples = read_sound(path)
    seconds = len(samples) / HEARD_RATE
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise InputError(f"{path} has {seconds:.3g} s of sound; {_SHORTEST_S} to {_LONGEST_S:g} are measured")
    if not samples.any():
        raise InputError(f"{path} is silent", hint="give a file in which somebody speaks")
    return AudioInput(
        path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), seconds=round(seconds, 6)
    )


def read_sound(path: Path) -> "Samples":
    """Return a WAV file as samples in [-1, 1] at 16,000 per second, its channels averaged.

    Raises:
        InputError: no file, or no WAV of integers or floats.
    """
    import numpy as np
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        rate, found = wavfile.read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, EOFError, NameError) as error:  # scipy has no name for a file without sound
        raise InputError(
            f"{path} is not a WAV file that can be read",
            hint=f"ffmpeg -i {path} -ar 16000 -ac 1 sound.wav",
        ) from error
    samples: Samples = found.astype(np.float32)
    if found.dtype == np.uint8:
        samples = (samples - 128) / 128
    elif found.dtype.kind == "i":
        samples /= np.float32(-float(np.iinfo(found.dtype).min))
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    made: Samples = resample_poly(samples, HEARD_RATE, rate).astype(np.float32)
    return made


def write_sound(path: Path, samples: "Samples", rate: int) -> None:
    """Write samples in [-1, 1] as 16 bits of one channel; raise OutputError where the file cannot be written."""
    import numpy as np
    from scipy.io import wavfile

    values = np.clip(np.asarray(samples).reshape(-1), -1, 1) * _FULL_SCALE
    try:
        wavfile.write(path, rate, values.astype("<i2"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def file_stem(text: str) -> str:
    """Return a file's name for a text: its first words in letters that every system takes; of a long one a hash too."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(words) <= _LONGEST_NAME:
        return words or "request"
    return f"{words[:25].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
