"""Models of a hub: the commit of a name and a revision, and the files fetched of it."""

import errno
import io
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmbench.errors import InputError, MachineError, OutputError
from llmbench.files.package_data import install_command
from llmbench.models.integrity import MODEL_XML
from llmbench.models.manifest import ModelSource
from llmbench.schema.progress import Progress, ProgressCallback

DESCRIPTIONS = (".json", ".jinja", ".txt", ".model")
"""Endings of the files that describe a model: configuration, tokenizer, chat template."""

WEIGHTS = ".safetensors"
MAIN_BRANCH = "main"
"""The branch that a hub shows first."""

_PATIENCE_S = 30
_REFUSALS = {401: "refuses", 403: "refuses", 429: "limits requests with"}
_Found = TypeVar("_Found")


class UnreachableError(MachineError):
    """The hub did not respond; what is cached may still do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A hub's model at one commit, and the files that are wanted of it.

    *reference* is the branch, tag or commit that was requested; *revision* the commit it was then.
    """

    id: str
    reference: str
    revision: str
    files: tuple[str, ...]

    @property
    def origin(self) -> ModelSource:
        """The source as a manifest names it."""
        return ModelSource(kind="hub", id=self.id, revision=self.revision)

    @property
    def holds_ir(self) -> bool:
        """Whether it is an IR already."""
        return MODEL_XML in self.files


def find_model(name: str, *, revision: str | None, with_code: bool) -> HubModel:
    """Return the commit of *revision*, and the files a conversion needs; from the cache when offline."""
    hub = _hub()
    try:
        info = _call_hub(name, lambda: hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE_S))
        commit, listed = info.sha, [sibling.rfilename for sibling in info.siblings or ()]
    except UnreachableError as unreachable:
        commit, listed = _cached(name, revision, unreachable)
    names = sorted(file for file in listed if "/" not in file)
    if MODEL_XML in names:
        wanted = [file for file in names if file.startswith("openvino_") or file.endswith(DESCRIPTIONS)]
        return HubModel(id=name, reference=revision or MAIN_BRANCH, revision=commit, files=tuple(wanted))
    endings = (*DESCRIPTIONS, WEIGHTS, *((".py",) if with_code else ()))
    if not any(file.endswith(WEIGHTS) for file in names):
        gguf_files = [file for file in names if file.endswith(".gguf")]
        content = f"GGUF files: {', '.join(gguf_files[:6])}" if gguf_files else "no safetensors"
        raise InputError(
            f"{name} contains {content}",
            hint="fetch one GGUF and give the file, or take a model with safetensors",
        )
    return HubModel(
        id=name,
        reference=revision or MAIN_BRANCH,
        revision=commit,
        files=tuple(file for file in names if file.endswith(endings)),
    )


def download(model: HubModel, *, target: Path | None = None, report: ProgressCallback) -> Path:
    """Fetch the files of *model* into the hub's own cache, or into *target*; the folder that contains them."""
    if target is not None:
        folder = _snapshot(model, model.revision, target, report)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes on what it fetched
        return folder
    # fetched by its name, a model is found by it again when offline
    folder = _snapshot(model, model.reference, None, report)
    return folder if folder.name == model.revision else _snapshot(model, model.revision, None, report)


def _snapshot(model: HubModel, revision: str, target: Path | None, report: ProgressCallback) -> Path:
    hub, wanted, bar = _hub(), list(model.files), _bar(report)
    return Path(
        _call_hub(
            model.id,
            lambda: hub.snapshot_download(
                model.id, revision=revision, allow_patterns=wanted, local_dir=target, tqdm_class=bar
            ),
        )
    )


def _bar(report: ProgressCallback) -> Any:
    """A progress bar as the hub's client takes one, which reports the bytes fetched and prints nothing."""
    from tqdm.auto import tqdm

    in_turn = threading.Lock()  # files are fetched in parallel; what is reported of them never runs backwards

    class ByteBar(tqdm):  # type: ignore[misc]  # the client carries no types
        """The bytes of all files go through one bar; the others count files."""

        def __init__(self, *values: Any, **options: Any) -> None:
            options.pop("name", None)  # the client's own
            super().__init__(*values, **{**options, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> None:
            """Count *n* more bytes."""
            with in_turn:
                super().update(n)
                if self.unit == "B" and self.total:
                    report(Progress(label="fetching", share=min(self.n / self.total, 1.0)))

    return ByteBar


def _cached(name: str, revision: str | None, unreachable: MachineError) -> tuple[str, list[str]]:
    """The commit and files of *name* in the hub's cache; raises *unreachable* if it is not there."""
    hub = _hub()
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        raise unreachable from None
    return folder.name, [file.name for file in folder.iterdir()]


def _hub() -> Any:
    """The hub's client, which the extra ``convert`` brings."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
    except ImportError as error:
        raise MachineError(
            "downloading a model needs huggingface_hub (not installed)", hint=install_command()
        ) from error
    return huggingface_hub


def _call_hub(name: str, call: Callable[[], _Found]) -> _Found:
    """The hub's response; its refusals and silences become one line that contains no token and no address."""
    import httpx
    from huggingface_hub import errors

    try:
        return call()
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{name} has no such revision", hint="look at its list of commits") from error
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise MachineError(
            f"the hub refuses {name}: it does not exist, or is private or gated",
            hint="check the name; for a gated model request access and log in with: hf auth login",
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        raise MachineError(
            f"the hub {_REFUSALS.get(code, 'fails on')} {name} (HTTP {code})",
            hint="log in with: hf auth login; or try again later",
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OutputError(f"no space left on device while fetching {name}") from error
        raise UnreachableError(
            f"the hub cannot be reached for {name}, and no file or folder has that name",
            hint="go online, or give the path of a local folder or GGUF file",
        ) from error
