import dataclasses
import shlex

from llmbench.cli import invoke
from llmbench.config import Prompt, RunConfig
from llmbench.render.commands import ab_command

CONFIG = RunConfig(
    model="models/int8",
    prompts=(Prompt(set="ladder", index=0, tokens=32), Prompt(set="ladder", index=1, tokens=512)),
    output_tokens=16,
    do_sample=True,
)


def again(**changes: object) -> str | None:
    """The command that compares a configuration with a changed one in 20 blocks."""
    return ab_command(CONFIG, dataclasses.replace(CONFIG, **changes), 20)  # type: ignore[arg-type]


def test_what_is_the_same_stands_once() -> None:
    """An A/A has every option once."""
    expected = "llmbench ab -m models/int8 --input-tokens 32,512 -ic 16 --do-sample --blocks 20"

    assert expected == again()


def test_what_differs_stands_twice_a_before_b() -> None:
    """A default that is a value can be said; properties are a set a side."""
    told = again(model="models/int4", attention="sdpa", properties={"NUM_STREAMS": 1})

    assert told is not None
    assert [
        *("llmbench", "ab", "-m", "models/int8", "-m", "models/int4", "--input-tokens", "32,512"),
        *("-ic", "16", "--do-sample", "--attention", "pa", "--attention", "sdpa"),
        *("-lc", "{}", "-lc", '{"NUM_STREAMS": 1}', "--blocks", "20"),
    ] == shlex.split(told)


def test_what_no_option_can_say_of_one_side_has_no_command() -> None:
    """Threads left to the engine against two threads, or a switch on one side: a recipe can say that."""
    assert again(threads=2) is None
    assert again(apply_chat_template=True) is None
    assert again(interpreter="other/bin/python") is None


def test_the_command_is_one_that_ab_takes() -> None:
    """It gets as far as the model, which is not there."""
    base = dataclasses.replace(
        CONFIG, model="first=1ms", engine="scripted", do_sample=False, attention="sdpa"
    )
    told = ab_command(base, dataclasses.replace(base, model="first=2ms", batch_size=2), 3)

    assert told is not None
    assert 0 == invoke([*shlex.split(told)[1:], "--dry-run"])
