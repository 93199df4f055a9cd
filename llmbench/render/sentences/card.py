"""The lines of a result card: what was measured, on what machine, with which software, and whether it is good."""

from collections.abc import Iterator

from llmbench.analysis.attention import effective_of
from llmbench.analysis.placement_proof import Effect
from llmbench.analysis.report import Report
from llmbench.analysis.validity import most_frequent_reason
from llmbench.render.sentences.remarks import placement_sentence
from llmbench.render.text import LEAST_FOR_MARGIN
from llmbench.schema.limits import describe_priority, format_cpus
from llmbench.schema.run import Outcome, Run
from llmbench.schema.units import counted, format_bytes, format_count, format_list

_PACKAGES = {
    "openvino": "OpenVINO",
    "openvino-genai": "GenAI",
    "optimum-intel": "Optimum Intel",
    "torch": "PyTorch",
    "xllamacpp": "llama.cpp (xllamacpp)",
}
_ATTENTIONS = {"pa": "paged attention", "sdpa": "SDPA"}


def card_lines(report: Report) -> tuple[str, ...]:
    """Return what was measured, the machine and the software, a line each; what is not known is left out."""
    run = report.run
    lines = (_model(report), _machine(report), *_work_of_sockets(report), _software(run))
    return tuple(line for line in lines if line)


def _work_of_sockets(report: Report) -> Iterator[str]:
    (proof, *others) = report.proofs
    if proof is not None and not others and len(proof.machine.sockets) > 1:
        yield placement_sentence(proof).split(";", maxsplit=1)[0]


def _model(report: Report) -> str:
    run, config = report.run, report.run.cells[0]
    origin, varied = run.provenance, report.distinctions[0]
    facts = []
    if not run.origins:
        facts = [
            f"{format_count(origin.parameters)} parameters" if origin.parameters else "",
            "" if "weight_format" in varied else origin.weight_format or "",
            format_bytes(origin.file_bytes) if origin.file_bytes else "",
        ]
    engine = [] if "engine" in varied or not run.version else [_engine(config.engine, report)]
    if config.server is not None:
        engine = [] if "server" in varied else [describe_server(config.server)]
    device = [] if "device" in varied or config.device == "CPU" else [config.device]
    batch = [f"batch of {config.batch_size}"] if config.batch_size > 1 and "batch_size" not in varied else []
    facts += [*engine, *device, *batch]
    return f"{run.model_name}: {', '.join(fact for fact in facts if fact)}"


def describe_server(server: str) -> str:
    """Return what serves: a name, an address, or the program of a command."""
    return (
        f"server at {server}"
        if "://" in server
        else f"server {server.split(maxsplit=1)[0].rsplit('/', maxsplit=1)[-1]}"
    )


def _engine(engine: str, report: Report) -> str:
    effective = effective_of(report.run, 0)
    attention = (effective.attention or "") if effective else ""
    if engine != "genai" or not attention or "attention" in report.distinctions[0]:
        return engine
    fallback = effective and effective.attention_proof and effective.attention_proof.fallback
    instead = ", NOT paged attention" if fallback else ""
    return f"{engine} ({_ATTENTIONS.get(attention, attention)}{instead})"


def _machine(report: Report) -> str:
    run = report.run
    machine = run.environment.topology
    if not machine.cpus:
        return run.environment.cpu_model
    sockets, cores = len(machine.sockets), machine.cores
    facts = [
        f"{counted(sockets, 'socket')}, {counted(cores, 'core')}",
        *_threads(run),
        *_pinning(run),
        *_limits(run),
    ]
    return f"{run.environment.cpu_model}: {'; '.join((*facts, *_split(report)))}"


def _threads(run: Run) -> Iterator[str]:
    used = {launch.effective.properties.get("INFERENCE_NUM_THREADS", "") for launch in run.launches}
    if len(used) == 1 and (count := used.pop()).isdecimal():
        yield counted(int(count), "thread")


def _pinning(run: Run) -> Iterator[str]:
    used = {(launch.pinned.cpus, launch.pinned.sockets) for launch in run.launches}
    if len(used) != 1:
        return
    cpus, sockets = used.pop()
    if cpus and len(cpus) < len(run.environment.topology.cpus):
        yield f"pinned to CPUs {format_list(cpus)} of socket {format_list(sockets)}"


