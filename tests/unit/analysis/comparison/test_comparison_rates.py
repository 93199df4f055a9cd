import math
import random
from collections.abc import Callable

import pytest

from llmbench.analysis import report
from llmbench.analysis.comparison.compare import compare
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]


class Machine:
    """Makes runs of three prompts whose launches differ by 1.5 % and whose iterations by 1 %, from one seed."""

    def __init__(self, seed: int, builders: tuple[Build, BuildLaunch, BuildRun]) -> None:
        self._random = random.Random(seed)  # noqa: S311  a simulation, not a secret
        self._request_of, self._launch_of, self._run_of = builders
        prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((32, 256, 1024)))
        self._cells = (RunConfig(model="m", prompts=prompts, output_tokens=4),)

    def run(self, factor: float = 1.0, *, launches: int = 5, iterations: int = 3) -> Run:
        """A run whose every latency is *factor* times what it would be."""
        return self._run_of([self._launch(n, factor, iterations) for n in range(launches)], cells=self._cells)

    def _launch(self, index: int, factor: float, iterations: int) -> Launch:
        """A launch with a factor of its own."""
        own = factor * math.exp(self._random.gauss(0, 0.015))
        requests = [
            self._request(index, iteration, prompt, own)
            for iteration in range(1, iterations + 1)
            for prompt in range(3)
        ]
        return self._launch_of(requests, index=index)

    def _request(self, launch: int, iteration: int, prompt: int, own: float) -> Measurement:
        """A request whose every gap has a noise of its own."""
        at, instants = 0.0, []
        for gap in ((40, 300, 1200)[prompt], 15, 10, 10):
            at += gap * own * math.exp(self._random.gauss(0, 0.01))
            instants.append(at)
        return self._request_of(
            instants, launch=launch, iteration=iteration, prompt=prompt, input_tokens=(32, 256, 1024)[prompt]
        )


@pytest.mark.parametrize(
    ("factor", "tries", "least", "most"),
    [
        (1.0, 200, 0.0, 0.01),
        (1.01, 200, 0.0, 0.03),
        (1.10, 100, 0.99, 1.0),
        pytest.param(1.0, 2000, 0.0, 0.01, marks=pytest.mark.nightly),
        pytest.param(1.01, 2000, 0.0, 0.03, marks=pytest.mark.nightly),
        pytest.param(1.10, 1000, 0.99, 1.0, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.slow
def test_the_gate_alarms_as_seldom_and_as_surely_as_promised(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    *,
    factor: float,
    tries: int,
    least: float,
    most: float,
) -> None:
    """Five launches a side: A/A at most 1 %, +1 % against 3 % at most 3 %, +10 % at least 99 %."""
    machine = Machine(17, (request_of, launch_of, run_of))
    names = ("first_token", "second_token", "next_token", "tpot", "e2e")

    def alarms() -> bool:
        base, candidate = machine.run(), machine.run(factor)
        return bool(compare(report.summarize_run(base, names), report.summarize_run(candidate, names)).alarms)

    share = sum(alarms() for _ in range(tries)) / tries

    assert least <= share <= most
