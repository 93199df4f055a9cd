"""Progress of long work other than a run: one small type that converting, fetching and the screen share."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A step that begins, or a part of it of which *share* is done, from 0 to 1."""

    label: str
    share: float | None = None


ProgressCallback = Callable[[Progress], None]
"""Called with each piece of progress as it happens."""
