"""What OpenVINO reports of a device and its properties, before and after a model is loaded."""

import difflib
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from llmbench.engines.failures import engine_words
from llmbench.errors import InputError, MachineError
from llmbench.schema.config import PropertyValue, RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import counted

# Accepted by Core and compile_model, though no device lists them.
_CORE_PROPERTIES = ("CACHE_DIR", "CACHE_MODE", "ENABLE_MMAP", "FORCE_TBB_TERMINATE", "PERF_COUNT")
_FILES = frozenset(("CACHE_DIR", "WEIGHTS_PATH"))
_RENAMED = {"AFFINITY": "ENABLE_CPU_PINNING"}
"""Properties of older versions, and what they are called now."""

_VIRTUAL = frozenset(("AUTO", "MULTI", "HETERO", "BATCH"))
"""Devices that consist of others, and have no properties of their own to compute with."""

_DEVICE = re.compile(r"(?P<name>[A-Za-z]\w*)(?P<id>(?:\.\w+)*)\.?(?::(?P<members>[^:]*))?")
_MEMBER = re.compile(r"(?P<excluded>-?)(?P<device>[A-Za-z]\w*(?:\.\w+)*)(?:\([1-9]\d*\))?")
"""A device in a list: one that AUTO is to leave out, or one with a number of requests or a batch size."""

_SIDE = 64
_THREADS = "INFERENCE_NUM_THREADS"
_NOT_READ = {"SUPPORTED_PROPERTIES", "MODEL_NAME"}


def import_openvino() -> Any:
    """The openvino module, its telemetry barred: it would send an event and write under HOME on import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def check_device(device: str, properties: Mapping[str, PropertyValue]) -> None:
    """Refuse an absent device, an unknown property, or a value the device does not accept.

    A model of one product is compiled with all of them in the end, in 50 ms, for what only a compilation shows.

    Raises:
        MachineError: no such device, or fewer threads than requested.
        InputError: what is no device, or a property's name or value.
    """
    openvino = import_openvino()
    core = openvino.Core()
    devices = _members(device)
    for member in devices:
        _check_present(core, member, device)
    _check_any_left(core, device)
    owners = _owners(core, device, devices)
    _check_names(device, owners, properties)
    for name, value in properties.items():
        _check_value(owners, name, value)
    _try(openvino, device, properties)


def _members(device: str) -> tuple[str, ...]:
    """Return the devices that a device name consists of; of ``AUTO`` without a list, none."""
    found = _DEVICE.fullmatch(device)
    if found is None:
        raise InputError(
            f"{device!r} is not a device" if device.strip() else "the device name is empty",
            hint="write -d CPU; several are written -d AUTO:GPU,CPU",
        )
    name, listed = found["name"], found["members"]
    if name not in _VIRTUAL:
        if listed:
            raise InputError(
                f"{device!r} is not a device: {name} is one device and takes no list",
                hint=f"use -d {name}, or -d AUTO:{name},{listed}",
            )
        return (name + found["id"],)
    if listed:
        return _listed(device, name, listed.split(","))
    if name == "AUTO":
        return ()
    raise InputError(
        f"{device!r} is not a device: {name} needs a list of devices", hint=f"write -d {name}:CPU"
    )


def _listed(device: str, name: str, members: Sequence[str]) -> tuple[str, ...]:
    """Return the devices in a list but for those that are left out of it."""
    parsed = [_MEMBER.fullmatch(member.strip()) for member in members]
    wrong = [member for member, found in zip(members, parsed, strict=True) if found is None]
    found = [each for each in parsed if each is not None]
    wrong += [each["device"] for each in found if each["device"].partition(".")[0] in _VIRTUAL]
    if wrong:
        raise InputError(
            f"{device!r} is not a device: its list contains {wrong[0].strip() or 'an empty name'}",
            hint=f"list devices such as CPU or GPU: -d {name}:CPU",
        )
    return tuple(each["device"] for each in found if not each["excluded"])


def _check_present(core: Any, member: str, device: str) -> None:
    """Raise a MachineError where this machine does not have a device."""
    available = core.available_devices
    kind, _, number = member.partition(".")
    is_present = kind in {name.partition(".")[0] for name in available}
    if is_present and (not number or number in map(str, core.get_property(kind, "AVAILABLE_DEVICES"))):
        return
    whole = "" if member == device else f" of {device}"
    raise MachineError(
        f"device {member}{whole} is not available (available: {', '.join(available) or 'none'})",
        hint=f"use -d {available[0]}" if available else "install a driver for the device",
    )


def _check_any_left(core: Any, device: str) -> None:
    """Raise a MachineError where AUTO is to leave out every device that there is."""
    listed = (each.strip() for each in device.partition(":")[2].split(","))
    left_out = {each.removeprefix("-") for each in listed if each.startswith("-")}
    available = core.available_devices
    if left_out and left_out >= set(available):
        raise MachineError(
            f"{device} leaves out every device that is available ({', '.join(available)})",
            hint=f"use -d {available[0]}",
        )


def _owners(core: Any, device: str, devices: Sequence[str]) -> dict[str, tuple[str, ...]]:
    virtual = _DEVICE.fullmatch(device)
    own = () if virtual is None or virtual["name"] not in _VIRTUAL else (virtual["name"],)
    parts = devices or core.available_devices
    return {name: tuple(core.get_property(name, "SUPPORTED_PROPERTIES")) for name in (*own, *parts)}


def _check_names(
    device: str, owners: Mapping[str, Sequence[str]], properties: Mapping[str, PropertyValue]
) -> None:
    known = tuple(dict.fromkeys((*itertools.chain.from_iterable(owners.values()), *_CORE_PROPERTIES)))
    for name in properties:
        if name in known:
            continue
        near = _RENAMED.get(name.upper()) or next(
            iter(difflib.get_close_matches(name.upper(), known, n=1)), None
        )
        raise InputError(
            f"{device} has no property {name!r}",
            hint=f"did you mean {near}?" if near else f"it has {', '.join(sorted(known))}",
        )


def _check_value(owners: Mapping[str, Sequence[str]], name: str, value: PropertyValue) -> None:
    """Set one property on a core of its own, for each device that has it, and read it back."""
    locations: list[tuple[str, ...]] = [(owner,) for owner, names in owners.items() if name in names] or [()]
    try:
        for where in locations:  # the core's own properties belong to no device
            trial = import_openvino().Core()
            trial.set_property(*where, {name: value})
            if where:
                # a value is looked at only when the plug-in is made
                _check_kept(value, trial.get_property(*where, name))
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"property {name} does not take {value!r}: {engine_words(error)}",
            hint="correct the value given with -lc",
        ) from error


def _check_kept(value: PropertyValue, got: object) -> None:
    """Raise a RuntimeError where a device rounds a number in silence."""
    if isinstance(value, float) and isinstance(got, int) and got != value:
        raise RuntimeError("it takes an integer")


def _try(openvino: Any, device: str, properties: Mapping[str, PropertyValue]) -> None:
    tried = {name: value for name, value in properties.items() if name not in _FILES}
    try:
        compiled = openvino.Core().compile_model(
            one_product(), device, {"PERFORMANCE_HINT": "LATENCY", **tried}
        )
        threads = compiled.get_property(_THREADS) if device == "CPU" and _THREADS in tried else None
    except RuntimeError as error:
        if not tried:
            raise MachineError(
                f"device {device} is not usable: {engine_words(error)}", hint="use -d CPU"
            ) from error
        _try(openvino, device, {})
        given = ", ".join(f"{name}={value}" for name, value in tried.items())
        raise InputError(
            f"{device} does not take {given}: {engine_words(error)}", hint="correct the values given with -lc"
        ) from error
    if threads is not None:
        _check_thread_count(int(tried[_THREADS]), threads)


def one_product() -> Any:
    """Return a model of one matrix multiplication, which every device compiles within milliseconds."""
    import numpy as np
    from openvino import Model, opset13

    rows = opset13.parameter([-1, _SIDE], np.float32)
    weights = opset13.constant(np.ones((_SIDE, _SIDE), np.float32))
    return Model([opset13.matmul(rows, weights, False, False)], [rows])


def _check_thread_count(requested: int, got: int) -> None:
    if got < requested:
        raise MachineError(
            f"requested {counted(requested, 'thread')}, got {got}",
            hint="use no more threads than the CPUs of this process (see nproc)",
        )


def compile_properties(config: RunConfig) -> dict[str, PropertyValue]:
    """The properties handed to the engine: those of ``-lc``, and ``--threads`` in its place."""
    properties = dict(config.properties)
    if config.threads is not None:
        properties[_THREADS] = config.threads
    return properties


def _spelled(value: Any) -> str:
    """A property's value as the engine's own log spells it: ``bf16``, ``LATENCY``, ``YES``."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, (set, frozenset, list, tuple)):
        return ",".join(sorted(_spelled(item) for item in value))
    if hasattr(value, "get_type_name"):
        return str(value.get_type_name())
    return str(getattr(value, "name", value))


