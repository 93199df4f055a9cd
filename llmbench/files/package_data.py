"""Files that come with the package: prompts, properties and recipes, each in a folder of ``llmbench/data``.

The folders of the same names at the root of the repository hold links to them.
"""

from importlib import resources
from pathlib import Path


def packaged_files(folder: str, suffix: str) -> dict[str, Path]:
    """Return the files of a folder with this suffix, by their names without it."""
    found = Path(str(resources.files("llmbench.data"))) / folder
    return {path.stem: path for path in sorted(found.glob(f"*{suffix}"))}


def find_packaged(name: str, folder: str, suffix: str) -> Path | None:
    """Return the file that a name stands for, with or without its suffix and folder; ``None`` if there is none."""
    given = Path(name)
    if str(given.parent) not in {".", folder}:
        return None
    return packaged_files(folder, suffix).get(given.name.removesuffix(suffix))
