import itertools
import math
import random
import statistics
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.schedule import Due, LoadPlan, draw_length, read_trace


def config(**fields: object) -> RunConfig:
    values: dict[str, object] = {
        "model": "m",
        "engine": "server",
        "prompts": (Prompt(set="synthetic", index=0, tokens=100),),
        "output_tokens": 40,
        "iterations": 10,
        "warmups": 4,
    }
    return RunConfig(**(values | fields))  # type: ignore[arg-type]


def first(plan: LoadPlan, count: int) -> list[Due]:
    return list(itertools.islice(plan.requests(), count))


def gaps(plan: LoadPlan, count: int = 4000) -> list[float]:
    times = [due.at_s or 0.0 for due in first(plan, count)]
    return [after - before for before, after in itertools.pairwise(times)]


def test_arrivals_have_the_rate_and_the_burstiness_that_were_given() -> None:
    """Poisson gaps vary by their mean, those of shape 4 by half of it, constant ones not at all."""
    found = {
        shape: gaps(LoadPlan(config=config(request_rate=4.0), burstiness=shape))
        for shape in (1.0, 4.0, math.inf)
    }

    assert all(statistics.fmean(each) == pytest.approx(0.25, rel=0.06) for each in found.values())
    spread = {shape: statistics.stdev(each) / statistics.fmean(each) for shape, each in found.items()}
    assert spread[1.0] == pytest.approx(1.0, rel=0.08)
    assert spread[4.0] == pytest.approx(0.5, rel=0.08)
    assert {0.25} == set(found[math.inf])


def test_the_schedule_is_the_same_in_every_launch() -> None:
    """Launches are replicates: they differ in nothing that was drawn."""
    plan = LoadPlan(
        config=config(request_rate=4.0), input_spread="lognormal:0.5", output_spread="uniform:0.5"
    )

    assert first(plan, 50) == first(plan, 50)


def test_first_requests_of_a_closed_loop_are_staggered() -> None:
    """Begun at once, four requests of one length would stay in step for ever."""
    plan = LoadPlan(config=config(concurrency=4))

    assert [10, 20, 30, 40, 40] == [due.output_tokens for due in first(plan, 5)]
    assert {None} == {due.at_s for due in first(plan, 5)}


@pytest.mark.parametrize(("spread", "deviation"), [("uniform:0.5", 0.5 / math.sqrt(3)), ("normal:0.2", 0.2)])
def test_lengths_vary_around_the_center_as_they_should(spread: str, deviation: float) -> None:
    """The standard deviation follows from the distribution."""
    rng = random.Random(1)  # noqa: S311
    found = [draw_length(spread, 1000, rng) for _ in range(4000)]

    assert statistics.fmean(found) == pytest.approx(1000, rel=0.02)
    assert statistics.stdev(found) == pytest.approx(1000 * deviation, rel=0.05)
    assert min(found) >= 1


def test_the_median_of_lognormal_lengths_is_the_center() -> None:
    """And the deviation of their logarithms is the spread."""
    rng = random.Random(1)  # noqa: S311
    found = [draw_length("lognormal:0.6", 1000, rng) for _ in range(4000)]

    assert statistics.median(found) == pytest.approx(1000, rel=0.03)
    assert statistics.stdev(map(math.log, found)) == pytest.approx(0.6, rel=0.04)


@pytest.mark.parametrize("spread", ["uniform", "gauss:1", "uniform:-1", "uniform:x"])
def test_an_unknown_distribution_is_refused(spread: str) -> None:
    """With the ways to write one."""
    with pytest.raises(InputError, match="is not a distribution of lengths"):
        LoadPlan.read(config(), {"input_distribution": spread})


def test_a_trace_has_its_own_times_and_lengths(tmp_path: Path) -> None:
    """Times count from the first line; warm-ups come before it, due at once."""
    path = tmp_path / "trace.csv"
    path.write_text("time,input_tokens,output_tokens\n5,10,3\n5.5,20,4\n7,30,5\n")
    plan = LoadPlan.read(config(warmups=1), {"trace": str(path)})

    found = list(plan.requests())
    assert [(None, 100), (0.0, 10), (0.5, 20), (2.0, 30)] == [(due.at_s, due.input_tokens) for due in found]
    assert [0, 1, 2, 3] == [due.number for due in found]
    assert (3, True) == (plan.measured, plan.is_open)


def test_a_trace_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With a byte order mark, ends of lines of another system, spaces, an empty line, and a column more."""
    path = tmp_path / "trace.csv"
    path.write_bytes("\ufefftime, input_tokens ,output_tokens,user\r\n0, 4,1,a\r\n\r\n1,5,2,b\r\n".encode())

    assert [(0.0, 4, 1), (1.0, 5, 2)] == [
        (due.at_s, due.input_tokens, due.output_tokens) for due in read_trace(path)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,input_tokens,output_tokens\n", "has 0 requests"),
        ("time,input_tokens,output_tokens\n2,1,1\n1,1,1\n", "times that run backwards"),
        ("time,input_tokens,output_tokens\n1,0,1\n", "line 2: a time and two lengths"),
        ("time,input_tokens,output_tokens\n1,99999999,1\n", "line 2: a time and two lengths"),
        ("time,input_tokens,output_tokens\n1,1\n", "line 2:"),
        ("time,input_tokens,output_tokens\n1,1,1\n\nx,1,1\n", "line 4: could not convert"),
        ("when,input_tokens\n1,1\n", "no column time, output_tokens in its first line"),
    ],
)
def test_a_bad_trace_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    """Nothing is sent by a trace that cannot be meant."""
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(InputError, match=message):
        read_trace(path)
