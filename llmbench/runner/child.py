"""What a process and its parent agree on, whatever the child does: its environment, its death, how its end is named.

It stands alone because workers and the steps of a conversion have nothing else in common.
"""

import ctypes
import os
import signal

from llmbench.errors import ExitCode

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
"""Variables that keep Hugging Face's libraries from the network."""

WITHOUT_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}
"""Variables that keep libraries from reporting home."""

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; *parent* is that one's process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(int(ExitCode.BUG))


def signal_name(code: int) -> str | None:
    """The signal that ended a process with this return code; ``None`` where it ended by itself."""
    return signal.Signals(-code).name if code < 0 else None
