"""Run files of schema 1 beside those of schema 2: read alike, compared with each other, never mixed."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.report import summarize_run
from llmbench.errors import InputError
from llmbench.schema.measurement import Artifact, Stage
from llmbench.store import schema_1
from llmbench.store.events import (
    BadLineError,
    LaunchStarted,
    decode,
    encode,
)
from llmbench.store.reader import read_run
from llmbench.store.writer import RunFile
from tests import builders, run_files

FILES = Path(__file__).parents[2] / "data/run_files"
OLD = sorted((FILES / "schema_1").glob("*.jsonl"))


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_run_of_schema_1_is_the_same_run_in_schema_2(path: Path, tmp_path: Path) -> None:
    """Written again by today's writer it has schema 2 in its header, and reads back as the very same value."""
    old = read_run(path)
    twin = run_files.write(old, tmp_path / path.name)

    assert 2 == json.loads(twin.read_text().splitlines()[0])["schema"]
    assert old == read_run(twin)


def test_old_and_new_are_compared_without_a_difference(tmp_path: Path) -> None:
    """Of the same measurements in both schemas nothing differs, and every row is paired."""
    old = read_run(FILES / "schema_1/text.jsonl")
    new = read_run(run_files.write(old, tmp_path / "new.jsonl"))

    found = compare(summarize_run(old), summarize_run(new))

    assert ((), (), ()) == (found.mismatches, found.changes, found.unpaired)
    assert 1 == len(found.pairs)


def _lost(reported: object, kept: object, path: str = "") -> list[str]:
    """Paths of the values in *reported* that are not in *kept*; keys that a default adds are no loss."""
    if isinstance(reported, dict) and isinstance(kept, dict):
        pairs = [(reported[key], kept.get(key, ...), f"{path}.{key}") for key in reported]
    elif isinstance(reported, list) and isinstance(kept, list) and len(reported) == len(kept):
        pairs = [(*each, path) for each in zip(reported, kept, strict=True)]
    else:
        return [] if reported == kept else [path]
    return [each for pair in pairs for each in _lost(*pair)]


def test_no_value_of_schema_1_is_lost() -> None:
    """Each value of any captured line, at any depth, is in the event that was read."""
    for path in OLD:
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                event = decode(line, 1)
            except BadLineError:  # the torn last line of a run that was cut short
                continue
            translated = json.loads(schema_1.translate(json.loads(line)["event"], line)) | {"schema": 2}
            kept = json.loads(encode(event)) | {"schema": 2}
            assert [] == _lost(translated, kept)


def test_a_text_that_looks_like_a_key_of_schema_1_stays() -> None:
    """Only keys are translated: quotes inside a text are escaped."""
    text = '"own_s":1,"asked_tokens":2'
    sequence = dataclasses.replace(builders.request_of([10]).sequences[0], text=text)
    line = encode(dataclasses.replace(builders.request_of([10]), sequences=(sequence,)))
    old = line.replace(b'"requested_tokens":', b'"asked_tokens":')
    read = decode(old, 1)

    assert old != line
    assert text == read.sequences[0].text  # type: ignore[union-attr]


def test_a_run_of_schema_1_is_not_resumed(tmp_path: Path) -> None:
    """Two schemas never stand in one file; it is left as it was, and may be opened again."""
    path = tmp_path / "cut.jsonl"
    shutil.copy(FILES / "schema_1/cut.jsonl", path)
    before = path.read_bytes()

    for _ in range(2):
        with pytest.raises(InputError, match="schema 1: it can be read and compared, but not resumed"):
            RunFile.reopen(path)
    assert before == path.read_bytes()


def _line_of_launch(path: Path, number: int) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text().splitlines()[number])
    return found


def test_a_launch_records_what_differs_from_the_header_s_environment(tmp_path: Path) -> None:
    """Another version and another kernel stand in its line, nothing else, and come back as a whole environment."""
    run = builders.story_of()
    other = dataclasses.replace(run.environment, kernel="7.1", versions={"openvino": "2027.1"}, governor=None)
    launches = (run.launches[0], dataclasses.replace(run.launches[1], environment=other))
    path = run_files.write(dataclasses.replace(run, launches=launches), tmp_path / "x.jsonl")
    read = read_run(path)

    assert _line_of_launch(path, 1)["environment"] is None
    (second,) = (
        line["environment"]
        for line in map(json.loads, path.read_text().splitlines())
        if line["event"] == "launch started" and line["launch"] == 1
    )
    assert {"kernel": "7.1", "versions": {"openvino": "2027.1"}, "governor": None} == second
    assert [None, other] == [launch.environment for launch in read.launches]


def test_the_environment_of_the_header_is_not_repeated(tmp_path: Path) -> None:
    """A worker that reports the header's own versions adds nothing to the line, after a resume neither."""
    run = builders.story_of()
    path = run_files.write(dataclasses.replace(run, launches=(), is_complete=False), tmp_path / "x.jsonl")
    same = {"versions": dict(run.environment.versions)}
    with RunFile.reopen(path) as file:
        file.append(LaunchStarted(launch=0, configuration=0, started_at="t", environment=same))

    assert _line_of_launch(path, 1)["environment"] is None


def test_an_environment_of_the_wrong_type_is_damage(tmp_path: Path) -> None:
    """Its fields are checked like the header's."""
    path = run_files.write(dataclasses.replace(builders.story_of(), launches=()), tmp_path / "x.jsonl")
    bad = LaunchStarted(launch=0, configuration=0, started_at="t", environment={"kernel": 7})
    path.write_bytes(path.read_bytes() + encode(bad))

    with pytest.raises(InputError, match=r"x\.jsonl:3: damaged line: Expected `str`, got `int`"):
        read_run(path)


def test_a_name_that_looks_like_a_key_does_not_spoil_a_measurement(tmp_path: Path) -> None:
    """A score may be called ``launch``: a key is a duplicate in its own object only."""
    run = builders.story_of()
    first = dataclasses.replace(
        run.launches[0].measurements[0],
        sequences=(),
        stages=(Stage(name="start_ns", duration_ns=5),),
        outputs=(Artifact(kind="ids", count=3),),
        scores={"launch": 0.5},
    )
    launch = dataclasses.replace(run.launches[0], measurements=(first,))
    read = read_run(run_files.write(dataclasses.replace(run, launches=(launch,)), tmp_path / "x.jsonl"))

    assert (first,) == read.launches[0].measurements


def test_a_score_is_a_finite_number() -> None:
    """JSON has no other."""
    with pytest.raises(Exception, match="a score is not a finite number"):
        dataclasses.replace(builders.request_of([10]), scores={"kld": float("nan")})
