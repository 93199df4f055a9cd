import re
from pathlib import Path

import pytest

import llmbench
from llmbench import errors
from llmbench.errors import ExitCode
from llmbench.schema import units


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), 0),
        ((1, 3), 1),
        ((3,), 3),
        ((1, 5), 5),
        ((5, 4, 1), 4),
        ((4, 6), 6),
        ((6, 2, 4, 5, 1, 3), 2),
    ],
)
def test_the_worse_exit_code_wins(codes: tuple[int, ...], expected: int) -> None:
    """2 > 6 > 4 > 5 > 1 > 3."""
    assert expected == errors.worst(ExitCode(code) for code in codes)


def test_an_error_from_a_worker_is_the_same_error() -> None:
    """Its class follows from its exit code; an unknown code is a failed launch."""
    assert isinstance(errors.error_from_code(4, "m", hint="h"), errors.MachineError)
    assert isinstance(errors.error_from_code(70, "m", hint=None), errors.LaunchError)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "n/a"),
        (0.01234, "0.012"),
        (1.234, "1.23"),
        (99.999, "100.00"),
        (123.45, "123.5"),
        (12345.6, "12346"),
    ],
)
def test_numbers_are_shown_with_three_digits_or_more(value: float | None, shown: str) -> None:
    """What does not exist is n/a, never 0."""
    assert shown == units.format_number(value)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_waits_are_shown_as_people_say_them(seconds: float, shown: str) -> None:
    """Two units at the most."""
    assert shown == units.format_duration(seconds)


@pytest.mark.parametrize(
    ("size", "shown"), [(512, "512 bytes"), (94 << 20, "94 MiB"), (1331 << 20, "1.3 GiB")]
)
def test_sizes_are_shown_as_people_say_them(size: int, shown: str) -> None:
    """Bytes, MiB or GiB."""
    assert shown == units.format_bytes(size)


def test_an_engines_units_become_nanoseconds() -> None:
    """Milliseconds of an instant, microseconds of a duration."""
    assert 106_732_801_094 == units.ns_from_ms(106732.801094)
    assert 32_488_000 == units.ns_from_us(32488.0)
    assert units.seconds_between(1_000_000_000, 3_500_000_000) == pytest.approx(2.5)


def test_counted_things() -> None:
    """One is singular."""
    assert ("1 launch", "2 launches", "0 iterations") == (
        units.counted(1, "launch", "launches"),
        units.counted(2, "launch", "launches"),
        units.counted(0, "iteration"),
    )


def test_no_report_counts_one_tokens() -> None:
    """What is counted in a report is written by `counted`; two numbers around a plus and a plain sum are no count."""
    plural = re.compile(
        r"\{[^{}]+\} (?:input |output |more )?(?:tokens|launches|requests|rows|prompts|iterations)\b"
    )
    sums = re.compile(
        r"requests/s|\{launches\} launches|\{count\} |were made|rows are left out|2nd tokens throughput|event\.count"
    )
    found = [
        f"{path.name}: {line.strip()}"
        for path in (Path(llmbench.__file__).parent / "render").rglob("*.py")
        for line in path.read_text().splitlines()
        if plural.search(line) and not sums.search(line) and "counted(" not in line
    ]

    assert [] == found
