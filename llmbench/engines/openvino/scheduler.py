"""GenAI's scheduler from flat keys: each checked by name and type before anything is loaded.

A key of a part is behind a dot: ``cache_eviction_config.start_size``. Naming a key of a part switches it on.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from llmbench.errors import InputError, MachineError
from llmbench.machine.memory import available_bytes
from llmbench.schema.config import PropertyValue
from llmbench.schema.units import format_bytes

ALL_TOKENS_AT_ONCE = (1 << 63) - 1
_SIZES = ("start_size", "recent_size", "max_cache_size")
_EVICTION = "cache_eviction_config"
_SWITCHES = {_EVICTION: "use_cache_eviction", "sparse_attention_config": "use_sparse_attention"}


def build_scheduler(genai: Any, requested: Mapping[str, PropertyValue]) -> Any:
    """A ``SchedulerConfig`` that prefills a prompt in one step and caches no prefix, but for what is requested.

    Both differ from the pipeline's own defaults, under which a number is not comparable. Raises InputError on a key
    that there is not, or a value that it does not take, MachineError on
    a cache larger than the memory available.
    """
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = ALL_TOKENS_AT_ONCE
    _check_names(requested, [*_names(scheduler), *(f"{_EVICTION}.{name}" for name in _SIZES)])
    if any(key in requested for key in _size_keys()):
        scheduler.cache_eviction_config = _eviction(genai, scheduler.cache_eviction_config, requested)
    for part, switch in _SWITCHES.items():
        if switch not in requested and any(key.startswith(f"{part}.") for key in requested):
            setattr(scheduler, switch, True)
    for key, value in requested.items():
        if key not in _size_keys():
            _set(scheduler, key, value)
    _check_steps(scheduler)
    _check_room(scheduler.cache_size)
    return scheduler


def _size_keys() -> tuple[str, ...]:
    """The keys of the eviction's sizes, which can be set only when it is made."""
    return tuple(f"{_EVICTION}.{name}" for name in _SIZES)


def _names(settings: Any, prefix: str = "") -> Iterator[str]:
    for name in dir(settings):
        value = getattr(settings, name)
        if name.startswith("_") or callable(value):
            continue
        if hasattr(value, "to_string") or type(value).__name__.endswith("Config"):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _check_names(requested: Mapping[str, PropertyValue], known: list[str]) -> None:
    for key in requested:
        if key not in known:
            near = _near(key, known)
            raise InputError(
                f"the scheduler has no key {key!r}",
                hint=f"did you mean {near}?" if near else f"it has {', '.join(sorted(known))}",
            )


def _near(key: str, known: list[str]) -> str | None:
    """The key meant, as one may have left out the part that it belongs to; ``None`` if none is like it."""
    short = {name.rpartition(".")[2]: name for name in reversed(known)}
    last = key.rpartition(".")[2]
    if last in short:
        return short[last]
    near = difflib.get_close_matches(key, known, n=1)
    return near[0] if near else next(map(short.get, difflib.get_close_matches(last, short, n=1)), None)


def _eviction(genai: Any, default: Any, requested: Mapping[str, PropertyValue]) -> Any:
    sizes = {}
    for name in _SIZES:
        value = requested.get(f"{_EVICTION}.{name}", getattr(default, f"get_{name}")())
        if not isinstance(value, int) or isinstance(value, bool):
            raise _unfit(f"{_EVICTION}.{name}", value, "an integer")
        sizes[name] = value
    try:
        return genai.CacheEvictionConfig(aggregation_mode=default.aggregation_mode, **sizes)
    except (RuntimeError, TypeError) as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise InputError(
            f"the scheduler does not take {_EVICTION}: {last}", hint="correct --cb-config"
        ) from error


def _set(settings: Any, key: str, value: PropertyValue) -> None:
    target = settings
    *parts, name = key.split(".")
    for part in parts:
        target = getattr(target, part)
    default = getattr(target, name)
    members = getattr(type(default), "__members__", None)
    if members is not None:
        if str(value).upper() not in members:
            raise _unfit(key, value, f"one of {', '.join(members)}")
        setattr(target, name, members[str(value).upper()])
        return
    kind = int if default is None else type(default)
    fitting = isinstance(value, int | float) if kind is float else type(value) is kind
    if isinstance(value, bool) is not (kind is bool) or not fitting:
        raise _unfit(key, value, _KINDS.get(kind, kind.__name__))
    try:
        setattr(target, name, value)
    except (TypeError, OverflowError) as error:
        raise _unfit(key, value, f"{_KINDS[kind]} in its range") from error


_KINDS: dict[type, str] = {bool: "true or false", int: "an integer", float: "a number"}


def _unfit(key: str, value: PropertyValue, expected: str) -> InputError:
    return InputError(
        f"the scheduler's {key} does not take {value!r}; it takes {expected}", hint="correct --cb-config"
    )


def _check_steps(scheduler: Any) -> None:
    """Refuse what the engine would refuse only at the first request."""
    tokens, sequences = scheduler.max_num_batched_tokens, scheduler.max_num_seqs
    if not scheduler.dynamic_split_fuse and tokens < sequences:
        raise InputError(
            f"without dynamic_split_fuse max_num_batched_tokens ({tokens}) must not be below "
            f"max_num_seqs ({sequences})",
            hint="set max_num_seqs as well",
        )


def _check_room(cache_gib: int) -> None:
    """Refuse a cache that memory cannot hold; the engine would do so while loading."""
    available = available_bytes()
    if available is not None and cache_gib << 30 > available:
        raise MachineError(
            f"the scheduler's cache_size is {cache_gib} GiB; {format_bytes(available)} of memory are available",
            hint="use a smaller cache_size (--cb-config), or free memory",
        )


def prefills_in_chunks(requested: Mapping[str, PropertyValue], input_tokens: int) -> bool:
    """Whether this many input tokens take more than one step; the first pass reported is then the last chunk's."""
    limit = requested.get("max_num_batched_tokens", ALL_TOKENS_AT_ONCE)
    return isinstance(limit, int) and limit < input_tokens
