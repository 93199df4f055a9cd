"""What a second socket brings: a plain sentence, a table for each metric, and the proof."""

import dataclasses
from collections.abc import Iterator, Sequence

from rich.console import Console

from llmbench.analysis.metrics.table import HEADLINES, METRICS
from llmbench.analysis.report import Report
from llmbench.analysis.speedup import SPEEDUP_METRICS as SHOWN
from llmbench.analysis.speedup import Speedup
from llmbench.analysis.stats import Ratio
from llmbench.render import views
from llmbench.render.sentences.card import card_lines, verdict_line
from llmbench.render.sentences.remarks import placement_sentence
from llmbench.render.table import Table
from llmbench.render.terminal.table import print_facts, print_line, print_table, table_width
from llmbench.render.views import TIMES_SIGN, ratio_interval
from llmbench.schema.units import counted

_BAR = 24
"""Characters of a bar as long as the number of sockets; less on a narrow screen."""

_BESIDE_BAR = 36
_NARROW = 60


def render_speedup(found: Speedup, report: Report, console: Console, *, is_explained: bool = False) -> None:
    """Print sentences, setups by lengths and a chart; with *is_explained* every metric, threads, proof and notes."""
    headline, *more = speedup_sentences(found)
    print_line(console, headline, style="bold")
    for sentence in more:
        print_line(console, sentence)
    for facts in (*card_lines(report), _counts(found, report)):
        print_facts(console, facts)
    for alarm in report.alarms:
        print_line(console, alarm, style="bold red")
    print_line(console, "")
    _print_setups(found, console)
    for line in _chart(found, console):
        print_line(console, line)
    print_facts(console, f"{verdict_line(report)}{'' if is_explained else '; details: -v'}", style="bold")
    if is_explained:
        _print_details(found, report, console)


def _counts(found: Speedup, report: Report) -> str:
    blocks = f"{counted(found.blocks, 'block')} of {counted(len(found.setups), 'launch', 'launches')} in random order"
    return f"{blocks}, {counted(report.run.cells[0].output_tokens, 'output token')}"


def _print_setups(found: Speedup, console: Console) -> None:
    """One table where the screen is wide enough for it, else one for each metric."""
    whole = views.setup_table(found)
    tables = (
        [whole]
        if table_width(whole) <= console.width
        else [views.setup_table(found, (name,)) for name in HEADLINES]
    )
    for table in tables:
        print_table(table if console.width >= _NARROW else _short_names(table), console)


def _short_names(table: Table) -> Table:
    """Return a table of setups whose names fit on a narrow screen: ``both, TP``."""
    rows = []
    for name, *cells in table.rows:
        text = name.text.replace(" sockets", "").replace(" alone", "").replace("tensor parallel", "TP")
        rows.append((dataclasses.replace(name, text=text), *cells))
    return dataclasses.replace(table, rows=tuple(rows))


def _chart(found: Speedup, console: Console) -> Iterator[str]:
    """Yield a bar for each metric and length: how many times faster tensor parallelism is than the faster socket."""
    count, is_ascii = len(found.split.sockets), console.options.ascii_only
    width = max(4, min(_BAR, console.width - _BESIDE_BAR))
    rows = [(name, length, gain) for name in HEADLINES for length, gain in found.gains(name).items()]
    if rows:
        yield f"tensor parallel against {found.base.name}; a full bar is {count}{TIMES_SIGN}"
    for name, length, gain in rows:
        filled = min(round(gain.ratio / count * width), width)
        bar = ("#" if is_ascii else "█") * filled + ("." if is_ascii else "░") * (width - filled)
        label = f"{METRICS[name].short_title}, {length} in"
        yield f"{label:<15} {bar} {gain.ratio:.2f}{TIMES_SIGN} {ratio_interval(gain)}".rstrip()


def _print_details(found: Speedup, report: Report, console: Console) -> None:
    for name in SHOWN:
        lines = [line for line in found.lines if name in line.entries]
        if lines:
            print_line(console, "")
            print_line(console, _title(name, found), style="bold")
            print_table(views.speedup_table(found, name, lines), console)
    print_line(console, "")
    for note in notes(found, report):
        print_line(console, note, style="dim")


