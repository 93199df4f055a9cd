"""Documents of a folder, and their chunks."""

from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.retrieval.documents import Splitting, find_documents, read_documents


def test_documents_are_found_by_kind_and_in_order(tmp_path: Path) -> None:
    """Below folders too; hidden files and other kinds are left out."""
    for name in ("b.md", "a.txt", "c/d.HTML", ".git/x.md", "e.pdf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text")

    assert ["a.txt", "b.md", "c/d.HTML"] == [str(p.relative_to(tmp_path)) for p in find_documents(tmp_path)]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "contains no document"), (b"caf\xe9", "is not UTF-8 at byte 3")],
)
def test_what_cannot_be_read_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    """In one line, before anything is embedded."""
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_documents(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Exit 2."""
    with pytest.raises(InputError, match="is not a folder"):
        find_documents(tmp_path / "none")


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_sizes_that_make_no_chunks_are_refused(size: int, overlap: int) -> None:
    """An overlap of a whole chunk would never end."""
    with pytest.raises(InputError):
        Splitting(size=size, overlap=overlap)


@pytest.mark.rag
def test_html_is_split_as_its_text(tmp_path: Path) -> None:
    """Without tags, styles and scripts; headings become Markdown's."""
    (tmp_path / "a.html").write_text(
        "<html><style>p{}</style><h1>Title</h1><p>One <b>word</b>.</p><script>no()</script></html>"
    )
    (document,) = read_documents(tmp_path)

    assert "# Title" in document.text
    assert not any(word in document.text for word in ("<", "no()", "p{}"))
    assert document.is_markdown


@pytest.mark.rag
@pytest.mark.parametrize("suffix", ["txt", "md"])
def test_chunks_hold_everything_and_are_no_longer_than_requested(suffix: str, tmp_path: Path) -> None:
    """Each word is in a chunk; the next chunk repeats the end of the one before."""
    words = [f"word{number}" for number in range(200)]
    (tmp_path / f"a.{suffix}").write_text(" ".join(words))
    (document,) = read_documents(tmp_path)

    chunks = document.chunks(Splitting(size=100, overlap=30))

    assert max(map(len, chunks)) <= 100
    assert words == list(dict.fromkeys(word for chunk in chunks for word in chunk.split()))
    assert chunks[1].split()[0] in chunks[0]
