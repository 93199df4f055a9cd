import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbench.errors import InputError, OutputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import Environment, Outcome, Provenance, Topology
from llmbench.schema.units import Nanoseconds
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded, encode
from llmbench.store.reader import is_run_file, new_id, read_run, read_with_warnings, slug
from llmbench.store.writer import RunFile


def _header() -> Header:
    return Header(
        id="r",
        started_at="2026-01-01T00:00:00+00:00",
        version="0.1.0",
        configurations=(RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="hé 😀"),)),),
        environment=Environment(
            cpu_model="a CPU",
            topology=Topology(cpus=(), allowed=(0, 1)),
            memory_bytes=1 << 30,
            kernel="6",
            versions={"openvino": "1"},
            variables={},
        ),
        provenance=Provenance(path="m"),
    )


def _measurement(iteration: int = 0, launch: int = 0) -> Measurement:
    at = tuple(Nanoseconds(1_000 + 10 * step) for step in range(4))
    return Measurement(
        launch=launch,
        iteration=iteration,
        prompt=0,
        is_warmup=iteration == 0,
        start_ns=Nanoseconds(900),
        end_ns=Nanoseconds(1_040),
        started_at="2026-01-01T00:00:01",
        ended_at="2026-01-01T00:00:02",
        requested_tokens=4,
        sequences=(Sequence(input_tokens=3, at_ns=at, token_ids=(1, 2, 3, 4), text="=a\n😀"),),
    )


def _write(path: Path, *, launches: int = 1, measurements: int = 2) -> Path:
    with RunFile.create(path, _header()) as file:
        for launch in range(launches):
            file.append(LaunchStarted(launch=launch, configuration=0, started_at="t", load_s=1.5))
            for iteration in range(measurements):
                file.append(_measurement(iteration, launch))
            file.append(LaunchEnded(launch=launch, outcome=Outcome.FINISHED))
        file.append(RunEnded(ended_at="t"))
    return path


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    """A run file holds every field of every measurement, raw times as integers."""
    run = read_run(_write(tmp_path / "r.jsonl", launches=2))

    assert run.is_complete
    assert _header().configurations == run.cells
    assert _header().environment == run.environment
    assert [0, 1] == [launch.index for launch in run.launches]
    assert (_measurement(0, 1), _measurement(1, 1)) == run.launches[1].measurements
    assert run.launches[0].load_s == 1.5


def test_each_line_is_json_with_a_name_for_its_event(tmp_path: Path) -> None:
    """Any JSON reader can follow a run file."""
    lines = [json.loads(line) for line in _write(tmp_path / "r.jsonl").read_text().splitlines()]

    assert ["run started", "launch started", "measurement", "measurement", "launch ended", "run ended"] == [
        line["event"] for line in lines
    ]
    assert [1000, 1010, 1020, 1030] == lines[2]["sequences"][0]["at_ns"]


def test_a_file_cut_anywhere_in_its_last_lines_reads(tmp_path: Path) -> None:
    """Cut at every byte of its last two lines, a run file keeps each finished measurement."""
    whole = _write(tmp_path / "r.jsonl", measurements=3).read_bytes()
    starts = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    last_measurement_end = starts[4]
    for cut in range(last_measurement_end, len(whole) - 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:cut])

        run, warnings = read_with_warnings(path)

        assert len(run.launches[0].measurements) == 3
        assert not run.is_complete
        is_whole = cut in starts or cut + 1 in starts
        assert is_whole == (warnings == ())


