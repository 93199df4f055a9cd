import dataclasses
from collections.abc import Callable

import pytest

from llmbench.analysis import validity
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Finish, Measurement

Build = Callable[..., Measurement]
CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4)
STOPPING = dataclasses.replace(CONFIG, stop_at_eos=True)


def quiet(**fields: float) -> Conditions:
    """One second on two CPUs with nobody else there."""
    return Conditions(**({"wall_s": 1.0, "cpus": 2, "worker_s": 1.5, "interference_s": 0.0} | fields))  # type: ignore[arg-type]


def judged(m: Measurement, config: RunConfig = CONFIG) -> tuple[str, ...]:
    """The reasons of a measurement that is alone in its launch."""
    return validity.reasons(m, config, (m,))


def test_a_quiet_request_counts(request_of: Build) -> None:
    """Nothing was found: no reason. Nor without conditions, which an imported report does not have."""
    assert () == judged(request_of([100, 110, 120, 130], conditions=quiet()))
    assert () == judged(request_of([100, 110, 120, 130]))


@pytest.mark.parametrize(("interference_s", "is_valid"), [(0.139, True), (0.141, False)])
def test_foreign_cpu_above_five_percent_and_two_ticks(
    request_of: Build, *, interference_s: float, is_valid: bool
) -> None:
    """One second on 2 CPUs: 5 % is 0.10 s and two ticks a CPU 0.04 s, so 0.14 s is the limit."""
    got = judged(request_of([1, 2, 3, 4], conditions=quiet(interference_s=interference_s)))

    assert is_valid == (got == ())


def test_foreign_cpu_is_named_with_its_limit(request_of: Build) -> None:
    """0.5 s of 2 CPU seconds are 25 %."""
    got = judged(request_of([1, 2, 3, 4], conditions=quiet(interference_s=0.5)))

    assert ("other processes used 25% of the CPUs (limit 5%)",) == got


def test_the_limit_is_the_configurations(request_of: Build) -> None:
    """With a limit of 30 %, a quarter of the CPUs is fine."""
    config = dataclasses.replace(CONFIG, foreign_cpu_limit=0.3)

    assert () == judged(request_of([1, 2, 3, 4], conditions=quiet(interference_s=0.5)), config)


@pytest.mark.parametrize("wall_s", [0.1, 1.0])
def test_a_limit_of_all_cpus_accepts_whatever_others_used(request_of: Build, wall_s: float) -> None:
    """CPU time is counted in ticks, and may come to 108 % of a short time."""
    m = request_of([1, 2, 3, 4], conditions=quiet(wall_s=wall_s, interference_s=2.5 * wall_s))
    config = dataclasses.replace(CONFIG, foreign_cpu_limit=1.0)

    assert () == judged(m, config)
    assert not validity.is_disturbed(m, config)


def test_a_short_iteration_is_judged_over_its_launch(request_of: Build) -> None:
    """One of ten iterations of 0.1 s shows 0.05 s of others: (0.05 - 0.04) / 2 is 0.5 %, fine."""
    calm = request_of([1, 2, 3, 4], conditions=quiet(wall_s=0.1))
    hit = request_of([1, 2, 3, 4], conditions=quiet(wall_s=0.1, interference_s=0.05))

    assert () == validity.reasons(hit, CONFIG, (*[calm] * 9, hit))


def test_a_noisy_launch_spoils_its_short_iterations(request_of: Build) -> None:
    """Ten iterations of 0.1 s with 0.05 s of others each: (0.5 - 0.04) / 2 = 23 % of the launch."""
    hit = request_of([1, 2, 3, 4], conditions=quiet(wall_s=0.1, interference_s=0.05))

    got = validity.reasons(hit, CONFIG, [hit] * 10)

    assert ("other processes used 23% of the CPUs during the launch (limit 5%)",) == got


def test_a_launch_is_judged_like_its_measurements(request_of: Build) -> None:
    """At once as one by one: 0.1 s is judged by the launch's 3 %, 0.5 s by its own 20 %."""
    launch = [
        request_of([1, 2, 3, 4], conditions=quiet(wall_s=wall_s, interference_s=0.2))
        for wall_s in (0.1, 0.5, 9)
    ]

    got = validity.judge_launch(launch, CONFIG)

    assert tuple(validity.reasons(m, CONFIG, launch) for m in launch) == got
    assert [0, 1, 0] == [len(reasons) for reasons in got]


def test_suspend_and_throttling(request_of: Build) -> None:
    """Both spoil a measurement and are named with their size."""
    got = judged(request_of([1, 2, 3, 4], conditions=quiet(suspended_s=12.34, throttle_events=3)))

    assert ("the machine was suspended for 12.3 s", "the CPU throttled (3 events)") == got


