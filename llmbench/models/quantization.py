"""Models whose published weights are quantized already: what ``config.json`` reports, and which package reads them.

Source: ``quantizers/auto.py`` of transformers 5.5, and the patches of optimum-intel 2.1.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import InputError, MachineError
from llmbench.files.package_data import missing_packages
from llmbench.files.strict_json import read_object


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """A quantization method: its *package* reads the weights on a CPU (``None``: none does), *exports* them or not."""

    title: str
    package: str | None = None
    exports: bool = False


_GPTQMODEL = "gptqmodel"
_METHODS = {
    "awq": _Method(title="AWQ", package=_GPTQMODEL, exports=True),
    "gptq": _Method(title="GPTQ", package=_GPTQMODEL, exports=True),
    "bitsandbytes": _Method(title="bitsandbytes", package="bitsandbytes"),
    "compressed-tensors": _Method(title="compressed-tensors", package="compressed-tensors"),
    "auto-round": _Method(title="AutoRound", package="auto-round"),
    "intel/auto-round": _Method(title="AutoRound", package="auto-round"),
    "quanto": _Method(title="Quanto", package="optimum-quanto"),
    "hqq": _Method(title="HQQ", package="hqq"),
    "torchao": _Method(title="torchao", package="torchao"),
    "quark": _Method(title="Quark", package="amd-quark"),
    "modelopt": _Method(title="ModelOpt"),
    "bitnet": _Method(title="BitNet"),
    "vptq": _Method(title="VPTQ", package="vptq"),
    "aqlm": _Method(title="AQLM", package="aqlm"),
    "fp8": _Method(title="FP8"),
    "fbgemm_fp8": _Method(title="FP8"),
}
_READ_BY_TRANSFORMERS = frozenset({"mxfp4"})
"""Methods that transformers itself turns into bfloat16 on a CPU."""

_ELSEWHERE = ("quantize_config.json", "hf_quant_config.json", "quant_config.json")
"""Files in which AutoGPTQ, ModelOpt and AutoAWQ kept their settings, beside a config.json that has none."""

DESCRIPTION_FILES = ("config.json", "tokenizer_config.json", *_ELSEWHERE)
"""Small files that decide whether a model can be converted; the first is required."""

_SUFFIX = re.compile(
    r"[-_.](?:w\d+a\d+|awq|gptq|fp8|bnb|nvfp4|mxfp4|autoround|quantized|hqq|int[48]|[48]bit)\b.*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How the weights of a source were quantized: the *method* as its configuration names it, and its bits."""

    method: str
    bits: int | None = None

    @property
    def title(self) -> str:
        """The method in a sentence: ``AWQ, 4 bits``."""
        title = _METHODS.get(self.method, _Method(title=self.method)).title
        return title if self.bits is None else f"{title}, {self.bits} bits"

    @property
    def package(self) -> str | None:
        """The package that reads such weights on a CPU; ``None`` where none does."""
        return _METHODS.get(self.method, _Method(title=self.method)).package


def find_quantization(folder: Path, config: Mapping[str, Any]) -> Quantization | None:
    """Return how the weights in *folder* are quantized, by its *config* or a file beside it; ``None``: they are not.

    Raises:
        InputError: what stands for the settings is neither an object nor a method's name.
    """
    for section in _sections(config):
        for key in ("quantization_config", "compression_config"):
            if found := section.get(key):
                return _read_settings(found, folder / "config.json", key)
    for name in _ELSEWHERE:
        if found := read_object(folder / name):
            return _describe(found, "awq" if name == "quant_config.json" else "gptq")
    return None


def check_exportable(quantization: Quantization | None, name: str) -> None:
    """Raise unless the weights of the source *name* can be exported: unquantized ones, or with their package.

    Raises:
        InputError: nothing exports such weights.
        MachineError: a package that is not installed would read them.
    """
    if quantization is None or quantization.method in _READ_BY_TRANSFORMERS:
        return
    message = f"the weights of {name} are quantized already ({quantization.title})"
    original = name if name.startswith("/") else _SUFFIX.sub("", name)
    remedy = f"convert the unquantized model{f' ({original})' if original != name else ''}"
    method = _METHODS.get(quantization.method)
    if method is None or not method.exports or method.package is None:
        raise InputError(
            f"{message}, which optimum-intel cannot export",
            hint=f"{remedy} with --weight-format int8 or int4",
        )
    _check_package(method.package, message, remedy)


def check_readable(quantization: Quantization | None, name: str) -> None:
    """Raise unless transformers reads the weights of the source *name* on a CPU with what is installed.

    Raises:
        MachineError: the package that is missing, or that a GPU is needed.
    """
    if quantization is None or quantization.method in _READ_BY_TRANSFORMERS:
        return
    message = f"the weights of {name} are quantized ({quantization.title})"
    if quantization.package is None:
        raise MachineError(
            f"{message}, which PyTorch does not run on a CPU", hint="use the unquantized model"
        )
    _check_package(quantization.package, message, "use the unquantized model")


def _check_package(package: str, message: str, remedy: str) -> None:
    if missing_packages([package]):
        raise MachineError(
            f"{message}; reading them needs {package}, which is not installed",
            hint=f"{remedy}, or: pip install {package}",
        )


def _sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration, and those of its parts: a vision-language model has them nested."""
    yield config
    for key, part in config.items():
        if (
            key.endswith("_config")
            and isinstance(part, Mapping)
            and not key.startswith(("quant", "compress"))
        ):
            yield from _sections(part)


def _read_settings(found: object, file: Path, key: str) -> Quantization:
    if isinstance(found, str):
        return Quantization(method=found.lower())
    if isinstance(found, Mapping) and isinstance(found.get("quant_method") or "", str):
        return _describe(found)
    raise InputError(
        f"{file}: {key} is not an object that names a quant_method",
        hint="fetch config.json again; where the weights are not quantized, delete the key",
    )


def _describe(found: Mapping[str, Any], default: str = "unknown method") -> Quantization:
    """Return the method and the bits of a quantization's own settings, in any of the known layouts."""
    nested = found.get("quantization")
    settings = nested if isinstance(nested, Mapping) else found
    method = settings.get("quant_method") or settings.get("quant_algo") or _by_keys(settings) or default
    bits = str(settings.get("bits", settings.get("w_bit")))
    size = next((size for size in (4, 8) if settings.get(f"load_in_{size}bit")), None)
    return Quantization(method=str(method).lower(), bits=int(bits) if bits.isdecimal() else size)


_KEYS = {
    "compressed-tensors": {"config_groups"},
    "bitsandbytes": {"load_in_4bit", "load_in_8bit"},
    "awq": {"w_bit", "q_group_size", "zero_point"},
    "gptq": {"desc_act", "damp_percent", "true_sequential"},
}
"""Keys that only one method's settings have."""


def _by_keys(settings: Mapping[str, Any]) -> str | None:
    return next((method for method, keys in _KEYS.items() if keys & set(settings)), None)
