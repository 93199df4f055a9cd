"""The child process of one step of a module: ``python -m llmbench.step MODULE ANSWER_FD PARENT_PID``.

Nobody imports this module, so that it can be run by its name; the module of the step is imported once, as it is
everywhere else, whatever its package imports.
"""

import importlib
import sys

from llmbench.child import serve


def main() -> None:
    """Answer one of the module's ``REQUESTS`` by what its ``do`` makes of it."""
    module = importlib.import_module(sys.argv.pop(1))
    serve(module.REQUESTS, module.do)


if __name__ == "__main__":
    main()
