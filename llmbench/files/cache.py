"""SHA-256 of files, and other facts of one, cached so that a large model is read once.

The cache is a small file in the user's cache folder. Its key is a file's device and inode, and an entry is valid
while the file's size and both of its kernel times are the same, also where its folder is renamed.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path

import msgspec

from llmbench.errors import readable
from llmbench.files import atomic

_ENTRY_CAP = 4096
_SETTLED_NS = 100_000_000
"""A file changed this recently is not remembered: file times are too coarse to show a second change."""


def cache_folder() -> Path:
    """Return the folder of what llmbench can make again: below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "llmbench"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, cached while it does not change; raise InputError if unreadable."""
    return recall("sha256", path, lambda file: hashlib.file_digest(file, "sha256").hexdigest())


def recall(what: str, path: Path, find: Callable[[BufferedReader], str], *, also: str = "") -> str:
    """Return what *find* returns of a file, cached while it does not change; raise InputError if unreadable.

    *what* names the cache. Where the result depends on more than the file, *also* is what else.
    """
    with readable(path, hint="check the path"), path.open("rb") as file:
        state = os.fstat(file.fileno())
        key = f"{state.st_dev}:{state.st_ino}"
        stamp = f"{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}{also and ':'}{also}"
        known_stamp, known = _remembered(what).get(key, ("", ""))
        if known_stamp == stamp:
            return known
        found = find(file)
        after = os.fstat(file.fileno())
    changed_ns = max(after.st_mtime_ns, after.st_ctime_ns)
    if (after.st_mtime_ns, after.st_ctime_ns) == (state.st_mtime_ns, state.st_ctime_ns) and (
        time.time_ns() - changed_ns > _SETTLED_NS
    ):
        _remember(what, key, (stamp, found))
    return found


def combined_sha256(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 for a set of named files, whatever their order."""
    lines = (f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _memory(what: str) -> Path:
    return cache_folder() / f"{what}.json"


def _remembered(what: str) -> dict[str, tuple[str, str]]:
    """The entries: identity to (stamp, result); none where the file is missing or damaged."""
    try:
        return msgspec.json.decode(_memory(what).read_bytes(), type=dict[str, tuple[str, str]])
    except (OSError, ValueError):
        return {}


def _remember(what: str, key: str, entry: tuple[str, str]) -> None:
    """Add one entry; a cache folder that cannot be written only costs time."""
    entries = _remembered(what)
    entries.pop(key, None)
    kept = dict([*entries.items(), (key, entry)][-_ENTRY_CAP:])
    with contextlib.suppress(OSError):
        atomic.cache_file(_memory(what), msgspec.json.encode(kept))
