"""Machines of ``tests/data/sysfs`` and control groups of ``tests/data/cgroup`` laid out as files."""

import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent / "data"
_TEMPLATES = tempfile.TemporaryDirectory(prefix="machines-")


def _numbers(text: str) -> list[int]:
    """Numbers of ``0-3,5``; written apart from the code under test on purpose."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def _files(line: str) -> Iterator[tuple[str, str]]:
    """Path and content of each file that ``cpu{0-3}/name=content`` stands for.

    In the content, ``{}`` is the number in the path, and ``{+4}`` is that number plus four.
    """
    path, _, content = line.partition("=")
    content = content.replace("\\n", "\n") + "\n"
    group = re.search(r"\{(.*?)\}", path)
    if not group:
        yield path, content
        return
    for number in _numbers(group[1]):
        yield (
            path.replace(group[0], str(number)),
            re.sub(r"\{([+-]?\d*)\}", lambda m, n=number: str(n + int(m[1] or 0)), content),
        )


def write(root: Path, files: dict[str, str]) -> Path:
    """Write *files* (path below *root* to content), and give *root*."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to the template of other tests
        path.write_text(content)
    return root


def lay_out(name: str, folder: Path) -> Path:
    """The root folder, below *folder*, of the machine called *name*, or with ``cgroup/`` of some control groups."""
    return shutil.copytree(_template(name), folder / name, copy_function=os.link, dirs_exist_ok=True)


@functools.cache
def _template(name: str) -> Path:
    kind, _, file = name.rpartition("/")
    root = Path(_TEMPLATES.name) / name
    for line in (DATA / (kind or "sysfs") / f"{file}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            write(root, dict(_files(line)))
    return root