def test_a_torn_last_line_is_named(tmp_path: Path) -> None:
    """An incomplete last line is ignored with its number; the launch it belonged to is aborted."""
    path = _write(tmp_path / "r.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:-20])

    run, warnings = read_with_warnings(path)

    assert warnings == ("r.jsonl:4: incomplete last line ignored",)
    assert Outcome.ABORTED is run.launches[0].outcome
    assert len(run.launches[0].measurements) == 1


def test_a_damaged_middle_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Damage in the middle is refused with its line; salvage reads around it and says so."""
    path = _write(tmp_path / "r.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"event": "meas\n', *lines[3:]]))

    with pytest.raises(InputError, match=r"r\.jsonl:3: damaged line") as error:
        read_run(path)

    assert "--salvage" in str(error.value.hint)
    run, warnings = read_with_warnings(path, salvage=True)
    assert "r.jsonl:3: damaged line ignored" in warnings[0]
    assert len(run.launches[0].measurements) == 1


def test_a_wrong_type_in_a_line_is_damage(tmp_path: Path) -> None:
    """Whatever a line holds, its types are checked."""
    path = _write(tmp_path / "r.jsonl")
    path.write_text(path.read_text().replace('"prompt":0', '"prompt":"zero"', 1))

    with pytest.raises(InputError, match=r":3: damaged line: .*Expected `int`"):
        read_run(path)


@pytest.mark.parametrize(
    ("reported", "impossible"),
    [
        ('"launch":0,"iteration":0', '"launch":0,"iteration":-1'),
        ('"prompt":0', '"prompt":-1'),
        ('"requested_tokens":4', '"requested_tokens":-4'),
        ('"start_ns":900', '"start_ns":-900'),
        ('"end_ns":1040', f'"end_ns":{1 << 62}'),
        ('"at_ns":[1000,', '"at_ns":[-1000,'),
        ('"at_ns":[1000,', '"at_ns":[1020,'),
        ('"counts":[]', '"counts":[1,1,0,1]'),
        ('"infer_ns":[]', '"infer_ns":[-1]'),
        ('"tokenize_ns":null', '"tokenize_ns":-1'),
        ('"load_s":1.5', '"load_s":-1.5'),
        ('"conditions":null', '"conditions":{"wall_s":-1,"cpus":1,"worker_s":0,"interference_s":0}'),
        ('"conditions":null', '"conditions":{"wall_s":1,"cpus":0,"worker_s":0,"interference_s":0}'),
        ('"conditions":null', '"conditions":{"wall_s":1,"cpus":1,"worker_s":1e999,"interference_s":0}'),
        ('"placement":null', '"placement":{"wall_s":1,"worker_s":-1,"sockets":[]}'),
        (
            '"placement":null',
            '"placement":{"wall_s":1,"worker_s":1,"sockets":[{"socket":0,"cpus":1,"expected_cpus":0,"busy_s":1}]}',
        ),
    ],
)
def test_a_value_that_nothing_can_have_measured_is_damage(
    tmp_path: Path, reported: str, impossible: str
) -> None:
    """No negative number or time, no event without a token, no instant off the clock or out of order."""
    path = _write(tmp_path / "r.jsonl")
    content = path.read_text()
    assert reported in content
    path.write_text(content.replace(reported, impossible, 1))

    with pytest.raises(InputError, match=r"r\.jsonl:[23]: damaged line"):
        read_run(path)


def test_a_run_without_a_configuration_and_a_request_without_a_sequence_are_damage(tmp_path: Path) -> None:
    """Neither can be summarised."""
    path = _write(tmp_path / "r.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    empty = re.sub(rb'"sequences":\[.*?\}\]', b'"sequences":[]', encode(_measurement()))
    assert b'"sequences":[],' in empty
    for number, damaged in ((1, encode(dataclasses.replace(_header(), configurations=()))), (3, empty)):
        path.write_bytes(b"".join([*lines[: number - 1], damaged, *lines[number:]]))

        with pytest.raises(InputError, match=rf"r\.jsonl:{number}: damaged line"):
            read_run(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """A file of a later schema is refused with both numbers."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode(dataclasses.replace(_header(), schema=3)))

    with pytest.raises(InputError, match="schema 3; this llmbench reads 1 and 2"):
        read_run(path)


@pytest.mark.parametrize("content", [b"", b'{"event": "run sta', b"\x00\xff", b"hello\n"])
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file without a whole header is refused, and never taken for a run file."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)

    with pytest.raises(InputError):
        read_run(path)
    assert not is_run_file(path)


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """A run file that exists is refused, or replaced when asked."""
    path = _write(tmp_path / "r.jsonl")

    with pytest.raises(InputError, match="exists"):
        RunFile.create(path, _header())

    RunFile.create(path, _header(), overwrite=True).close()
    assert read_run(path).launches == ()


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    """A second process does not get a file that is being written."""
    path = tmp_path / "r.jsonl"
    with RunFile.create(path, _header()):
        command = ["-m", "llmbench", "run", "--engine", "scripted", "-m", "first=1ms,next=1ms", "-n", "1"]
        other = subprocess.run(
            [sys.executable, *command, "--output-dir", str(tmp_path), "--name", "r", "--overwrite"],
            check=False,
            capture_output=True,
            text=True,
        )

    assert other.returncode == 2
    assert f"is in use by process {os.getpid()}" in other.stderr


@pytest.mark.parametrize("name", ["a file/r.jsonl", "a file"])
def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, name: str) -> None:
    """An output folder that is a file is found when the run file is made."""
    (tmp_path / "a file").write_text("")

    with pytest.raises(InputError):
        RunFile.create(tmp_path / name, _header())


