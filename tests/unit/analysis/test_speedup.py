import dataclasses
import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from llmbench.analysis import report, speedup
from llmbench.analysis.speedup import Kind, Speedup
from llmbench.errors import InputError, MachineError
from llmbench.render.terminal import speedup as rendered
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run, Topology
from tests import builders

TWO, BASE = builders.TWO_SOCKETS, builders.SOCKETS_BASE


@pytest.fixture
def measured() -> Callable[..., Speedup]:
    """Builds the table of a run of four setups in three blocks; see builders.sockets_run."""

    def build(**fields: Any) -> Speedup:
        return speedup.tabulate(report.summarize_run(builders.sockets_run(**fields)))

    return build


def test_four_setups_of_two_sockets() -> None:
    """Each socket alone, both with a thread a core, both with the policy."""
    one, other, both, split = speedup.socket_configurations(BASE, TWO)

    assert ((0,), (1,)) == (one.sockets, other.sockets)
    assert ((0, 1), 4) == (both.sockets, both.threads)
    assert (None, True) == (split.threads, split.is_tensor_parallel)
    assert [Kind.ONE, Kind.ONE, Kind.BOTH, Kind.SPLIT] == [
        speedup.setup_kind(config) for config in (one, other, both, split)
    ]


def test_one_socket_is_exit_4_with_what_to_do() -> None:
    """There is nothing to compare on one socket; a cpuset that hides the other is another remedy."""
    with pytest.raises(MachineError, match="two sockets are needed; this machine has 1") as one:
        speedup.socket_configurations(BASE, Topology(cpus=TWO.cpus[:1], allowed=(0,)))
    with pytest.raises(
        MachineError, match=r"this machine has 2, and this process may use 1 \(socket 1\)"
    ) as pinned:
        speedup.socket_configurations(BASE, Topology(cpus=TWO.cpus, allowed=(1, 3)))

    assert "llmbench profile" in (one.value.hint or "")
    assert "widen the cpuset" in (pinned.value.hint or "")


@pytest.mark.parametrize(
    "fields", [{"threads": 2}, {"properties": {"MODEL_DISTRIBUTION_POLICY": "TENSOR_PARALLEL"}}]
)
def test_the_base_may_not_say_what_the_setups_say(fields: dict[str, object]) -> None:
    """Threads and policy are what is varied."""
    with pytest.raises(InputError, match="sets threads and policy itself"):
        speedup.socket_configurations(dataclasses.replace(BASE, **fields), TWO)  # type: ignore[arg-type]


def test_gains_are_paired_by_block(measured: Callable[..., Speedup]) -> None:
    """100 ms against 200 ms is twice as fast, exactly, though blocks differ by 20 %; 30 against 20 is slower."""
    table = measured()
    gains = table.gains("first_token")

    assert "socket 0 alone" == table.base.name
    assert [pytest.approx(2.0)] * 3 == [gains[1024].ratio, gains[1024].low, gains[1024].high]
    assert pytest.approx(2 / 3) == gains[32].ratio
    assert pytest.approx(1.0) == table.efficiency(gains[1024])
    assert pytest.approx(1.5) == table.over_both["first_token"][1024].ratio
    assert 3 == table.blocks


def test_the_faster_socket_alone_is_the_base(measured: Callable[..., Speedup]) -> None:
    """Pinning against the slower one, a speed-up would be flattered."""
    slow_first = {"socket 0": 250.0, "socket 1": 200.0, "both": 150.0, "split": 100.0}
    table = measured(short=slow_first, long=slow_first)

    assert "socket 1 alone" == table.base.name
    assert pytest.approx(2.0) == table.gains("first_token")[1024].ratio


def test_it_pays_from_the_length_on_from_which_every_interval_is_above_one(
    measured: Callable[..., Speedup],
) -> None:
    """Slower at 32, faster at 1024: it pays from 1024; with an interval over 1, at none; faster at both, at 32."""
    assert 1024 == measured().pays_from("first_token")
    assert measured(wobble=0.6).pays_from("first_token") is None
    assert 32 == measured(short=builders.LONG).pays_from("first_token")


def test_memory_is_how_many_times_more(measured: Callable[..., Speedup]) -> None:
    """300 MiB with the policy against 200 on one socket: 1.5 times, not a speed-up of 0.67."""
    table = measured()
    times = {line.setup.kind: line.entries["memory"].gain for line in table.lines}

    assert times[Kind.SPLIT] is not None
    assert pytest.approx(1.5) == times[Kind.SPLIT].ratio


def test_the_sentence_says_how_much_where_and_from_when_on(measured: Callable[..., Speedup]) -> None:
    """First token at the longest input, next tokens, where it pays; then against both without the policy."""
    response, against = rendered.speedup_sentences(measured())

    assert (
        "Tensor parallelism over 2 sockets: first token 2.00× faster at 1024 tokens [2.00, 2.00], "  # noqa: RUF001
        "next tokens 2.00× faster [2.00, 2.00]; "  # noqa: RUF001
        "it pays from 1024 tokens on; no significant speed-up at 32 tokens."
    ) == response
    assert against.startswith("Against both sockets without the policy: first token 1.50× faster")  # noqa: RUF001


def test_slower_is_said_as_slower(measured: Callable[..., Speedup]) -> None:
    """No speed-up below 1 dressed up as one: 30 ms against 20 ms is 1.5 times slower, and it does not pay."""
    response = next(rendered.speedup_sentences(measured(long=builders.SHORT)))

    assert "first token 1.50× slower at 1024 tokens [1.50, 1.50]" in response  # noqa: RUF001
    assert "it does not pay at any length measured" in response


def test_doubt_is_said_as_doubt(measured: Callable[..., Speedup]) -> None:
    """An interval around 1 is undecided; one block has no interval at all."""
    assert "first token undecided at 1024 tokens, 2." in next(
        rendered.speedup_sentences(measured(wobble=0.6))
    )
    alone = next(rendered.speedup_sentences(measured(blocks=1)))
    assert "2.00× faster at 1024 tokens (one block, so no interval)" in alone  # noqa: RUF001
    assert "more blocks would show" in alone


def test_nothing_is_claimed_without_a_block_of_both(
    measured: Callable[..., Speedup], request_of: Callable[..., Measurement]
) -> None:
    """A split whose requests do not count leaves no figure."""
    table = measured()
    kept = tuple(line for line in table.lines if line.setup != table.split)

    assert "no result" in next(rendered.speedup_sentences(dataclasses.replace(table, lines=kept)))


def test_another_run_is_refused(run_of: Callable[..., Run]) -> None:
    """A run of one configuration has no second socket to speak of."""
    with pytest.raises(InputError, match="does not have one socket, both, and both with"):
        speedup.tabulate(report.summarize_run(run_of([], cells=(BASE,))))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_fits_the_screen(
    measured: Callable[..., Speedup], run_of: Callable[..., Run], width: int
) -> None:
    """Whole columns are left out, numbers are not broken, and the speed-up stays."""
    text = io.StringIO()
    summarized = report.summarize_run(run_of([], cells=(BASE,)))
    rendered.render_speedup(measured(), summarized, Console(file=text, width=width), is_explained=True)
    lines = text.getvalue().splitlines()

    assert all(len(line) <= max(width, 46) for line in lines), max(lines, key=len)
    assert any("both, tensor" in line and "2.00" in line for line in lines)
