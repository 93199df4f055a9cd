import dataclasses
import shlex
from collections.abc import Callable

import pytest

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import COMPARED, Verdict
from llmbench.render.sentences.commands import run_command
from llmbench.render.sentences.verdict import next_steps, sentence, verdict_lines
from llmbench.render.views import comparison_table
from llmbench.schema.config import Prompt, RunConfig

Compare = Callable[[str], Comparison]


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [
        (
            "regressed",
            "The candidate is slower: first token +20 % (+20 to +20 %); time per output token 0.0 %",
        ),
        (
            "improved",
            "The candidate is faster: first token -20 % (-20 to -20 %); time per output token 0.0 %",
        ),
        ("unchanged", "Nothing changed beyond the thresholds: first token 0.0 %"),
        ("inconclusive", "Undecided: first token ~ +3.0 % (-0.5 to +6.6 %); time per output token 0.0 %"),
        ("one launch", "Undecided: first token ~ +30 %; time per output token ~ 0.0 %."),
        ("incomparable", "Nothing can be compared: the cpu differs (Example CPU 9000 against Other CPU)."),
    ],
)
def test_one_sentence_says_it(comparison_of: Compare, kind: str, beginning: str) -> None:
    """What came out, by how much, and how sure it is; ``~`` where it is not."""
    assert sentence(comparison_of(kind)).startswith(beginning)


def test_an_alarm_of_a_single_row_is_named(comparison_of: Compare) -> None:
    """Where the means are fine and one prompt is not, the sentence says which."""
    found = comparison_of("regressed")
    calm = tuple(
        dataclasses.replace(mean, changes=tuple(dataclasses.replace(c, is_alarm=False) for c in mean.changes))
        for mean in found.means
    )

    reported = sentence(dataclasses.replace(found, means=calm))

    assert reported.startswith(
        "The candidate is slower: first token of P0 +20 % (+20 to +20 %); over all prompts"
    )


def test_no_common_prompt_is_a_reason(comparison_of: Compare) -> None:
    """Nothing differs but there is nothing to compare."""
    empty = dataclasses.replace(comparison_of("unchanged"), pairs=(), means=())

    assert "Nothing can be compared: the two have no prompt in common." == sentence(empty)


def test_a_row_that_cannot_be_compared_is_a_reason(comparison_of: Compare) -> None:
    """The first row's reason stands for all."""
    found = comparison_of("unchanged")
    pairs = tuple(
        dataclasses.replace(pair, changes=(), reasons=("batch: 1 against 2",)) for pair in found.pairs
    )

    reported = sentence(dataclasses.replace(found, pairs=pairs, means=()))

    assert "Nothing can be compared: P0: batch: 1 against 2." == reported


@pytest.mark.parametrize("kind", ["regressed", "improved", "unchanged", "incomparable"])
def test_what_is_decided_needs_nothing_more(comparison_of: Compare, kind: str) -> None:
    """No advice where there is no doubt."""
    assert [] == list(next_steps(comparison_of(kind)))


def test_undecided_says_what_to_type(comparison_of: Compare) -> None:
    """What these data show, and a command with twice the launches there were."""
    reported = list(next_steps(comparison_of("inconclusive")))

    assert [
        "too noisy: only changes of 4.7 % or more are detectable",
        "to settle the undecided rows, measure both sides with 6 launches (about 1 min 15 s):",
    ] == reported[:2]
    assert (
        "llmbench run -m models/tiny/pytorch/dldt/INT8 --input-tokens 32,512 -ic 4 -n 2 "
        "-lc '{\"NUM_STREAMS\": 1}' --launches 6"
    ) == reported[2].strip()