def test_a_full_disk_is_an_error_and_says_what_is_safe() -> None:
    """A write that fails is an output error that counts what is safe."""
    file = RunFile(Path("/dev/full"), os.open("/dev/full", os.O_WRONLY | os.O_APPEND))
    with file, pytest.raises(OutputError, match="No space left on device; 0 measurements are safe"):
        file.append(_measurement())


def test_ids_sort_by_time_and_name_the_model() -> None:
    """A run's id is the time, the model, and a part that keeps two runs of one second apart."""
    one, other = new_id("/models/My Model.gguf"), new_id("/models/My Model.gguf")

    assert one != other
    assert "-My-Model.gguf-" in one


@given(st.text())
def test_a_slug_is_a_plain_file_name(text: str) -> None:
    """No model name leads out of the folder."""
    made = slug(text)

    assert made
    assert "/" not in made
    assert made not in {".", ".."}
    assert made.isascii()


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_no_content_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any bytes in place of a run file are an InputError, never a traceback."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(encode(_header()) + content)
    with contextlib.suppress(InputError):
        read_run(path)


@pytest.mark.parametrize("key", ["event", "launch", "is_warmup", "start_ns", "end_ns", "sequences", "at_ns"])
def test_a_key_that_stands_twice_in_a_request_is_an_error(tmp_path: Path, key: str) -> None:
    """Even with the same value, in a line that is otherwise just as it was written."""
    path = _write(tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    fields = json.loads(lines[2])
    value = json.dumps((fields["sequences"][0] | fields)[key])
    doubled = lines[2].replace(b'"%s":' % key.encode(), f'"{key}":{value},"{key}":'.encode())
    path.write_bytes(b"".join([*lines[:2], doubled, *lines[3:]]))

    with pytest.raises(InputError, match=rf"a\.jsonl:3: damaged line: duplicate key '{key}'"):
        read_run(path)


def test_a_number_too_large_to_write_is_read(tmp_path: Path) -> None:
    """No token has such an id, but the file is no worse for it."""
    path = _write(tmp_path / "a.jsonl")
    text = path.read_text()
    path.write_text(re.sub(r'"token_ids":\[[\d,]*\]', f'"token_ids":[{2**70}]', text, count=1))

    assert (2**70,) == read_run(path).launches[0].measurements[0].sequences[0].token_ids


def test_a_request_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    """The line is named; with --salvage the first counts and the second is reported."""
    lines = _write(tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"".join([*lines[:4], lines[3], *lines[4:]]))

    with pytest.raises(
        InputError, match=r"b\.jsonl:5: .*second measurement of launch 0, iteration 1, prompt 0"
    ):
        read_run(path)
    run, warnings = read_with_warnings(path, salvage=True)
    assert read_run(tmp_path / "a.jsonl").launches == run.launches
    assert 1 == len(warnings)


@pytest.mark.parametrize("index", [1, 4])
def test_a_launch_that_begins_or_ends_twice_is_an_error(tmp_path: Path, index: int) -> None:
    """Both lines of a launch stand once."""
    lines = _write(tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"".join([*lines[: index + 1], *lines[index:]]))

    with pytest.raises(InputError, match=rf"b\.jsonl:{index + 2}: .*launch 0 (started|ended) before"):
        read_run(path)


def test_two_runs_in_a_file_are_never_mixed(tmp_path: Path) -> None:
    """An error that names the second header; --salvage reads the first run, and reports that it stops there."""
    one = _write(tmp_path / "a.jsonl", launches=2)
    path = tmp_path / "b.jsonl"
    path.write_bytes(one.read_bytes() + _write(tmp_path / "c.jsonl", launches=3).read_bytes())

    with pytest.raises(InputError, match="a second header") as caught:
        read_run(path)
    assert "split it" in str(caught.value.hint)
    run, warnings = read_with_warnings(path, salvage=True)
    assert read_run(one) == run
    assert "only the first was read" in warnings[0]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """An editor may put one before the first line."""
    one = _write(tmp_path / "a.jsonl")
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + one.read_bytes())

    assert read_run(one) == read_run(path)
    assert is_run_file(path)
