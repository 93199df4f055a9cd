"""What a report has to tell of a load beside its figures: errors by kind, the client's part, the server, the knee."""

import collections
from collections.abc import Iterator, Sequence

from llmbench.analysis.load_curve import LoadCurve, load_curves
from llmbench.analysis.load_validity import ClientAccount, client_account
from llmbench.analysis.report import Report
from llmbench.render.text import in_brackets
from llmbench.schema.run import Launch
from llmbench.schema.units import counted, format_bytes, format_number


def error_lines(report: Report) -> Iterator[str]:
    """Yield how many measured requests failed and why, the most frequent kind first."""
    kinds: collections.Counter[str] = collections.Counter()
    details: dict[str, str] = {}
    for request in report.evaluation.requests:
        error = request.measurement.error
        if error is not None and not request.measurement.is_warmup:
            kinds[error] += 1
            details.setdefault(error, "; ".join(request.measurement.suspicions))
    for kind, count in kinds.most_common():
        yield f"{counted(count, 'request')} failed: {kind} ({details[kind]})"


def client_lines(report: Report) -> Iterator[str]:
    """Yield what the client added and used, over all launches at once."""
    found = [_account(report, launch) for launch in report.run.launches if launch.window is not None]
    if not found:
        return
    parts = [
        _worst("noticed tokens {} ms late", [each.late_s for each in found]),
        _worst("(99 %: {} ms)", [each.late_p99_s for each in found]),
        _worst("sent requests {} ms after they were due", [each.due_s for each in found]),
        _worst("timers {} ms late (99 %)", [each.lag_s for each in found]),
    ]
    cpu = [each.cpu_share for each in found if each.cpu_share is not None]
    text = ", ".join(filter(None, parts)).replace(", (", " (")
    yield f"the client, at most in a launch: {text}{f', {max(cpu):.0%} of a CPU' if cpu else ''}"


def _account(report: Report, launch: Launch) -> ClientAccount:
    measured = [m for m in launch.measurements if not m.is_warmup and m.error is None]
    assert launch.window is not None  # noqa: S101  those without were left out
    return client_account(launch.window, report.run.config_of(launch), measured)


def _worst(text: str, seconds: Sequence[float | None]) -> str:
    known = [found for found in seconds if found is not None]
    return text.format(format_number(max(known) * 1e3)) if known else ""


def server_lines(report: Report) -> Iterator[str]:
    """Yield what the server used, a line for each configuration; nothing where its process is not known."""
    for cell, apart in enumerate(report.distinctions):
        windows = [each.window for each in report.run.launches if each.cell == cell and each.window]
        used = [(each.server, each.counted_s) for each in windows if each.server is not None]
        cpus = [use.cpu_s / length_s for use, length_s in used if use.cpu_s is not None and length_s > 0]
        peaks = [use.peak_bytes for use, _ in used if use.peak_bytes is not None]
        joules = [use.energy_j for use, _ in used if use.energy_j is not None]
        parts = [
            f"{max(cpus):.2f} CPUs" if cpus else "",
            f"{format_bytes(max(peaks))} resident" if peaks else "",
        ]
        parts.append(f"{format_number(max(joules))} J" if joules else "")
        where = in_brackets(apart)
        if any(parts):
            yield f"the server{where}, at most in a launch: {', '.join(filter(None, parts))}"


def load_lines(report: Report) -> Iterator[str]:
    """Yield what belongs to the figures of a load: where the knee is, and what failed."""
    yield from map(knee_line, load_curves(report))
    yield from error_lines(report)


def knee_line(curve: LoadCurve) -> str:
    """Return where the knee of a curve is, and how sure that is."""
    where = in_brackets(curve.settings)
    if curve.knee is None:
        return f"knee{where}: it takes three levels of load"
    point = curve.points[curve.knee]
    name = f"{point.level:g} requests/s" if curve.is_open else f"{point.level:g} at once"
    rate = f"{format_number(point.rate.median)} requests/s, " if point.rate else ""
    first = point.row.summaries.get("first_token")
    first_text = f"first token {format_number(first.median * 1e3)} ms" if first else ""
    rounds = "" if curve.agreement is None else f", so in {curve.agreement:.0%} of the rounds"
    end = "" if curve.is_inside else "; an end of the curve: measure further levels"
    return f"knee{where}: {name} ({rate}{first_text}{rounds}){end}"
