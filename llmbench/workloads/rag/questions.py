"""Questions, and words that only the right chunk of each contains.

A set of questions is one prompt, a question a line: iteration k has question k, so that no request repeats the one
before it and a report has one row for the set. A line is JSON, ``{"question": "...", "chunk": "..."}``, or the
question itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError, readable
from llmbench.files.strict_json import JsonError, parse_json
from llmbench.retrieval.collection import Hit
from llmbench.schema.config import Prompt
from llmbench.schema.tasks import QUESTIONS

_QUESTION = 'write {"question": "...", "chunk": "words of the right chunk"} on one line'
_CAP_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RagQuestion:
    """A question, and words that only the right *chunk* has; ``None`` where they are not known."""

    text: str
    chunk: str | None = None

    def is_found_in(self, hits: Iterable[Hit]) -> bool:
        """Whether one of these chunks is the right one; line breaks do not matter."""
        wanted = _plain(self.chunk or "")
        return any(wanted in _plain(hit.content) for hit in hits)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def questions_of(prompt: Prompt) -> tuple[RagQuestion, ...]:
    """Return the questions of a prompt; raise InputError where it has none, or a line is damaged."""
    lines = [line.strip() for line in (prompt.text or "").splitlines() if line.strip()]
    if not lines:
        raise InputError(
            "retrieval needs questions; a synthetic prompt has none",
            hint="use -p QUESTION or --questions FILE",
        )
    return tuple(_question(line, number) for number, line in enumerate(lines, start=1))


def _question(line: str, number: int) -> RagQuestion:
    if not line.startswith("{"):
        return RagQuestion(text=line)
    try:
        found = parse_json(line)
    except JsonError as error:
        raise InputError(f"question {number}: {error}") from error
    question, words = (
        (found.get(name) for name in ("question", "chunk")) if isinstance(found, dict) else (None,) * 2
    )
    if not isinstance(question, str) or not question.strip() or not isinstance(words, str | None):
        raise InputError(
            f'question {number} has no text under "question"',
            hint=_QUESTION,
        )
    return RagQuestion(text=question.strip(), chunk=words or None)


def read_questions(path: Path) -> tuple[Prompt, ...]:
    """Return the prompt that a file of questions is.

    Raises:
        InputError: the file cannot be read, has no question, or a damaged line.
    """
    with (
        readable(f"--questions {path}", hint=_QUESTION, also=UnicodeDecodeError),
        path.open("rb") as file,
    ):
        text = file.read(_CAP_BYTES).decode("utf-8")
    prompt = Prompt(set=QUESTIONS, index=0, text=text.strip())
    questions_of(prompt)
    return (prompt,)
