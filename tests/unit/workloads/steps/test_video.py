"""Host steps of a talking face, on frames whose colours are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llmbench.errors import InputError
from llmbench.workloads.steps.base import find_step

FRAMES = np.full((3, 64, 64, 3), 51, dtype=np.uint8)
BOXES = np.array([[16, 16, 48, 48]] * 3, dtype=np.float32)


def run(step: str, parameters: Mapping[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    return find_step(step)({}, parameters or {})(values)


def test_a_picture_moves_by_two_pixels_a_frame(tmp_path: Path) -> None:
    """The columns come back on the other side."""
    picture = np.zeros((4, 8, 3), dtype=np.uint8)
    picture[:, 0] = 255
    Image.fromarray(picture).save(tmp_path / "p.png")
    frames = find_step("moving_picture")({"picture": tmp_path / "p.png"}, {"frames": 3})({})["frames"]

    assert [0, 2, 4] == [int(frame[0, :, 0].argmax()) for frame in frames]


def test_all_frames_are_searched_or_the_first_alone() -> None:
    """51 of 255 is -0.6 on a scale from -1 to 1."""
    every = run("searched_frames", frames=FRAMES, mode="faces in every frame")["images"]

    assert (3, 128, 128, 3) == every.shape
    assert pytest.approx(-0.6, abs=1e-6) == float(every[0, 0, 0, 0])
    assert 1 == len(run("searched_frames", frames=FRAMES, mode="face in the first frame")["images"])


def boxes(anchor: int, score: float) -> Any:
    """The boxes of three frames, of which one was searched: a quarter of the picture around an anchor."""
    scores = np.full((1, 896, 1), -50, dtype=np.float32)
    scores[0, anchor] = score
    regressors = np.zeros((1, 896, 16), dtype=np.float32)
    regressors[0, anchor, 2:4] = 32
    return run("blazeface_boxes", frames=FRAMES, scores=scores, regressors=regressors)["boxes"]


def test_a_box_is_around_its_anchor() -> None:
    """Anchor 272 is the first of the cell in row 8 and column 8 of 16: its centre is at 8.5/16 of the picture."""
    assert [[26, 26, 42, 42]] * 3 == boxes(272, 3.0).tolist()
    assert [[0, 0, 12, 12]] * 3 == boxes(512, 3.0).tolist()


def test_a_frame_without_a_face_is_named() -> None:
    """A score of -1 is a probability of 0.27."""
    with pytest.raises(InputError, match=r"no face was found in frame 0 \(probability 0\.27\)"):
        boxes(272, -1.0)


def test_crops_have_a_masked_half_and_the_whole() -> None:
    """Six channels; new faces are pasted into the same place."""
    faces = run("face_crops", frames=FRAMES, boxes=BOXES)["faces"]
    assert (3, 6, 96, 96) == faces.shape
    assert [0.2, 0.0, 0.2] == [
        round(float(faces[part]), 6) for part in ((0, 0, 0, 0), (0, 0, 95, 0), (0, 3, 95, 0))
    ]

    new = np.ones((3, 3, 96, 96), dtype=np.float32)
    frames = run("paste_faces", frames=FRAMES, boxes=BOXES, faces=new)["frames"]
    assert [51, 255, 255, 51] == frames[0, 32, [15, 16, 47, 48], 0].tolist()
    assert 51 == FRAMES.max()


def test_a_vowel_has_energy_at_its_formants() -> None:
    """80 bands by 16 columns for each frame; more at 700 Hz (band 21) than at 4 kHz (band 61)."""
    mel = run("vowel_mel", {"frames": 4})["mel"]

    assert (4, 1, 80, 16) == mel.shape
    assert mel[:, 0, 21].mean() > mel[:, 0, 61].mean() + 0.5


def test_a_film_is_written_where_ffmpeg_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the path is empty, and nothing fails."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {"path": ""} == run("write_video", {"folder": str(tmp_path / "new")}, frames=FRAMES, name="a")


def test_a_film_goes_to_ffmpeg_as_raw_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name gets the size, the rate and every byte; its failure is one line."""
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor path; do :; done\n{ echo "$@"; wc -c; } > "$path"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = Path(run("write_video", {"folder": str(tmp_path)}, frames=FRAMES, name="A film")["path"])
    seen = path.read_text()

    assert tmp_path / "a-film.mp4" == path
    assert "-s 64x64 -r 25" in seen
    assert str(FRAMES.nbytes) in seen
    program.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    with pytest.raises(InputError, match=r"ffmpeg could not write .*a-film\.mp4: no such codec"):
        run("write_video", {"folder": str(tmp_path)}, frames=FRAMES, name="A film")
