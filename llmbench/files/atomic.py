"""Files written whole: a reader sees the old one or the new one, never a part, also after a power cut."""

import contextlib
import os
import secrets
from pathlib import Path

from llmbench.errors import OutputError, cause_of


def write_atomically(path: Path, text: str) -> None:
    """Write *text* as UTF-8 in place of *path*; a device, a pipe or an open file (``/dev/fd/3``) is appended to.

    Raises OutputError if it cannot be written; a file that was at *path* before is still there.
    """
    try:
        is_open = path.is_relative_to("/dev") or path.is_relative_to("/proc")
        if path.exists() and (is_open or not path.is_file()):
            with (
                contextlib.suppress(BrokenPipeError),  # a reader such as head has seen what it wanted
                path.open("a", encoding="utf-8", newline="") as file,
            ):
                file.write(text)
        else:
            replace_file(path, text.encode())
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {cause_of(error)}; an existing file is untouched",
            hint="make room, or name a file in a folder that can be written",
        ) from error


def replace_file(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Write *content* under a temporary name in the folder of *path* and rename it; raises OSError.

    With *is_synced* the content is on the disk before the rename; what can be made again may do without.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def cache_file(path: Path, content: bytes) -> None:
    """Write *content* to a file of the cache, its folder made where it is missing; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content, is_synced=False)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that they last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
