"""What every test may use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def llmbench(tmp_path: Path) -> RunCommand:
    """Runs the command in a process of its own, in an empty folder, without a terminal or colours."""

    def call(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **changes}
        return subprocess.run(
            [sys.executable, "-m", "llmbench", *arguments],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call
