"""OpenVINO GenAI's tokenizer behind the words of a session; the core engine uses it too."""

from collections.abc import Sequence
from typing import Any

from llmbench.errors import InputError


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        bos, eos = tokenizer.get_bos_token_id(), tokenizer.get_eos_token_id()
        self.bos_id: int | None = bos if bos >= 0 else None
        self.eos_id: int | None = eos if eos >= 0 else None

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text, as a user's turn under the model's chat template where *chat* is set."""
        if chat:
            if not self._tokenizer.chat_template:
                raise InputError("this model has no chat template", hint="leave out --apply-chat-template")
            turn = [{"role": "user", "content": text}]
            text = self._tokenizer.apply_chat_template(turn, add_generation_prompt=True)
        encoded = self._tokenizer.encode(text, add_special_tokens=not chat)
        return tuple(int(token) for token in encoded.input_ids.data[0])

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids, special tokens left out."""
        return str(self._tokenizer.decode(list(token_ids)))
