"""Changes that were accepted: a small file beside the run files, which people may edit.

Each entry names the first run of a new level and why that is fine; from it on a history has a new baseline.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from llmbench.errors import readable
from llmbench.files.atomic import write_atomically

FILE = "accepted.toml"
_HEAD = "# Changes of level that were accepted: llmbench report history --accept RUN NOTE\n"


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One accepted change."""

    run: str
    note: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    accepted: list[_Entry] = []


def read_acceptances(folder: Path) -> dict[str, str]:
    """Return the notes of accepted changes by the id of the first run of the new level; empty without a file.

    Raises:
        InputError: the file is not as this program writes it.
    """
    file = folder / FILE
    if not file.is_file():
        return {}
    hint = 'it has [[accepted]] with run = "..." and note = "..."'
    with readable(file, hint=hint, also=ValueError):
        found = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _File)
    return {entry.run: entry.note for entry in found.accepted}


def write_acceptances(folder: Path, accepted: Mapping[str, str]) -> Path:
    """Write the notes by run, and return the file."""
    entries = (
        f"\n[[accepted]]\nrun = {json.dumps(run)}\nnote = {json.dumps(note)}\n"
        for run, note in accepted.items()
    )
    write_atomically(folder / FILE, _HEAD + "".join(entries))
    return folder / FILE
