"""``--on``: a command on many hosts through Slurm or Ray; ``llmbench report fleet`` shows them side by side."""

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from llmbench._version import __version__
from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.fleet import FleetReport, HostResult, summarize_fleet
from llmbench.analysis.metrics.table import HEADLINES
from llmbench.analysis.report import summarize_run
from llmbench.cli.messages import load_run, say, warn
from llmbench.cli.options.help import GroupedOption, HelpCommand, dashed
from llmbench.cli.options.types import ARGUMENTS, OUTPUT_FILE, Duration, ParsedType
from llmbench.cli.outputs import check_outputs, is_standard_output, print_on_screen, write_output
from llmbench.errors import ExitCode, InputError, worst
from llmbench.fleet.dispatch import EACH_HOST, SPREAD, Dispatch, FleetPolicy, HostProgress
from llmbench.fleet.executor import Executor, HostJob, read_target
from llmbench.fleet.folder import FleetFolder
from llmbench.fleet.ray import RayExecutor
from llmbench.fleet.slurm import SlurmExecutor
from llmbench.render.terminal.fleet import render_fleet
from llmbench.schema.fleet import FleetPlan
from llmbench.schema.units import counted
from llmbench.store.events import utc_now
from llmbench.store.reader import new_id, paused_collector, slug

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Value = TypeVar("_Value")
_GROUP = "Many machines"
_OWN = {"--on": 1, "--spread": 0, "--each-host": 0, "--skip-unfit": 0, "--copy-model": 0, "--patience": 1}
"""The options of a fleet, and whether each takes a value."""

_REPLACED = {"--name": 1, "--output-dir": 1, "--overwrite": 0, "--resume": 1, "--dry-run": 0}
_FILES = ("report", "report_json", "md", "html", "junit", "json", "csv")
_fleet_option = functools.partial(click.option, cls=GroupedOption, group=_GROUP, is_rare=True)


class Share(ParsedType[tuple[int, int]]):
    """``2/8``: the second of eight shares of a sweep's configurations."""

    name = "I/N"

    def parse(self, value: object) -> tuple[int, int]:
        """Return the number of the share, from 1, and how many there are."""
        first, slash, second = str(value).partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ValueError(f"{value!r} is not a share such as 2/8")
        return int(first), int(second)


def share_of(values: Sequence[_Value], share: tuple[int, int]) -> tuple[_Value, ...]:
    """Return every n-th of a sweep's values; raise InputError where there are fewer than hosts."""
    number, hosts = share
    if len(values) < hosts:
        raise InputError(
            f"--spread: {counted(len(values), 'configuration')} for {counted(hosts, 'host')}",
            hint="sweep over more, or request fewer nodes",
        )
    return tuple(values[number - 1 :: hosts])


def fleet_options(function: _Function) -> _Function:
    """Add ``--on`` and its options to a command that measures; with it the command goes to other hosts."""

    @_fleet_option(
        "--on", metavar="TARGET", help="Run on hosts of slurm:partition=NAME,nodes=8 or ray:ADDRESS."
    )
    @_fleet_option(
        "--each-host/--spread", default=True, help="The whole sweep on each host, or one sweep shared out."
    )
    @_fleet_option("--skip-unfit", is_flag=True, help="Leave out hosts that do not fit, instead of refusing.")
    @_fleet_option("--copy-model", is_flag=True, help="Copy the model to each host's cache before measuring.")
    @_fleet_option("--patience", type=Duration(), help="Give up a host that has not begun after so long.")
    @functools.wraps(function)
    def wrapped(**options: Any) -> Any:
        """Call the command here, or with ``--on`` on the hosts; return the exit code."""
        given = {
            name: options.pop(name) for name in ("on", "each_host", "skip_unfit", "copy_model", "patience")
        }
        if given["on"] is None:
            return function(**options)
        return _Fleet(click.get_current_context(), given, options).run()

    return wrapped  # type: ignore[return-value]