def test_slower_but_not_beyond_doubt_says_so_and_what_to_type(comparison_of: Compare) -> None:
    """Both means regressed without an alarm, of three launches: undecided as a whole, and six would say more."""
    found = comparison_of("regressed")
    doubtful = dataclasses.replace(
        found,
        means=tuple(
            dataclasses.replace(
                mean,
                changes=tuple(
                    dataclasses.replace(change, verdict=Verdict.REGRESSED, is_alarm=False)
                    for change in mean.changes
                ),
            )
            for mean in found.means
        ),
        pairs=tuple(dataclasses.replace(pair, changes=()) for pair in found.pairs),
    )

    assert sentence(doubtful).startswith("Undecided: first token +")
    assert 2 == sentence(doubtful).count("%), too uncertain to count")
    assert any("measure both sides with 6 launches" in step for step in next_steps(doubtful))


def test_one_launch_is_told_to_make_five(comparison_of: Compare) -> None:
    """Without any noise known, five launches are where to begin."""
    step = next(next_steps(comparison_of("one launch")))
    assert step.startswith("to settle the undecided rows, measure both sides with 5 launches (about ")


def test_an_invalid_run_is_sent_to_the_doctor(comparison_of: Compare) -> None:
    """More launches beside the same neighbour would not help."""
    found = comparison_of("inconclusive")
    invalid = dataclasses.replace(found, base=dataclasses.replace(found.base, is_valid=False))

    (reported,) = next_steps(invalid)

    assert "llmbench doctor" in reported


def test_noise_beyond_hope_is_sent_to_the_doctor(comparison_of: Compare) -> None:
    """Where more than a thousand launches would be needed, the machine is what to mend."""
    found = comparison_of("inconclusive")
    hopeless = tuple(
        dataclasses.replace(mean, changes=tuple(dataclasses.replace(c, needed=None) for c in mean.changes))
        for mean in found.means
    )

    reported = list(next_steps(dataclasses.replace(found, means=hopeless)))

    assert "llmbench doctor" in reported[-1]


def test_a_command_line_says_what_was_set() -> None:
    """What differs from the defaults, quoted for a shell; a typed prompt and a file's set by name."""
    typed = RunConfig(model="my models/x", prompts=(Prompt(set="text", index=0, text="Who's there?"),))
    from_file = RunConfig(
        model="m",
        prompts=(Prompt(set="short", index=0, text="Hello"),),
        batch_size=2,
        threads=4,
        apply_chat_template=True,
        scheduler={"max_num_batched_tokens": 256},
    )

    assert "llmbench run -m 'my models/x' -p 'Who'\"'\"'s there?' --launches 3" == run_command(typed, 3)
    assert [
        *(
            "llmbench",
            "run",
            "-m",
            "m",
            "-pf",
            "short",
            "-bs",
            "2",
            "--apply-chat-template",
            "--threads",
            "4",
        ),
        *("--cb-config", '{"max_num_batched_tokens": 256}', "--launches", "5"),
    ] == shlex.split(run_command(from_file, 5))


def test_lines_begin_with_the_means(comparison_of: Compare) -> None:
    """Two primary means, then all metrics of each prompt; an alarm is marked, the undecided is a tilde."""
    found = verdict_lines(comparison_of("regressed"))

    assert ["geomean", "geomean", *["P0"] * len(COMPARED), *["P1"] * len(COMPARED)] == [
        line.where for line in found
    ]
    undecided = verdict_lines(comparison_of("one launch"))
    words = [comparison_table(lines, ("base", "candidate")).rows[0][7] for lines in (found, undecided)]
    assert [("regressed", "!"), ("~", "")] == [(cell.text, cell.note) for cell in words]
    assert ("200.0", "240.0", "+20 %", "+20 to +20 %", Verdict.REGRESSED) == (
        found[0].base,
        found[0].candidate,
        found[0].change,
        found[0].interval,
        found[0].verdict,
    )


def test_one_prompt_has_no_mean(comparison_of: Compare) -> None:
    """The mean over one prompt is that prompt."""
    found = comparison_of("regressed")
    one = dataclasses.replace(
        found,
        pairs=found.pairs[:1],
        means=tuple(dataclasses.replace(mean, prompts=1) for mean in found.means),
    )

    assert {"P0"} == {line.where for line in verdict_lines(one)}
