"""The live line on a real terminal: it moves, and nothing else is garbled by it."""

import collections
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

_SCRIPT = ("--engine", "scripted", "-n", "2", "-ic", "4", "--launches", "2")


def on_terminal(folder: Path, *arguments: str) -> str:
    """What a command writes to a terminal of 100 columns, control characters included."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "llmbench", *arguments],
        cwd=folder,
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
    )
    os.close(child)
    found = b""
    while True:
        try:
            chunk = os.read(parent, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        found += chunk
    process.wait(timeout=PATIENCE_S)
    os.close(parent)
    return found.decode()


@pytest.mark.slow
def test_the_live_line_moves_while_one_request_runs(tmp_path: Path) -> None:
    """Requests of 0.7 s: the spinner goes on inside them; launch, what runs now and the time left are shown."""
    shown = on_terminal(tmp_path, "run", "-m", "first=1ms,sleep=700ms", *_SCRIPT)
    frames = re.findall(r"\r\x1b\[2K([^\r\n]+)", shown)
    spinners = collections.defaultdict(set)
    for frame in frames:
        if request := re.search(r"launch \d/2  P0 iteration \d/2", frame):
            spinners[request[0]].add(frame.split()[0])

    assert max(map(len, spinners.values())) >= 2, "one request has several frames of the spinner"
    assert any("launch 2/2  P0 iteration 2/2" in frame for frame in frames)
    assert any(re.search(r"launch 1/2  P0 iteration 2/2 .*\d s left", frame) for frame in frames)
    assert "launch 2/2  P0 iteration 2/2   first 1.00 ms" in shown


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ab", "calibrate"])
def test_lines_of_blocks_are_not_printed_into_the_live_line(tmp_path: Path, command: str) -> None:
    """Each line of a block begins at the left, where the live line was cleared."""
    shown = on_terminal(
        tmp_path,
        command,
        "-m",
        "first=1ms,sleep=300ms",
        "--engine",
        "scripted",
        "-n",
        "1",
        "-ic",
        "4",
        "--blocks",
        "2",
    )
    blocks = re.findall(r"([^\r\n]*)block 1 of 2:", shown)

    assert blocks
    assert all(before.endswith("\x1b[2K") or not before for before in blocks)
