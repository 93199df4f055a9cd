import pytest

from llmbench.runner.forecast import Pace
from llmbench.runner.plan import plan_launches
from llmbench.schema.config import Prompt, RunConfig

_PROMPTS = tuple(Prompt(set="s", index=i, text="Hello") for i in range(2))
_CONFIG = RunConfig(model="m", prompts=_PROMPTS, iterations=2, launches=3)


def test_nothing_is_left_to_say_before_a_request_was_measured() -> None:
    """While the first model loads there is no pace."""
    pace = Pace((_CONFIG,), plan_launches((_CONFIG,)))
    pace.begin_launch(0, 0.0)
    assert pace.left_s(5.0) is None
    pace.loaded(10.0)
    assert pace.left_s(12.0) is None


def test_loads_of_later_launches_are_counted_from_the_first() -> None:
    """Load 10 s, P0 2 s, P1 4 s; warm-up and two iterations a launch, three launches.

    After the first two requests: 2 x 6 s in this launch, and 2 x (10 + 3 x 6) s in the later ones, are 68 s.
    """
    pace = Pace((_CONFIG,), plan_launches((_CONFIG,)))
    pace.begin_launch(0, 0.0)
    pace.loaded(10.0)
    pace.measured(12.0)
    pace.measured(16.0)
    assert pytest.approx(68.0) == pace.left_s(16.0)
    assert pytest.approx(67.5) == pace.left_s(16.5)
    assert pytest.approx(66.0) == pace.left_s(30.0), "a request that lasts longer than before counts once"


def test_a_rest_before_each_launch_counts() -> None:
    """30 s before each of the two later ones."""
    pace = Pace((_CONFIG,), plan_launches((_CONFIG,)))
    pace.begin_launch(0, 0.0, cooldown_s=30.0)
    pace.loaded(10.0)
    pace.measured(12.0)
    pace.measured(16.0)
    assert pytest.approx(128.0) == pace.left_s(16.0)


def test_the_end_is_zero() -> None:
    """One launch of one request."""
    config = RunConfig(model="m", prompts=_PROMPTS[:1], iterations=1, warmups=0)
    pace = Pace((config,), plan_launches((config,)))
    pace.begin_launch(0, 0.0)
    pace.loaded(1.0)
    pace.measured(2.0)
    assert pytest.approx(0.0) == pace.left_s(3.0)
