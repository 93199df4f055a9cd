"""Prompt files, and synthetic prompts of an exact token count.

A prompt file is JSON lines, one ``{"prompt": "text"}`` a line, or ``{"prompt": ["text", ...]}`` for a chat, whose turns
are prompts of their own. ``"images"``, or llm_bench's ``"media"``, has the path of an image or a folder, or a list of
them, relative to the prompt file or else to the working directory; other keys are ignored.
"""

import codecs
import dataclasses
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from llmbench.errors import InputError, readable
from llmbench.files.package_data import find_packaged, packaged_files
from llmbench.files.strict_json import JsonError, json_kind, parse_json
from llmbench.schema.config import ImageInput, Prompt
from llmbench.schema.units import format_bytes
from llmbench.store.reader import is_run_file, read_run_header
from llmbench.workloads.images import Resize, describe_image, find_images, read_sizes
from llmbench.workloads.sound import describe_sound

_Read = TypeVar("_Read")


class _UnfitError(ValueError):
    """A line or a text that is no prompt; says what was expected."""


class _Entry(NamedTuple):
    """A line of a prompt file: a text or the turns of a chat, and the paths of its images."""

    content: tuple[str, ...] | str
    images: tuple[str, ...]


PROMPT_FOLDER = Path("prompts")
"""Where a bare name is looked for first, relative to the working directory."""

_PACKAGED = ("prompts", ".jsonl")

MAX_PROMPT_FILE_BYTES = 64 << 20
MAX_REPORTED_LINES = 10


def read_prompts(name: str | Path) -> tuple[Prompt, ...]:
    """The prompts of a file, or of a set known by its bare name, in the file's order; of a run file those it measured.

    Raises InputError that names every bad line at once; a file without a prompt is an error, too.
    """
    path = resolve(name)
    measured = read_run_header(path) if is_run_file(path) else None
    if measured is not None:
        return measured.cells[0].prompts
    entries = _entries(path, _entry_of, what="prompt", example='{"prompt": "some text"}')
    return tuple(prompt for index, entry in enumerate(entries) for prompt in _prompts_of(path, index, entry))


def _prompts_of(file: Path, index: int, entry: _Entry) -> Iterator[Prompt]:
    beside = ((file.parent / path, path) for path in entry.images)
    paths = [str(one) if one.exists() else other for one, other in beside]
    images = tuple(map(describe_image, find_images(paths)))
    if isinstance(entry.content, str):
        yield Prompt(set=file.stem, index=index, text=entry.content, images=images)
        return
    for turn, text in enumerate(entry.content):
        yield Prompt(set=file.stem, index=index, text=text, earlier=entry.content[:turn], images=images)


def sounds(paths: Iterable[Path], name: str = "sound") -> tuple[Prompt, ...]:
    """Return a prompt for each WAV file; raise InputError where one is none."""
    return tuple(
        Prompt(set=name, index=index, text=path.name, audio=describe_sound(path.expanduser()))
        for index, path in enumerate(paths)
    )


def read_sounds(name: str | Path) -> tuple[Prompt, ...]:
    """Return the sounds of a file with lines of ``{"media": "FILE.wav"}``, or those that a run file measured.

    Raises InputError that names every other line; paths are relative to the file.
    """
    path = resolve(name)
    measured = read_run_header(path) if is_run_file(path) else None
    if measured is not None:
        return measured.cells[0].prompts
    found = _entries(path, _sound_of, what="sound", example='{"media": "FILE.wav"}')
    return sounds((path.parent / each for each in found), path.stem)


def join(sets: Iterable[Sequence[Prompt]]) -> tuple[Prompt, ...]:
    """The prompts of several files as one list, counted on from one to the next; a chat's turns count as one."""
    joined: list[Prompt] = []
    offset = 0
    for found in sets:
        joined += [dataclasses.replace(prompt, index=prompt.index + offset) for prompt in found]
        offset = joined[-1].index + 1
    return tuple(joined)


def resolve(name: str | Path) -> Path:
    """The file a name stands for: the path as given, then ``prompts/``, then the sets in the package.

    ``.jsonl`` may be left out of a bare name. Raises InputError that lists the sets there are.
    """
    given = Path(name)
    bare = (given.name, f"{given.name}.jsonl") if given.parent == Path() else ()
    for path in (given, *(PROMPT_FOLDER / file for file in bare), find_packaged(str(name), *_PACKAGED)):
        if path is not None and _mode(path) and not _is_folder(path):
            return path
    what = "is a folder, not a prompt file" if _is_folder(given) else "was not found"
    raise InputError(f"prompt file {str(name)!r} {what}", hint=f"there are: {_known_sets()}")


def prompt_sets() -> dict[str, Path]:
    """Return the sets that come with the package, by name."""
    return packaged_files(*_PACKAGED)


def given(texts: Iterable[str]) -> tuple[Prompt, ...]:
    """The prompts typed on the command line. Raises InputError if one is empty or no valid Unicode."""
    try:
        return tuple(Prompt(set="text", index=index, text=_checked(text)) for index, text in enumerate(texts))
    except _UnfitError as error:
        raise InputError(f"the prompt cannot be used: {error}", hint='write -p "some text"') from None


