"""Conversions that are killed, that do not fit on the disk, and hubs that do not answer or refuse."""

import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until

from .conftest import Marked, needs_mounts

Run = Callable[..., subprocess.CompletedProcess[str]]
Disk = Callable[..., Path]

row_15 = pytest.mark.fault(15, "convert killed, or its disk full")
row_39 = pytest.mark.fault(39, "hub offline or 401")
TOKEN = "hf_" + "Canary0123456789" * 2


@row_15
@pytest.mark.model
def test_row_15_a_killed_conversion_leaves_a_partial_folder_that_the_next_one_cleans(
    marked: Marked, llmbench_workers: Run, demo_gguf: Path, tmp_path: Path
) -> None:
    """Nothing that could be taken for a model; run names it as what it is; the next convert removes it."""
    command = ("convert", "--model-id", str(demo_gguf), "--output-dir", "models")
    process = marked.start(*command)
    partial = tmp_path / "models/pytorch/dldt/INT4.partial"
    wait_until(lambda: partial.exists() and any(partial.rglob("*.xml")), "the conversion to begin")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    marked.assert_gone()
    assert ["INT4.partial"] == [path.name for path in partial.parent.iterdir()]
    (partial / "left over").write_text("of the conversion that was killed")

    refused = llmbench_workers("run", "-m", "models")
    assert refused.returncode == 2
    assert "contains only an interrupted conversion: models/pytorch/dldt/INT4.partial" in refused.stderr
    done = llmbench_workers(*command)
    assert done.returncode == 0, done.stderr
    assert ["INT4"] == [path.name for path in partial.parent.iterdir()]
    assert "left over" not in {path.name for path in (partial.parent / "INT4").iterdir()}


@row_15
@needs_mounts
@pytest.mark.model
def test_row_15_a_disk_too_small_is_reported_before_converting(
    llmbench_workers: Run, demo_gguf: Path, disk_of: Disk
) -> None:
    """Exit 6 with what it takes and what is free; the disk is as it was."""
    disk = disk_of(4096)
    done = llmbench_workers("convert", "--model-id", str(demo_gguf), "--output-dir", str(disk))

    assert done.returncode == 6, done.stderr
    assert "the conversion takes about 94 MiB" in done.stderr
    assert [] == list(disk.iterdir())


@row_15
@needs_mounts
@pytest.mark.model
def test_row_15_a_disk_that_fills_up_meanwhile_is_exit_6(
    llmbench_workers: Run, demo_gguf: Path, disk_of: Disk
) -> None:
    """There was room when it began; what was begun is removed."""
    disk = disk_of(120 << 10)
    filler = threading.Thread(target=_fill_when_begun, args=(disk,))
    filler.start()
    done = llmbench_workers("convert", "--model-id", str(demo_gguf), "--output-dir", str(disk))
    filler.join()

    assert done.returncode == 6, done.stderr
    assert "0 bytes are left there" in done.stderr
    assert ["filler"] == [path.name for path in disk.iterdir()]


def _fill_when_begun(disk: Path) -> None:
    """Take most of a disk once a conversion has made its folder."""
    wait_until((disk / "pytorch").exists, "the conversion to begin")
    (disk / "filler").write_bytes(b"x" * (100 << 20))


@pytest.fixture
def refusing_hub() -> Iterator[str]:
    """The address of a hub on this machine that answers 401 to everything."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _assert_one_line_without_the_token(done: subprocess.CompletedProcess[str]) -> None:
    """Exit 4, an error and a hint, and nowhere the token."""
    assert done.returncode == 4, done.stderr
    assert ["error", "hint"] == [
        line.partition(":")[0] for line in done.stderr.splitlines() if not line.endswith("…")
    ]
    assert TOKEN not in done.stdout + done.stderr


@row_39
@pytest.mark.convert
@pytest.mark.parametrize("name", ["example/model", TOKEN])
def test_row_39_a_hub_that_refuses_is_one_line(
    llmbench_process: Run, refusing_hub: str, tmp_path: Path, name: str
) -> None:
    """HTTP 401: what to do about it, and no token, not even where someone takes it for the model's name."""
    done = llmbench_process(
        *("convert", "--model-id", name, "--output-dir", "models"),
        HF_ENDPOINT=refusing_hub,
        HF_TOKEN=TOKEN,
        HF_HOME=str(tmp_path / "hf"),
    )

    _assert_one_line_without_the_token(done)
    assert "log in with: hf auth login" in done.stderr


@row_39
@pytest.mark.convert
def test_row_39_a_hub_that_does_not_respond_is_one_line(llmbench_process: Run, tmp_path: Path) -> None:
    """Nobody listens there, and nothing is cached: what to do instead."""
    done = llmbench_process(
        *("convert", "--model-id", "example/model", "--output-dir", "models"),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_TOKEN=TOKEN,
        HF_HOME=str(tmp_path / "hf"),
    )

    _assert_one_line_without_the_token(done)
    assert "cannot be reached" in done.stderr
