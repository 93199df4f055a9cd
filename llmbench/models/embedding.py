"""How a text embedding model is to be used: pooling, normalization, and the longest text it was trained on.

sentence-transformers keeps this beside the weights, in ``modules.json``, ``1_Pooling/config.json`` and
``sentence_bert_config.json``. OpenVINO GenAI does not read those files: its default is the vector of the first token
(CLS), which is wrong for most models. So ``convert`` records it in the manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import InputError
from llmbench.files.strict_json import read_json_file
from llmbench.models.manifest import EmbeddingUse, read_manifest

_CAP_BYTES = 1 << 20
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    kind: str
    path: str


def read_source_use(folder: Path) -> EmbeddingUse | None:
    """Return how a model of sentence-transformers is to be used; ``None`` where its files lack it.

    Raises:
        InputError: a pooling, or a step after it, that OpenVINO GenAI does not have.
    """
    modules = _modules(folder)
    pooling = next((module for module in modules if module.kind == "Pooling"), None)
    if pooling is None:
        return None
    extra = [module.kind for module in modules if module.kind not in {"Transformer", "Pooling", "Normalize"}]
    found = _read(folder / (pooling.path or "1_Pooling") / "config.json")
    modes = [name for name, value in found.items() if name.startswith("pooling_mode_") and value is True]
    if extra or len(modes) != 1 or modes[0] not in _MODES:
        raise InputError(
            f"{folder} makes its vectors with {', '.join(extra) or ' and '.join(modes) or 'no pooling'}, "
            "which OpenVINO GenAI does not have",
            hint="use a model that pools by mean, cls or last_token, without another layer",
        )
    longest = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    return EmbeddingUse(
        pooling=_MODES[modes[0]],
        is_normalized=any(module.kind == "Normalize" for module in modules),
        max_tokens=longest if isinstance(longest, int) and longest > 0 else None,
    )


def embedding_use(folder: Path, parameters: Mapping[str, Any]) -> EmbeddingUse:
    """Return how the IR in *folder* is to be used, where *parameters* have no other value.

    Raises:
        InputError: neither has the pooling.
    """
    manifest = read_manifest(folder)
    found = (manifest.embedding if manifest else None) or read_source_use(folder)
    pooling = parameters.get("pooling") or (found.pooling if found else None)
    if pooling is None:
        raise InputError(
            f"how token vectors become one vector is not recorded beside {folder}",
            hint="give the --pooling that the model's card names: mean, cls or last_token",
        )
    return EmbeddingUse(
        pooling=str(pooling),
        is_normalized=not parameters.get("no_normalize") and (found is None or found.is_normalized),
        max_tokens=found.max_tokens if found else None,
    )


def _modules(folder: Path) -> list[_Module]:
    listed = _read(folder / "modules.json")
    return [
        _Module(kind=str(each.get("type", "")).rpartition(".")[2], path=str(each.get("path", "")))
        for each in listed
        if isinstance(each, dict)
    ]


def _read(path: Path) -> Any:
    """Return a small JSON file; an empty object where there is none that can be read."""
    try:
        return read_json_file(path, most_bytes=_CAP_BYTES)
    except (OSError, ValueError):
        return {}
