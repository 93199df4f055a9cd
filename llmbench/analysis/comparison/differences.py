"""What is not the same in two runs: what must match, and what changed between them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from llmbench.analysis.attention import describe_attention, effective_of, has_same_attention
from llmbench.analysis.placement_proof import effect
from llmbench.analysis.report import varied_settings
from llmbench.schema.limits import ResourceLimits, describe_limits
from llmbench.schema.run import EffectiveSettings, Provenance, Run
from llmbench.schema.units import format_list

_NO_CHANGE = frozenset({"model", "weight_format", "launches"})
"""Settings that tell where or how often, not what; the weight format is reported with the model's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A thing by name, and what it is on either side; empty where a side does not have it."""

    name: str
    base: str
    candidate: str


def is_imported(run: Run) -> bool:
    """Whether a run comes from a report without machine and settings, as llm_bench's do."""
    return not run.version


def is_same_run(one: Run, other: Run) -> bool:
    """Whether two are one run, under whatever names: the same content, or a run and a report made of it."""
    if one.id == other.id and one.version == other.version and bool(one.source) != bool(other.source):
        return True
    return replace(one, id="", source="") == replace(other, id="", source="")


def mismatches(base: Run, candidate: Run) -> tuple[Difference, ...]:
    """Return what must match and does not: the CPU and the source model, where both are recorded, and the workload."""
    pairs = (
        ("cpu", base.environment.cpu_model, candidate.environment.cpu_model),
        ("model", _source_model(base), _source_model(candidate)),
        ("workload", base.workload.kind, candidate.workload.kind),
    )
    return tuple(
        Difference(name=name, base=before, candidate=after)
        for name, before, after in pairs
        if before and after and before != after
    )


def unknowns(base: Run, candidate: Run) -> tuple[str, ...]:
    """Sentences on what must match and was not recorded."""
    found = []
    for side, run in (("base", base), ("candidate", candidate)):
        if not run.environment.cpu_model:
            found.append(f"the CPU of the {side} is unknown, so it could not be checked")
        if not _source_model(run) and not _is_scripted(run):
            found.append(f"the source model of the {side} is unknown, so it could not be checked")
    return tuple(found)


def _is_scripted(run: Run) -> bool:
    return any(config.engine_info.is_simulated for config in run.cells)


def _source_model(run: Run) -> str:
    """The model that was converted; a script is not a model but what a build does."""
    if _is_scripted(run):
        return ""
    return _joined(run.origin_of(cell).source_id or "" for cell in range(len(run.cells)))


def _joined(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(value for value in values if value))


def attention_change(base: Run, candidate: Run) -> tuple[Difference, ...]:
    """Return the change of the attention that was effective, configuration by configuration; empty where none was."""
    sides = [[effective_of(run, cell) for cell in range(len(run.cells))] for run in (base, candidate)]
    pairs = [(one, other) for one, other in zip(*sides, strict=False) if one and other]
    if all(has_same_attention(one, other) for one, other in pairs):
        return ()
    before, after = (_joined(describe_attention(each) for each in side) for side in zip(*pairs, strict=True))
    return (Difference(name="effective: attention", base=before, candidate=after),)


def attention_doubt(base: Run, candidate: Run) -> tuple[str, ...]:
    """Return a sentence where the effective attention changed although the same one was requested."""
    requested = [[config.attention for config in run.cells] for run in (base, candidate)]
    if requested[0] != requested[1]:
        return ()
    return tuple(
        f"the attention changed, though none was requested: {found.base} -> {found.candidate}"
        for found in attention_change(base, candidate)
    )


