"""Renderings of runs, reports and comparisons, one file a form; nothing here computes a result.

Files are written whole: a reader sees the old one or the new one, never a part.
"""

import contextlib
import os
import secrets
from pathlib import Path

from llmbench.errors import OutputError


def write_atomically(path: Path, text: str) -> None:
    """Write *text* as UTF-8 under a temporary name in the same folder, sync it, and rename it to *path*.

    A device or a pipe is written to as it is. Raises OutputError if it cannot be written; a file that stood
    at *path* before stands there still.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8", newline="")
        else:
            _replace(path, text)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; a file that stood there is untouched",
            hint="make room, or name a file in a folder that can be written",
        ) from error


def _replace(path: Path, text: str) -> None:
    """The new file in place of the old; on an OSError the temporary one is gone."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
