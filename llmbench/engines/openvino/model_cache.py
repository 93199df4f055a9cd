"""What the engine did with the folder of compiled models (``CACHE_DIR``) when it loaded one: a look before and after.

GenAI reports nothing of it, and an engine may find a model there and compile it all the same, as OpenVINO GenAI 2026.4
does under paged attention: it opens the file, removes it, and writes it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.machine import procfs
from llmbench.schema.config import PropertyValue
from llmbench.schema.run import ModelCache

_MAPS = Path("/proc/self/maps")
_LOADED = "LOADED_FROM_CACHE"

REFUSED = (
    "the model cache contains this model, but the engine compiled it again "
    "(OpenVINO GenAI 2026.4 does so with paged attention; --attention sdpa loads it from the cache)"
)
"""What a reader should know of a model that was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The files of such a folder before a load, by sizes and times; *folder* is ``None`` where none was requested."""

    folder: Path | None
    files: Mapping[str, tuple[int, int]]

    @classmethod
    def look(cls, properties: Mapping[str, PropertyValue]) -> Self:
        """The folder that a configuration's properties name, as it is now."""
        name = str(properties.get("CACHE_DIR") or "")
        folder = Path(name) if name else None
        return cls(folder=folder, files=_files(folder))

    def state(self, effective: Mapping[str, str], maps: Path = _MAPS) -> ModelCache | None:
        """What was made of it, after the load; *effective* are the properties read back, *maps* the files in memory.

        A file that was written is a model that was compiled. Where none was, one that is mapped, or a compiled model
        that reports so, was taken from there; else ``None``: the engine may have read it, or not have cared.
        """
        if self.folder is None:
            return ModelCache.OFF
        after = _files(self.folder)
        written = {name for name, state in after.items() if self.files.get(name) != state}
        if written:
            return ModelCache.REFUSED if written & set(self.files) else ModelCache.COLD
        is_reported = effective.get(_LOADED, "").upper() in {"YES", "TRUE"}
        return ModelCache.WARM if is_reported or self._is_mapped(maps) else None

    def _is_mapped(self, maps: Path) -> bool:
        mapped = procfs.read_text(maps) or ""
        return self.folder is not None and any(
            f" {self.folder.resolve() / name}" in mapped for name in self.files
        )


def _files(folder: Path | None) -> dict[str, tuple[int, int]]:
    """Size and time of each compiled model; none where there is no folder yet."""
    files = [] if folder is None else [file for file in folder.glob("*.blob") if file.is_file()]
    return {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}
