"""The prompt of a question, of whatever length or of a fixed one."""

from collections.abc import Sequence

import pytest

from llmbench.errors import InputError
from llmbench.retrieval.collection import Hit
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.rag.prompt import PromptWriter

BOS = 1
CONFIG = RunConfig(model="m", prompts=(Prompt(set="text", index=0, text="q"),), task="rag")


class Letters:
    """A token for each letter, behind one that stands in front."""

    bos_id = BOS

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Return the numbers of the letters."""
        return (BOS, *map(ord, f"<{text}>" if chat else text))

    def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
        """Return nothing: there is no chat."""
        raise NotImplementedError

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text."""
        return "".join(map(chr, token_ids[1:]))


def _hits(*contents: str) -> tuple[Hit, ...]:
    return tuple(Hit(id=n, document="d", content=content) for n, content in enumerate(contents))


def _text(ids: Sequence[int]) -> str:
    assert ids[0] == BOS
    assert list(ids).count(BOS) == 1
    return Letters().decode(ids)


def test_chunks_stand_nearest_first_and_the_question_last() -> None:
    """Instructions, chunks, question."""
    text = _text(PromptWriter(CONFIG, Letters(), None).write("Why?", _hits("one", "two")))

    assert text.startswith("Answer the question from the context.\n\nContext:\none\n\ntwo\n\n")
    assert text.endswith("Question: Why?\nAnswer:")


@pytest.mark.parametrize("contents", [("x" * 500,), ("ab",), ("one", "two")])
def test_a_fixed_context_has_its_length_whatever_was_found(contents: tuple[str, ...]) -> None:
    """Chunks are cut or repeated; instructions and question stay whole."""
    ids = PromptWriter(CONFIG, Letters(), 200).write("Why?", _hits(*contents))

    assert len(ids) == 200
    assert _text(ids).startswith("Answer the question from the context.\n\nContext:\n")
    assert _text(ids).endswith("Question: Why?\nAnswer:")


def test_a_length_that_holds_no_context_is_refused() -> None:
    """With the tokens that instructions and question take."""
    writer = PromptWriter(CONFIG, Letters(), 60)

    with pytest.raises(InputError, match="--fixed-context 60 leaves no context"):
        writer.check("Why?")
