"""How many attention layers of a model on disk are fused, by its IRs and its configuration's layer types.

It stands alone: `llmbench.models.ir_attention` looks at one network, this at a model of one or more.
"""

from collections.abc import Mapping
from pathlib import Path

from llmbench.models.context import config_sections
from llmbench.models.integrity import main_network, networks
from llmbench.models.ir_xml import Network, read_ir_xml
from llmbench.schema.attention import Fusion

LANGUAGE_MODEL = "language model"
_TITLES = {"language": LANGUAGE_MODEL, "vision embeddings": "vision tower", "": LANGUAGE_MODEL}


def read_fusions(folder: Path) -> Mapping[str, Fusion]:
    """Return the attention layers of each part of an IR that has any, by title; the language model comes first."""
    return {title: fusion for title, (_, fusion) in read_parts(folder).items()}


def read_parts(folder: Path) -> Mapping[str, tuple[Path, Fusion]]:
    """Return the ``.xml`` and the attention layers of each part, as `read_fusions` does."""
    declared = attention_layers_of_config(folder / "config.json")
    found = {}
    for xml in networks(folder):
        title = _title(xml)
        is_language = title == LANGUAGE_MODEL
        fusion = fusion_of(read_ir_xml(xml), declared if is_language else None)
        if fusion is not None and (fusion.layers or is_language):
            found[title] = (xml, fusion)
    return found


def language_fusion(folder: Path) -> Fusion | None:
    """Return the attention layers of an IR's language model; ``None`` where it has none that can be read."""
    return fusion_of(read_ir_xml(main_network(folder)), attention_layers_of_config(folder / "config.json"))


def fusion_of(network: Network, declared: int | None) -> Fusion | None:
    """Return the attention layers of a network, at least as many as are *declared*, or else as have a KV cache."""
    if network.fused_attention is None or network.plain_attention is None:
        return None
    expected = network.cached_layers if declared is None else declared
    seen = network.fused_attention + network.plain_attention
    return Fusion(fused=network.fused_attention, layers=max(expected, seen))


def attention_layers_of_config(path: Path) -> int | None:
    """Return how many of the ``layer_types`` in a ``config.json`` are softmax attention; ``None`` without that list."""
    for section in reversed(config_sections(path)):
        kinds = section.get("layer_types")
        if isinstance(kinds, list):
            return sum("attention" in str(kind) and "linear" not in str(kind) for kind in kinds)
    return None


def _title(xml: Path) -> str:
    """Return the title of a part by its file: ``openvino_vision_embeddings_model.xml`` is the vision tower."""
    name = xml.stem.removeprefix("openvino_").removesuffix("model").replace("_", " ").strip()
    return _TITLES.get(name, name)