def test_a_wrong_output_count(request_of: Build) -> None:
    """Three tokens where four were asked for, in either way of generating."""
    m = request_of([1, 2, 3], requested_tokens=4)

    assert ("3 tokens were generated, 4 were requested",) == judged(m) == judged(m, STOPPING)


def test_end_of_text_cuts_the_output(request_of: Build) -> None:
    """An early end of text spoils a run of exact counts, and is fine where it was asked for."""
    m = request_of([1, 2, 3], requested_tokens=4)
    m = dataclasses.replace(
        m, sequences=tuple(dataclasses.replace(s, finish=Finish.STOP) for s in m.sequences)
    )

    assert ("the end of the text cut the output to 3 of 4 tokens",) == judged(m)
    assert () == judged(m, STOPPING)


def test_end_of_text_on_the_first_token_counts_where_it_was_asked_for(request_of: Build) -> None:
    """One token and the end: a valid first token; what follows does not exist."""
    m = request_of([1], requested_tokens=4)
    m = dataclasses.replace(m, sequences=(dataclasses.replace(m.sequences[0], finish=Finish.STOP),))

    assert () == judged(m, STOPPING)


def test_each_sequence_of_a_batch_counts(request_of: Build) -> None:
    """Two of three sequences came short by the same: one reason, once."""
    got = judged(request_of([1, 2, 3, 4], [1, 2, 3], [1, 2, 3]))

    assert ("3 tokens were generated, 4 were requested",) == got


def test_nothing_came_out(request_of: Build) -> None:
    """No token is no measurement, whatever was asked."""
    assert ("no token came out",) == judged(request_of([], requested_tokens=4), STOPPING)


def test_a_token_before_its_request(request_of: Build) -> None:
    """A first token at the instant of the request, or before it, is impossible."""
    got = judged(request_of([0, 2, 3, 4]))

    assert ("the first token came before the request began",) == got


def test_suspicions_of_the_worker_are_kept(request_of: Build) -> None:
    """What the worker found is a reason as it stands."""
    got = judged(request_of([1, 2, 3, 4], suspicions=("non-finite logits",)))

    assert ("non-finite logits",) == got


def _outputs(request_of: Build, *rows: tuple[int, ...]) -> tuple[str, ...]:
    """What is held against the last of some requests of one launch that gave these tokens."""
    made = [request_of([1.0 * step for step in range(1, len(ids) + 1)]) for ids in rows]
    requests = [
        dataclasses.replace(m, sequences=(dataclasses.replace(m.sequences[0], token_ids=ids),))
        for m, ids in zip(made, rows, strict=True)
    ]
    return validity.reasons(requests[-1], CONFIG, requests)


def test_one_token_in_every_output_of_a_launch_is_no_text(request_of: Build) -> None:
    """Four outputs of four tokens, all the same one: 16 in all, as in one long output."""
    zeros = (0,) * 4

    assert ("degenerate output: token 0 and nothing else, in all 4 outputs of the launch",) == _outputs(
        request_of, *[zeros] * 4
    )
    assert () == _outputs(request_of, *[zeros] * 3)
    assert () == _outputs(request_of, *[zeros] * 3, (0, 0, 0, 1))


def test_outputs_of_few_tokens_are_no_sign(request_of: Build) -> None:
    """Many prompts may well have the same first three tokens; and an output that is long is judged alone."""
    asked = dataclasses.replace(CONFIG, output_tokens=3)
    short = request_of([1, 2, 3])
    short = dataclasses.replace(
        short, sequences=(dataclasses.replace(short.sequences[0], token_ids=(0, 0, 0)),)
    )

    assert () == validity.reasons(short, asked, [short] * 20)
    assert () == _outputs(request_of, (0,) * 16, (0,) * 4)


def test_interference_names_programs_and_the_hypervisor() -> None:
    """Of 2 CPUs for 10 s others took 5.8 s, of which the hypervisor 0.4: 27 % and 2 %; pip has 24 %, node 3 %."""
    conditions = Conditions(
        wall_s=10.0,
        cpus=2,
        worker_s=10.0,
        interference_s=5.8,
        steal_s=0.4,
        programs={"pip": 4.8, "node": 0.6},
    )

    expected = "other processes used 27% of the CPUs (pip 24%, node 3%) and the hypervisor 2%"
    assert expected == validity.describe_interference([conditions])
    assert expected == validity.describe_interference([conditions, conditions])


def test_what_programs_took_is_never_more_than_what_others_took() -> None:
    """A process that moved to these CPUs late counts for them with all its time."""
    conditions = Conditions(wall_s=10.0, cpus=1, worker_s=5.0, interference_s=1.0, programs={"pip": 2.0})

    assert "other processes used 10% of the CPUs (pip 10%)" == validity.describe_interference([conditions])