def _limits(run: Run) -> Iterator[str]:
    """The CPU quota and the priority of the process, where they are not the default ones."""
    limits = run.environment.limits
    if limits is not None and limits.cpu_quota is not None:
        yield f"CPU quota {format_cpus(limits.cpu_quota)}"
    if limits is not None and limits.has_low_priority:
        yield describe_priority(limits)


def _split(report: Report) -> Iterator[str]:
    """What became of tensor parallelism where all configurations requested it."""
    effects = set(report.effects)
    if effects == {Effect.EFFECTIVE}:
        yield f"tensor parallelism over {split_parts(report.run, 0)} sockets"
    elif effects == {Effect.INEFFECTIVE}:
        yield "INEFFECTIVE: tensor parallelism split nothing"
    elif effects == {Effect.UNKNOWN}:
        yield "tensor parallelism requested, its effect unknown"


def split_parts(run: Run, cell: int) -> int:
    """Return over how many sockets the launches of a configuration split their products."""
    found = (launch.effective.split for launch in run.launches if launch.cell == cell)
    return max((split.parts for split in found if split is not None), default=1)


def _software(run: Run) -> str:
    engines = (cell.computing_engine for cell in run.cells)
    names = dict.fromkeys(name for engine in engines if engine for name in engine.packages)
    versions = run.software_of(0)
    found = [f"{_PACKAGES[name]} {versions[name]}" for name in names if name in _PACKAGES.keys() & versions]
    return ", ".join([*found, *([f"llmbench {run.version}"] if run.version else [])])


def verdict_line(report: Report) -> str:
    """Return whether the figures are valid and stable, and how many launches they rest on."""
    rows = report.shown_rows
    if not rows:
        return "nothing was measured"
    return "; ".join((_validity(report), *_completeness(report), *_stability(report), *_launches(report)))


def _validity(report: Report) -> str:
    rows = report.shown_rows
    measured, invalid = sum(row.measured for row in rows), sum(row.invalid for row in rows)
    if not invalid:
        return "PARTIAL (!)" if report.partial and not report.rows else "valid"
    why = most_frequent_reason(
        request.reasons for request in report.evaluation.requests if not request.measurement.is_warmup
    )
    count = f"{invalid} of {counted(measured, 'request')}"
    if any(not row.summaries for row in rows):
        return f"INVALID (!): {count}, {why}"
    return f"valid; {count} invalid, left out ({why})"


def _completeness(report: Report) -> Iterator[str]:
    launches = report.run.launches
    failed = sum(launch.outcome is Outcome.FAILED for launch in launches)
    if failed:
        yield f"{failed} of {counted(len(launches), 'launch', 'launches')} FAILED"
    aborted = [str(launch.index + 1) for launch in launches if launch.outcome is Outcome.ABORTED]
    if aborted:
        noun = "launch" if len(aborted) == 1 else "launches"
        yield f"{noun} {', '.join(aborted)} {'was' if len(aborted) == 1 else 'were'} cut short"
    if not report.run.is_complete:
        made = sum(row.measured for row in report.shown_rows)
        planned = sum(cell.launches * cell.iterations * len(cell.prompts) for cell in report.run.cells)
        yield f"{made} of {planned} requests were made"


def _stability(report: Report) -> Iterator[str]:
    found = report.stability
    if found and all(each.is_stable for each in found):
        yield "stable"
    elif any(each.is_stable is False for each in found):
        yield "NOT STABLE over the iterations (--explain)"


def _launches(report: Report) -> Iterator[str]:
    most = max((row.launches for row in report.rows), default=0)
    iterations = {cell.iterations for cell in report.run.cells}
    of = f" of {counted(iterations.pop(), 'iteration')}" if len(iterations) == 1 else ""
    count = f"{counted(most, 'launch', 'launches')}{of}"
    if most == 1:
        yield f"{count}, no run-to-run ± (--launches 5)"
    elif 1 < most < LEAST_FOR_MARGIN:
        yield f"{count}, n={most}: too few for ± (--launches 5)"
    elif most:
        yield f"{count} (±: 95 % interval)"