def _title(name: str, found: Speedup) -> str:
    metric = METRICS[name]
    if name == "memory":
        return f"{metric.title}, {metric.unit.value}; times that of {found.base.name}"
    return f"{metric.title}, {metric.unit.value}; speed-up against {found.base.name}"


def notes(found: Speedup, report: Report) -> Iterator[str]:
    """Threads and proof of each setup, and what to mind."""
    threads = [f"{each.name} {each.threads}" for each in found.setups if each.threads is not None]
    if threads:
        yield f"threads for one request: {', '.join(threads)}"
    for each in found.setups:
        if each.proof is not None:
            yield f"{each.name}: {placement_sentence(each.proof)}"
    yield from (f"note: {warning}" for warning in report.warnings if warning not in report.alarms)
    yield from (
        f"note: {found.setups[row.cell].name}, {counted(row.input_tokens, 'token')}: {warning}"
        for row in report.rows
        for warning in row.warnings
    )
    if found.blocks < 2:
        yield "no interval: it needs two blocks or more, and five to be worth something"
    yield "efficiency: speed-up / sockets; pays: the whole interval is above 1, at every longer input too"


def speedup_sentences(found: Speedup) -> Iterator[str]:
    """Yield the gain over one socket, from which input on it pays, and the gain over all sockets without the policy."""
    count = len(found.split.sockets)
    gains = found.gains("first_token")
    if not gains:
        yield f"Tensor parallelism over {counted(count, 'socket')}: no result, {_why_nothing(found)}."
        return
    length = max(gains)
    where = f" at {counted(length, 'token')}"
    parts = [f"first token {spoken(gains[length], where)}"]
    if length in (later := found.gains("next_token")):
        parts.append(f"next tokens {spoken(later[length])}")
    yield f"Tensor parallelism over {counted(count, 'socket')}: {', '.join(parts)}; {payment(found)}."
    over = {name: ratios[length] for name, ratios in found.over_both.items() if length in ratios}
    if over:
        parts = [f"{METRICS[name].title} {spoken(over[name])}" for name in HEADLINES if name in over]
        yield f"Against {'both' if count == 2 else 'all'} sockets without the policy: {', '.join(parts)}."


def _why_nothing(found: Speedup) -> str:
    proof = found.split.proof
    if proof is not None and proof.idle:
        return "because not every socket worked"
    return "because no block has valid requests of one socket and of all"


def spoken(ratio: Ratio, where: str = "") -> str:
    """``1.71x faster at 1024 tokens [1.66, 1.76]``; slower is said as slower, and doubt as doubt."""
    if not ratio.has_interval:
        return f"{_times(ratio.ratio)}{where} (one block, so no interval)"
    if ratio.low > 1 or ratio.high < 1:
        faster = (
            ratio if ratio.low > 1 else Ratio(ratio=1 / ratio.ratio, low=1 / ratio.high, high=1 / ratio.low)
        )
        return f"{_times(ratio.ratio)}{where} {ratio_interval(faster)}"
    return f"undecided{where}, {ratio.ratio:.2f}{TIMES_SIGN} {ratio_interval(ratio)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}{TIMES_SIGN} faster" if ratio >= 1 else f"{1 / ratio:.2f}{TIMES_SIGN} slower"


def payment(found: Speedup) -> str:
    """From which input length on tensor parallelism pays, for the first token."""
    gains = found.gains("first_token")
    lengths = sorted(gains)
    if not any(gain.has_interval for gain in gains.values()):
        return "more blocks would show from which input on it pays"
    start = found.pays_from("first_token")
    if start is None:
        sure = all(gain.has_interval and gain.high < 1 for gain in gains.values())
        return f"{'it does not pay' if sure else 'no significant speed-up'} at {_every(lengths, 'any')}"
    if start == lengths[0]:
        return f"it pays at {_every(lengths, 'every')}"
    below = max(length for length in lengths if length < start)
    return f"it pays from {start} tokens on; no significant speed-up at {counted(below, 'token')}"


def _every(lengths: Sequence[int], word: str) -> str:
    return f"{word} length measured" if len(lengths) > 1 else counted(lengths[0], "token")
