"""CSV in two layouts: llm_bench's own columns, and a tidy one with the configuration in columns."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.report import Report
from llmbench.analysis.tidy_layout import TIDY_COLUMNS
from llmbench.files.atomic import write_atomically
from llmbench.render import llm_bench, records, tidy
from llmbench.render.llm_bench import MemoryColumns, Record
from llmbench.render.tidy import CsvValue
from llmbench.schema.run import Run
from llmbench.schema.units import Unit

LLM_BENCH_COLUMNS = (
    "iteration",
    "model",
    "framework",
    "device",
    "pretrain_time(s)",
    "initial_sys_mem(MiB)",
    "initial_rss_mem(MiB)",
    "compile_max_rss_mem(MiB)",
    "compile_max_sys_mem(MiB)",
    "compile_max_increase_rss_mem(MiB)",
    "compile_max_increase_sys_mem(MiB)",
    "input_size",
    "infer_count",
    "generation_time(s)",
    "output_size",
    "latency(ms)",
    "1st_latency(ms)",
    "2nd_avg_latency(ms)",
    "precision",
    "max_rss_mem(MiB)",
    "max_sys_mem(MiB)",
    "max_increase_rss_mem(MiB)",
    "max_increase_sys_mem(MiB)",
    "prompt_idx",
    "chat_idx",
    "1st_infer_latency(ms)",
    "2nd_infer_avg_latency(ms)",
    "num_beams",
    "batch_size",
    "tokenization_time",
    "detokenization_time",
    "result_md5",
    "start",
    "end",
)
_RUNNABLE = re.compile(r"'*[=+\-@\x00-\x1f\x7f]")


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before what would start one.

    Undone by taking one apostrophe away from what starts with apostrophes and such a character.
    """
    return f"'{text}" if _RUNNABLE.match(text) else text


def llm_bench_csv(run: Run) -> str:
    """A run in llm_bench's layout: its 34 columns, a row a request, then three summary rows a prompt."""
    records = llm_bench.llm_bench_records(run)
    rows = [_llm_bench_row(run, record) for record in records]
    first_rows = {record.cell: number for number, record in reversed(list(enumerate(records)))}
    for cell, number in first_rows.items():
        rows[number] |= _launch_columns(run, cell)
    rows += [_llm_bench_row(run, record) for record in llm_bench.summaries(records)]
    return _text(LLM_BENCH_COLUMNS, rows)


def tidy_csv(*runs: Run) -> str:
    """A row a request, warm-ups and invalid ones included and marked."""
    return _text(TIDY_COLUMNS, (row for run in runs for row in tidy.rows(run)))


def summary_csv(*reports: Report) -> str:
    """A row for each prompt and metric."""
    return _text(tidy.SUMMARY_COLUMNS, (row for report in reports for row in tidy.summary_rows(report)))


def comparison_csv(comparisons: Iterable[Comparison]) -> str:
    """A row a change of every comparison, the means over prompts included."""
    return _text(
        records.COMPARISON_COLUMNS, (row for each in comparisons for row in records.comparison_records(each))
    )


def write_llm_bench_csv(run: Run, path: Path) -> None:
    """A run in llm_bench's layout, in place of the file at *path*; raises OutputError."""
    write_atomically(path, llm_bench_csv(run))


def _text(columns: Iterable[str], rows: Iterable[Mapping[str, CsvValue]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: neutral(v) if isinstance(v, str) else v for key, v in row.items()})
    return buffer.getvalue()


def _llm_bench_row(run: Run, record: Record) -> dict[str, CsvValue]:
    config = run.cells[record.cell]
    return {
        "iteration": record.iteration,
        "model": llm_bench.model_name(run, record.cell),
        "framework": llm_bench.framework(config),
        "device": config.device.lower(),
        "input_size": record.input_size,
        "infer_count": record.infer_count,
        "generation_time(s)": _rounded(record.generation_time),
        "output_size": record.output_size,
        "latency(ms)": _rounded(record.latency),
        "1st_latency(ms)": _or_na(record.first_latency),
        "2nd_avg_latency(ms)": _or_na(record.second_avg_latency),
        "precision": run.origin_of(record.cell).weight_format or "",
        **_memory_columns("max", record.memory),
        "prompt_idx": record.prompt_idx,
        "chat_idx": record.chat_idx,
        "1st_infer_latency(ms)": _or_na(record.first_infer_latency),
        "2nd_infer_avg_latency(ms)": _or_na(record.second_infer_avg_latency),
        "num_beams": config.num_beams,
        "batch_size": record.batch_size,
        "tokenization_time": _rounded(record.tokenization_time),
        "detokenization_time": _rounded(record.detokenization_time),
        "result_md5": str(list(record.result_md5)),
        "start": record.start,
        "end": record.end,
    }


def _launch_columns(run: Run, cell: int) -> dict[str, CsvValue]:
    """What stands on a configuration's first row only: load time and memory before generation."""
    launch = llm_bench.first_launch(run, cell)
    if launch is None:
        return {}
    memory = launch.load_memory
    scale = Unit.MEBIBYTES.scale
    return {
        "pretrain_time(s)": _rounded(launch.load_s),
        "initial_sys_mem(MiB)": _rounded(memory.initial_system_bytes * scale if memory else None),
        "initial_rss_mem(MiB)": _rounded(memory.initial_bytes * scale if memory else None),
        **_memory_columns("compile_max", MemoryColumns.of(memory)),
    }


def _memory_columns(phase: str, memory: MemoryColumns) -> dict[str, CsvValue]:
    return {
        f"{phase}_rss_mem(MiB)": _rounded(memory.max_rss),
        f"{phase}_sys_mem(MiB)": _rounded(memory.max_sys),
        f"{phase}_increase_rss_mem(MiB)": _rounded(memory.max_increase_rss),
        f"{phase}_increase_sys_mem(MiB)": _rounded(memory.max_increase_sys),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, llm_bench.LLM_BENCH_DIGITS)


def _or_na(value: float | None) -> float | str:
    return "NA" if value is None else round(value, llm_bench.LLM_BENCH_DIGITS)
