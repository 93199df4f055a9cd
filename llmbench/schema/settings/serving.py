"""The settings of a load, a row each: those of its configurations, and those that all configurations of a run share.

Options of ``load`` and ``ab``, what a run records of its workload, and the commands that reports print are derived from
these rows.
"""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

_target = functools.partial(Setting, group=Group.TARGET)
_load = functools.partial(Setting, group=Group.LOAD)

CONSTANT = 1e9
"""The burstiness that a run file has for infinity, which JSON does not: arrivals at constant intervals."""

_LENGTHS = "KIND:SPREAD"

LOAD_SETTINGS = (
    _target(
        "--url",
        "Server that runs already; its key in LLMBENCH_API_KEY.",
        kind=ValueKind.TEXTS,
        field="server",
        metavar="URL",
        is_common=True,
    ),
    _target(
        "--server",
        "Server started fresh in each launch: genai, llama.cpp, or a command with {port} and {model}.",
        kind=ValueKind.TEXTS,
        field="server",
        metavar="SERVER",
        is_common=True,
    ),
    _target(
        "--endpoint",
        "Endpoint of the OpenAI protocol.  [default: completions]",
        kind=ValueKind.CHOICE,
        choices=("completions", "chat"),
    ),
    _load(
        "--concurrency",
        "Requests in flight at once; with --request-rate at most.  [default: 1; sweep]",
        kind=ValueKind.INTEGERS,
        field="concurrency",
        least=1,
        sweep=0,
        is_common=True,
    ),
    _load(
        "--request-rate",
        "Requests begun per second, whether earlier ones have ended or not.  [sweep]",
        kind=ValueKind.RATES,
        field="request_rate",
        sweep=1,
        is_common=True,
    ),
    _load(
        "--burstiness",
        "Shape of the gamma distribution of the time between requests; inf is constant.  [default: 1, Poisson]",
        kind=ValueKind.NUMBER,
    ),
    _load(
        "--trace",
        "Requests of a file: time,input_tokens,output_tokens.",
        kind=ValueKind.TEXT,
        metavar="FILE.csv",
        is_common=True,
    ),
    _load(
        "--duration",
        "Measure for so long, instead of -n requests.",
        kind=ValueKind.DURATION,
        is_common=True,
    ),
    _load(
        "--input-distribution",
        "Of input lengths: uniform:0.5, normal:0.2 or lognormal:0.6.",
        kind=ValueKind.TEXT,
        metavar=_LENGTHS,
    ),
    _load(
        "--output-distribution",
        "Of output lengths.",
        kind=ValueKind.TEXT,
        metavar=_LENGTHS,
    ),
    _load(
        "--shared-prefix",
        "Tokens that all prompts begin with.  [default: 0]",
        kind=ValueKind.INTEGER,
    ),
    _load(
        "--goodput",
        "Limits of a good request: ttft:200,tpot:50,e2e:3000.",
        kind=ValueKind.TEXT,
        metavar="METRIC:MS,...",
        is_common=True,
    ),
)
"""Every option that only a load has, in the order of ``--help``."""

LOAD_PARAMETERS = {
    setting.name + ("_s" if setting.kind is ValueKind.DURATION else ""): setting
    for setting in LOAD_SETTINGS
    if setting.field is None
}
"""Those that all configurations of a run share, by the name of the workload's parameter; durations are in seconds."""

LOAD_TIMEOUT_S = 300.0
"""How long a load waits for a first token, and for each later one, where nothing else was requested."""
