import dataclasses
import shlex

from llmbench.cli.main import invoke
from llmbench.render.sentences.commands import ab_command, run_command
from llmbench.schema.config import Prompt, RunConfig

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
    reported = again(model="models/int4", attention="sdpa", properties={"NUM_STREAMS": 1})

    assert reported is not None
    assert [
        *("llmbench", "ab", "-m", "models/int8", "-m", "models/int4", "--input-tokens", "32,512"),
        *("-ic", "16", "--do-sample", "--attention", "pa", "--attention", "sdpa"),
        *("-lc", "{}", "-lc", '{"NUM_STREAMS": 1}', "--blocks", "20"),
    ] == shlex.split(reported)


def test_what_no_option_can_say_of_one_side_has_no_command() -> None:
    """Threads left to the engine against two threads, or a switch on one side: a recipe can say that."""
    assert again(threads=2) is None
    assert again(apply_chat_template=True) is None
    assert again(interpreter="other/bin/python") is None


def test_where_a_run_was_held_and_what_it_let_count_is_asked_for_again() -> None:
    """The command measures the same: places as lists, the limit for neighbours, files that were not verified."""
    placed = dataclasses.replace(
        CONFIG, sockets=(0, 1), membind=(0, 2, 3), foreign_cpu_limit=0.2, is_verified=False
    )
    options = ["--sockets", "0-1", "--membind", "0,2-3", "--foreign-cpu-limit", "0.2", "--no-verify"]
    reported = shlex.split(run_command(placed, 7))

    assert options == reported[-len(options) - 2 : -2]
    assert ["--launches", "7"] == reported[-2:]
    assert [*options, "--blocks", "7"] == shlex.split(ab_command(placed, placed, 7) or "")[-9:]
    assert again(sockets=(0,)) is None


def test_adapters_are_named_each_and_no_sides_are_made_of_them() -> None:
    """A repeated option says both; for ab it would be one adapter a side."""
    adapted = dataclasses.replace(CONFIG, lora=("a.safetensors", "b.safetensors"), lora_alphas=(1.0, 0.5))

    reported = " ".join(shlex.split(run_command(adapted, 5)))

    assert (
        "--lora a.safetensors --lora b.safetensors --lora-alphas 1 --lora-alphas 0.5 --launches 5" in reported
    )
    assert ab_command(adapted, adapted, 5) is None


def test_the_command_is_one_that_ab_takes() -> None:
    """It gets as far as the model, which is not there."""
    base = dataclasses.replace(
        CONFIG, model="first=1ms", engine="scripted", do_sample=False, attention="sdpa"
    )
    reported = ab_command(base, dataclasses.replace(base, model="first=2ms", batch_size=2), 3)

    assert reported is not None
    assert 0 == invoke([*shlex.split(reported)[1:], "--dry-run"])
