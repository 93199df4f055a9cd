"""Text, numbers and fields of the files below /proc and /sys; what is missing or odd is ``None``."""

import re
from pathlib import Path

_LONGEST = 20


def read_text(path: Path) -> str | None:
    """Return what a kernel file contains, stripped; ``None`` where it is missing or refuses to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
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
