import itertools

import pytest

from llmbench.engines.base import EngineRequest, Generation
from llmbench.engines.scripted import ScriptedSession, read_script
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Finish


def _session(script: str) -> ScriptedSession:
    config = RunConfig(model=script, engine="scripted", prompts=(Prompt(set="s", index=0, text="x"),))
    return ScriptedSession(read_script(script), config)


def _gaps(generation: Generation) -> list[float]:
    at = (generation.start_ns, *generation.sequences[0].at_ns)
    return [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(at)]


def test_latencies_are_as_told() -> None:
    """First, second and next are laid out to the nanosecond; the first grows with the input."""
    session = _session("first=200ms,second=30ms,next=10ms,per-token=500us")
    made = session.generate(EngineRequest(input_ids=((1, 2, 3, 4),), output_tokens=4))

    assert [202.0, 30.0, 10.0, 10.0] == _gaps(made)


def test_without_a_second_it_is_a_next() -> None:
    """A script may leave the second token out; one output token has neither."""
    session = _session("first=1s,next=10ms")

    assert [1000.0, 10.0] == _gaps(session.generate(EngineRequest(input_ids=((1,),), output_tokens=2)))
    assert [1000.0] == _gaps(session.generate(EngineRequest(input_ids=((1,),), output_tokens=1)))


def test_the_end_of_text_stops_where_it_may() -> None:
    """A told stop counts only when the end of text may stop a sequence."""
    session = _session("first=1ms,next=1ms,stop=2")
    cut = session.generate(EngineRequest(input_ids=((1,),), output_tokens=5, stop_at_eos=True)).sequences[0]
    whole = session.generate(EngineRequest(input_ids=((1,),), output_tokens=5)).sequences[0]

    assert (2, Finish.STOP) == (cut.output_tokens, cut.finish)
    assert (5, Finish.LENGTH) == (whole.output_tokens, whole.finish)


def test_a_step_gives_as_many_tokens_as_told() -> None:
    """Ten tokens in steps of four: one, four, four, and the one that is left."""
    session = _session("first=100ms,next=10ms,step=4")
    made = session.generate(EngineRequest(input_ids=((1,),), output_tokens=10))

    assert (1, 4, 4, 1) == made.sequences[0].counts
    assert 10 == len(made.sequences[0].token_ids)
    assert [100.0, 10.0, 10.0, 10.0] == _gaps(made)


def test_noise_is_seeded_by_launch() -> None:
    """Two launches differ, the same launch repeats itself."""

    def first_gap(launch: int) -> float:
        request = EngineRequest(input_ids=((1,),), output_tokens=1, launch=launch)
        return _gaps(_session("first=100ms,launch-noise=5%").generate(request))[0]

    assert first_gap(0) == first_gap(0)
    assert first_gap(0) != first_gap(1)


@pytest.mark.parametrize(
    "script",
    ["fist=1ms", "first=1", "first=fast", "crash=SIGSEGV", "crash@x", "first", "=1ms", "stop=1.5", "step=0"],
)
def test_a_script_that_says_nothing_is_refused(script: str) -> None:
    """The part that is not understood is named."""
    with pytest.raises(InputError, match="is not understood"):
        read_script(script)


def test_a_cold_start_and_a_drift_are_as_told() -> None:
    """Two requests of twice the time, each 10 % slower than the one before."""
    session = _session("first=100ms,next=10ms,cold=2,drift=10%")
    made = [session.generate(EngineRequest(input_ids=((1,),), output_tokens=1)) for _ in range(3)]

    assert pytest.approx([200.0, 220.0, 121.0]) == [_gaps(each)[0] for each in made]


def test_launches_stray_from_the_token_told() -> None:
    """Every launch says the same two tokens, and another third."""

    def output(launch: int) -> tuple[int, ...]:
        request = EngineRequest(input_ids=((1,),), output_tokens=4, launch=launch)
        made = _session("stray=3").generate(request)
        return made.sequences[0].token_ids

    one, other = output(0), output(1)
    assert one[:2] == other[:2]
    assert all(a != b for a, b in zip(one[2:], other[2:], strict=True))
