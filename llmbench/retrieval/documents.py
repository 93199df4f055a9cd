"""Documents of a folder: read as plain text or Markdown, and split into chunks by a library made for it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError

_MARKDOWN = (".md", ".markdown")
_HTML = (".html", ".htm")
_TEXT = (".txt", ".text", ".rst", *_MARKDOWN, *_HTML)
_CAP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How long a chunk may be, and how much of the one before it repeats; both in characters."""

    size: int = 800
    overlap: int = 100

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"--chunk-size {self.size}: at least 1 character is needed")
        if not 0 <= self.overlap < self.size:
            raise InputError(
                f"--chunk-overlap {self.overlap}: at least 0, and less than the chunk size {self.size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document: its *name* is the path below the folder, its *text* plain or, of HTML, Markdown."""

    name: str
    text: str
    is_markdown: bool

    @property
    def sha256(self) -> str:
        """Hash of what is split."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def chunks(self, splitting: Splitting) -> tuple[str, ...]:
        """Return its chunks, which end at paragraphs and sentences where they can."""
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        splitter = MarkdownSplitter if self.is_markdown else TextSplitter
        return tuple(splitter(splitting.size, splitting.overlap).chunks(self.text))


def find_documents(folder: Path) -> tuple[Path, ...]:
    """Return the documents below a folder, in order of name; hidden ones are left out.

    Raises:
        InputError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise InputError(f"--documents {folder} is not a folder", hint="give a folder of documents")
    found = tuple(
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _TEXT
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise InputError(f"{folder} contains no document", hint=f"the kinds are {', '.join(_TEXT)}")
    return found


def read_documents(folder: Path) -> Iterator[Document]:
    """Yield the documents of a folder; raise InputError for one that is no text of UTF-8, or too large."""
    for path in find_documents(folder):
        yield _read(path, str(path.relative_to(folder)))


def _read(path: Path, name: str) -> Document:
    if path.stat().st_size > _CAP_BYTES:
        raise InputError(f"{path} is larger than {_CAP_BYTES >> 20} MiB", hint="split the document")
    try:
        text = path.read_text(encoding="utf-8").replace("\x00", "")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 at byte {error.start}", hint="convert it, for example with iconv"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    is_html = path.suffix.lower() in _HTML
    return Document(
        name=name,
        text=_markdown_of(text) if is_html else text,
        is_markdown=is_html or path.suffix.lower() in _MARKDOWN,
    )


def _markdown_of(html: str) -> str:
    import html2text

    reader = html2text.HTML2Text()
    reader.body_width = 0
    reader.ignore_links = reader.ignore_images = True
    return str(reader.handle(html))
