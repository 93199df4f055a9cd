"""``llmbench load``: a server under load, at one or several rates or numbers of requests at once."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from llmbench.analysis.load import read_goodput
from llmbench.analysis.stats import PERCENTILE_NEEDS
from llmbench.cli.fleet import fleet_options
from llmbench.cli.load_view import load_and_show, resume_load
from llmbench.cli.options.help import GroupedOption
from llmbench.cli.options.table import parameters, parse_options
from llmbench.cli.options.types import Command, Duration, IntegerList, check_folder
from llmbench.cli.outputs import check_outputs, check_run_file
from llmbench.cli.run_view import Display
from llmbench.engines.servers.base import SERVERS, checked_url, served_model
from llmbench.errors import InputError
from llmbench.models.resolve import ModelInfo, find_model_info
from llmbench.runner import plan, session
from llmbench.runner.configurations import configurations
from llmbench.runner.launchers.base import TimeLimits
from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.settings.base import Group
from llmbench.workloads.schedule import CONSTANT, LoadPlan

_LEAST_REQUESTS = PERCENTILE_NEEDS[90]
_EXAMPLES = """\b
Examples:
  llmbench load --url http://127.0.0.1:8000 --concurrency 1,2,4,8
  llmbench load -m models --server genai --concurrency 8 --goodput ttft:200,tpot:50 --launches 5
  llmbench load -m models --server genai --request-rate 1,2,4 --duration 60s --html load.html
  llmbench load -m model.gguf --server "my-server --port {port} --model {model}" --trace arrivals.csv"""


class NumberList(click.ParamType[tuple[float, ...]]):
    """``0.5,2`` as a tuple of positive numbers."""

    name = "X,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the numbers, in the order given."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            self.fail(f"{value!r} is not a list of positive numbers such as 0.5,2", param, ctx)
        return numbers


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _option(*spellings: str, group: Group, **attributes: Any) -> Callable[[_Function], _Function]:
    return click.option(*spellings, cls=GroupedOption, group=group.value, **attributes)


_LOAD_OPTIONS = {
    "url": _option(
        "--url", "urls", multiple=True, metavar="URL", group=Group.TARGET, help="Server that runs already."
    ),
    "server": _option(
        "--server",
        "servers",
        multiple=True,
        metavar="SERVER",
        group=Group.TARGET,
        help=f"Server started fresh in each launch: {', '.join(SERVERS)}, or a command with {{port}} and {{model}}.",
    ),
    "endpoint": _option(
        "--endpoint",
        type=click.Choice(("completions", "chat")),
        default="completions",
        group=Group.TARGET,
        help="Endpoint of the OpenAI protocol.",
    ),
    "concurrency": _option(
        "--concurrency",
        type=IntegerList(),
        default=(),
        group=Group.LOAD,
        help="Requests in flight at once; with --request-rate at most.  [default: 1; sweep]",
    ),
    "request-rate": _option(
        "--request-rate",
        type=NumberList(),
        default=(),
        group=Group.LOAD,
        help="Requests begun per second, whether earlier ones have ended or not.  [sweep]",
    ),
    "burstiness": _option(
        "--burstiness",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        group=Group.LOAD,
        is_rare=True,
        help="Shape of the gamma distribution of the time between requests: 1 is Poisson, inf constant.",
    ),
    "trace": _option(
        "--trace",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.csv",
        group=Group.LOAD,
        help="Requests of a file: time,input_tokens,output_tokens.",
    ),
    "duration": _option(
        "--duration", type=Duration(), group=Group.LOAD, help="Measure for so long, instead of -n requests."
    ),
    "input-distribution": _option(
        "--input-distribution",
        default="",
        metavar="KIND:SPREAD",
        group=Group.LOAD,
        is_rare=True,
        help="Of input lengths: uniform:0.5, normal:0.2 or lognormal:0.6.",
    ),
    "output-distribution": _option(
        "--output-distribution",
        default="",
        metavar="KIND:SPREAD",
        group=Group.LOAD,
        is_rare=True,
        help="Of output lengths.",
    ),
    "shared-prefix": _option(
        "--shared-prefix",
        type=click.IntRange(min=0),
        default=0,
        group=Group.LOAD,
        is_rare=True,
        help="Tokens that all prompts begin with.",
    ),
    "goodput": _option(
        "--goodput",
        default="",
        metavar="METRIC:MS,...",
        group=Group.LOAD,
        help="Limits of a good request: ttft:200,tpot:50,e2e:3000.",
    ),
}
"""The options of a load, by name."""

_MODEL = ("model", "weight_format", "no_verify")
_LENGTHS = ("input_tokens", "num_iters", "warmups", "launches", "infer_count", "end_token_stopping", "seed")
_ENGINE = (
    "load_config",
    "cb_config",
    "kv_cache_precision",
    "threads",
    "sockets",
    "numa_nodes",
    "cores",
    "membind",
    "allocator",
)
_RESULTS = ("output_dir", "name", "overwrite", "strict", "quiet", "explain")
_COURSE = (*_RESULTS, "timeout", "order", "keep_going", "cooldown", "resume", "salvage", "foreign_cpu_limit")
_CHANGES: dict[str, dict[str, Any]] = {
    "model": {"help": "Model that the server loads, or its name there."},
    "num_iters": {
        "default": _LEAST_REQUESTS,
        "help": "Measured requests per launch.",
        "group": Group.LOAD.value,
    },
    "warmups": {
        "default": None,
        "help": "Requests before them.  [default: 2 per request at once]",
        "group": Group.LOAD.value,
    },
    "launches": {"help": "Fresh starts of the server; 5 to compare runs.", "group": Group.LOAD.value},
    "infer_count": {"default": "64", "group": Group.LOAD.value},
    "input_tokens": {
        "default": "128",
        "help": "Tokens of each prompt, exactly.  [sweep]",
        "group": Group.LOAD.value,
    },
    "timeout": {"default": "5m", "help": "Limit for a first token, and for each later one."},
    "resume": {"help": "Continue a load that was interrupted, in its own configuration."},
}


def load_options(*names: str) -> Callable[[_Function], _Function]:
    """Return the decorator that adds options of a load to a command; all of them by default."""

    def add(command: _Function) -> _Function:
        for name in reversed(names or tuple(_LOAD_OPTIONS)):
            command = _LOAD_OPTIONS[name](command)
        return command

    return add


@click.command(
    cls=Command,
    params=parameters(*_MODEL, *_LENGTHS, *_ENGINE, *_COURSE, **_CHANGES),
    short_help="Measure a server under load.",
    epilog=_EXAMPLES,
)
@load_options()
@_option(
    "--start-timeout",
    type=Duration(),
    default="20m",
    group=Group.RUN,
    is_rare=True,
    help="Limit for starting the server.",
)
@_option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    group=Group.RESULTS,
    help="Write a page with the curve of latency against load.",
)
@fleet_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    output_dir: Path,
    name: str | None,
    overwrite: bool,
    timeout: float,
    start_timeout: float,
    order: str,
    keep_going: bool,
    strict: bool,
    quiet: bool,
    explain: bool,
    cooldown: float,
    resume: Path | None,
    salvage: bool,
    html: Path | None,
    **options: Any,
) -> int:
    """Measure a server of the OpenAI protocol with many requests in flight at once.

    Each launch starts the server afresh (--server), or is a new set of connections to one that runs already (--url).
    Requests that bring the load up, and those that keep it up until the last measured one has ended, are left out of
    the figures. The time to the first token counts from the instant at which a request was due: a wait for a free
    connection is part of it.
    """
    files = check_outputs({"--html": html}, [path for path in (resume,) if path is not None])
    check_run_file(files, output_dir, name)
    policy = session.Policy(
        limits=TimeLimits(load_s=start_timeout, request_s=timeout + _PATIENCE_S),
        keep_going=keep_going,
        cooldown_s=cooldown,
    )
    display = Display(is_quiet=quiet, is_strict=strict, is_explained=explain)
    if resume is not None:
        _check_resume(ctx)
        return resume_load(resume, output_dir, policy, display, html=html, salvage=salvage)
    check_folder(output_dir, "--output-dir")
    workload = _workload(options, timeout)
    found = list(_cells({name: options[name] for name in options if name not in _OF_LOAD}, options))
    cells, models = tuple(config for config, _ in found), [model for _, model in found]
    for config in cells:
        LoadPlan.read(config, workload.parameters)
    return load_and_show(
        cells,
        models,
        workload,
        session.Outputs(folder=output_dir, name=name, overwrite=overwrite),
        policy=policy,
        display=display,
        planned=plan.plan_launches(cells, seed=options["seed"] if order == "random" else None),
        html=html,
    )


_PATIENCE_S = 30.0
"""How much longer than a request the parent waits for a sign of life of the client, which ends requests itself."""

_OF_LOAD = frozenset(
    (
        "urls",
        "servers",
        "endpoint",
        "concurrency",
        "request_rate",
        "burstiness",
        "trace",
        "duration",
        "goodput",
    )
) | {"input_distribution", "output_distribution", "shared_prefix"}


def _workload(options: dict[str, Any], timeout: float) -> WorkloadSettings:
    """The parameters that all configurations share, and the metrics that decide a comparison first."""
    read_goodput(options["goodput"])
    given: dict[str, Any] = {
        "endpoint": options["endpoint"],
        "timeout_s": timeout,
        "burstiness": options["burstiness"] if math.isfinite(options["burstiness"]) else CONSTANT,
        "trace": str(options["trace"] or ""),
        "duration_s": options["duration"] or 0.0,
        **{name: options[name] for name in ("goodput", "input_distribution", "output_distribution")},
        "shared_prefix": options["shared_prefix"],
    }
    has_tail = options["num_iters"] >= _LEAST_REQUESTS or options["duration"] or options["trace"]
    first = "goodput" if options["goodput"] else "output_throughput"
    return WorkloadSettings(
        kind="serving",
        parameters={name: value for name, value in given.items() if value},
        primary_metrics=(first, "p90.first_token" if has_tail else "first_token"),
    )


def _cells(given: dict[str, Any], options: dict[str, Any]) -> Iterator[tuple[RunConfig, ModelInfo]]:
    """Yield each configuration, one for each server, input length and level of load, and its model."""
    for server in _targets(options):
        model = given["model"] or served_model(server)
        weight_formats = dict.fromkeys(given["weight_format"]) or (None,)
        for weight_format, tokens in itertools.product(weight_formats, given["input_tokens"]):
            model_info = find_model_info(
                model, engine="server", is_verified=not given["no_verify"], weight_format=weight_format
            )
            values = {
                **parse_options({}),
                **given,
                "engine": "server",
                "input_tokens": (tokens,),
                "warmups": 1,
            }
            for base in configurations(values, model_info.path, model_info.weight_format):
                for level in _levels(options):
                    yield _with_level(base, server, level, given["warmups"]), model_info


def load_cells(
    typed: Mapping[str, Any], *, request_s: float
) -> tuple[tuple[ModelInfo, ...], tuple[RunConfig, ...], WorkloadSettings]:
    """Return the configurations of a load, the model of each, and the kind of work; options not *typed* are default.

    A request may take *request_s* for its first token, and for each later one.

    Raises:
        InputError: an option that a load does not have, or a value that it does not accept.
    """
    names = {str(param.name) for param in command.params}
    alien = [f"--{name.replace('_', '-')}" for name in typed if name not in names]
    if alien:
        raise InputError(f"a server has no {', '.join(alien)}", hint="leave it out")
    options = command.make_context("load", [], default_map=dict(typed)).params
    workload = _workload(options, request_s)
    found = list(_cells({name: options[name] for name in options if name not in _OF_LOAD}, options))
    for config, _ in found:
        LoadPlan.read(config, workload.parameters)
    return tuple(model for _, model in found), tuple(config for config, _ in found), workload


def _targets(options: dict[str, Any]) -> Sequence[str]:
    targets = [*map(checked_url, options["urls"]), *options["servers"]]
    if not targets:
        raise InputError(
            "no server was given", hint="--url http://127.0.0.1:8000, or --server NAME to start one"
        )
    if options["servers"] and not options["model"]:
        raise InputError("no model was given for the server", hint="-m MODEL: an IR folder or a GGUF file")
    if len(set(targets)) < len(targets):
        raise InputError("a server was given twice", hint="name each server once")
    return targets


def _levels(options: dict[str, Any]) -> Iterator[tuple[int | None, float | None]]:
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
    base: RunConfig, server: str, level: tuple[int | None, float | None], warmups: int | None
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


def _check_resume(ctx: click.Context) -> None:
    allowed = {*_COURSE, "html", "start_timeout"} - {"seed", "order", "foreign_cpu_limit"}
    given = [
        name
        for name in ctx.params
        if name not in allowed and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            f"--resume takes the configuration from the run file; {', '.join(given)} was given as well",
            hint="leave it out, or start a new run",
        )
