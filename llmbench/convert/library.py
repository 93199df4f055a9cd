"""Models that are converted when they are first measured, and kept in the cache by name and weight format."""

import hashlib
import re
from pathlib import Path

from llmbench.convert.output import target_folder
from llmbench.convert.request import ConvertRequest
from llmbench.files.cache import cache_folder
from llmbench.models import locate, sources
from llmbench.models.gguf_file import gguf_sha256
from llmbench.models.hub import HubModel
from llmbench.models.integrity import MAIN_NETWORKS
from llmbench.models.manifest import MANIFEST_NAME

DEFAULT_FORMAT = "int8"
_HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def is_hub_name(model: str) -> bool:
    """Whether a model is named as on a hub, ``ORGANISATION/MODEL``, and is no path: its first folder is not here."""
    organisation = model.partition("/")[0]
    is_name = _HUB_NAME.fullmatch(model) is not None and not model.startswith(".")
    is_path = organisation == "models" or model.endswith(".gguf") or Path(organisation).exists()
    return is_name and not is_path


def is_source(model: str) -> bool:
    """Whether a model is to be converted before it can be measured: a hub's, or a Hugging Face folder without IR."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return is_hub_name(model)
    return (folder / "config.json").is_file() and not _holds_ir(folder)


def _holds_ir(folder: Path) -> bool:
    return any(next(folder.rglob(name), None) for name in MAIN_NETWORKS)


def library_folder(model: str) -> Path:
    """Return where the conversions of a model are kept; those of a folder by its content."""
    name = model.replace("/", "--")
    path = Path(model).expanduser()
    if path.is_dir():
        source = sources.inspect_folder(path, trusts_remote_code=False)
        digest = hashlib.sha256(f"{path.resolve()}:{source.revision}".encode()).hexdigest()
        name = f"{path.resolve().name}-{digest[:12]}"
    return cache_folder() / "models" / name


def find_conversions(model: str, formats: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the IRs of a model that are kept, one per format; empty if one is missing.

    Without *formats* it is the one in the default format, or the only one of a model that a hub holds as IR.
    """
    folder = library_folder(model)
    wanted = tuple(target_folder(folder, name) for name in formats or (DEFAULT_FORMAT,))
    if all((path / MANIFEST_NAME).is_file() for path in wanted):
        return wanted
    kept = sorted(path.parent for path in folder.glob(f"pytorch/dldt/*/{MANIFEST_NAME}"))
    is_fetched = len(kept) == 1 and not formats and _is_fetched(kept[0])
    return tuple(kept) if is_fetched else ()


def _is_fetched(folder: Path) -> bool:
    manifest = locate.locate(folder).manifest
    return manifest is not None and manifest.recipe.weight_format is None


def gguf_request(path: Path) -> ConvertRequest:
    """Return the conversion of a GGUF file, which keeps its weights; it is kept by the file's content."""
    folder = cache_folder() / "models" / f"{path.stem}-{gguf_sha256(path)[:12]}"
    return ConvertRequest(model_id=str(path), output_dir=folder)


def find_gguf_conversion(path: Path) -> Path | None:
    """Return the IR of a GGUF file that is kept; ``None`` where there is none yet."""
    folder = gguf_request(path).output_dir
    return next((found.parent for found in folder.glob(f"pytorch/dldt/*/{MANIFEST_NAME}")), None)


def library_request(model: str, formats: tuple[str, ...]) -> ConvertRequest:
    """Return the conversion that is missing; raise an error of `llmbench.errors` if the hub cannot be reached."""
    found = sources.find_source(model, revision=None, trusts_remote_code=False)
    has_ir = isinstance(found, HubModel) and found.holds_ir
    return ConvertRequest(
        model_id=model,
        output_dir=library_folder(model),
        weight_formats=formats or (() if has_ir else (DEFAULT_FORMAT,)),
    )
