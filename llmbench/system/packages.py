"""Installed packages that do not go together."""

import importlib.metadata
from collections.abc import Iterator, Mapping

from llmbench.system.findings import Finding, Weight

_RUNTIME = ("openvino", "openvino-genai", "openvino-tokenizers")


def installed() -> dict[str, str]:
    """Versions of the packages that `find` looks at; what is not installed is left out."""
    found: dict[str, str] = {}
    for name in (*_RUNTIME, "torch", "torchvision", "optimum-intel", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def find(versions: Mapping[str, str]) -> Iterator[Finding]:
    """What is missing or does not go together."""
    missing = [name for name in _RUNTIME if name not in versions]
    if missing:
        yield Finding(
            check="engine",
            weight=Weight.SPOILS,
            found=f"not installed: {', '.join(missing)}",
            effect="nothing can be measured",
            remedy=f"pip install {' '.join(missing)}",
        )
    releases = {".".join(versions[name].split(".")[:2]) for name in _RUNTIME if name in versions}
    if len(releases) > 1:
        together = ", ".join(f"{name} {versions[name]}" for name in _RUNTIME if name in versions)
        yield Finding(
            check="engine-releases",
            weight=Weight.SPOILS,
            found=f"packages of different releases: {together}",
            effect="they share a binary interface: loading fails, or crashes",
            remedy=f"pip install --upgrade {' '.join(_RUNTIME)}",
        )
    yield from _torchvision(versions)


def _torchvision(versions: Mapping[str, str]) -> Iterator[Finding]:
    """A torchvision built for CUDA beside a torch built for CPUs."""
    torch, torchvision = versions.get("torch", ""), versions.get("torchvision", "")
    if torch.endswith("+cpu") and torchvision and not torchvision.endswith("+cpu"):
        yield Finding(
            check="torchvision",
            weight=Weight.SPOILS,
            found=f"torchvision {torchvision} beside torch {torch}",
            effect="importing transformers fails (operator torchvision::nms does not exist): convert cannot run",
            remedy="pip uninstall torchvision",
        )
