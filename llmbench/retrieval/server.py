"""The database that llmbench starts itself: PostgreSQL with pgvector from a wheel, on a socket below the cache.

Its data is kept by name. It is up while somebody uses it, and stopped by the last one. PostgreSQL refuses to run as
root, so there the package runs it as a user of its own, ``pgserver``, which it makes; that user must be able to read
the data, so that it lies below ``/var/lib`` and no permission of a home folder is touched.
"""

import contextlib
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from llmbench.errors import InputError, MachineError
from llmbench.files.cache import cache_folder
from llmbench.files.package_data import install_command, missing_packages
from llmbench.retrieval.database import EMBEDDED

_NAME = re.compile(r"[\w-]{1,40}")
_OWN_SERVER = "or give a server of your own: --database postgresql://USER@HOST/DATABASE"


def data_folder(database: str) -> Path:
    """Return where ``embedded`` or ``embedded:NAME`` keeps its data; raise InputError for another name."""
    name = database.partition(":")[2] or "default"
    if not _NAME.fullmatch(name):
        raise InputError(f"--database {database}: {name!r} is not a name", hint=f"write {EMBEDDED}:NAME")
    base = Path("/var/lib/llmbench") if os.geteuid() == 0 else cache_folder()
    return base / "postgresql" / name


def check_embedded() -> None:
    """Raise a ``MachineError`` where the embedded database cannot be started; nothing is."""
    if missing_packages(["pgserver"]):
        raise MachineError(
            f"the embedded database needs the package pgserver, which is not installed for Python "
            f"{sys.version_info.major}.{sys.version_info.minor}",
            hint=f"{install_command('rag')}; {_OWN_SERVER}",
        )
    package = find_spec("pgserver")
    if os.geteuid() == 0 and package is not None and package.origin is not None:
        closed = [folder for folder in Path(package.origin).parents if not _is_open(folder)]
        if closed:
            raise MachineError(
                f"PostgreSQL does not run as root, and its own user could not read {closed[-1]}, where it is installed",
                hint=f"run llmbench as another user, {_OWN_SERVER}",
            )


def _is_open(folder: Path) -> bool:
    needed = stat.S_IROTH | stat.S_IXOTH
    return folder.stat().st_mode & needed == needed


@contextlib.contextmanager
def served(database: str) -> Iterator[str]:
    """Have the embedded database up while the block runs; yield its address.

    Raises:
        MachineError: it cannot be started.
    """
    check_embedded()
    folder = data_folder(database)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(action="ignore"):  # on a machine without XDG_RUNTIME_DIR
            import pgserver

            server = pgserver.get_server(folder)
    except Exception as error:
        raise MachineError(
            f"the embedded database in {folder} could not be started: {type(error).__name__}: {error}",
            hint=f"see {folder / 'log'}; {_OWN_SERVER}",
        ) from error
    import psutil

    # It counts its users in this process, and the processes that use it; a database that was killed needs no end.
    with contextlib.suppress(psutil.NoSuchProcess), server:
        yield address_of(database)


def address_of(database: str) -> str:
    """Return the address of a database: of an embedded one its socket, of another one itself.

    Raises:
        MachineError: the embedded one is not up.
    """
    if database.partition(":")[0] != EMBEDDED:
        return database
    file = data_folder(database) / "postmaster.pid"
    try:
        socket = file.read_text().splitlines()[4]
    except (OSError, IndexError) as error:
        raise MachineError(
            f"the embedded database {data_folder(database)} is not up",
            hint="start the command again: it starts its database itself",
        ) from error
    return f"postgresql://postgres@/postgres?host={socket}"
