from collections.abc import Callable

import pytest

from llmbench.analysis.metrics import text
from llmbench.analysis.metrics.table import LOAD, METRICS
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import Launch
from llmbench.schema.units import Direction, Unit, ns_from_ms

Build = Callable[..., Measurement]


def values(m: Measurement, *names: str) -> list[float | None]:
    """Some metrics of a request, by name."""
    return [METRICS[name].of(m) for name in names]


def test_first_second_and_next_are_three_numbers(request_of: Build) -> None:
    """Tokens at 100, 130, 140, 160 ms: first 100, second 30, next (10+20)/2 = 15, tpot 60/3 = 20, e2e 160."""
    m = request_of([100, 130, 140, 160])

    got = values(m, "first_token", "second_token", "next_token", "tpot", "e2e")

    assert pytest.approx([0.100, 0.030, 0.015, 0.020, 0.160]) == got


def test_one_token_has_no_second(request_of: Build) -> None:
    """After one token nothing follows: None, never the engine's -1 and never 0."""
    m = request_of([100])

    assert [0.1, 0.1] == values(m, "first_token", "e2e")
    assert [None] * 4 == values(m, "second_token", "next_token", "tpot", "decode_rate")


def test_two_tokens_have_no_next(request_of: Build) -> None:
    """Two tokens: second and tpot are the same gap, next does not exist."""
    m = request_of([100, 112])

    assert pytest.approx([0.012, 0.012]) == values(m, "second_token", "tpot")
    assert text.next_token(m) is None


def test_no_token_has_nothing(request_of: Build) -> None:
    """Where no token came out, no latency exists."""
    m = request_of([])

    got = values(m, "first_token", "second_token", "next_token", "tpot", "e2e", "prefill_rate", "decode_rate")

    assert [None] * 7 == got


def test_an_event_may_hold_several_tokens(request_of: Build) -> None:
    """Counts 1, 3, 2 at 100, 130, 160 ms: 5 tokens later, tpot 60 / 5 = 12, next 30 / 2 = 15, second 30."""
    m = request_of([100, 130, 160], counts=(1, 3, 2))

    assert pytest.approx([0.030, 0.015, 0.012]) == values(m, "second_token", "next_token", "tpot")


def test_a_first_event_of_several_tokens_divides_by_the_rest(request_of: Build) -> None:
    """Counts 2, 1, 1 at 100, 130, 150 ms: tpot 50/2 = 25, next 20/1; the second came with the first."""
    m = request_of([100, 130, 150], counts=(2, 1, 1))

    assert text.second_token(m) is None
    assert pytest.approx([0.020, 0.025]) == values(m, "next_token", "tpot")


def test_averaged_times_have_no_second_token(request_of: Build) -> None:
    """A report that tells first and average only has a tpot, but no second and no next token."""
    m = request_of([100, 300], counts=(1, 20), has_token_times=False)

    assert pytest.approx(0.010) == text.time_per_output_token(m)
    assert [None, None] == values(m, "second_token", "next_token")


def test_batch_shows_the_sequence_that_ends_last(request_of: Build) -> None:
    """Two sequences: ends at 120 and at 150 ms; latencies are those of the second one."""
    m = request_of([100, 110, 120], [105, 125, 150])

    got = values(m, "first_token", "second_token", "next_token", "tpot", "e2e")

    assert pytest.approx([0.105, 0.020, 0.025, 0.0225, 0.150]) == got


def test_decode_rate_of_a_batch_is_counted_once(request_of: Build) -> None:
    """Four sequences of 3 tokens, 2 of them after 100 ms, within 20 ms: 8 / 0.02 = 400 tokens/s, not 1600."""
    m = request_of(*[[100, 110, 120]] * 4)

    assert pytest.approx(400) == text.decode_rate(m)
    assert pytest.approx(100) == text.decode_rate(request_of([100, 110, 120]))


def test_decode_rate_counts_a_late_first_token(request_of: Build) -> None:
    """Firsts at 100 and 110 ms, last at 120: after 100 ms came 2 + 2 tokens in 20 ms: 200 tokens/s."""
    assert pytest.approx(200) == text.decode_rate(request_of([100, 110, 120], [110, 120]))


def test_decode_rate_lasts_until_the_last_token_of_all(request_of: Build) -> None:
    """2 + 2 tokens after 100 ms, the last at 150: 4 / 0.05 = 80 tokens/s."""
    assert pytest.approx(80) == text.decode_rate(request_of([100, 110, 120], [100, 125, 150]))


