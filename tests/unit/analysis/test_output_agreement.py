import dataclasses
from collections.abc import Callable, Sequence

import pytest

from llmbench.analysis import output_agreement
from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.report import summarize_run
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Finish, Measurement
from llmbench.schema.measurement import Sequence as Tokens
from llmbench.schema.run import Launch, Outcome, Run

Build = Callable[..., Measurement]
BuildRun = Callable[..., Run]
PROMPT = Prompt(set="s", index=0, text="Hello there")
SAME = (1, 2, 3, 4)


@pytest.fixture
def run_saying(request_of: Build, launch_of: Callable[..., Launch], run_of: BuildRun) -> BuildRun:
    """Builds a run from what each launch said in each iteration, four tokens asked for; the first is a warm-up."""

    def build(*launches: Sequence[Sequence[int]], **fields: object) -> Run:
        config = RunConfig(
            **({"model": "m", "prompts": (PROMPT,), "output_tokens": 4} | fields)  # type: ignore[arg-type]
        )
        made = []
        for index, output in enumerate(launches):
            requests = []
            for i, ids in enumerate(output):
                request = request_of(
                    [10 + n for n in range(len(ids))], launch=index, iteration=i, is_warmup=i == 0
                )
                ended = Finish.LENGTH if len(ids) == 4 else Finish.STOP
                sequence = dataclasses.replace(request.sequences[0], token_ids=tuple(ids), finish=ended)
                requests.append(dataclasses.replace(request, requested_tokens=4, sequences=(sequence,)))
            made.append(launch_of(requests, index=index))
        return run_of(made, cells=(config,))

    return build


def retold(run: Run, change: Callable[[Tokens], Tokens]) -> Run:
    """The run with every sequence changed."""
    return dataclasses.replace(
        run,
        launches=tuple(
            dataclasses.replace(
                launch,
                measurements=tuple(
                    dataclasses.replace(m, sequences=tuple(map(change, m.sequences)))
                    for m in launch.measurements
                ),
            )
            for launch in run.launches
        ),
    )


def locations(base: Run, candidate: Run) -> output_agreement.Agreement:
    """The first prompt of both."""
    return output_agreement.between(base, candidate, [((0, 0), (0, 0))])


def test_launches_that_said_the_same(run_saying: BuildRun) -> None:
    """Two variants, the warm-up's among them, in three launches: two that can be compared, and none parts."""
    got = output_agreement.within(run_saying(*[[SAME, (5, 6, 7, 8)]] * 3))

    assert (2, ()) == (got.variants, got.partings)
    assert got.first is None


def test_where_launches_part(run_saying: BuildRun) -> None:
    """Launch 2 says another third token in variant 1: told with both launches, the token, and how many there are."""
    got = output_agreement.within(run_saying([SAME, SAME], [SAME, SAME], [SAME, (1, 2, 9, 4)]))

    (divergence,) = got.partings
    assert (0, PROMPT, 1, (0, 2), 3, 4) == (
        divergence.cell,
        divergence.prompt,
        divergence.variant,
        divergence.launches,
        divergence.token,
        divergence.tokens,
    )
    assert 2 == got.variants


def test_the_first_parting_is_that_of_the_fewest_tokens(run_saying: BuildRun) -> None:
    """Variant 0 parts at token 4 and variant 1 at token 2: the latter is told first."""
    got = output_agreement.within(run_saying([SAME, SAME], [(1, 2, 3, 9), (1, 9, 3, 4)]))

    assert got.first is not None
    assert (1, 2) == (got.first.variant, got.first.token)


def test_one_launch_says_nothing(run_saying: BuildRun) -> None:
    """Variants are other inputs, so one launch has nothing to compare."""
    assert 0 == output_agreement.within(run_saying([SAME, (5, 6, 7, 8)])).variants


def test_a_prompt_that_is_never_permuted_is_one_variant(run_saying: BuildRun) -> None:
    """Its iterations are the same input: what differs inside a launch is told as well, without a number."""
    prompt = dataclasses.replace(PROMPT, is_permuted=False)

    got = output_agreement.within(run_saying([SAME, (1, 9, 3, 4)], [SAME, SAME], prompts=(prompt,)))

    (divergence,) = got.partings
    assert (1, None, (0, 0), 2) == (got.variants, divergence.variant, divergence.launches, divergence.token)


@pytest.mark.parametrize("way", [{"do_sample": True}, {"num_beams": 2}])
def test_only_greedy_search_is_compared(run_saying: BuildRun, way: dict[str, object]) -> None:
    """Sampling may say what it likes, and beams are no greedy tokens."""
    assert 0 == output_agreement.within(run_saying([SAME], [(9, 9, 9, 8)], **way)).variants


def test_what_guesses_ahead_is_still_greedy(run_saying: BuildRun) -> None:
    """Prompt lookup must not change a token."""
    assert 1 == len(output_agreement.within(run_saying([SAME], [(9, 2, 3, 4)], max_ngram_size=3)).partings)


def test_an_output_that_was_cut_is_not_compared(run_saying: BuildRun) -> None:
    """Two of four tokens, where no end of the text was allowed."""
    assert 0 == output_agreement.within(run_saying([SAME], [(1, 2)])).variants


