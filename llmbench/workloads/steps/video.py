"""Host steps of a talking face: frames of a picture, faces found, cropped and pasted back, sound as mel, and a film.

Frames are uint8 of shape [n, height, width, 3]; boxes are float32 [n, 4] in pixels: left, top, right, bottom.
"""

import math
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llmbench.errors import InputError
from llmbench.schema.pipeline import RecipeScalar
from llmbench.workloads.sound import file_stem
from llmbench.workloads.steps.base import Step, Values
from llmbench.workloads.steps.speech import vowel

_Array = np.ndarray[Any, Any]

FRAMES_PER_S = 25
_SIDE = 128
"""The side of what BlazeFace sees, in pixels."""

_FACE = 96
"""The side of a face as Wav2Lip takes it, in pixels."""

_SAMPLE_RATE, _WINDOW, _HOP, _BANDS, _COLUMNS = 16_000, 800, 200, 80, 16
"""Sound as Wav2Lip takes it: 80 bands, a column every 12.5 ms, and 16 columns for a frame."""


def moving_picture(files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that gives ``frames``, uint8, of a picture (``files.picture``) that moves by 2 pixels a frame.

    *parameters*: ``frames``, how many.
    """
    with Image.open(files["picture"]) as image:
        picture = np.asarray(image.convert("RGB"))
    shifts = range(0, 2 * int(parameters["frames"]), 2)
    return lambda _values: {"frames": np.stack([np.roll(picture, shift, axis=1) for shift in shifts])}


def searched_frames(_files: Mapping[str, Path], _parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``frames`` to ``images`` [n, 128, 128, 3] in [-1, 1], in which faces are to be found.

    All frames are searched, or the first alone where ``mode`` is ``face in the first frame`` (Wav2Lip's --static).
    """

    def step(values: Values) -> dict[str, Any]:
        """Return ``images``, the frames to search, in [-1, 1]: float32 of shape [n, side, side, 3]."""
        frames = values["frames"]
        if values["mode"] == "face in the first frame":
            frames = frames[:1]
        small = [np.asarray(Image.fromarray(each).resize((_SIDE, _SIDE))) for each in frames]
        return {"images": np.stack(small).astype(np.float32) / 127.5 - 1}

    return step


def blazeface_boxes(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``scores`` [n, 896, 1] and ``regressors`` [n, 896, 16] of BlazeFace to ``boxes``, one each.

    A box is for one of ``frames``; the last one found is for all that follow. *parameters*: ``least`` is the
    probability below which nothing is taken for a face. The anchors are those of MediaPipe's short-range model.
    """
    anchors, least = _anchors(), float(parameters.get("least", 0.5))

    def step(values: Values) -> dict[str, Any]:
        """Return ``boxes`` in pixels, shape [frames, 4]; raise InputError where no face is found."""
        scores, regressors = values["scores"][..., 0], values["regressors"]
        count, height, width = values["frames"].shape[:3]
        best = scores.argmax(axis=1)
        rows = np.arange(len(best))
        certain = 1 / (1 + np.exp(-scores[rows, best]))
        if certain.min() < least:
            number = int(certain.argmin())
            raise InputError(f"no face was found in frame {number} (probability {certain[number]:.2f})")
        found = regressors[rows, best, :4] / _SIDE
        center, size = found[:, :2] + anchors[best], found[:, 2:]
        boxes = np.concatenate([center - size / 2, center + size / 2], axis=1).clip(0, 1)
        boxes = (boxes * (width, height, width, height)).astype(np.float32)
        return {"boxes": boxes[np.minimum(np.arange(count), len(boxes) - 1)]}

    return step


def _anchors() -> _Array:
    """Centres of the anchors, x and y: two for each of 16 x 16 cells, then six for each of 8 x 8."""
    found = []
    for cells, each in ((16, 2), (8, 6)):
        at = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(at, at, indexing="ij")
        found.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
    return np.concatenate(found)


def face_crops(_files: Mapping[str, Path], _parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``frames`` and ``boxes`` to ``faces`` [n, 6, 96, 96]: without its lower half, then whole."""

    def step(values: Values) -> dict[str, Any]:
        """Return ``faces``, each without its lower half and whole: float32 of shape [frames, 6, face, face]."""
        crops = [
            np.asarray(Image.fromarray(frame[top:bottom, left:right]).resize((_FACE, _FACE)))
            for frame, (left, top, right, bottom) in zip(
                values["frames"], values["boxes"].astype(int), strict=True
            )
        ]
        whole = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255
        masked = whole.copy()
        masked[:, :, _FACE // 2 :] = 0
        return {"faces": np.concatenate([masked, whole], axis=1)}

    return step


def paste_faces(_files: Mapping[str, Path], _parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step from ``frames``, ``boxes`` and new ``faces`` [n, 3, 96, 96] in [0, 1] to ``frames`` with these."""

    def step(values: Values) -> dict[str, Any]:
        """Return ``frames`` with the faces in their boxes, uint8."""
        pasted = values["frames"].copy()
        faces = (values["faces"].transpose(0, 2, 3, 1) * 255).clip(0, 255).astype(np.uint8)
        for frame, face, box in zip(pasted, faces, values["boxes"].astype(int), strict=True):
            left, top, right, bottom = box
            frame[top:bottom, left:right] = np.asarray(
                Image.fromarray(face).resize((right - left, bottom - top))
            )
        return {"frames": pasted}

    return step


def vowel_mel(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that gives the ``mel`` [n, 1, 80, 16] of a sung vowel for each of ``frames`` (*parameters*).

    The vowel is made when the step is made: 120 pulses a second through three formants.
    """
    count = int(parameters["frames"])
    sound = vowel((count * _SAMPLE_RATE) // FRAMES_PER_S + _COLUMNS * _HOP + _WINDOW, _SAMPLE_RATE)
    filters, window = _mel_filters(), np.hanning(_WINDOW)

    def step(_values: Values) -> dict[str, Any]:
        """Return ``mel``, float32 of shape [frames, 1, bands, columns]."""
        parts = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP] * window
        mel = np.log10(np.maximum(np.abs(np.fft.rfft(parts, axis=1)) @ filters.T, 1e-5)).T.astype(np.float32)
        starts = (np.arange(count) * _SAMPLE_RATE / _HOP / FRAMES_PER_S).astype(int)
        return {"mel": np.stack([mel[:, start : start + _COLUMNS] for start in starts])[:, None]}

    return step


def _mel_filters() -> _Array:
    """Triangles [80, bins] between 55 and 7600 Hz, evenly spaced on the mel scale (O'Shaughnessy 1987)."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (55, 7600))
    edges = 700 * (10 ** (np.linspace(lowest, highest, _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / _SAMPLE_RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles: _Array = np.maximum(0, np.minimum(rising, falling))
    return triangles


def write_video(_files: Mapping[str, Path], parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that writes ``frames`` as a film called by ``name``, and gives its ``path``; empty without ffmpeg.

    *parameters*: the ``folder``, which is made; it is the run's where the recipe has none.
    """
    folder, program = Path(str(parameters["folder"])), shutil.which("ffmpeg")
    folder.mkdir(parents=True, exist_ok=True)

    def step(values: Values) -> dict[str, Any]:
        """Write the frames as a film, and return its ``path``; empty where no encoder is installed."""
        if program is None:
            return {"path": ""}
        frames, path = values["frames"], folder / f"{file_stem(str(values['name']))}.mp4"
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
        command += ["-r", str(FRAMES_PER_S), "-i", "-", "-pix_fmt", "yuv420p", str(path)]
        done = subprocess.run(command, input=frames.tobytes(), check=False, capture_output=True)
        if done.returncode:
            raise InputError(
                f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace').strip()[:200]}"
            )
        return {"path": str(path)}

    return step
