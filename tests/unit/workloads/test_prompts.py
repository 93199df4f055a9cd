import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.errors import ExitCode, InputError
from llmbench.schema.config import Prompt
from llmbench.workloads import prompts

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(content: bytes, folder: Path) -> str:
    """What reading this file says."""
    (folder / "prompts.jsonl").write_bytes(content)
    with pytest.raises(InputError) as caught:
        prompts.read_prompts("prompts.jsonl")
    assert ExitCode.USAGE == caught.value.exit_code
    return caught.value.message


def test_reads_one_prompt_a_line(folder: Path) -> None:
    """A byte-order mark, blank lines, Windows line ends, other keys and a missing last newline do no harm."""
    content = (
        '\ufeff{"prompt": "one"}\r\n\n  \n{"prompt": "zwei \\ud83d\\ude00", "id": 7}\n{"prompt": "三\\u0000"}'
    )
    (folder / "mine.jsonl").write_text(content, encoding="utf-8")

    assert (
        Prompt(set="mine", index=0, text="one"),
        Prompt(set="mine", index=1, text="zwei 😀"),
        Prompt(set="mine", index=2, text="三\0"),
    ) == prompts.read_prompts("mine.jsonl")


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (b"{", "expected JSON: Expecting property name enclosed in double quotes at column 2"),
        (b"[1]", 'expected {"prompt": "text"}, found a list'),
        (b'"one"', 'expected {"prompt": "text"}, found a text'),
        (b"null", 'expected {"prompt": "text"}, found null'),
        (b"[" * 100_000, "expected JSON: nested too deeply"),
        (b"{}", 'expected the key "prompt", found no key'),
        (b'{"text": "a", "id": 1}', "expected the key \"prompt\", found 'text', 'id'"),
        (b'{"prompt": 1}', "expected a text as prompt, found a number"),
        (b'{"prompt": true}', "expected a text as prompt, found true or false"),
        (b'{"prompt": null}', "expected a text as prompt, found null"),
        (b'{"prompt": {}}', "expected a text as prompt, found an object"),
        (b'{"prompt": NaN}', "expected JSON: NaN is not JSON"),
        (b'{"prompt": ' + b"9" * 5000 + b"}", "expected JSON: a number is too long to read"),
        (b'{"prompt": ""}', "expected a prompt that is not empty"),
        (b'{"prompt": " \\n"}', "expected a prompt that is not empty"),
        (b'{"prompt": "a", "prompt": "b"}', "expected JSON: duplicate key 'prompt'"),
        (b'{"prompt": "a\\ud800"}', "not valid Unicode (lone surrogate at character 2)"),
        (b'{"prompt": "\xff"}', "expected JSON: byte 13 is not UTF-8"),
        (b'{"prompt": []}', "expected a chat as a list of at least one text, the user's turns"),
        (b'{"prompt": ["a", 1]}', "expected a chat as a list of at least one text, the user's turns"),
        (b'{"prompt": ["a", " "]}', "expected a prompt that is not empty"),
    ],
)
def test_bad_line_is_named(line: bytes, output: str, folder: Path) -> None:
    """A line that is no prompt is named by file and number, with what was expected."""
    assert f"prompts.jsonl:2: {output}" == refusal(b'{"prompt": "fine"}\n' + line, folder)


def test_every_bad_line_is_reported_at_once(folder: Path) -> None:
    """The numbers are those of the file, blank lines counted; good lines between them are not named."""
    message = refusal(b'\n1\n{"prompt": "fine"}\n\n{}\n', folder)

    assert (
        'prompts.jsonl:2: expected {"prompt": "text"}, found a number\n'
        'prompts.jsonl:5: expected the key "prompt", found no key'
    ) == message


def test_a_file_of_nothing_but_bad_lines_is_cut_short(folder: Path) -> None:
    """Ten bad lines are named, the rest are counted."""
    lines = refusal(b"1\n" * 103, folder).splitlines()

    assert 11 == len(lines)
    assert lines[9].startswith("prompts.jsonl:10:")
    assert "and 93 more bad lines" == lines[10]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_prompt_is_refused(content: bytes, folder: Path) -> None:
    """Nothing to run is an error, not an empty run."""
    assert "prompts.jsonl contains no prompt" == refusal(content, folder)


