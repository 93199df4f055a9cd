"""The files that options name: found in the working directory or in ``model_configs/``, and read as text."""

import difflib
from collections.abc import Collection
from pathlib import Path

from llmbench.errors import InputError
from llmbench.units import format_bytes

FOLDER = Path("model_configs")
"""Where a file is looked for that is not where its name says, relative to the working directory."""

MAX_FILE_BYTES = 1 << 20


def find(name: str, suffix: str) -> Path | None:
    """The file of this name: as given, else in ``model_configs/``; ``None`` if there is none."""
    given = Path(name)
    candidates = [given]
    if not given.is_absolute():
        candidates += [FOLDER / given, FOLDER / f"{name}{suffix}"]
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    """Whether there is something to read; a name too long for the system is nothing."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def text_of(path: Path) -> str:
    """The text of a file of at most 1 MiB, without a byte-order mark."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not valid Unicode", hint="save the file as UTF-8") from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {format_bytes(MAX_FILE_BYTES)}", hint="is it the right file?"
        )
    return text


def missing(what: str, name: str, suffix: str) -> InputError:
    """The error for a file that is nowhere, with those there are."""
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    there = sorted({*Path().glob(f"*{suffix}"), *FOLDER.glob(f"*{suffix}")})
    by_name = {path.name: path for path in there} | {path.stem: path for path in there}
    near = suggest(Path(name).name, by_name)
    hint = (
        f"did you mean {by_name[near]}?"
        if near
        else f"there are: {', '.join(map(str, there)) or 'none here'}"
    )
    return InputError(f"{what} {shown!r} was not found", hint=hint)


def suggest(name: str, known: Collection[str]) -> str | None:
    """The known name most like this one, whatever its case; ``None`` if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None
