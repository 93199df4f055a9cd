"""What the options of a load describe: its configurations, and the workload that they share."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmbench.analysis.metrics.serving import read_goodput
from llmbench.analysis.stats import PERCENTILE_NEEDS
from llmbench.cli.options.table import LOAD_OPTIONS, parse_options
from llmbench.engines.servers.base import checked_url, served_model
from llmbench.errors import InputError
from llmbench.models.resolve import Side, find_model_info
from llmbench.runner.configurations import configurations
from llmbench.runner.interpreter import check_interpreter
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ENGINES
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.settings.serving import CONSTANT, LOAD_PARAMETERS, LOAD_SETTINGS
from llmbench.workloads.schedule import LoadPlan

LEAST_REQUESTS = PERCENTILE_NEEDS[90]
LOAD_DEFAULTS: dict[str, Any] = {"num_iters": LEAST_REQUESTS, "infer_count": "64", "input_tokens": "128"}
"""Values of options that have another default without a load."""

LOAD_ENGINES = tuple(
    name for name, info in ENGINES.items() if "serving" in info.workloads and name != "server"
)
"""Engines that are put under load without a server."""

MODEL_OPTIONS = ("model", "weight_format", "device", "no_verify")
LENGTH_OPTIONS = ("input_tokens", "num_iters", "warmups", "infer_count", "end_token_stopping", "seed")
ENGINE_OPTIONS = (
    *("load_config", "cb_config", "kv_cache_precision"),
    *("threads", "sockets", "numa_nodes", "cores", "membind", "allocator"),
)
_COMMON = {
    *MODEL_OPTIONS,
    *LENGTH_OPTIONS,
    *ENGINE_OPTIONS,
    "launches",
    "engine",
    "foreign_cpu_limit",
    "python",
}
"""Settings of a run that mean the same of a load."""

_TRIGGERS = {setting.name for setting in LOAD_SETTINGS if setting.field} | {"trace"}
TARGETS = ("url", "server", "engine")
"""The options that name what is put under load."""

Target = tuple[str, str | None]
"""What is put under load: the engine, and the server that it is to start, or its address."""


def is_load(given: Iterable[str]) -> bool:
    """Return whether options of these names describe a load; raise InputError for one that belongs to a load only."""
    names = set(given)
    lone = sorted(names.intersection(LOAD_OPTIONS))
    if lone and not names & _TRIGGERS:
        raise InputError(
            f"--{lone[0].replace('_', '-')} belongs to a server under load",
            hint="add --server or --url, or leave it out",
        )
    return bool(names & _TRIGGERS)


def load_workload(
    options: Mapping[str, Any], cells: Sequence[RunConfig], timeout_s: float
) -> WorkloadSettings:
    """Return the parameters that all configurations share, and the metrics that decide a comparison first.

    Raises InputError for a limit, a distribution or a trace that cannot be read.
    """
    given = {name: options[setting.name] for name, setting in LOAD_PARAMETERS.items()} | {
        "timeout_s": timeout_s
    }
    _check_numbers(given)
    read_goodput(given["goodput"] or "")
    if given["burstiness"] == math.inf:
        given["burstiness"] = CONSTANT
    parameters = {name: value for name, value in given.items() if value}
    has_tail = parameters.keys() & {"duration_s", "trace"} or all(
        c.iterations >= LEAST_REQUESTS for c in cells
    )
    for config in cells:
        LoadPlan.read(config, parameters)
    return WorkloadSettings(
        kind="serving",
        parameters=parameters,
        primary_metrics=(
            "goodput" if given["goodput"] else "output_throughput",
            "p90.first_token" if has_tail else "first_token",
        ),
    )


def _check_numbers(given: Mapping[str, Any]) -> None:
    shape = given["burstiness"]
    if shape is not None and not shape > 0:
        raise InputError(
            f"--burstiness {shape:g}: a positive number is needed", hint="1 is Poisson, inf constant"
        )
    if (given["shared_prefix"] or 0) < 0:
        raise InputError(f"--shared-prefix {given['shared_prefix']}: at least 0 is needed")


def load_configurations(options: Mapping[str, Any]) -> tuple[Side, ...]:
    """Return each configuration with its model, one for each target, input length and level of load."""
    return tuple(side for target in read_targets(options) for side in _sides(options, target))


def read_targets(options: Mapping[str, Any]) -> list[Target]:
    """Return what is put under load: addresses, then servers, then engines, each in the order given.

    Raises InputError where nothing is, or where an engine needs a server for that.
    """
    engines = options.get("engine") or ()
    engines = (engines,) if isinstance(engines, str) else engines
    other = next((name for name in engines if name not in LOAD_ENGINES), None)
    if other is not None:
        raise InputError(
            f"--engine {other} makes one request at a time",
            hint=f"--server NAME, or --engine {' or '.join(LOAD_ENGINES)} for a load without a server",
        )
    targets: list[Target] = [
        *(("server", checked_url(url)) for url in options.get("url", ())),
        *(("server", server) for server in options.get("server", ())),
        *((engine, None) for engine in engines),
    ]
    if not targets:
        raise InputError(
            "no server was given", hint="--url http://127.0.0.1:8000, or --server NAME to start one"
        )
    if not options.get("model") and not all("://" in (server or "") for _, server in targets):
        raise InputError("no model was given for the server", hint="-m MODEL: an IR folder or a GGUF file")
    if len(set(targets)) < len(targets):
        raise InputError("a server was given twice", hint="name each server once")
    return targets


def _sides(options: Mapping[str, Any], target: Target) -> Iterator[Side]:
    engine, server = target
    model = options["model"] or served_model(server or "")
    for weight_format in dict.fromkeys(options["weight_format"]) or (None,):
        model_info = find_model_info(
            model, engine=engine, is_verified=not options["no_verify"], weight_format=weight_format
        )
        if options.get("python"):
            check_interpreter(options["python"], engine=engine)
        for tokens in options["input_tokens"]:
            values = {
                **parse_options({}),
                **options,
                "engine": engine,
                "input_tokens": (tokens,),
                "warmups": 1,
            }
            for base in configurations(values, model_info.path, model_info.weight_format):
                for level in _levels(options):
                    config = _with_level(base, server, level, options["warmups"])
                    yield Side(model_info=model_info, config=config)


def _levels(options: Mapping[str, Any]) -> Iterator[tuple[int | None, float | None]]:
    """Yield the numbers of requests at once, and the rates, each with all of the other."""
    rates: Sequence[float | None] = options["request_rate"] or (None,)
    is_open = options["request_rate"] or options["trace"]
    at_once: Sequence[int | None] = options["concurrency"] or ((None,) if is_open else (1,))
    if options["trace"] and options["request_rate"]:
        raise InputError(
            "--trace and --request-rate both set when requests are due", hint="choose one of them"
        )
    yield from itertools.product(at_once, rates)


def _with_level(
    base: RunConfig, server: str | None, level: tuple[int | None, float | None], warmups: int | None
) -> RunConfig:
    at_once, rate = level
    usual = 2 * at_once if at_once and not rate else max(4, round(2 * (rate or 0)))
    return dataclasses.replace(
        base,
        server=server,
        concurrency=at_once,
        request_rate=rate,
        warmups=usual if warmups is None else warmups,
        is_attention_fixed=True,
    )


def parse_load(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `load_configurations`: those that were typed, the others at a load's own defaults.

    Raises InputError for an option that means nothing under load.
    """
    alien = next((name for name in values if name not in _COMMON and name not in LOAD_OPTIONS), None)
    if alien is not None:
        raise InputError(f"a server has no --{alien.replace('_', '-')}", hint="leave it out")
    chosen = {name: values.get(name, ()) for name in TARGETS}
    rest = {name: value for name, value in values.items() if name not in TARGETS}
    parsed = parse_options({**LOAD_DEFAULTS, **rest}, more=LOAD_OPTIONS)
    return {**parsed, **chosen, "warmups": parsed["warmups"] if "warmups" in values else None}


def load_cells(typed: Mapping[str, Any], *, request_s: float) -> tuple[tuple[Side, ...], WorkloadSettings]:
    """Return the configurations of a load with their models, and the kind of work; options not *typed* are default.

    A request may take *request_s* for its first token, and for each later one.

    Raises:
        InputError: an option that a load does not have, or a value that it does not accept.
    """
    options = parse_load(typed)
    sides = load_configurations(options)
    return sides, load_workload(options, [side.config for side in sides], request_s)


def target_of_side(typed: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the options that name the target of one of two sides: the only one, or A's and B's in order.

    Addresses go before servers, and these before engines.
    """
    given = [(name, value) for name in TARGETS for value in typed.get(name, ())]
    if len(given) > 2:
        raise InputError(f"{len(given)} servers were given; A and B are two", hint="compare two at a time")
    name, value = given[min(number, len(given) - 1)] if given else ("server", ())
    return {name: (value,) if value else ()}
