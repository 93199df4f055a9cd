"""What the attention of an IR takes, tried before the model is loaded: paged attention, and properties of its KV cache.

One layer is compiled alone, which takes a second whatever the size of the model. Whether a precision or a group size
fits depends on the attention and on the size of its heads, so that the device's own list of values does not show it.
"""

import contextlib
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
        InputError: the properties of the cache, or an option that needs paged attention, and the cause.
    """
    if not (Path(config.model) / MODEL_XML).is_file():
        return
    is_paged = config.attention == "pa" and "pa" in config.engine_info.capabilities
    requested = {name: value for name, value in properties.items() if _OF_CACHE.match(name)}
    if is_paged and (requested or _needs_paging(config)) and (cause := paging_fault(config.model)):
        error = PagedAttentionError(
            f"paged attention cannot run this model: {cause}", hint="use --attention sdpa"
        )
        if config.is_attention_fixed:
            raise error
        config, is_paged = with_sdpa(config, error), False
    if requested:
        _check_cache(config, requested, is_paged=is_paged)


def with_sdpa(config: RunConfig, cause: PagedAttentionError) -> RunConfig:
    """Return the configuration with SDPA; raise InputError where it has what only paged attention can do."""
    replaced = dataclasses.replace(config, attention="sdpa", is_attention_fixed=True)
    try:
        check_capabilities(replaced)
    except InputError as error:
        raise InputError(
            f"{cause.message}; and {error.message}",
            hint="leave out the option that needs paged attention, or use another model",
        ) from cause
    return replaced


def _needs_paging(config: RunConfig) -> bool:
    """Whether SDPA may not replace paged attention: it was requested, or another option needs it."""
    try:
        check_capabilities(dataclasses.replace(config, attention="sdpa"))
    except InputError:
        return True
    return config.is_attention_fixed


@functools.cache
def paging_fault(model: str) -> str | None:
    """Return why paged attention cannot take an IR, by applying its transformation; ``None`` where it can.

    ``None`` also where the IR cannot be read, which loading it reports.
    """
    with contextlib.suppress(RuntimeError):
        network = _read(model)
        try:
            _page(network)
        except RuntimeError as error:
            return engine_words(error)
    return None


def _page(network: Any) -> None:
    from openvino._offline_transformations import paged_attention_transformation

    paged_attention_transformation(network)


def _read(model: str) -> Any:
    return import_openvino().Core().read_model(Path(model) / MODEL_XML)


def _check_cache(config: RunConfig, requested: Mapping[str, PropertyValue], *, is_paged: bool) -> None:
    """Compile the first layer with the attention that it will have; raise an InputError where that fails."""
    try:
        network = _read(config.model)
        if is_paged:
            _page(network)
    except RuntimeError:
        return  # loading reports it
    layer = _first_layer(network, _PAGED if is_paged else _FUSED)
    if layer is None:
        return
    try:
        import_openvino().Core().compile_model(layer, config.device, dict(requested))
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
