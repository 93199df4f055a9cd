"""When the requests of a load are due, how long each is, and which of them are measured.

A load has three parts: requests that bring it up, those that are measured, and those that keep it up until the last
measured one has ended. In a closed loop the next request is due when one ends, so that a number of them are in flight
at once; in an open loop requests are due by the clock, whether earlier ones have ended or not.
"""

import csv
import dataclasses
import itertools
import math
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmbench.errors import InputError, cause_of
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Parameters
from llmbench.schema.settings.serving import CONSTANT
from llmbench.schema.units import counted

_SPREAD = re.compile(r"(?P<kind>uniform|normal|lognormal):(?P<spread>\d+(?:\.\d+)?)")
_WIDEST = 4
"""This many times their centre is the most that input lengths vary to."""
_COLUMNS = ("time", "input_tokens", "output_tokens")
MAX_TRACE_LINES = MAX_TRACE_TOKENS = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A request to make: *number* counts those of a launch from 0, *at_s* is when after the first, ``None`` at once."""

    number: int
    input_tokens: int
    output_tokens: int
    at_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How requests are to be made.

    *burstiness* is the shape of the gamma distribution of the gaps between requests that are due by the clock: 1 are
    Poisson arrivals, infinite ones are constant. *duration_s* ends the measured requests by time where it is set,
    instead of by their number. Lengths are drawn from *input_spread* and *output_spread* around the configuration's,
    such as ``uniform:0.5``; empty is always the same. *trace* has the requests of a file instead.
    """

    config: RunConfig
    burstiness: float = 1.0
    duration_s: float | None = None
    input_spread: str = ""
    output_spread: str = ""
    trace: tuple[Due, ...] = ()

    @classmethod
    def read(cls, config: RunConfig, parameters: Parameters) -> "LoadPlan":
        """Return the plan of a configuration; raise InputError on a distribution or a trace that cannot be read."""
        trace, shape = str(parameters.get("trace", "")), float(parameters.get("burstiness", 1.0))
        plan = cls(
            config=config,
            burstiness=math.inf if shape >= CONSTANT else shape,
            duration_s=float(parameters["duration_s"]) if parameters.get("duration_s") else None,
            input_spread=str(parameters.get("input_distribution", "")),
            output_spread=str(parameters.get("output_distribution", "")),
            trace=read_trace(Path(trace)) if trace else (),
        )
        for spread in filter(None, (plan.input_spread, plan.output_spread)):
            draw_length(spread, 1, random.Random(0))  # noqa: S311  whether it can be read
        return plan

    @property
    def is_open(self) -> bool:
        """Whether requests are due by the clock."""
        return self.config.request_rate is not None or bool(self.trace)

    @property
    def measured(self) -> int | None:
        """How many requests are measured; ``None`` where time ends them."""
        return len(self.trace) or (None if self.duration_s else self.config.iterations)

    @property
    def longest(self) -> int:
        """The most input tokens that a request may have: longer draws of a distribution are cut."""
        wide = _WIDEST if self.input_spread else 1
        return max((wide * self.input_tokens, *(due.input_tokens for due in self.trace)))

    @property
    def input_tokens(self) -> int:
        """The input tokens of a request, or their centre where they vary."""
        return self.config.prompts[0].tokens or 1

    def requests(self) -> Iterator[Due]:
        """Yield requests without end, the same in every launch; those of a trace follow the warm-ups and end."""
        rng = random.Random(self.config.seed)  # noqa: S311  a schedule, not a secret
        at_s = 0.0
        for number in range(self.config.warmups) if self.trace else itertools.count():
            yield Due(
                number=number,
                input_tokens=min(draw_length(self.input_spread, self.input_tokens, rng), self.longest),
                output_tokens=self._output_tokens(number, rng),
                at_s=at_s if self.config.request_rate else None,
            )
            at_s += self._gap_s(rng)
        first = self.config.warmups
        yield from (dataclasses.replace(due, number=first + number) for number, due in enumerate(self.trace))

    def _output_tokens(self, number: int, rng: random.Random) -> int:
        """The output tokens of a request; those of the first ones in a closed loop are cut to set them out of step.

        Begun at once with one length, all would end at once, and the server would never see a stable load.
        """
        found = draw_length(self.output_spread, self.config.output_tokens, rng)
        at_once = self.config.concurrency or 1
        is_first = not self.is_open and number < min(self.config.warmups, at_once)
        return max(1, round(found * (number + 1) / at_once)) if is_first else found

    def _gap_s(self, rng: random.Random) -> float:
        rate = self.config.request_rate
        if not rate:
            return 0.0
        return (
            1 / rate
            if math.isinf(self.burstiness)
            else rng.gammavariate(self.burstiness, 1 / (rate * self.burstiness))
        )


def draw_length(spread: str, center: int, rng: random.Random) -> int:
    """Return a length around *center* by a distribution such as ``uniform:0.5``; raise InputError where it is none.

    The number is half the width of the uniform distribution, or the standard deviation of the normal one, as a share of
    *center*; of the lognormal one, whose median is *center*, the standard deviation of the logarithm.
    """
    if not spread:
        return center
    found = _SPREAD.fullmatch(spread)
    if found is None:
        raise InputError(
            f"{spread!r} is not a distribution of lengths",
            hint="write uniform:0.5, normal:0.2 or lognormal:0.6",
        )
    width = float(found["spread"])
    match found["kind"]:
        case "uniform":
            value = rng.uniform(center * (1 - width), center * (1 + width))
        case "normal":
            value = rng.gauss(center, center * width)
        case _:
            value = center * math.exp(rng.gauss(0, width))
    return max(1, round(value))


def read_trace(path: Path) -> tuple[Due, ...]:
    """Return the requests of a trace: CSV with the columns time (s), input_tokens and output_tokens, times ascending.

    Raises:
        InputError: the file cannot be read, or the line that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = tuple(_trace_lines(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the trace {path} cannot be read: {cause_of(error)}", hint="check the path given to --trace"
        ) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"the trace {path}: {error}", hint=f"columns: {','.join(_COLUMNS)}") from None
    times = [due.at_s or 0.0 for due in found]
    if not found or len(found) > MAX_TRACE_LINES or times != sorted(times):
        what = (
            f"has {counted(len(found), 'request')}"
            if times == sorted(times)
            else "has times that run backwards"
        )
        raise InputError(f"the trace {path} {what}", hint=f"1 to {MAX_TRACE_LINES} lines, times ascending")
    return tuple(dataclasses.replace(due, at_s=(due.at_s or 0.0) - times[0]) for due in found)


def _trace_lines(file: Iterable[str]) -> Iterator[Due]:
    reader = csv.DictReader(file, skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in _COLUMNS if name not in reader.fieldnames]
    if missing:
        raise ValueError(f"no column {', '.join(missing)} in its first line")
    for number, row in enumerate(reader):
        try:
            at_s, sizes = float(row["time"]), (int(row["input_tokens"]), int(row["output_tokens"]))
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {reader.line_num}: {error}") from None
        if not math.isfinite(at_s) or min(sizes) < 1 or max(sizes) > MAX_TRACE_TOKENS:
            allowed = f"a time and two lengths from 1 to {MAX_TRACE_TOKENS} are needed"
            raise ValueError(f"line {reader.line_num}: {allowed}")
        yield Due(number=number, at_s=at_s, input_tokens=sizes[0], output_tokens=sizes[1])
