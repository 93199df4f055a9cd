"""What comes with the package: prompts, properties and recipes in ``llmbench/data``, and extras to be installed.

The folders of the same names at the root of the repository hold links to the files.
"""

import shlex
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

from llmbench.errors import MachineError


def packaged_files(folder: str, suffix: str) -> dict[str, Path]:
    """Return the files of a folder with this suffix, by their names without it."""
    found = Path(str(resources.files("llmbench.data"))) / folder
    return {path.stem: path for path in sorted(found.glob(f"*{suffix}"))}


def find_packaged(name: str, folder: str, suffix: str) -> Path | None:
    """Return the file of this name, with or without its suffix and folder; ``None`` if there is none."""
    given = Path(name)
    if str(given.parent) not in {".", folder}:
        return None
    return packaged_files(folder, suffix).get(given.name.removesuffix(suffix))


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return which of these packages are not installed; none is imported."""
    return [
        name for name in dict.fromkeys(names) if next(iter(metadata.distributions(name=name)), None) is None
    ]


def check_installed(names: Iterable[str], *, user: str, extra: str) -> None:
    """Raise a MachineError that names which of the packages that *user* needs and *extra* brings are not installed."""
    if missing := missing_packages(names):
        raise MachineError(
            f"{user} needs packages that are not installed: {', '.join(missing)}", hint=install_command(extra)
        )


def install_command(extra: str = "convert") -> str:
    """Return the command that installs what an extra brings, in a clone and where there is a wheel alone.

    The package's own name is on no index, so the packages are named themselves.
    """
    clone = Path(__file__).parents[2]
    if (clone / "pyproject.toml").is_file():
        folder = "." if clone == Path.cwd() else str(clone)
        return f"pip install {shlex.quote(f'{folder}[{extra}]')}"
    return shlex.join(["pip", "install", *_extra_requirements(extra)])


def _extra_requirements(extra: str) -> list[str]:
    try:
        found = metadata.requires("llmbench") or []
    except metadata.PackageNotFoundError:
        return []
    return [
        each.partition(";")[0].strip() for each in found if f'extra == "{extra}"' in each.replace("'", '"')
    ]