def changes(base: Run, candidate: Run) -> tuple[Difference, ...]:
    """Everything that both sides report and that is not the same: software, settings, model files, machine.

    The attention is apart, in `attention_change`.
    """
    is_reported = not (is_imported(base) or is_imported(candidate))
    found = [*_between("", _reported(base, is_whole=is_reported), _reported(candidate, is_whole=is_reported))]
    found += _between("", _files(base), _files(candidate))
    if is_reported:
        found += _between("", dict(base.software_of(0)), dict(candidate.software_of(0)))
        found += _between("", _machine(base), _machine(candidate))
        found += _settings(base, candidate)
        found += _limits(base, candidate)
        found += _effective_changes(base, candidate)
    if base.source or candidate.source:
        found = [difference for difference in found if difference.base and difference.candidate]
    return tuple(found)


def _between(prefix: str, base: Mapping[str, str], candidate: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*base, *candidate)):
        before, after = base.get(name, ""), candidate.get(name, "")
        if before != after:
            yield Difference(name=f"{prefix}{name}", base=before, candidate=after)


def _reported(run: Run, *, is_whole: bool) -> dict[str, str]:
    """The settings that are the same in all cells, or the few of them that every report tells."""
    flat = [varied_settings(config) for config in run.cells]
    shared = {
        name: value for name, value in flat[0].items() if all(found.get(name) == value for found in flat)
    }
    names = shared if is_whole else ("device", "batch_size")
    return {name: shared[name] for name in names if name in shared and name not in _NO_CHANGE}


def _files(run: Run) -> dict[str, str]:
    """What the model files are; of several models each value once, in the order of the cells."""
    cells = [_files_of(run.origin_of(cell)) for cell in range(len(run.cells))]
    names = dict.fromkeys(name for found in cells for name in found)
    return {name: _joined(found.get(name, "") for found in cells) for name in names}


def _files_of(origin: Provenance) -> dict[str, str]:
    return {
        "weight format": origin.weight_format or "",
        "source revision": origin.revision or "",
        "IR hash": (origin.content_sha256 or "")[:12],
        **{f"{name} hash": sha256[:12] for name, sha256 in origin.companions},
    }


def _machine(run: Run) -> dict[str, str]:
    environment = run.environment
    topology = environment.topology
    return {
        "kernel": environment.kernel,
        "memory": str(environment.memory_bytes or ""),
        "CPUs": f"{format_list(topology.allowed)} of {len(topology.cpus)}" if topology.cpus else "",
        "governor": environment.governor or "",
        "transparent hugepages": environment.transparent_hugepages or "",
        **environment.variables,
    }


def _settings(base: Run, candidate: Run) -> Iterator[Difference]:
    """Settings of the machine that both sides recorded."""
    before, after = ({**run.environment.settings} for run in (base, candidate))
    shared = before.keys() & after.keys() - {"frequency governor", "transparent huge pages"}
    yield from _between("", *({name: side[name] for name in sorted(shared)} for side in (before, after)))


def _limits(base: Run, candidate: Run) -> Iterator[Difference]:
    """Limits of the processes; where one side recorded none, only what limited the other side is a difference."""
    before, after = base.environment.limits, candidate.environment.limits
    unknown = dict.fromkeys(describe_limits(ResourceLimits()), "not recorded")
    texts = (describe_limits(side) if side else unknown for side in (before, after))
    none = describe_limits(ResourceLimits())
    for found in _between("", *texts):
        is_known = before is not None and after is not None
        if is_known or none[found.name] not in (found.base, found.candidate):
            yield found


def _effective_changes(base: Run, candidate: Run) -> Iterator[Difference]:
    """What the engines report differently; of two engines only what both report, under names of their own else."""
    found = _between("effective: ", _effective(base), _effective(candidate))
    is_one_engine = _engines(base) == _engines(candidate)
    return (each for each in found if is_one_engine or (each.base and each.candidate))


def _engines(run: Run) -> set[tuple[str, str | None]]:
    return {(config.engine, config.server) for config in run.cells}


def _effective(run: Run) -> dict[str, str]:
    launch = next(iter(run.finished), None)
    found = launch.effective if launch else EffectiveSettings()
    what = effect(run, launch.cell) if launch else None
    return {
        "tensor_parallel": what.value if what else "",
        **found.properties,
        **found.scheduler,
        "notes": "; ".join(found.notes),
    }
