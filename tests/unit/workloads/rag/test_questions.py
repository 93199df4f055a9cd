"""Questions and the words of the right chunk."""

from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.retrieval.collection import Hit
from llmbench.retrieval.documents import read_documents
from llmbench.schema.config import Prompt
from llmbench.workloads.rag.questions import RagQuestion, questions_of, read_questions
from llmbench.workloads.rag.settings import demo_documents, demo_questions


def test_a_line_is_a_question_with_or_without_its_answer() -> None:
    """A set of questions is one prompt; iteration k asks question k."""
    prompt = Prompt(set="questions", index=0, text='{"question": "A?", "chunk": "b c"}\n\nD?\n')

    assert (RagQuestion(text="A?", chunk="b c"), RagQuestion(text="D?")) == questions_of(prompt)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": ""}', "question 1 has no text"),
        ("A?\n{broken", "question 2: "),
        ('{"question": "A?", "chunk": 3}', "question 1 has no text"),
    ],
)
def test_a_damaged_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    """By its number, before anything is loaded."""
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_questions(path)


def test_a_synthetic_prompt_is_no_question() -> None:
    """Nothing could be retrieved for it."""
    with pytest.raises(InputError, match="needs questions"):
        questions_of(Prompt(set="synthetic", index=0, tokens=5))


def test_an_answer_is_found_across_line_breaks() -> None:
    """Documents are wrapped; upper and lower case do not matter."""
    chunk = Hit(id=1, document="d", content="It is five feet\nseven  inches long.")

    assert RagQuestion(text="?", chunk="Five feet seven inches").is_found_in([chunk])
    assert not RagQuestion(text="?", chunk="six feet").is_found_in([chunk])


def test_each_demo_question_is_found_in_one_place_of_the_demo_documents() -> None:
    """So that its right chunk is known."""
    (prompt,) = read_questions(demo_questions())
    texts = [" ".join(document.text.split()).casefold() for document in read_documents(demo_documents())]
    questions = questions_of(prompt)

    assert len(questions) == 20
    for question in questions:
        assert sum(text.count((question.chunk or "").casefold()) for text in texts) == 1, question
