"""Waiting for what other processes do, however busy the machine is."""

import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

PATIENCE_S = 120.0
"""Nothing that is waited for takes so long; it only ends a test that waits in vain."""


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something that must come; a test that waits in vain says for what."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain: {what}")
        time.sleep(0.01)


def output_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Both outputs of a process that must end now; one that hangs reports where, under PYTHONFAULTHANDLER."""
    try:
        return process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate()
        pytest.fail(f"did not end in {PATIENCE_S:g} s:\n{out}\n{err}")


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, though nobody may have asked for its exit status."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
