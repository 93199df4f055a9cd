"""What OpenVINO says of a device and its properties, before and after a model is loaded."""

import contextlib
import difflib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.schema.config import PropertyValue, RunConfig
from llmbench.schema.run import EffectiveSettings

# Accepted by Core and compile_model, though no device lists them.
_CORE_PROPERTIES = ("CACHE_DIR", "CACHE_MODE", "ENABLE_MMAP", "FORCE_TBB_TERMINATE", "PERF_COUNT")
_THREADS = "INFERENCE_NUM_THREADS"
_NOT_READ = {"SUPPORTED_PROPERTIES", "MODEL_NAME"}


def import_openvino() -> Any:
    """The openvino module, its telemetry barred: it would send an event and write under HOME on import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _engine_words(error: Exception) -> str:
    """The last line of an engine's message that says something: the others name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("Exception from", "Please, check", "Failed to create"))
    ]
    return (kept or lines or [type(error).__name__])[-1][:300]


@contextlib.contextmanager
def engine_failures(doing: str) -> Iterator[None]:
    """Turn what the engine throws in the block into a LaunchError with its own last words."""
    try:
        yield
    except RuntimeError as error:
        raise LaunchError(
            f"the engine failed while {doing}: {_engine_words(error)}",
            hint="correct the options that it names, or report it with the run file",
        ) from error


def check_device(device: str, properties: Mapping[str, PropertyValue]) -> None:
    """Refuse an absent device, an unknown property, or a value the device does not take.

    Raises:
        MachineError: no such device.
        InputError: a property's name or value.
    """
    openvino = import_openvino()
    core = openvino.Core()
    available = core.available_devices
    kind = device.partition(":")[0].partition(".")[0]
    if kind not in {name.partition(".")[0] for name in available} | {"AUTO"}:
        raise MachineError(
            f"device {device} is not available (available: {', '.join(available) or 'none'})",
            hint=f"use -d {available[0]}" if available else "install a driver for the device",
        )
    supported = tuple(core.get_property(device, "SUPPORTED_PROPERTIES"))
    known = (*supported, *_CORE_PROPERTIES)
    for name, value in properties.items():
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            raise InputError(
                f"{device} has no property {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}",
            )
        try:
            trial = openvino.Core()
            where = (device,) if name in supported else ()  # the core's own belong to no device
            trial.set_property(*where, {name: value})
            trial.get_property(*where, name)  # a value is looked at only when the plug-in is made
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"property {name} does not take {value!r}: {_engine_words(error)}",
                hint="correct the value given with -lc",
            ) from error


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
    """Whether a value read back is the one asked for, spelled as the engine spells it."""
    spellings = {str(requested).upper()}
    if isinstance(requested, bool) or str(requested).upper() in {"YES", "NO", "TRUE", "FALSE"}:
        is_on = str(requested).upper() in {"YES", "TRUE"}
        spellings = {"YES", "TRUE"} if is_on else {"NO", "FALSE"}
    return got.upper() in spellings or got.upper().split(".")[-1] in spellings


def check_effective(config: RunConfig, effective: EffectiveSettings) -> tuple[str, ...]:
    """Sentences on each property that the engine changed in silence.

    Raises:
        MachineError: fewer threads than asked for.
    """
    changes = []
    for name, requested in compile_properties(config).items():
        got = effective.properties.get(name)
        if got is None or _same(requested, got):
            continue
        if name == _THREADS and got.isdigit() and int(got) < int(requested):
            raise MachineError(
                f"asked {requested} threads, got {got}",
                hint="ask for no more than the CPUs this process may use (see nproc)",
            )
        changes.append(f"{name}: asked {requested}, in force {got}")
    for name, requested in config.scheduler.items():
        got = effective.scheduler.get(name)
        if got is not None and not _same(requested, got):
            changes.append(f"scheduler's {name}: asked {requested}, in force {got}")
    return tuple(changes)
