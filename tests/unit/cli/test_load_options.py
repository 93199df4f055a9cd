"""Options of a load: what they describe, and the commands that describe the same again."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbench.cli import ab, load
from llmbench.cli.options.load import load_configurations, load_workload
from llmbench.cli.options.sides import read_sides
from llmbench.cli.options.table import LOAD_OPTIONS, MEASUREMENT
from llmbench.errors import InputError
from llmbench.render.sentences.commands import ab_command, run_command
from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.settings.serving import LOAD_SETTINGS

Loaded = tuple[RunConfig, WorkloadSettings]

_SERVERS = (("--server", "scripted"), ("--server", "my 'own' --port {port}"), ("--url", "http://host:8000"))
_POSITIVE = st.integers(1, 5000)
_RATE = st.floats(0.01, 1e4)
_SPREAD = st.sampled_from(("uniform:0.5", "normal:0.25", "lognormal:0.6"))
_OF_ONE: dict[str, st.SearchStrategy[object]] = {
    "--concurrency": _POSITIVE,
    "--request-rate": _RATE,
    "--input-tokens": _POSITIVE,
    "-n": _POSITIVE,
    "--warmups": st.integers(0, 50),
    "-ic": _POSITIVE,
    "--seed": st.integers(0, 99),
    "--threads": st.integers(1, 64),
    "--cb-config": st.sampled_from(("max_num_batched_tokens=256", '{"cache_size": 1}')),
    "-lc": st.sampled_from(("NUM_STREAMS=2", '{"PERFORMANCE_HINT": "LATENCY"}')),
    "--kv-cache-precision": st.sampled_from(("u8", "f16")),
    "--cores": st.sampled_from(("0", "0,2-3")),
    "--foreign-cpu-limit": st.floats(0, 1),
    "-d": st.just("CPU"),
}
_OF_ALL: dict[str, st.SearchStrategy[object]] = {
    "--endpoint": st.sampled_from(("completions", "chat")),
    "--burstiness": st.one_of(st.just("inf"), st.floats(0.01, 100)),
    "--duration": st.one_of(st.just("90s"), st.just("2m"), st.floats(0.01, 1e5)),
    "--input-distribution": _SPREAD,
    "--output-distribution": _SPREAD,
    "--shared-prefix": st.integers(0, 500),
    "--goodput": st.sampled_from(("ttft:200", "ttft:200,tpot:50,e2e:3000", "tpot:0.5 e2e:10")),
    "--timeout": st.one_of(st.just("20m"), st.floats(0.5, 1e5)),
}
_SHARED_BY_SIDES = ("--input-tokens", "--seed")
"""Options that say what the prompts are, which both sides share."""

_FLAGS = ("--end-token-stopping", "--no-verify")


@st.composite
def _words(draw: st.DrawFn, of_one: dict[str, st.SearchStrategy[object]]) -> list[str]:
    """Some of the options of a load, each with a value, as a person may type them."""
    names = draw(st.sets(st.sampled_from((*of_one, *_OF_ALL))))
    given = [part for name in sorted(names) for part in (name, str(draw((of_one | _OF_ALL)[name])))]
    return [*given, *draw(st.sets(st.sampled_from(_FLAGS)))]


def _loaded(*words: str) -> Loaded:
    """The configuration and the workload that the options of ``load`` describe."""
    options = load.command.make_context("load", list(words)).params
    (side,) = load_configurations(options)
    return side.config, load_workload(options, [side.config], options["timeout"])


def _compared(*words: str) -> tuple[Loaded, Loaded]:
    """Those of both sides of ``ab``."""
    ctx = ab.command.make_context("ab", list(words))
    options = {name: ctx.params[name] for name in (*MEASUREMENT, *LOAD_OPTIONS) if name in ctx.params}
    before, after = read_sides(ctx, (), options, blocks=ctx.params["blocks"])
    cells = [before.config, after.config]
    workload = load_workload(ctx.params, cells, ctx.params["timeout"])
    return (cells[0], workload), (cells[1], workload)


@given(words=_words(_OF_ONE), server=st.sampled_from(_SERVERS))
@settings(max_examples=25, deadline=None)
def test_the_command_to_type_next_makes_the_same_load(words: list[str], server: tuple[str, str]) -> None:
    """Whatever options a load has: configuration, workload, command, and both the same again."""
    config, workload = _loaded(*server, "-m", "model", *words)
    command = run_command(config, config.launches, workload=workload)

    assert (config, workload) == _loaded(*shlex.split(command)[2:])


@given(words=_words(_OF_ONE), data=st.data())
@settings(max_examples=15, deadline=None)
def test_the_command_to_compare_again_makes_the_same_sides(words: list[str], data: st.DataObject) -> None:
    """With one option given twice, first for A and then for B, or two servers."""
    name = data.draw(st.sampled_from([name for name in _OF_ONE if name not in (*words, *_SHARED_BY_SIDES)]))
    values = [str(data.draw(_OF_ONE[name])) for _ in range(2)]
    servers = data.draw(st.sampled_from((_SERVERS[0], _SERVERS[0] + _SERVERS[1], _SERVERS[2] + _SERVERS[0])))
    typed = [*servers, "-m", "model", *words, name, values[0], name, values[1], "--blocks", "3"]
    (before, workload), (after, _) = _compared(*typed)
    command = ab_command(before, after, 3, workload=workload)

    if command is None:  # a side without a limit, which no option can say beside one that has it
        assert name in {"--concurrency", "--request-rate", "--threads"}
    else:
        assert ((before, workload), (after, workload)) == _compared(*shlex.split(command)[2:])


def test_every_option_that_only_a_load_has_is_drawn_here() -> None:
    """A new row of the table must survive the way there and back, too."""
    drawn = {*_OF_ONE, *_OF_ALL, "--url", "--server", "--trace"}

    assert {setting.flags[0] for setting in LOAD_SETTINGS} <= drawn


def test_a_side_is_a_server_or_an_engine_without_one() -> None:
    """A and B in the order of addresses, servers and engines; the levels of load are each side's own."""
    common = ("-m", "model", "--concurrency", "2", "--concurrency", "4", "--no-verify")
    (before, workload), (after, _) = _compared("--server", "genai", "--url", "http://host/v1", *common)

    assert ("http://host", "genai") == (before.server, after.server)
    assert (2, 4) == (before.concurrency, after.concurrency)
    assert (4, 8) == (before.warmups, after.warmups)
    assert "llmbench ab --url http://host --server genai -m model --concurrency 2 --concurrency 4" in str(
        ab_command(before, after, 5, workload=workload)
    )
    assert ab_command(after, before, 5, workload=workload) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--goodput", "ttft:1"), "--goodput belongs to a server under load"),
        (("--server", "a", "--server", "b", "--url", "http://c"), "3 servers were given; A and B are two"),
        (("--server", "a", "-bs", "2"), "a server has no --batch-size"),
        (("--server", "a", "-p", "text"), "a server has no --prompt"),
        (("--concurrency", "2", "--engine", "core"), "--engine core makes one request at a time"),
        (("--concurrency", "2"), "no server was given"),
        (("--server", "a", "--concurrency", "1,2"), "side A is a sweep of 2 configurations"),
        (("--server", "a", "--burstiness", "-1"), "--burstiness -1: a positive number is needed"),
        (("--server", "a", "--shared-prefix", "-1"), "--shared-prefix -1: at least 0 is needed"),
    ],
)
def test_what_means_nothing_under_load_is_refused(words: tuple[str, ...], message: str) -> None:
    """Each with what is wrong, before anything starts."""
    with pytest.raises(InputError, match=message):
        _compared("-m", "model", *words)


def test_no_recipe_has_options_of_a_load_and_none_has_two_names() -> None:
    """Their names are not those of other options of the commands that have them."""
    for command in (ab.command, load.command):
        names = [param.name for param in command.params]

        assert len(names) == len(set(names))
        assert set(LOAD_OPTIONS) <= set(names)
