"""Small files of /proc and /sys."""

from pathlib import Path


def read(path: Path) -> str | None:
    """What a kernel file holds, stripped; ``None`` where it is missing or refuses to be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
