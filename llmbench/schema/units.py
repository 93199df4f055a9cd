"""Time and size types, conversions at the edge, display scaling, and which direction is better.

Instants are integers of nanoseconds on one monotonic clock (``time.perf_counter_ns``); durations are
float seconds; sizes are integer bytes. Milliseconds and MiB exist only where a person or a file reads them.
Every value that is read from a run file is checked against its type.
"""

import enum
from collections.abc import Collection
from typing import Annotated, NewType, Self

import msgspec

Nanoseconds = NewType("Nanoseconds", int)
"""An instant on the clock of ``time.perf_counter_ns``."""

Instant = Annotated[Nanoseconds, msgspec.Meta(ge=0, lt=1 << 62)]
"""Such an instant, or a number of nanoseconds, that a clock can have shown."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
"""A duration that can have been measured."""

Bytes = Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]
"""A size of what is there."""

Rate = Annotated[float, msgspec.Meta(gt=0)]
"""Something a second that can have been measured."""

Joules = Annotated[float, msgspec.Meta(ge=0)]
"""An energy that can have been measured."""

Index = Annotated[int, msgspec.Meta(ge=0)]
"""A number of things, or the number of a thing among others."""

Count = Annotated[int, msgspec.Meta(ge=1)]
"""A number of things of which there is at least one."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
BYTES_PER_MIB = 1 << 20


class Direction(enum.Enum):
    """Which way a metric is better."""

    LOWER = "lower is better"
    HIGHER = "higher is better"


class Unit(enum.Enum):
    """What a report shows: its name, the factor from the value in code, and what it adds to a CSV column's name."""

    MILLISECONDS = ("ms", 1e3, "_ms")
    MILLISECONDS_PER_TOKEN = ("ms/token", 1e3, "_ms")
    SECONDS = ("s", 1.0, "_s")
    TOKENS_PER_SECOND = ("tokens/s", 1.0, "_tokens_per_s")
    TOKENS_PER_STEP = ("tokens/step", 1.0, "")
    TEXTS_PER_SECOND = ("texts/s", 1.0, "_per_s")
    REQUESTS_PER_SECOND = ("requests/s", 1.0, "_per_s")
    MEBIBYTES = ("MiB", 1 / BYTES_PER_MIB, "_MiB")
    GIGABYTES_PER_SECOND = ("GB/s", 1e-9, "_GB_per_s")
    PERCENT = ("%", 100.0, "_percent")
    JOULES = ("J", 1.0, "_J")
    RATIO = ("ratio", 1.0, "")
    MILLISECONDS_PER_FRAME = ("ms/frame", 1e3, "_ms")
    MILLISECONDS_PER_SECOND = ("ms/s", 1e3, "_ms_per_s")
    CALLS = ("calls", 1.0, "")
    MILLIJOULES_PER_TOKEN = ("mJ/token", 1e3, "_mJ")

    _value_: str

    def __new__(cls, name: str, _scale: float, _suffix: str) -> Self:
        """Return the unit whose value is its name."""
        unit = object.__new__(cls)
        unit._value_ = name
        return unit

    def __init__(self, _name: str, scale: float, suffix: str) -> None:
        self.scale, self.suffix = scale, suffix


def seconds_between(start_ns: int, end_ns: int) -> float:
    """Seconds from one instant to a later one."""
    return (end_ns - start_ns) / NS_PER_S


def ns_from_ms(milliseconds: float) -> Nanoseconds:
    """An engine's millisecond instant as nanoseconds."""
    return Nanoseconds(round(milliseconds * NS_PER_MS))


def ns_from_us(microseconds: float) -> int:
    """An engine's microsecond duration as nanoseconds."""
    return round(microseconds * NS_PER_US)


def format_number(value: float | None) -> str:
    """Three significant digits and more for large values; ``n/a`` for what does not exist."""
    if value is None:
        return "n/a"
    magnitude = abs(value)
    decimals = 0 if magnitude >= 1000 else 1 if magnitude >= 100 else 2 if magnitude >= 1 else 3
    return f"{value:.{decimals}f}"


def format_bytes(size: int) -> str:
    """A size as a person reads it: ``94 MiB``, ``1.3 GiB``."""
    mebibytes = size / BYTES_PER_MIB
    if mebibytes >= 1024:
        return f"{mebibytes / 1024:.1f} GiB"
    return f"{mebibytes:.0f} MiB" if mebibytes >= 1 else f"{size} bytes"


def format_count(count: float) -> str:
    """A large number as a person reads it: ``135M``, ``1.7B``."""
    for limit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= 0.9995 * limit:
            scaled = count / limit
            return f"{scaled:.1f}{letter}".replace(".0", "") if scaled < 10 else f"{scaled:.0f}{letter}"
    return f"{count:.0f}"


def format_list(numbers: Collection[int]) -> str:
    """The shortest list as the kernel writes it: ``0,2-3``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 launch``, ``2 launches``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def format_duration(seconds: float) -> str:
    """A wait as a person reads it: ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