def select(prompts: Sequence[Prompt], indices: Iterable[int]) -> tuple[Prompt, ...]:
    """The prompts of these indices, in the given order and each once, chats whole; all if none is given.

    Raises InputError on an index that there is not.
    """
    wanted = tuple(dict.fromkeys(indices))
    there = {prompt.index for prompt in prompts}
    unknown = [str(index) for index in wanted if index not in there]
    if unknown:
        raise InputError(
            f"there is no prompt {', '.join(unknown)}: there are {len(there)}",
            hint=f"-pi takes 0 to {max(there)}",
        )
    return tuple(p for index in wanted for p in prompts if p.index == index) or tuple(prompts)


def with_images(prompts: Sequence[Prompt], paths: Sequence[str], sizes: Sequence[str]) -> tuple[Prompt, ...]:
    """Return prompts with the images that paths name, or with their own; of several sizes all prompts in each.

    Raises InputError where both name images, and where sizes are given without an image.
    """
    has_own = any(prompt.images for prompt in prompts)
    if paths and has_own:
        raise InputError(
            "--images was given, and the prompt file names images itself", hint="keep one of the two"
        )
    if not (paths or has_own):
        if sizes:
            raise InputError("--image-size was given without an image", hint="add --images FILE")
        return tuple(prompts)
    given = tuple(map(describe_image, find_images(paths)))
    return join(
        [
            dataclasses.replace(prompt, images=tuple(_sized(each, resize) for each in prompt.images or given))
            for prompt in prompts
        ]
        for resize in read_sizes(sizes)
    )


def _sized(image: ImageInput, resize: Resize | None) -> ImageInput:
    if resize is None:
        return image
    width, height = resize(image.width, image.height)
    return dataclasses.replace(image, width=width, height=height)


def synthetic(lengths: Iterable[int], seed: int) -> tuple[Prompt, ...]:
    """One prompt of exactly this many tokens for each length, cut from English prose."""
    return tuple(
        Prompt(set="synthetic", index=i, tokens=length, seed=seed) for i, length in enumerate(lengths)
    )


def _lines(path: Path) -> list[bytes]:
    """The file's lines without a byte-order mark. Raises InputError if it cannot be read or is too large."""
    with readable(path, hint="check the path given to -pf"), path.open("rb") as file:
        data = file.read(MAX_PROMPT_FILE_BYTES + 1)
    if len(data) > MAX_PROMPT_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {format_bytes(MAX_PROMPT_FILE_BYTES)}, the most a prompt file may be",
            hint="split it into several files",
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise InputError(f"{path} is saved as UTF-16 or UTF-32", hint="save it as UTF-8")
    return [line.removeprefix(codecs.BOM_UTF8) for line in data.split(b"\n")]


def _entries(path: Path, read: Callable[[object], _Read], *, what: str, example: str) -> list[_Read]:
    """Return what is read of the value of each line."""
    entries, bad = [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            entries.append(read(parse_json(line)))
        except JsonError as error:
            bad.append(f"{path}:{number}: expected JSON: {error}")
        except _UnfitError as error:
            bad.append(f"{path}:{number}: {error}")
    if bad:
        raise InputError(_listing(bad), hint=f"one {what} per line: {example}")
    if not entries:
        raise InputError(f"{path} contains no {what}", hint=f"write one per line: {example}")
    return entries


def _sound_of(entry: object) -> str:
    media = entry.get("media") if isinstance(entry, dict) else None
    if not isinstance(media, str):
        raise _UnfitError('expected {"media": "FILE.wav"}')
    return media


def _entry_of(entry: object) -> _Entry:
    if not isinstance(entry, dict):
        raise _UnfitError(f'expected {{"prompt": "text"}}, found {json_kind(entry)}')
    if "prompt" not in entry:
        raise _UnfitError(f'expected the key "prompt", found {", ".join(map(repr, entry)) or "no key"}')
    return _Entry(_content_of(entry["prompt"]), _images_of(entry.get("images", entry.get("media"))))


def _content_of(text: object) -> tuple[str, ...] | str:
    if isinstance(text, list):
        if not text or not all(isinstance(turn, str) for turn in text):
            raise _UnfitError("expected a chat as a list of at least one text, the user's turns")
        return tuple(_checked(turn) for turn in text)
    if not isinstance(text, str):
        raise _UnfitError(f"expected a text as prompt, found {json_kind(text)}")
    return _checked(text)


def _images_of(paths: object) -> tuple[str, ...]:
    found = [] if paths is None else paths if isinstance(paths, list) else [paths]
    if not all(isinstance(path, str) for path in found):
        raise _UnfitError('expected "images" as a path, or a list of paths')
    return tuple(found)


def _checked(text: str) -> str:
    if not text.strip():
        raise _UnfitError("expected a prompt that is not empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _UnfitError(f"not valid Unicode (lone surrogate at character {error.start + 1})") from None
    return text


def _listing(bad: list[str]) -> str:
    more = len(bad) - MAX_REPORTED_LINES
    rest = [f"and {more} more bad lines"] if more > 0 else []
    return "\n".join([*bad[:MAX_REPORTED_LINES], *rest])


def _mode(path: Path) -> int:
    """The file type bits of what a path leads to; 0 where it leads to nothing, or is too long to exist."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _known_sets() -> str:
    local = sorted(str(path) for path in PROMPT_FOLDER.glob("*.jsonl"))
    packaged = [name for name in prompt_sets() if str(PROMPT_FOLDER / f"{name}.jsonl") not in local]
    return ", ".join([*local, *packaged])
