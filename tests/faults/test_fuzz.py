"""Any bytes in place of any file that is read: a deliberate error or a value, never a traceback, a hang or a flood.

``LLMBENCH_FUZZ_EXAMPLES=10000`` looks further, at other examples each time; the gate looks at the same few.
"""

import contextlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmbench.analysis import report
from llmbench.analysis.evaluation import evaluate
from llmbench.cli.options import recipe
from llmbench.errors import LlmbenchError
from llmbench.machine import cgroup, environment, topology
from llmbench.models.manifest import MANIFEST_NAME, read_manifest
from llmbench.runner import properties
from llmbench.schema.run import Run
from llmbench.store import importers, reader
from llmbench.workloads import prompts
from tests.builders import story_of

from .conftest import write_run

untrusted = pytest.mark.security(
    7, "input is not trusted: capped, no duplicate keys, no NaN, nothing steers a reader"
)
row_2 = pytest.mark.fault(2, "torn last line / damaged middle line of a run file")
row_17 = pytest.mark.fault(17, "prompt file: bad line N, no prompt, BOM, empty prompt, wrong type")
row_24 = pytest.mark.fault(24, "NaN, infinite, negative or zero latency in a file")

_ASKED = os.environ.get("LLMBENCH_FUZZ_EXAMPLES")
bounded = settings(
    max_examples=int(_ASKED or 50),
    derandomize=_ASKED is None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_MOST_SECONDS = 10.0
_MOST_BYTES = 256 << 20

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
odd_texts = st.sampled_from(
    [
        "",
        "NaN",
        "Infinity",
        "1e999",
        "-1",
        "[" * 2000,
        '{"a":' * 2000,
        "9" * 5000,
        "\x00",
        "\ud800",
        "null",
        "{}",
    ]
)


@contextlib.contextmanager
def _bounds() -> Iterator[None]:
    """Fail where reading a few bytes takes seconds of CPU, or more memory than there may be: a MemoryError then."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MOST_BYTES, limits[1]))
    start = time.thread_time()
    try:
        with contextlib.suppress(LlmbenchError):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert time.thread_time() - start < _MOST_SECONDS


def _use(run: Run) -> None:
    """What every command does with a run that could be read."""
    summarized = report.summarize_run(run)
    assert summarized.run is run


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """Bytes with some parts cut out, replaced or doubled."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        new = draw(st.binary(max_size=20) | odd_texts.map(lambda text: text.encode(errors="surrogatepass")))
        content[start:end] = new
    return bytes(content)


def _run_file_lines() -> list[str]:
    """The lines of a good run file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        write_run(story_of(launches=1), path)
        return path.read_text().splitlines()


LINES = _run_file_lines()


@row_2
@untrusted
@bounded
@given(content=damaged("\n".join(LINES).encode() + b"\n"), salvage=st.booleans())
def test_row_02_no_damage_to_a_run_file_breaks_its_reader(
    tmp_path: Path, content: bytes, *, salvage: bool
) -> None:
    """Read, or refused; and what could be read can be summarised."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with _bounds():
        _use(reader.read_run(path, salvage=salvage))
    assert reader.is_run_file(path) in {True, False}


@st.composite
def altered_events(draw: st.DrawFn) -> str:
    """A run file of which one value, however deep, is another one."""
    number = draw(st.integers(0, len(LINES) - 1))
    event = json.loads(LINES[number])
    location: object = event
    while isinstance(location, dict | list) and location:
        key = draw(st.sampled_from(sorted(location) if isinstance(location, dict) else range(len(location))))
        inner = location[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 3)) == 0:
            location[key] = draw(values)  # type: ignore[index]
            break
        location = inner
    return "\n".join([*LINES[:number], json.dumps(event), *LINES[number + 1 :], ""])


@row_2
@row_24
@untrusted
@bounded
@given(text=altered_events())
def test_row_24_no_value_in_a_run_file_breaks_its_reader(tmp_path: Path, text: str) -> None:
    """Any JSON instead of any value: the wrong type, a number beyond all bounds, nothing."""
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with _bounds():
        _use(reader.read_run(path, salvage=True))


@row_17
@untrusted
@bounded
@given(content=st.binary() | damaged(b'{"prompt": "one"}\n{"prompt": "two", "other": [1, {"a": null}]}\n'))
@example(content=b'{"prompt":' + b"[" * 100_000)
@example(content=b'{"prompt": ' + b"9" * 10_000 + b"}")
def test_row_17_nothing_breaks_the_reader_of_prompts(tmp_path: Path, content: bytes) -> None:
    """Prompts, or every bad line."""
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with _bounds():
        assert prompts.read_prompts(path)


@row_17
@untrusted
@bounded
@given(
    lines=st.lists(st.dictionaries(st.sampled_from(["prompt", "Prompt", "x"]), values) | values, max_size=4)
)
def test_row_17_no_json_breaks_the_reader_of_prompts(tmp_path: Path, lines: list[object]) -> None:
    """Lines that are JSON, and of any shape."""
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8", errors="surrogatepass")
    with _bounds():
        assert prompts.read_prompts(path)


