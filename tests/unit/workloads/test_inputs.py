import dataclasses
from types import SimpleNamespace

import pytest

from llmbench.engines.openvino.tokenizer import Tokenizer
from llmbench.engines.scripted import ScriptedSession, read_script
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.text import Inputs

CHAT = tuple(
    Prompt(set="c", index=0, text=text, earlier=earlier)
    for text, earlier in (("one two", ()), ("three", ("one two",)), ("four five", ("one two", "three")))
)
CONFIG = RunConfig(model="first=1ms", engine="scripted", prompts=CHAT, output_tokens=4)


def _inputs(config: RunConfig = CONFIG) -> Inputs:
    return Inputs(config, ScriptedSession(read_script(config.model), config))


def test_a_chat_is_carried_on_token_by_token() -> None:
    """What went in and came out of a turn stands unchanged at the beginning of the next."""
    inputs = _inputs()
    (first,) = inputs.of(0, 1)
    inputs.remember(0, [first], [(7, 8, 9, 10)])
    (second,) = inputs.of(1, 1)
    inputs.remember(1, [second], [(11,)])
    (third,) = inputs.of(2, 1)

    assert (*first, 7, 8, 9, 10) == second[: len(first) + 4]
    assert (*second, 11) == third[: len(second) + 1]
    assert 1 == first[0]  # the template stays in place


def test_only_the_first_turn_differs_between_iterations() -> None:
    """So no iteration begins like another; each sequence of a batch has a chat of its own."""
    inputs = _inputs(dataclasses.replace(CONFIG, batch_size=2))
    rows = inputs.of(0, 0)
    inputs.remember(0, rows, [(7,), (8,)])
    later = inputs.of(1, 0)

    assert rows[0] != rows[1]
    assert [(*rows[0], 7), (*rows[1], 8)] == [ids[: len(rows[0]) + 1] for ids in later]


def test_a_chat_s_length_counts_its_answers() -> None:
    """Known before anything is measured: words, two template tokens a turn, and answers at their full length."""
    assert (2 + 2, 2 + 2 + 4 + 1 + 2, 2 + 2 + 4 + 1 + 2 + 4 + 2 + 2) == _inputs().lengths


class _Templated:
    """A tokenizer whose tokens are characters, with a template of one sign a role."""

    chat_template = "some"

    def __init__(self, opening: str = "") -> None:
        self.opening = opening

    def get_bos_token_id(self) -> int:
        return -1

    def get_eos_token_id(self) -> int:
        return ord("!")

    def encode(self, text: str, *, add_special_tokens: bool) -> SimpleNamespace:
        del add_special_tokens
        return SimpleNamespace(input_ids=SimpleNamespace(data=[[ord(sign) for sign in text]]))

    def apply_chat_template(self, chat: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        assert add_generation_prompt
        turns = "".join(f"{turn['role'][0]}:{turn['content']}!" for turn in chat)
        return f"{self.opening and len(chat)}{turns}a:"


def _text(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids))


def test_what_the_template_puts_between_two_turns_is_found() -> None:
    """An answer that ended at its end of text does not get a second one."""
    tokenizer = Tokenizer(_Templated())
    output = tokenizer.encode("hi", chat=True)

    assert "u:hi!a:" == _text(output)
    for response in ("yes", "yes!"):
        ids = tuple(map(ord, response))
        assert "u:hi!a:yes!u:more!a:" == _text(tokenizer.go_on(output, ids, "more"))


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    """What was said could not stand unchanged at the beginning of the next turn."""
    with pytest.raises(InputError, match="rewrites earlier turns"):
        Tokenizer(_Templated(opening="#")).go_on((), (), "more")


def test_a_model_without_a_template_has_no_chats() -> None:
    """One that was trained on plain text."""
    native = _Templated()
    native.chat_template = ""

    with pytest.raises(InputError, match="no chat template"):
        Tokenizer(native).encode("hi", chat=True)