class _Fleet:
    """One command line with ``--on``."""

    def __init__(self, ctx: click.Context, given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        files = [name for name in _FILES if options.get(name)]
        if files:
            raise InputError(
                f"--on: each host would write {', '.join(files)}",
                hint="leave it out, and export afterwards: llmbench report csv FOLDER/HOST.jsonl",
            )
        self._command = str(ctx.info_name)
        if self._command != "run" and not given["each_host"]:
            raise InputError(
                "--spread shares out the sweep of run", hint="leave it out: every host measures all of it"
            )
        self._can_rehearse = any(param.name == "dry_run" for param in ctx.command.params)
        self._given = given
        self._options = options
        raw = ctx.meta[ARGUMENTS]
        self._arguments = (self._command, *without_options(raw, _OWN | _REPLACED))
        self._is_rehearsal = bool(options.get("dry_run"))

    def run(self) -> int:
        """Dispatch the command, show hosts as they go on, and report on all of them."""
        executor = make_executor(str(self._given["on"]))
        folder = self._folder()
        plan = self._plan(folder, executor)
        if self._is_rehearsal:
            return self._rehearse(plan, folder, executor)
        policy = FleetPolicy(skips_unfit=self._given["skip_unfit"], patience_s=self._given["patience"])
        say(f"fleet: {counted(len(plan.hosts), 'host')} of {plan.target}: {', '.join(plan.hosts)}")
        with FleetView() as view:
            dispatch = Dispatch(
                plan=plan, folder=folder, executor=executor, policy=policy, on_progress=view.show
            )
            codes = dispatch.run(can_rehearse=self._can_rehearse)
        say(f"written: {folder.path}")
        return _finish(folder, codes)

    def _folder(self) -> FleetFolder:
        resume = self._options.get("resume")
        if resume is not None:
            return FleetFolder(Path(resume).absolute())
        name = self._options.get("name") or f"fleet-{new_id(self._command)}"
        folder = FleetFolder(Path(self._options["output_dir"]).absolute() / slug(name))
        if folder.exists and not self._is_rehearsal:
            raise InputError(
                f"{folder.path} contains a fleet run",
                hint=f"go on with it: --resume {folder.path}, or take another --name",
            )
        return folder

    def _plan(self, folder: FleetFolder, executor: Executor) -> FleetPlan:
        if self._options.get("resume") is not None:
            return dataclasses.replace(folder.read_plan(), skipped={})  # each is tried again
        if not self._is_rehearsal:
            folder.path.mkdir(parents=True, exist_ok=True)
        return FleetPlan(
            id=folder.path.name,
            version=__version__,
            started_at=utc_now(),
            target=str(self._given["on"]),
            mode=EACH_HOST if self._given["each_host"] else SPREAD,
            arguments=self._arguments,
            hosts=tuple(executor.hosts()),
            models=self._models(),
            copies_models=self._given["copy_model"],
        )

    def _models(self) -> tuple[str, ...]:
        """Return the models of the command line that are files here; with --copy-model each must be one."""
        model = self._options.get("model") or ()
        given = [*(self._options.get("models") or ()), *((model,) if isinstance(model, str) else model)]
        typed = {part.partition("=")[2] or part for part in self._arguments} | set(self._arguments)
        found = tuple(str(model) for model in given if str(model) in typed and Path(str(model)).exists())
        if self._given["copy_model"] and (not found or len(found) < len(given)):
            missing = [str(model) for model in given if str(model) not in found]
            raise InputError(
                f"--copy-model copies folders and files of this machine: {', '.join(missing) or 'none was given'}",
                hint="give each model as a path with -m, or leave --copy-model out",
            )
        return found

    def _rehearse(self, plan: FleetPlan, folder: FleetFolder, executor: Executor) -> int:
        host = plan.hosts[0]
        command = (
            *(sys.executable, "-m", "llmbench", *plan.arguments),
            *("--output-dir", str(folder.path), "--name", host),
        )
        say(f"hosts: {', '.join(plan.hosts)}", f"job of {host}:")
        job = HostJob(host=host, command=command, log=folder.log(host), folder=Path.cwd())
        say(executor.describe(job), is_whole=True)
        say("nothing was submitted")
        return ExitCode.OK


def make_executor(text: str) -> Executor:
    """Return the scheduler that ``--on`` names."""
    target = read_target(text)
    return RayExecutor(target) if target.kind == "ray" else SlurmExecutor(target)


def without_options(arguments: Sequence[str], options: Mapping[str, int]) -> list[str]:
    """Return arguments without these options and their values, however they are spelled."""
    found = []
    values = 0
    for argument in arguments:
        if values:
            values -= 1
            continue
        name, equals, _ = argument.partition("=")
        name = dashed(name) if name.startswith("--") else name
        if name in options:
            values = 0 if equals else options[name]
        else:
            found.append(argument)
    return found


class FleetView:
    """What hosts do: a table that is drawn anew on a terminal, a line per change elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._printed: dict[str, tuple[str, str]] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, hosts: Sequence[HostProgress]) -> None:
        """Show where each host is."""
        if self._console.is_terminal:
            self._live.update(self._table(hosts), refresh=True)
            return
        for each in hosts:
            if self._printed.get(each.host) != (each.doing, each.reason):
                self._printed[each.host] = (each.doing, each.reason)
                why = f" ({each.reason})" if each.reason else ""
                say(f"{each.host}: {each.doing}{why}, {counted(each.measured, 'request')} measured")

    def _table(self, hosts: Sequence[HostProgress]) -> Any:
        grid = Grid(title=f"{time.monotonic() - self._started:.0f} s", title_justify="left", box=None)
        for head in ("host", "state", "requests", "reason"):
            grid.add_column(head)
        for each in hosts:
            grid.add_row(each.host, each.doing, str(each.measured), each.reason)
        return grid


def _finish(folder: FleetFolder, codes: Mapping[str, int | None]) -> int:
    """Show the hosts side by side; the exit code is the worst of them, a comparison's that of the verdict over all."""
    report = read_fleet(folder)
    print_on_screen(lambda console: render_fleet(report, console))
    return worst([_host_codes(report, codes), _fleet_code(report)])


def _host_codes(report: FleetReport, codes: Mapping[str, int | None]) -> ExitCode:
    known = {int(code) for code in ExitCode}
    compares = any(each.comparison is not None for each in report.hosts)
    ignored = {ExitCode.REGRESSION, ExitCode.STRICT} if compares else set()
    found = [ExitCode.LAUNCH if code not in known else ExitCode(code) for code in codes.values()]
    return worst(code for code in found if code not in ignored)


def _fleet_code(report: FleetReport) -> ExitCode:
    return ExitCode.REGRESSION if report.is_regressed else ExitCode.OK


def read_fleet(folder: FleetFolder) -> FleetReport:
    """Return the report of a fleet's folder; a host without a run file is in it with the reason."""
    plan = folder.read_plan()
    with paused_collector():
        return summarize_fleet([_host(folder, plan, host) for host in plan.hosts])


def _host(folder: FleetFolder, plan: FleetPlan, host: str) -> HostResult:
    probe, ending = folder.read_probe(host), folder.read_ending(host)
    state = plan.skipped.get(host, "")
    if (
        not state
        and ending is not None
        and ending.code not in (ExitCode.OK, ExitCode.REGRESSION, ExitCode.STRICT)
    ):
        state = f"exit code {ending.code}, see {folder.log(host).name}"
    report = comparison = None
    if folder.run_file(host).exists():
        try:
            run = load_run(folder.run_file(host))
            is_pair = plan.arguments[0] == "ab"
            report = summarize_run(run, HEADLINES)
            comparison = compare_sides(run) if is_pair else None
        except InputError as error:
            warn(f"left out: {error.message}")
    return HostResult(
        host=host,
        report=report,
        comparison=comparison,
        fingerprint={} if probe is None else probe.fingerprint,
        problems=() if probe is None else probe.problems,
        state=state,
    )


@click.command(
    cls=HelpCommand,
    name="fleet",
    short_help="The hosts of a run with --on, side by side.",
    epilog="""
    llmbench report fleet reports/fleet-20261126T001500Z-run-1a2b3c
    llmbench report fleet reports/rack --html rack.html""",
)
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@click.option("--html", type=OUTPUT_FILE, metavar="FILE", help="The same as a page with plots.")
def fleet_report(path: Path, html: Path | None) -> int:
    """Show what each host is and measured, outliers, and for ab the verdict over hosts; exit 1 if they are slower."""
    check_outputs({"--html": html}, [path])
    report = read_fleet(FleetFolder(path))
    if html is not None:
        from llmbench.render.html.fleet import fleet_page

        write_output(html, fleet_page(report, path.resolve().name))
        if is_standard_output(html):
            return _fleet_code(report)
    shown = print_on_screen(lambda console: render_fleet(report, console))
    return worst([ExitCode(shown), _fleet_code(report)])
