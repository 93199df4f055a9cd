"""The prompt of a question and its chunks, as token ids; of a fixed length where lengths must not vary."""

from collections.abc import Sequence

from llmbench.engines.base import Codec
from llmbench.errors import InputError
from llmbench.retrieval.collection import Hit
from llmbench.schema.config import RunConfig

_HEAD = "Answer the question from the context.\n\nContext:\n"
_TAIL = "\n\nQuestion: {question}\nAnswer:"
_BETWEEN = "\n\n"


class PromptWriter:
    """Writes prompts for one model; *fixed_context* is their length in tokens, ``None`` where it follows the chunks.

    For this, the chunks are cut, or repeated, in the middle of the prompt: instructions and question stay
    whole.
    """

    def __init__(self, config: RunConfig, codec: Codec, fixed_context: int | None) -> None:
        if fixed_context is not None and config.apply_chat_template:
            raise InputError(
                "--fixed-context cuts a prompt by tokens, which a chat template does not allow",
                hint="leave out one of the two",
            )
        self._is_chat = config.apply_chat_template
        self._codec = codec
        self._length = fixed_context
        self._head = () if self._is_chat else codec.encode(_HEAD, chat=False)

    def write(self, question: str, hits: Sequence[Hit]) -> tuple[int, ...]:
        """Return the token ids of a question with its chunks, the nearest first."""
        context, tail = _BETWEEN.join(hit.content for hit in hits), _TAIL.format(question=question)
        if self._is_chat:
            return self._codec.encode(f"{_HEAD}{context}{tail}", chat=True)
        if self._length is None:
            return self._codec.encode(f"{_HEAD}{context}{tail}", chat=False)
        end = self._piece(tail)
        return (*self._head, *self._filled(self._piece(context), end), *end)

    def check(self, question: str) -> None:
        """Raise InputError where a fixed length is too short for the instructions and a question."""
        if self._length is None:
            return
        least = len(self._head) + len(self._piece(_TAIL.format(question=question))) + 1
        if least > self._length:
            raise InputError(
                f"--fixed-context {self._length} leaves no context: instructions and question take {least - 1} tokens",
                hint=f"give more than {least}",
            )

    def _piece(self, text: str) -> tuple[int, ...]:
        """Token ids of a later part of a prompt, without the token that must stay in front of all."""
        ids = self._codec.encode(text, chat=False)
        bos_id = self._codec.bos_id
        return ids[1:] if bos_id is not None and ids[:1] == (bos_id,) else ids

    def _filled(self, context: tuple[int, ...], end: tuple[int, ...]) -> tuple[int, ...]:
        room = (self._length or 0) - len(self._head) - len(end)
        turns = -(-room // len(context)) if context else 0
        return (context * turns)[:room]