def test_a_file_beyond_the_cap_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap holds for what is read, whatever the size of the file is said to be."""
    monkeypatch.setattr(prompts, "MAX_PROMPT_FILE_BYTES", 20)

    (folder / "fits.jsonl").write_bytes(b'{"prompt": "1234567"}'[:-1])
    assert "prompts.jsonl is larger than 20 bytes" in refusal(b'{"prompt": "1234567"}', folder)
    with pytest.raises(InputError, match=r"fits\.jsonl:1: expected JSON"):
        prompts.read_prompts("fits.jsonl")


def test_a_file_that_cannot_be_read_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own reason is passed on."""
    (folder / "mine.jsonl").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"^mine.jsonl cannot be read: Permission denied$"):
        prompts.read_prompts("mine.jsonl")


def test_a_missing_file_lists_the_sets_there_are(folder: Path) -> None:
    """The hint holds the files of ./prompts and the sets in the package, each once."""
    (folder / "prompts").mkdir()
    (folder / "prompts" / "mine.jsonl").touch()
    (folder / "prompts" / "short.jsonl").touch()

    with pytest.raises(InputError, match=r"^prompt file 'none' was not found$") as caught:
        prompts.read_prompts("none")

    assert (
        "there are: prompts/mine.jsonl, prompts/short.jsonl, demo, llama-2-7b-chat_l, long, medium"
        == caught.value.hint
    )


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "prompts/none.jsonl/x"])
def test_a_name_no_file_can_have_is_not_found(name: str, folder: Path) -> None:
    """What the file system refuses is a missing file, never a traceback."""
    with pytest.raises(InputError, match="was not found"):
        prompts.resolve(name)


def test_a_folder_is_no_prompt_file(folder: Path) -> None:
    """A folder is named as one, but does not hide a set of its name."""
    (folder / "mine").mkdir()
    (folder / "short").mkdir()

    with pytest.raises(InputError, match="prompt file 'mine' is a folder, not a prompt file"):
        prompts.resolve("mine")
    assert ROOT / "llmbench/data/prompts/short.jsonl" == prompts.resolve("short")


def test_where_a_bare_name_is_looked_for(folder: Path) -> None:
    """The package's set, unless ./prompts has one of that name, unless the path as given is a file."""
    packaged = prompts.resolve("demo.jsonl")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "demo.jsonl").touch()
    local = prompts.resolve("demo")
    (folder / "demo").touch()

    assert ROOT / "llmbench/data/prompts/demo.jsonl" == packaged
    assert Path("prompts/demo.jsonl") == local
    assert Path("demo") == prompts.resolve("demo")


def test_a_path_is_not_looked_for_elsewhere(folder: Path) -> None:
    """Only a bare name finds a set."""
    with pytest.raises(InputError):
        prompts.resolve("./other/demo.jsonl")


def test_a_given_text_is_checked_like_a_line() -> None:
    """A shell can pass bytes that are no text."""
    assert (Prompt(set="text", index=0, text="Hello"),) == prompts.given(["Hello"])
    with pytest.raises(InputError, match="not valid Unicode"):
        prompts.given(["Hello", "caf\udce9"])
    with pytest.raises(InputError, match="not empty"):
        prompts.given(" ")


def test_the_turns_of_a_chat_are_prompts_of_their_own(tmp_path: Path) -> None:
    """They share an index, know what was said before, and have different hashes."""
    file = tmp_path / "chat.jsonl"
    file.write_text('{"prompt": "x"}\n{"prompt": ["a", "b", "c"]}\n')
    single, *turns = prompts.read_prompts(file)

    assert (None, "P0") == (single.turn, single.label)
    assert [("a", ()), ("b", ("a",)), ("c", ("a", "b"))] == [(p.text, p.earlier) for p in turns]
    assert ["P1 turn 1", "P1 turn 2", "P1 turn 3"] == [p.label for p in turns]
    assert 4 == len({p.sha256 for p in (single, *turns)})
    assert turns[0].sha256 != prompts.given(["a"])[0].sha256


