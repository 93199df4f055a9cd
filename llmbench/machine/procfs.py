"""Text, numbers and fields of the files below /proc and /sys; what is missing or odd is ``None``."""

import os
import re
from pathlib import Path

_LONGEST = 20
_BLOCK_BYTES = 65_536


def read_bytes(path: Path) -> bytes | None:
    """Return a kernel file's content without the layers that take longer than the kernel; ``None`` if unreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return b"".join(iter(lambda: os.read(descriptor, _BLOCK_BYTES), b""))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str | None:
    """Return what a kernel file contains, stripped; ``None`` where it is missing or refuses to be read."""
    raw = read_bytes(path)
    return None if raw is None else raw.decode(errors="replace").strip()


def read_first_line(path: Path) -> str | None:
    """Return the first line of a kernel file whose others cost the kernel time; ``None`` where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return None


def read_number(text: str | None) -> int | None:
    """Return the whole number that a text is; ``None`` where it is something else, as an emulated file may be."""
    stripped = (text or "").strip()
    digits = stripped.removeprefix("-")
    return int(stripped) if digits.isdecimal() and len(digits) < _LONGEST else None


def read_field(path: Path, name: str) -> str | None:
    """Return the value of the first line ``name: value`` or ``name value``; ``None`` where there is no such line."""
    found = re.search(rf"^{re.escape(name)}[ \t]*:?[ \t]+(.*)$", read_text(path) or "", re.MULTILINE)
    return found[1].strip() if found else None


def read_kib_field(path: Path, name: str) -> int | None:
    """Return the bytes of a line ``name: 123 kB``; ``None`` where there is no such line."""
    number = read_number((read_field(path, name) or "").removesuffix("kB"))
    return None if number is None else number * 1024
