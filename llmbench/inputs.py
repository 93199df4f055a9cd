"""What goes into each request of a launch: token ids, distinct in every iteration and sequence, chats carried on."""

from collections.abc import Sequence

from llmbench import variants
from llmbench.config import Prompt, RunConfig
from llmbench.engines.base import Session


class Inputs:
    """The token ids of a launch's requests; it remembers what each chat has said so far.

    A chat's later turn is made of the very tokens that went in and came out before, so that what an engine keeps of
    them stays valid. Only the first turn differs between iterations.
    """

    def __init__(self, config: RunConfig, session: Session) -> None:
        self._config = config
        self._session = session
        self._corpus_ids: tuple[int, ...] = ()
        self._said: dict[tuple[str, int], tuple[tuple[int, ...], ...]] = {}
        self._frame = _frame(session) if any(map(self._is_turn, config.prompts)) else (0, 0)
        self.lengths = tuple(map(self._length, config.prompts))

    def _is_turn(self, prompt: Prompt) -> bool:
        """Whether a prompt is handed over as a user's turn, under the chat template."""
        return prompt.earlier is not None or (self._config.apply_chat_template and prompt.text is not None)

    def _length(self, prompt: Prompt) -> int:
        """Tokens that go in for a prompt's first variant; a chat's earlier answers at their full length."""
        if not prompt.earlier:
            return len(self._variant(prompt, 0))
        ids = self._session.encode(prompt.earlier[0], chat=True)
        answer = (0,) * self._config.output_tokens
        for text in (*prompt.earlier[1:], prompt.text or ""):
            ids = self._session.go_on(ids, answer, text)
        return len(ids)

    def of(self, number: int, iteration: int) -> tuple[tuple[int, ...], ...]:
        """The token ids of each sequence of a request; *number* is the prompt's place in the configuration."""
        prompt = self._config.prompts[number]
        size = self._config.batch_size
        if not prompt.earlier:
            return tuple(self._variant(prompt, iteration * size + row) for row in range(size))
        said = self._said[prompt.set, prompt.index]
        return tuple(self._session.go_on(ids, (), prompt.text or "") for ids in said)

    def remember(self, number: int, given: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> None:
        """Keep what went in and came out of a chat's turn, for the next turn."""
        prompt = self._config.prompts[number]
        if prompt.earlier is not None:
            self._said[prompt.set, prompt.index] = tuple(
                (*ids, *answer) for ids, answer in zip(given, answers, strict=True)
            )

    def _variant(self, prompt: Prompt, variant: int) -> tuple[int, ...]:
        """Token ids of one variant of a prompt."""
        bos_id = self._session.bos_id
        if prompt.text is None:
            return variants.token_ids(prompt, variant, self._encode_corpus, bos_id=bos_id)
        is_turn = self._is_turn(prompt)

        def encode(text: str) -> tuple[int, ...]:
            return self._session.encode(text, chat=is_turn)

        frame = self._frame if is_turn else (0, 0)
        return variants.token_ids(prompt, variant, encode, bos_id=bos_id, frame=frame)

    def _encode_corpus(self, text: str) -> tuple[int, ...]:
        """Token ids of the corpus, which is encoded once a launch."""
        if not self._corpus_ids:
            self._corpus_ids = self._session.encode(text, chat=False)
        return self._corpus_ids


def _frame(session: Session) -> tuple[int, int]:
    """How many tokens a chat template puts before and after a user's text; they stay in place in every variant."""
    one, other = session.encode("a", chat=True), session.encode("1 2", chat=True)
    before = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    backwards = zip(reversed(one), reversed(other), strict=False)
    after = next((i for i, (a, b) in enumerate(backwards) if a != b), 0)
    return before, after
