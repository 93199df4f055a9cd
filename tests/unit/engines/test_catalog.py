import dataclasses

import pytest

from llmbench.engines.catalog import ABILITIES, CAN, backend, check_abilities
from llmbench.errors import ExitCode, InputError
from llmbench.schema.config import COMPILER, ENGINES, Prompt, RunConfig

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),))


def _refusal(**changes: object) -> InputError:
    with pytest.raises(InputError) as caught:
        check_abilities(dataclasses.replace(CONFIG, **changes))  # type: ignore[arg-type]
    assert ExitCode.USAGE == caught.value.exit_code
    return caught.value


def test_every_engine_stands_in_the_table() -> None:
    """Whatever engine and attention a configuration may name, the table says what it can."""
    named = {
        backend(dataclasses.replace(CONFIG, engine=engine, attention=attention))
        for engine in ENGINES
        for attention in ("pa", "sdpa")
    }

    assert named == CAN.keys()
    assert set().union(*CAN.values()) <= set(ABILITIES)


def test_a_plain_configuration_asks_for_little() -> None:
    """Greedy search for an exact number of tokens goes with every engine."""
    for engine in ENGINES:
        attention = "pa" if engine == "genai" else "sdpa"
        check_abilities(dataclasses.replace(CONFIG, engine=engine, attention=attention))


@pytest.mark.parametrize(
    ("changes", "said", "advice"),
    [
        ({"attention": "sdpa", "num_beams": 4}, "GenAI's SDPA has no beam search (--num-beams)", "pa"),
        (
            {"properties": {COMPILER: "inductor"}},
            "GenAI's paged attention has no torch.compile (--torch-compile)",
            "--engine torch",
        ),
        ({"engine": "core"}, "the core engine has no paged attention (--attention pa)", "--attention pa"),
        (
            {"engine": "core", "attention": "sdpa", "do_sample": True, "is_streamed": True},
            "the core engine has no sampling (--do-sample) and streaming (--streaming)",
            "--engine genai --attention sdpa",
        ),
    ],
)
def test_a_lack_is_told_with_who_can(changes: dict[str, object], said: str, advice: str) -> None:
    """Every ability that is lacking is named with its option, and the engines that have all of them."""
    error = _refusal(**changes)

    assert said == error.message
    assert advice in str(error.hint)
    assert "scripted" not in str(error.hint)


@pytest.mark.parametrize("guess", [{"draft_model": "d"}, {"max_ngram_size": 3}])
@pytest.mark.parametrize("other", [{"num_beams": 2}, {"do_sample": True}, {"batch_size": 2}])
def test_guessing_ahead_goes_with_one_greedy_sequence_only(
    guess: dict[str, object], other: dict[str, object]
) -> None:
    """With beams the engine refuses, with sampling and batches its account of the steps is wrong."""
    assert "do not go together" in _refusal(**guess, **other).message


def test_what_no_engine_does_together_is_told_with_the_reason() -> None:
    """Two abilities of one engine may still exclude each other."""
    error = _refusal(num_beams=4, is_streamed=True)

    assert "--num-beams and --streaming do not go together" in error.message
    assert "no token of a beam search is final before its end" in error.message
