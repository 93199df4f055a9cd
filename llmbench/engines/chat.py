"""A chat carried on token by token: what a chat template puts between an answer and the user's next turn.

It stands alone because every engine with a chat template of its own needs it.
"""

from collections.abc import Callable, Mapping, Sequence

from llmbench.errors import InputError

Template = Callable[[Sequence[Mapping[str, str]]], str]
"""Messages with ``role`` and ``content`` to text, up to where the model's next answer begins."""


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