def test_an_end_that_was_allowed_is_a_token(run_saying: BuildRun) -> None:
    """One ends after two tokens where the other goes on: they part at the third."""
    (divergence,) = output_agreement.within(run_saying([SAME], [(1, 2)], stop_at_eos=True)).partings

    assert (3, 4) == (divergence.token, divergence.tokens)


def test_launches_that_failed_are_left_out(run_saying: BuildRun) -> None:
    """What was said before a crash is not compared."""
    run = run_saying([SAME], [(9, 9, 9, 8)])
    failed = dataclasses.replace(run.launches[1], outcome=Outcome.FAILED)

    assert 0 == output_agreement.within(dataclasses.replace(run, launches=(run.launches[0], failed))).variants


@pytest.mark.parametrize(("text", "partings"), [("one", 0), ("other", 1)])
def test_texts_stand_in_for_ids(run_saying: BuildRun, text: str, partings: int) -> None:
    """Without ids it is known that outputs differ, not where."""

    def reported(output: str) -> Callable[[Tokens], Tokens]:
        return lambda sequence: dataclasses.replace(sequence, token_ids=(), text=output)

    run = run_saying([SAME])

    got = locations(retold(run, reported("one")), retold(run, reported(text)))

    assert (1, False, partings) == (got.variants, got.has_tokens, len(got.partings))
    assert [(None, None)] * partings == [(divergence.token, divergence.tokens) for divergence in got.partings]


def test_neither_ids_nor_text_says_nothing(run_saying: BuildRun) -> None:
    """A report of another tool tells neither."""
    silent = retold(
        run_saying([SAME], [SAME]), lambda sequence: dataclasses.replace(sequence, token_ids=(), text=None)
    )

    assert 0 == output_agreement.within(silent).variants
    assert 0 == locations(silent, run_saying([SAME])).variants


def test_rows_of_a_batch_are_variants(
    request_of: Build, launch_of: Callable[..., Launch], run_of: BuildRun
) -> None:
    """Iteration 1 of a batch of two holds variants 2 and 3; single requests of another run are found among them."""

    def saying(ids: Sequence[Sequence[int]], iteration: int, **fields: object) -> Run:
        request = request_of(*[[10, 11]] * len(ids), iteration=iteration)
        sequences = tuple(
            dataclasses.replace(sequence, token_ids=tuple(output))
            for sequence, output in zip(request.sequences, ids, strict=True)
        )
        config = RunConfig(model="m", prompts=(PROMPT,), output_tokens=2, batch_size=len(ids))
        return run_of([launch_of([dataclasses.replace(request, sequences=sequences)])], cells=(config,))

    (divergence,) = locations(saying([(1, 2), (3, 4)], 1), saying([(3, 5)], 3)).partings

    assert (3, 2) == (divergence.variant, divergence.token)


def test_two_runs_are_the_same_if_any_launch_is(run_saying: BuildRun) -> None:
    """The base says two things; a candidate that says one of them has not parted from it."""
    base = run_saying([SAME], [(1, 2, 9, 4)])

    assert () == locations(base, run_saying([(1, 2, 9, 4)])).partings
    (divergence,) = locations(base, run_saying([(1, 2, 9, 5)])).partings
    assert ((1, 0), 4) == (divergence.launches, divergence.token)


def test_a_run_that_was_asked_for_less_agrees_as_far_as_it_goes(run_saying: BuildRun) -> None:
    """The first two of four tokens, where two were asked for, are the same."""
    two = retold(run_saying([SAME]), lambda s: dataclasses.replace(s, token_ids=(1, 2), at_ns=s.at_ns[:2]))
    launch = two.launches[0]
    asked = tuple(dataclasses.replace(m, requested_tokens=2) for m in launch.measurements)
    two = dataclasses.replace(two, launches=(dataclasses.replace(launch, measurements=asked),))

    got = locations(run_saying([SAME]), two)

    assert (1, ()) == (got.variants, got.partings)


def test_a_chat_goes_on_only_from_the_same_words(run_saying: BuildRun) -> None:
    """Where a first turn parts, the second had another input and is not compared."""
    turns = tuple(
        Prompt(set="s", index=0, text=text, earlier=output)
        for text, output in (("Hi", ()), ("And?", ("Hi",)))
    )
    run = run_saying([SAME, SAME], [SAME, (1, 9, 3, 4)], prompts=turns)
    both = dataclasses.replace(
        run,
        launches=tuple(
            dataclasses.replace(
                launch,
                measurements=(
                    *launch.measurements,
                    *(dataclasses.replace(m, prompt=1) for m in launch.measurements),
                ),
            )
            for launch in run.launches
        ),
    )

    got = output_agreement.within(both)

    assert (3, [0]) == (got.variants, [divergence.prompt.turn for divergence in got.partings])


def test_a_comparison_looks_at_prompts_that_are_the_same(run_saying: BuildRun) -> None:
    """The same hash on both sides is compared; another text, or another CPU, is not."""
    base = run_saying([SAME, SAME])
    other = run_saying([SAME, SAME], prompts=(dataclasses.replace(PROMPT, text="Good night"),))
    stranger = dataclasses.replace(
        base, environment=dataclasses.replace(base.environment, cpu_model="Other CPU")
    )

    def variants(candidate: Run) -> int:
        return compare(summarize_run(base), summarize_run(candidate)).agreement.variants

    assert (2, 0, 0) == (variants(base), variants(other), variants(stranger))
