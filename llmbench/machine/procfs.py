"""Files of /proc and /sys."""

from pathlib import Path

_LONGEST = 20


def read_text(path: Path) -> str | None:
    """What a kernel file holds, stripped; ``None`` where it is missing or refuses to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def read_number(text: str | None) -> int | None:
    """The whole number that a text is; ``None`` where it is something else, as an emulated file may be."""
    told = (text or "").strip()
    digits = told.removeprefix("-")
    return int(told) if digits.isdecimal() and len(digits) < _LONGEST else None
