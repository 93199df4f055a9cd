"""Where launches are made: each in a process of its own, or, of the scripted engine, in this one."""

import os

from llmbench.errors import InputError
from llmbench.runner.launchers.base import Launcher
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.runner.launchers.process import ProcessLauncher

_LAUNCHERS: dict[str, type[Launcher]] = {"process": ProcessLauncher, "inline": InlineLauncher}


def default_launcher() -> Launcher:
    """Return the launcher that the environment variable ``LLMBENCH_LAUNCHER`` names.

    Without it, ``process``. ``inline`` is for tests: it starts no process and runs the scripted engine only, without
    time limits. Raises InputError where no launcher has that name.
    """
    name = os.environ.get("LLMBENCH_LAUNCHER") or "process"
    if name not in _LAUNCHERS:
        raise InputError(
            f"LLMBENCH_LAUNCHER={name} is not a launcher", hint=f"set it to {' or '.join(_LAUNCHERS)}"
        )
    return _LAUNCHERS[name]()
