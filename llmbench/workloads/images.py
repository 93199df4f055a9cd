"""Image files that go in with prompts: found, judged before anything is loaded, and turned into pixels.

Pillow (extra ``vision``) reads them. What is handed over is RGB, with the orientation that the camera recorded applied.
"""

import contextlib
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import InputError, MachineError, cause_of, readable
from llmbench.files.package_data import install_command
from llmbench.schema.config import ImageInput
from llmbench.schema.units import format_bytes

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]

MOST_FILE_BYTES = 256 << 20
_LARGEST_SIDE = 16_384
_SIZE = re.compile(r"(\d{1,5})(?:[xX](\d{1,5}))?")
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"))
"""What counts as an image in a folder; a file that is named is read whatever it is called."""

_CHANGED_SHARE = 1 / 16
"""The share of pixels of which a variant changes the last bit of one colour."""

Resize = Callable[[int, int], tuple[int, int]]


def find_images(paths: Iterable[str]) -> tuple[Path, ...]:
    """Return the files that paths name, those in a folder by name.

    Raises InputError where nothing is there, or a folder has no image.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = [file for file in sorted(path.iterdir()) if file.suffix.lower() in _SUFFIXES]
            if not inside:
                raise InputError(f"{path} contains no image", hint="give an image file, or a folder of some")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"there is no image at {path}", hint="check the path given to --images")
    return tuple(found)


def read_sizes(texts: Iterable[str]) -> tuple[Resize | None, ...]:
    """Return what each size makes of a picture's width and height; ``(None,)`` where none is given.

    ``336`` is the longer side, ``640x480`` both. Raises InputError on another text.
    """
    return tuple(map(_resize, texts)) or (None,)


def _resize(text: str) -> Resize:
    found = _SIZE.fullmatch(text)
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or not all(1 <= side <= _LARGEST_SIDE for side in sides):
        raise InputError(
            f"--image-size {text} is not understood",
            hint=f"write the longer side in pixels, as in 336, or both, as in 640x480 (up to {_LARGEST_SIDE})",
        )

    def resize(width: int, height: int) -> tuple[int, int]:
        """Return width and height in pixels after the resizing, at least 1 each."""
        if len(sides) == 2:
            return sides[0], sides[1]
        factor = sides[0] / max(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    return resize


def describe_image(path: Path) -> ImageInput:
    """Return an image file as a prompt has it, in its own size, read once from end to end.

    Raises:
        InputError: it is no image, damaged, animated or too large.
        MachineError: Pillow is not installed.
    """
    if path.stat().st_size > MOST_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {format_bytes(MOST_FILE_BYTES)}, the most an image file may be",
            hint="save it as JPEG or PNG, or make it smaller",
        )
    with _opened(path) as image:
        width, height = image.size
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ImageInput(path=str(path.resolve()), sha256=digest, width=width, height=height)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The decoded image of a file, upright and RGB."""
    pillow, operations = _import_pillow()
    too_many = (pillow.DecompressionBombError, pillow.DecompressionBombWarning)
    try:
        with warnings.catch_warnings(action="error", category=too_many[1]), pillow.open(path) as image:
            _check_frames(path, image)
            image.load()
            yield operations.exif_transpose(image).convert("RGB")
    except pillow.UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read", hint="give a PNG or JPEG file") from None
    except too_many:
        raise InputError(
            f"{path} has more than {pillow.MAX_IMAGE_PIXELS} pixels, the most that is read",
            hint="make it smaller before it is measured",
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} cannot be decoded: {cause_of(error)}", hint="the file is damaged; fetch it again"
        ) from error


def _check_frames(path: Path, image: Any) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(
            f"{path} is animated ({frames} frames)", hint="give one of its frames as PNG or JPEG"
        )


def _import_pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        missing = "images need a package that is not installed: pillow"
        raise MachineError(missing, hint=install_command("vision")) from error
    return Image, ImageOps


def read_images(images: Sequence[ImageInput], *, variant: int, seed: int) -> "tuple[Pixels, ...]":
    """Return the pixels of a prompt's variant, uint8 of shape [height, width, 3] each.

    Variant 0 is the images themselves. In any other the last bit of one colour differs in a sixteenth of the pixels,
    chosen by *seed* and *variant*: nobody sees it, and nothing that an engine keeps of another variant is valid.

    Raises InputError where a file has changed since it was described.
    """
    import numpy as np

    pixels = []
    for number, each in enumerate(images):
        found = _pixels(each)
        if variant:
            chosen = np.random.default_rng((seed, variant, number))
            found[..., 1] ^= (chosen.random(found.shape[:2]) < _CHANGED_SHARE).astype(np.uint8)
        pixels.append(found)
    return tuple(pixels)


def _pixels(wanted: ImageInput) -> "Pixels":
    import numpy as np

    path, size = Path(wanted.path), (wanted.width, wanted.height)
    with readable(path, hint="where has the image gone?"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != wanted.sha256:
        raise InputError(f"{path} has changed since the run began", hint="start the run again")
    with _opened(path) as image:
        return np.array(image if image.size == size else image.resize(size), dtype=np.uint8)
