"""OpenVINO GenAI's tokenizer behind the words of a session, and how a chat is carried on token by token."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.device import import_openvino
from llmbench.engines.openvino.engine_log import caught_output
from llmbench.errors import InputError
from llmbench.files.cache import file_sha256
from llmbench.schema.config import RunConfig

Template = Callable[[Sequence[Mapping[str, str]]], str]
"""Messages with ``role`` and ``content`` to text, up to where the model's next response begins."""


def open_tokenizer(config: RunConfig) -> "Tokenizer":
    """Return the tokenizer of an IR or a GGUF file; raise InputError where an end of text is needed and has no id."""
    import_openvino()
    import openvino_genai

    with caught_output(), engine_failures("reading the tokenizer"):
        found = Tokenizer(openvino_genai.Tokenizer(config.model))
    if config.stop_at_eos and found.eos_id is None:
        raise InputError(
            "--end-token-stopping needs an end of text; the tokenizer of this model names none",
            hint="leave out --end-token-stopping",
        )
    return found


def has_same_tokenizer(one: Path, other: Path) -> bool:
    """Return whether two IRs have the same tokenizer: the same files, or else the same vocabulary."""
    if all(_digest(one, end) == _digest(other, end) for end in ("xml", "bin")):
        return True
    import_openvino()
    import openvino_genai

    with caught_output(), engine_failures("reading the tokenizers"):
        first, second = (openvino_genai.Tokenizer(str(model)).get_vocab() for model in (one, other))
    return bool(first == second)


def _digest(model: Path, end: str) -> str:
    return file_sha256(model / f"openvino_tokenizer.{end}")


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        bos, eos = tokenizer.get_bos_token_id(), tokenizer.get_eos_token_id()
        self.bos_id: int | None = bos if bos >= 0 else None
        self.eos_id: int | None = eos if eos >= 0 else None

    @functools.cached_property
    def vocabulary(self) -> int:
        """How many token ids there are; the first is 0."""
        return 1 + int(max(self._tokenizer.get_vocab().values()))

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text, as a user's turn under the model's chat template where *chat* is set."""
        if chat:
            text = self.template(text)
        encoded = self._tokenizer.encode(text, add_special_tokens=not chat)
        return tuple(int(token) for token in encoded.input_ids.data[0])

    def template(self, text: str) -> str:
        """Return a text as a user's turn, up to where the model's answer begins."""
        return self._templated([{"role": "user", "content": text}])

    def encode_messages(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a chat under the model's template, up to where its next answer begins."""
        encoded = self._tokenizer.encode(self._templated(messages), add_special_tokens=False)
        return tuple(int(token) for token in encoded.input_ids.data[0])

    def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
        """Token ids of a chat so far, its last answer, and the user's next turn under the chat template."""
        between = text_between(self._templated, text)
        encoded = self._tokenizer.encode(between, add_special_tokens=False)
        ids = tokens_so_far(earlier, response, self.eos_id)
        return (*ids, *(int(token) for token in encoded.input_ids.data[0]))

    def _templated(self, chat: Sequence[Mapping[str, str]]) -> str:
        """A chat as text, up to where the model's next answer begins."""
        if not self._tokenizer.chat_template:
            raise InputError(
                "this model has no chat template",
                hint="leave out --apply-chat-template, and give prompts of one turn",
            )
        return str(self._tokenizer.apply_chat_template(list(chat), add_generation_prompt=True))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids, special tokens left out."""
        return str(self._tokenizer.decode(list(token_ids)))


def text_between(template: Template, text: str) -> str:
    """Return what the chat template puts after an answer, the user's next turn in it.

    White space that it puts before an answer stays out: the model has written its own.

    Raises:
        InputError: the template rewrites earlier turns.
    """
    opening = [{"role": "user", "content": "a"}]
    chat = [*opening, {"role": "assistant", "content": "b"}, {"role": "user", "content": text}]
    before = template(opening).rstrip()
    whole = template(chat)
    after = whole.removeprefix(before).lstrip()
    if not (whole.startswith(before) and after.startswith("b")):
        raise InputError(
            "this model's chat template rewrites earlier turns, so a chat cannot be carried on token by token",
            hint="give prompts of one turn",
        )
    return after.removeprefix("b")


def tokens_so_far(earlier: Sequence[int], response: Sequence[int], eos_id: int | None) -> tuple[int, ...]:
    """Return a chat's tokens without a last end of text, which the template writes itself."""
    ids = (*earlier, *response)
    return ids[:-1] if ids and ids[-1] == eos_id else ids


class TokenizedSession:
    """A session with the words of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.bos_id = tokenizer.bos_id
        self.encode = tokenizer.encode
        self.go_on = tokenizer.go_on
        self.decode = tokenizer.decode
        self._eos_id = tokenizer.eos_id