def read_back(compiled: Any) -> dict[str, str]:
    """Every property of the compiled model that can be read."""
    names = [name for name in compiled.get_property("SUPPORTED_PROPERTIES") if name not in _NOT_READ]
    return {name: _spelled(compiled.get_property(name)) for name in names}


def _same(requested: PropertyValue, got: str) -> bool:
    spellings = {str(requested).upper()}
    if isinstance(requested, bool) or str(requested).upper() in {"YES", "NO", "TRUE", "FALSE"}:
        is_on = str(requested).upper() in {"YES", "TRUE"}
        spellings = {"YES", "TRUE"} if is_on else {"NO", "FALSE"}
    return got.upper() in spellings or got.upper().split(".")[-1] in spellings


def check_effective(config: RunConfig, effective: EffectiveSettings) -> tuple[str, ...]:
    """Sentences on each property that the engine changed in silence.

    Raises:
        MachineError: fewer threads than requested.
    """
    changes = []
    for name, requested in compile_properties(config).items():
        got = effective.properties.get(name)
        if got is None or _same(requested, got):
            continue
        if name == _THREADS and got.isdigit() and int(got) < int(requested):
            _check_thread_count(int(requested), int(got))
        changes.append(f"{name}: requested {requested}, effective {got}")
    for name, requested in config.scheduler.items():
        got = effective.scheduler.get(name)
        if got is not None and not _same(requested, got):
            changes.append(f"scheduler's {name}: requested {requested}, effective {got}")
    return tuple(changes)
