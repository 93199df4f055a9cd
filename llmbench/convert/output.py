"""Where a conversion is written: built in a folder marked partial, locked, and renamed when it is whole."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmbench.errors import InputError, OutputError
from llmbench.files.atomic import sync
from llmbench.models import locate
from llmbench.models.integrity import MODEL_XML
from llmbench.models.manifest import MANIFEST_NAME, Manifest, ModelSource, Recipe, read_manifest
from llmbench.schema.units import format_bytes

_LOCK = ".lock"


def target_folder(output: Path, precision: str) -> Path:
    """Return the folder of one precision: ``<output>/pytorch/dldt/INT8``."""
    return output / "pytorch" / "dldt" / precision.upper()


def check_writable(output: Path) -> None:
    """Raise an ``InputError`` if *output*, or the nearest folder above that exists, cannot be written."""
    nearest = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise InputError(f"--output-dir {output}: {nearest} is not a folder", hint="choose another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--output-dir {output}: {nearest} cannot be written", hint="check its permissions")


def files_of(partial: Path) -> list[Path]:
    """Return the model's files in a folder that is being built, by name."""
    return sorted(file for file in partial.iterdir() if file.is_file() and file.name != _LOCK)


def existing_conversion(
    target: Path, source: ModelSource, recipe: Recipe, *, overwrite: bool
) -> Manifest | None:
    """Return the manifest of *target* if it is the requested conversion already; ``None`` if it can be made.

    Raises:
        InputError: something else is there, and may not be overwritten.
    """
    if target.is_dir() and not any(target.iterdir()):
        return None
    if not target.exists() or overwrite:
        if target.exists() and not _is_model(target):
            raise InputError(
                f"{target} exists and is no model; it will not be replaced",
                hint="choose another --output-dir",
            )
        return None
    found = read_manifest(target) if target.is_dir() else None
    if found is None:
        raise InputError(f"{target} exists and has no manifest", hint=_REPLACE)
    if (found.source, found.recipe) != (source, recipe):
        raise InputError(
            f"{target} is another conversion: {_describe(found.source, found.recipe)}; "
            f"requested: {_describe(source, recipe)}",
            hint=_REPLACE,
        )
    locate.check_model_files(locate.locate(target))
    return found


@contextlib.contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to build *target* in; it is removed again if the block does not succeed.

    What a conversion that was killed left there is removed first.

    Raises:
        InputError: nothing can be written there, or another conversion is writing.
    """
    partial = target.with_name(target.name + locate.PARTIAL_SUFFIX)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(
            f"{partial} cannot be written: {error.strerror}", hint="choose another --output-dir"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another llmbench convert is writing {target}", hint="wait for it") from error
        _clear(partial)
        with contextlib.ExitStack() as undo:
            undo.callback(_remove, partial)
            yield partial
            undo.pop_all()
    finally:
        os.close(lock)


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise an ``OutputError`` if the disk of *folder* has less room than the conversion will take."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"the conversion takes about {format_bytes(needed_bytes)}; {folder} has {format_bytes(free)} free",
            hint="free some space, or choose another --output-dir",
        )


def finish(partial: Path, target: Path) -> None:
    """Sync what was built and rename it to *target*, in place of an older conversion."""
    old = target.with_name(f"{target.name}.old{locate.PARTIAL_SUFFIX}")
    try:
        (partial / _LOCK).unlink(missing_ok=True)
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        partial.rename(target)
        sync(target.parent)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    shutil.rmtree(old, ignore_errors=True)


_REPLACE = "replace it with --overwrite, or write to another --output-dir, such as models/NAME"


def _describe(source: ModelSource, recipe: Recipe) -> str:
    parts = [f"{source.id} at {(source.revision or 'an unknown revision')[:12]}", str(recipe.weight_format)]
    if recipe.ratio is not None:
        parts.append(f"ratio {recipe.ratio:g}")
    if recipe.group_size is not None:
        parts.append(f"group size {recipe.group_size}")
    if recipe.is_symmetric is not None:
        parts.append("symmetric" if recipe.is_symmetric else "asymmetric")
    return ", ".join(parts)


def _is_model(folder: Path) -> bool:
    """Whether *folder* is one of ours, or at least an IR, and nothing a person would miss."""
    return folder.is_dir() and any((folder / name).exists() for name in (MANIFEST_NAME, MODEL_XML))


def _clear(partial: Path) -> None:
    for entry in partial.iterdir():
        if entry.name == _LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _remove(partial: Path) -> None:
    """Remove what was being built, and the folders above it that hold nothing else."""
    shutil.rmtree(partial, ignore_errors=True)
    for parent in partial.parents[:2]:  # dldt and pytorch
        with contextlib.suppress(OSError):
            parent.rmdir()
