import time

from llmbench.engines.servers.scripted_batch import StepClock, StepTimes


def test_requests_share_steps_that_are_the_longer_the_more_there_are() -> None:
    """Two prompts are prefilled in one step, 60 + 2 * 5 ms; then 10 + 2 * 2 ms with both, and 10 + 2 ms with one."""
    clock = StepClock(StepTimes(first=0.06, per_token=0.001, next=0.01, per_request=0.002))
    began_ns = time.perf_counter_ns()
    long, short = (clock.join_batch(began_ns, input_tokens=5, output_tokens=count) for count in (4, 2))
    for _ in range(4):
        clock.step()

    assert [70, 84, 96, 108] == [(long.get() - began_ns) // 1_000_000 for _ in range(4)]
    assert [70, 84] == [(short.get() - began_ns) // 1_000_000 for _ in range(2)]


def test_a_prompt_that_comes_later_delays_the_tokens_of_the_others() -> None:
    """It comes at 55 ms, in the step until 70, and is prefilled behind it; the third token waits until then."""
    clock = StepClock(StepTimes(first=0.05, per_token=0.0, next=0.02, per_request=0.0))
    began_ns = time.perf_counter_ns()
    first = clock.join_batch(began_ns, input_tokens=1, output_tokens=3)
    second = clock.join_batch(began_ns + 55_000_000, input_tokens=1, output_tokens=1)
    for _ in range(4):
        clock.step()

    assert [50, 70, 140] == [(first.get() - began_ns) // 1_000_000 for _ in range(3)]
    assert 120 == (second.get() - began_ns) // 1_000_000
