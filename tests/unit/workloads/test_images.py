"""Image files as inputs: found, judged, resized, and changed from one variant to the next."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llmbench.errors import InputError
from llmbench.schema.config import ImageInput, Prompt
from llmbench.workloads import prompts
from llmbench.workloads.images import describe_image, find_images, read_images, read_sizes
from tests import pictures


def test_a_folder_stands_for_its_images_by_name(tmp_path: Path) -> None:
    """Other files in it are none; a file that is named is read whatever it is called."""
    for name in ("b.png", "a.jpg"):
        pictures.picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    plain = pictures.picture(tmp_path / "c.png").rename(tmp_path / "c")

    assert [tmp_path / "a.jpg", tmp_path / "b.png"] == list(find_images([str(tmp_path)]))
    assert (64, 48) == (describe_image(plain).width, describe_image(plain).height)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.png", lambda path: path, "there is no image at .*gone.png"),
        ("empty", _folder, "empty contains no image"),
        ("cut.png", pictures.truncated, "cut.png cannot be decoded: "),
        ("cut.jpg", pictures.truncated, "cut.jpg cannot be decoded: "),
        ("moving.gif", pictures.animation, r"moving.gif is animated \(3 frames\)"),
        ("huge.png", pictures.bomb, "huge.png has more than 89478485 pixels"),
    ],
)
def test_what_is_no_still_image_is_refused(
    name: str, make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    """In one line with what to do, before anything is loaded."""
    path = make(tmp_path / name)

    with pytest.raises(InputError, match=message) as caught:
        list(map(describe_image, find_images([str(path)])))

    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_text_is_no_image(tmp_path: Path) -> None:
    """Whatever its name says."""
    (tmp_path / "a.png").write_text("hello")

    with pytest.raises(InputError, match="is not an image that can be read"):
        describe_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "size"), [("336", (336, 252)), ("640x480", (640, 480)), ("32X16", (32, 16)), ("3", (3, 2))]
)
def test_a_size_is_the_longer_side_or_both(text: str, size: tuple[int, int]) -> None:
    """640 x 480 to 336: 480 * 336 / 640 = 252."""
    (resize,) = read_sizes([text])

    assert resize is not None
    assert size == resize(640, 480)


@pytest.mark.parametrize("text", ["0", "x", "640x", "a", "-3", "640x480x2", "99999"])
def test_another_size_is_refused(text: str) -> None:
    """With what it looks like."""
    with pytest.raises(InputError, match=r"--image-size .* is not understood"):
        read_sizes([text])


def test_variants_differ_invisibly_and_are_the_same_in_every_launch(tmp_path: Path) -> None:
    """By the last bit of one colour, in about a sixteenth of the pixels; variant 0 is the picture."""
    image = describe_image(pictures.picture(tmp_path / "a.png", 160, 120))
    plain = np.asarray(Image.open(tmp_path / "a.png"))

    (none,), (one,), (two,) = (read_images([image], variant=number, seed=42) for number in range(3))

    assert (plain == none).all()
    assert (np.abs(one.astype(int) - plain) <= 1).all()
    assert 0.05 < np.mean((one != plain).any(axis=-1)) < 0.075
    assert not (one == two).all()
    assert (one == read_images([image], variant=1, seed=42)[0]).all()
    assert not (one == read_images([image], variant=1, seed=43)[0]).all()


def test_images_are_upright_rgb_in_the_size_described(tmp_path: Path) -> None:
    """A grey picture that a camera turned by 90 degrees."""
    turned = Image.new("L", (40, 20), 7)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)

    found = describe_image(tmp_path / "a.jpg")
    (pixels,) = read_images([found], variant=0, seed=1)

    assert (20, 40) == (found.width, found.height)
    assert (40, 20, 3) == pixels.shape
    assert np.uint8 == pixels.dtype


def test_an_image_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """The run file says which image was measured."""
    found = describe_image(pictures.picture(tmp_path / "a.png"))
    pictures.picture(tmp_path / "a.png", 10, 10)

    with pytest.raises(InputError, match="has changed since the run began"):
        read_images([found], variant=0, seed=1)


def test_each_size_makes_prompts_of_its_own(tmp_path: Path) -> None:
    """Two questions in two sizes are four rows with hashes of their own, numbered through."""
    path = str(pictures.picture(tmp_path / "a.png", 640, 480))

    found = prompts.with_images(prompts.given(["What?", "Where?"]), [path], ["320", "64x64"])

    assert ["P0 320x240", "P1 320x240", "P2 64x64", "P3 64x64"] == [prompt.label for prompt in found]
    assert 4 == len({prompt.sha256 for prompt in found})


def test_the_hash_of_a_prompt_has_content_and_size_but_not_the_path() -> None:
    """And a prompt without images keeps the hash that it always had."""

    def sha256(path: str, content: str, width: int) -> str:
        image = ImageInput(path=path, sha256=content, width=width, height=1)
        return Prompt(set="s", index=0, text="a", images=(image,)).sha256

    assert sha256("x", "c", 1) == sha256("y", "c", 1)
    assert 3 == len({sha256("x", "c", 1), sha256("x", "d", 1), sha256("x", "c", 2)})
    assert Prompt(set="s", index=0, text="a").sha256 != sha256("x", "c", 1)


@pytest.mark.parametrize("key", ["images", "media"])
def test_a_prompt_file_names_images_beside_it(key: str, tmp_path: Path) -> None:
    """One, several, or those of a folder; a chat has them in its first turn, and all turns are of that chat."""
    (tmp_path / "many").mkdir()
    for name in ("a.png", "many/b.png", "many/c.png"):
        pictures.picture(tmp_path / name)
    entries = [
        {"prompt": "one", key: "a.png"},
        {"prompt": "three", key: ["a.png", "many"]},
        {"prompt": ["first", "second"], key: "a.png"},
    ]
    file = tmp_path / "p.jsonl"
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))

    found = prompts.read_prompts(file)

    assert [1, 3, 1, 1] == [len(prompt.images) for prompt in found]
    assert ["P0 64x48", "P1 64x48 x3", "P2 turn 1 64x48", "P2 turn 2 64x48"] == [p.label for p in found]


def test_images_are_named_in_one_place(tmp_path: Path) -> None:
    """On the command line or in the prompt file; a size needs one of both."""
    image = describe_image(pictures.picture(tmp_path / "a.png"))
    with_own = [Prompt(set="s", index=0, text="a", images=(image,))]

    with pytest.raises(InputError, match="names images itself"):
        prompts.with_images(with_own, [image.path], [])
    with pytest.raises(InputError, match="--image-size was given without an image"):
        prompts.with_images(prompts.given(["a"]), [], ["64"])
    assert "P0 32x24" == prompts.with_images(with_own, [], ["32"])[0].label