def test_files_are_counted_on_and_chats_are_selected_whole(tmp_path: Path) -> None:
    """A chat counts as one prompt, whatever its turns."""
    for name, line in (("a", '{"prompt": ["x", "y"]}\n{"prompt": "z"}'), ("b", '{"prompt": ["v", "w"]}')):
        (tmp_path / f"{name}.jsonl").write_text(line)
    joined = prompts.join(prompts.read_prompts(tmp_path / f"{name}.jsonl") for name in "ab")

    assert [0, 0, 1, 2, 2] == [prompt.index for prompt in joined]
    assert ["v", "w", "x", "y"] == [prompt.text for prompt in prompts.select(joined, (2, 0))]


def test_selects_by_place_across_files() -> None:
    """Two files of one prompt each are prompts 0 and 1; the order asked is kept, doubles are dropped."""
    first, second = prompts.join([[Prompt(set=name, index=0, text="x")] for name in "ab"])

    assert (second, first) == prompts.select((first, second), (1, 0, 1))
    assert (first, second) == prompts.select((first, second), ())


@pytest.mark.parametrize("index", [2, -1])
def test_selecting_beyond_the_last_is_refused(index: int) -> None:
    """The message says what there is."""
    both = prompts.synthetic((4, 8), 42)

    with pytest.raises(InputError, match=f"there is no prompt {index}: there are 2") as caught:
        prompts.select(both, (0, index))
    assert "-pi takes 0 to 1" == caught.value.hint


@pytest.mark.parametrize("name", ["prompts", "model_configs"])
def test_the_repository_has_links_to_what_the_package_holds(name: str) -> None:
    """One text, found at both places; only the folder's README is its own."""
    packaged = {path.name: path for path in (ROOT / "llmbench/data" / name).iterdir()}
    linked = {path.name: path.resolve() for path in (ROOT / name).iterdir() if path.is_symlink()}

    assert packaged == linked
    assert {"README.md"} == {path.name for path in (ROOT / name).iterdir()} - set(packaged)


@pytest.mark.parametrize(
    "name", ["llama-2-7b-chat_l", "llama-2-7b-chat_l.jsonl", "prompts/llama-2-7b-chat_l.jsonl"]
)
def test_a_packaged_set_is_found_outside_a_clone(folder: Path, name: str) -> None:
    """By its name, and by its path in a clone, which the README types."""
    assert ROOT / "llmbench/data/prompts/llama-2-7b-chat_l.jsonl" == prompts.resolve(name)


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").glob("*.jsonl")), ids=lambda path: path.stem)
def test_our_own_sets_can_be_read(path: Path) -> None:
    """Each line of prompts/ is a prompt, and no two of a set are the same."""
    texts = [prompt.text for prompt in prompts.read_prompts(path)]

    assert texts == [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_named_as_such(tmp_path: Path, encoding: str) -> None:
    """One sentence with the remedy, not one per line."""
    path = tmp_path / "prompts.jsonl"
    path.write_bytes('{"prompt": "a"}\n{"prompt": "b"}\n'.encode(encoding))

    with pytest.raises(InputError, match=r"prompts\.jsonl is saved as UTF-16 or UTF-32") as refused:
        prompts.read_prompts(path)
    assert "save it as UTF-8" == refused.value.hint


def test_files_joined_with_their_marks_are_read(tmp_path: Path) -> None:
    """A byte-order mark may begin any line: cat of two files puts one in the middle."""
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(2 * '\ufeff{"prompt": "a"}\n'.encode())

    assert ["a", "a"] == [prompt.text for prompt in prompts.read_prompts(path)]


def test_a_json_error_says_at_once(tmp_path: Path) -> None:
    """Python's messages may end with "at" already."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a')

    with pytest.raises(InputError, match="Unterminated string starting at column 12"):
        prompts.read_prompts(path)
