"""``llmbench doctor``: what this machine is, and what on it would disturb a measurement."""

from collections.abc import Iterable, Iterator, Mapping

import click
import msgspec

from llmbench.cli.options.help import HelpCommand
from llmbench.engines.openvino import tensor_parallel as engine
from llmbench.errors import ExitCode
from llmbench.machine import bandwidth, checks, environment, interference, topology
from llmbench.machine.bandwidth import Bandwidth
from llmbench.machine.checks import Checkup, Finding, Survey, Weight, machine_settings
from llmbench.machine.interference import Interference
from llmbench.render.terminal.doctor import doctor_lines
from llmbench.schema.config import INTERFERENCE_LIMIT
from llmbench.schema.run import Split
from llmbench.schema.units import format_list
from llmbench.store.events import utc_now

_INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16"),
)


@click.command(
    "doctor",
    cls=HelpCommand,
    epilog="""
    llmbench doctor
    llmbench doctor --strict --no-bandwidth""",
)
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON.")
@click.option("--strict", is_flag=True, help="Exit 4 if something would disturb a measurement.")
@click.option("--no-bandwidth", is_flag=True, help="Leave out the memory bandwidth, which takes seconds.")
def command(is_json: bool, strict: bool, no_bandwidth: bool) -> int:
    """Say what this machine is, and what on it would disturb a measurement.

    Each finding comes with what it does to a measurement and what to type. Nothing is changed; the bandwidth of the
    memory is kept in the cache folder, for runs to be compared with.
    """
    checkup = examine(with_bandwidth=not no_bandwidth)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(checkup)).decode())
    else:
        click.echo("\n".join(doctor_lines(checkup)))
    return int(doctor_exit_code(checkup.findings, strict=strict))


def doctor_exit_code(found: Iterable[Finding], *, strict: bool) -> ExitCode:
    """Return 4 with ``--strict`` where something would disturb a measurement, else 0."""
    is_spoilt = any(finding.weight is Weight.SPOILS for finding in found)
    return ExitCode.MACHINE if strict and is_spoilt else ExitCode.OK


def examine(*, with_bandwidth: bool = True) -> Checkup:
    """Look at this machine: a second of watching its load, and some for its memory."""
    allowed = topology.read_topology().allowed
    seen = Survey.take(load=interference.watch_interference(allowed))
    found = [*checks.find_problems(seen), *checks.unfit_packages(checks.installed())]
    devices: Mapping[str, Mapping[str, str]] = {}
    split = None
    try:
        devices, split = engine.devices(), engine.probe_split()
    except (ImportError, RuntimeError) as error:
        found.append(_broken_engine(error))
    rates = _bandwidths(seen) if with_bandwidth else {}
    is_quiet = seen.load is not None and seen.load.total <= INTERFERENCE_LIMIT
    if rates:
        bandwidth.keep_bandwidth(seen.environment, rates, measured_at=utc_now(), is_quiet=is_quiet)
    if is_quiet:
        found.extend(checks.uneven([rate for name, rate in rates.items() if name != bandwidth.WHOLE]))
    found.extend(_no_split(seen, split))
    return Checkup(
        environment=seen.environment,
        nodes=seen.memory.nodes,
        caches=seen.caches,
        settings=machine_settings(seen),
        load=seen.load or Interference(total=0.0, steal=0.0),
        instructions=tuple(name for name in _INSTRUCTIONS if name in environment.cpu_flags()),
        frequency_mhz=environment.frequencies_mhz(),
        devices=devices,
        split=split,
        bandwidth=rates,
        findings=tuple(sorted(found, key=lambda finding: finding.weight is not Weight.SPOILS)),
    )


def _bandwidths(seen: Survey) -> dict[str, Bandwidth]:
    """The bandwidth of all CPUs this process may use, and of each socket where there are several."""
    machine = seen.environment.topology
    allowed = set(machine.allowed)
    sockets = sorted({cpu.socket for cpu in machine.cpus if cpu.number in allowed})
    rates = {bandwidth.WHOLE: bandwidth.measure_bandwidth(machine, seen.caches)}
    if len(sockets) > 1:
        rates |= {str(s): bandwidth.measure_bandwidth(machine, seen.caches, s) for s in sockets}
    return rates


def _broken_engine(error: Exception) -> Finding:
    return Finding(
        check="engine",
        weight=Weight.SPOILS,
        found=f"OpenVINO does not start: {(str(error).splitlines() or [type(error).__name__])[-1]}",
        effect="nothing can be measured",
        remedy="pip install --force-reinstall openvino openvino-genai openvino-tokenizers",
    )


def _no_split(seen: Survey, split: Split | None) -> Iterator[Finding]:
    """Several sockets, and an engine that uses no more of them with the policy than without."""
    machine = seen.environment.topology
    if split is not None and len(machine.sockets) > 1 and not split.is_effective:
        yield Finding(
            check="no-split",
            weight=Weight.SPOILS,
            found=f"{len(machine.sockets)} sockets, but the tensor-parallel policy splits nothing "
            f"({split.without} threads without it, {split.with_policy} with it)",
            effect="tensor parallelism would be accepted and do nothing",
            remedy=f"let the process use both sockets; it may use CPUs {format_list(machine.allowed)}",
        )