def _reports() -> dict[str, bytes]:
    """A good report of each kind that can be read."""
    from llmbench.render import csv
    from llmbench.render import json as json_reports

    run = story_of(launches=1)
    return {
        "tidy": csv.tidy_csv(evaluate(run)).encode(),
        "llm_bench": csv.llm_bench_csv(evaluate(run)).encode(),
        "json": json_reports.llm_bench_json(evaluate(run)).encode(),
    }


REPORTS = _reports()


@row_24
@untrusted
@pytest.mark.parametrize("kind", REPORTS)
@bounded
@given(data=st.data())
def test_row_24_no_damage_to_a_report_breaks_its_reader(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    """CSV of both layouts and JSON: a run that can be summarised, or a refusal."""
    path = tmp_path / "report"
    path.write_bytes(data.draw(damaged(REPORTS[kind]) | st.binary(max_size=200)))
    with _bounds():
        _use(importers.read_report(path))


@row_24
@untrusted
@pytest.mark.parametrize("kind", ["tidy", "llm_bench"])
@bounded
@given(data=st.data())
def test_row_24_no_value_breaks_the_reader_of_a_report(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    """Any text instead of any value."""
    rows = [line.split(",") for line in REPORTS[kind].decode().splitlines()]
    row = data.draw(st.integers(1, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[row]) - 1))
    cells = st.text(max_size=20) | odd_texts | st.floats().map(str) | st.integers().map(str)
    rows[row][column] = data.draw(cells)
    path = tmp_path / "report.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="surrogatepass")
    with _bounds():
        _use(importers.read_report(path))


@untrusted
@bounded
@given(content=st.binary() | damaged(b'model = "m"\nnum-iters = 3\n[properties]\nNUM_STREAMS = 1\n'))
@example(content=b"a = " + b"[" * 10_000)
@example(content=b"seed = " + b"9" * 10_000)
def test_nothing_breaks_the_reader_of_recipes(tmp_path: Path, content: bytes) -> None:
    """Options, or an error that names the line."""
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with _bounds():
        assert isinstance(recipe.read_recipe(path, known=("model", "num_iters", "seed")), dict)


@untrusted
@bounded
@given(
    text=st.text()
    | values.map(json.dumps)
    | damaged(b'{"A": 1, "B": {"C": [1, 2]}}').map(lambda content: content.decode(errors="replace"))
)
@example(text='{"a":' * 50_000)
@example(text="A=" + "9" * 10_000)
@example(text="A=1," * 10_000)
def test_nothing_breaks_the_reader_of_properties(text: str) -> None:
    """Properties, or an error, of whatever is given to -lc."""
    with _bounds():
        assert isinstance(properties.read_properties(text), tuple)


@untrusted
@bounded
@given(text=st.text() | st.from_regex(r"[0-9,\- ]{0,30}", fullmatch=True) | odd_texts)
@example(text="0-99999999999")
@example(text="0-65535," * 50)
def test_nothing_breaks_the_reader_of_lists_of_cpus(text: str) -> None:
    """Numbers in order, each once, or an error; a range beyond all machines is no flood of memory."""
    with _bounds():
        numbers = topology.parse_list(text)
        assert list(numbers) == sorted(set(numbers))


_KERNEL_FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/loadavg",
    "proc/self/cgroup",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id",
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list",
    "sys/devices/system/node/node0/cpulist",
    "sys/devices/system/node/node0/meminfo",
    "sys/devices/system/node/node0/distance",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/memory.stat",
    "sys/fs/cgroup/memory.events",
    "sys/kernel/mm/transparent_hugepage/enabled",
)
_KERNEL_TEXTS = (
    "0-1",
    "0",
    "max",
    "100000 100000",
    "0::/",
    "MemTotal: 1 kB",
    "10 20",
    "always [madvise] never",
    "-1",
)


@untrusted
@bounded
@given(
    files=st.dictionaries(
        st.sampled_from(_KERNEL_FILES),
        st.sampled_from(_KERNEL_TEXTS) | st.text(alphabet=st.characters(codec="utf-8"), max_size=30),
    )
)
def test_nothing_breaks_the_readers_of_the_kernels_files(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    """Whatever a container shows of /proc and /sys: a description, or an error."""
    root = tmp_path_factory.mktemp("root")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    for read in (environment.capture, topology.read_nodes, cgroup.read_limits):
        with _bounds():
            read(root / "sys" if read is topology.read_nodes else root)


def _manifest(make: Callable[..., Path]) -> bytes:
    return (make() / MANIFEST_NAME).read_bytes()


@untrusted
@bounded
@given(data=st.data())
def test_nothing_breaks_the_reader_of_a_manifest(
    tmp_path_factory: pytest.TempPathFactory, ir_of: Callable[..., Path], data: st.DataObject
) -> None:
    """A manifest, or an error that calls it damaged."""
    folder = tmp_path_factory.mktemp("folder")
    original = _manifest(lambda: ir_of(name=str(folder / "model")))
    content = data.draw(
        damaged(original) | st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode())
    )
    (folder / MANIFEST_NAME).write_bytes(content)
    with _bounds():
        assert read_manifest(folder)