def test_decode_rate_counts_tokens_not_events(request_of: Build) -> None:
    """Counts 1, 3, 2 with the last at 60 ms after the first: 5 / 0.06 tokens/s."""
    assert pytest.approx(5 / 0.06) == text.decode_rate(request_of([100, 130, 160], counts=(1, 3, 2)))


def test_prefill_rate_counts_all_inputs(request_of: Build) -> None:
    """Two inputs of 32 tokens in 100 ms: 640 tokens/s."""
    assert pytest.approx(640) == text.prefill_rate(request_of([100, 110], [100, 110]))


def test_infer_is_first_and_mean_of_the_rest(request_of: Build) -> None:
    """90, 8 and 10 ms: first 90, next 9."""
    m = request_of([100, 110, 120], infer_ms=[90, 8, 10])

    assert pytest.approx([0.090, 0.009]) == values(m, "first_infer", "next_infer")


@pytest.mark.parametrize("infer_ms", [[], [0, 0, 0]])
def test_infer_that_is_not_shown_does_not_exist(request_of: Build, infer_ms: list[float]) -> None:
    """No passes, or passes that are all 0, are no passes."""
    assert [None, None] == values(request_of([100, 110], infer_ms=infer_ms), "first_infer", "next_infer")


def test_one_pass_has_no_next(request_of: Build) -> None:
    """A single forward pass has no later ones to average."""
    assert [0.09, None] == values(request_of([100], infer_ms=[90]), "first_infer", "next_infer")


def test_tokenizer_and_memory(request_of: Build) -> None:
    """2 ms, 3 ms and 100 MiB are what was observed; unobserved they are None."""
    memory = Memory(initial_bytes=1, peak_bytes=100 << 20, initial_system_bytes=1, system_bytes=1)
    m = request_of([100], tokenize_ns=2_000_000, detokenize_ns=3_000_000, memory=memory)

    assert [0.002, 0.003, float(100 << 20)] == values(m, "tokenize", "detokenize", "memory")
    assert [None] * 3 == values(request_of([100]), "tokenize", "detokenize", "memory")


def test_load_belongs_to_the_launch() -> None:
    """Load time is the launch's."""
    assert LOAD.of(Launch(index=0, cell=0, started_at="", load_s=2.5)) == 2.5


def test_rates_are_better_higher() -> None:
    """Rates are better higher, everything else lower; per-token metrics say so in their unit."""
    higher = {name for name, metric in METRICS.items() if metric.direction is Direction.HIGHER}
    per_token = {n for n, metric in METRICS.items() if metric.unit is Unit.MILLISECONDS_PER_TOKEN}

    rates = {"prefill_rate", "decode_rate", "text_rate", "tokens_per_step"}
    assert rates | {"recall", "right_chunk", "audio", "rtfx", "in_time"} == higher
    assert {"next_token", "tpot"} == per_token


def test_tokens_per_step_count_what_was_accepted(request_of: Build) -> None:
    """Steps of 1, 6, 4 and 2 tokens: twelve after the first in three steps; without guessing there is none."""
    of = METRICS["tokens_per_step"].of
    guessed = request_of([100, 130, 160, 190], counts=(1, 6, 4, 2), later_steps=3)

    assert 4.0 == of(guessed)
    assert of(request_of([100, 130, 160])) is None
    assert of(request_of([100], later_steps=0)) is None


def test_the_first_callback_is_no_token(request_of: Build) -> None:
    """A streamer is called when there is text to show, which may be later than the first token."""
    streamed = request_of([100, 130], callback_ns=(ns_from_ms(1125), ns_from_ms(1131)))

    assert 0.125 == METRICS["first_callback"].of(streamed)
    assert METRICS["first_callback"].of(request_of([100, 130])) is None


def test_energy_is_of_the_request_and_of_each_token(request_of: Build) -> None:
    """3 J over a batch of 4 + 2 tokens are half a joule a token; where nobody could look there is none."""
    m = request_of([100, 110, 120, 130], [100, 110], energy_j=3.0)

    assert [3.0, 0.5] == values(m, "energy", "energy_per_token")
    assert [None, None] == values(request_of([100]), "energy", "energy_per_token")
    assert [3.0, None] == values(request_of([], energy_j=3.0), "energy", "energy_per_token")
