"""What the attention of an IR takes, tried before the model is loaded: paged attention, and properties of its KV cache.

One layer is compiled alone, which takes a second whatever the size of the model. Whether a precision or a group size
fits depends on the attention and on the size of its heads, so that the device's own list of values does not show it.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmbench.engines.catalog import check_capabilities
from llmbench.engines.failures import PagedAttentionError, engine_words
from llmbench.engines.openvino.device import import_openvino
from llmbench.errors import InputError
from llmbench.models.integrity import MODEL_XML
from llmbench.schema.config import PropertyValue, RunConfig

_OF_CACHE = re.compile(r"(KV|KEY|VALUE)_CACHE_")
_PAGED, _FUSED = "PagedAttentionExtension", "ScaledDotProductAttention"


def check_attention(config: RunConfig, properties: Mapping[str, PropertyValue]) -> None:
    """Refuse paged attention where it is needed and an IR cannot have it, and what its KV cache does not take.

    Raises:
        PagedAttentionError: the cause; SDPA may take the model.
        InputError: the properties of the cache, and the cause.
    """
    model = Path(config.model)
    if not (model / MODEL_XML).is_file():
        return
    is_paged = config.attention == "pa" and "pa" in config.engine_info.capabilities
    requested = {name: value for name, value in properties.items() if _OF_CACHE.match(name)}
    if is_paged and (requested or _needs_paging(config)):
        cause = paging_fault(str(model))
        if cause is not None and _needs_paging(config):
            raise PagedAttentionError(
                f"paged attention cannot run this model: {cause}", hint="use --attention sdpa"
            )
        is_paged = cause is None
    if requested:
        _check_cache(model, config.device, requested, is_paged=is_paged)


def _needs_paging(config: RunConfig) -> bool:
    """Whether SDPA may not replace paged attention: it was requested, or another option needs it."""
    if config.is_attention_fixed:
        return True
    try:
        check_capabilities(dataclasses.replace(config, attention="sdpa"))
    except InputError:
        return True
    return False


@functools.cache
def paging_fault(model: str) -> str | None:
    """Return why paged attention cannot take an IR, by applying its transformation; ``None`` where it can."""
    try:
        _paged(model)
    except RuntimeError as error:
        return engine_words(error)
    return None


def _paged(model: str) -> Any:
    from openvino._offline_transformations import paged_attention_transformation

    network = _read(model)
    paged_attention_transformation(network)
    return network


def _read(model: str) -> Any:
    return import_openvino().Core().read_model(Path(model) / MODEL_XML)


def _check_cache(model: Path, device: str, requested: Mapping[str, PropertyValue], *, is_paged: bool) -> None:
    """Compile the first layer with the attention that it will have; raise an InputError where that fails."""
    layer = _first_layer(
        _paged(str(model)) if is_paged else _read(str(model)), _PAGED if is_paged else _FUSED
    )
    if layer is None:
        return
    core = import_openvino().Core()
    try:
        core.compile_model(layer, device, dict(requested))
    except RuntimeError as error:
        given = ", ".join(f"{name}={value}" for name, value in requested.items())
        raise InputError(
            f"the attention of this model does not take {given}: {engine_words(error)}",
            hint="correct the precision or the group size of the KV cache",
        ) from error


def _first_layer(network: Any, kind: str) -> Any:
    """Return what leads to the first attention of a network, with the states that it keeps; ``None`` without one."""
    from openvino import Model, opset13

    first = next((node for node in network.get_ordered_ops() if node.get_type_name() == kind), None)
    if first is None:
        return None
    todo, before = [first], set[str]()
    while todo:
        node = todo.pop()
        if node.get_friendly_name() not in before:
            before.add(node.get_friendly_name())
            todo += [node.input_value(port).get_node() for port in range(node.get_input_size())]
    states = [
        state
        for state in network.get_sinks()
        if state.input_value(0).get_node().get_friendly_name() in before
    ]
    return Model([opset13.result(first.output(0))], states, network.get_parameters())
