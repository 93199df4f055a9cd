"""Names in the tidy CSV and in llm_bench's reports: writers and importers may not import each other."""

from llmbench.analysis.bandwidth import ROW_METRICS
from llmbench.analysis.metrics.table import LAUNCH_METRICS
from llmbench.schema.config import PLACES

CELL_COLUMNS = (
    *("run", "run_started_at", "llmbench", "cell", "model", "source", "source_id", "revision"),
    *(
        "weight_format",
        "ir_sha256",
        "cpu",
        "kernel",
        "cpu_quota",
        "openvino",
        "openvino_genai",
        "engine",
        "device",
    ),
    *("attention", "properties", "threads", *PLACES, "tensor_parallel", "batch_size", "asked_tokens"),
    *("stop_at_eos", "apply_chat_template", "generation", "notes", "prompt_set", "prompt", "prompt_sha256"),
)
"""The configuration and the prompt."""

METRIC_COLUMNS = tuple(metric.column for metric in ROW_METRICS.values())

IMAGE_COLUMNS = ("image_size", "image_slices", "image_tokens")
"""The size of a prompt's images, and what they became."""

TIDY_COLUMNS = (
    *CELL_COLUMNS,
    *("launch", "launch_outcome", *(metric.column for metric in LAUNCH_METRICS.values()), "model_cache"),
    *("iteration", "is_warmup", "is_valid", "reasons", "input_tokens", "output_tokens"),
    *IMAGE_COLUMNS,
    *METRIC_COLUMNS,
    *("started_at", "ended_at"),
)
"""One row per request."""

LLM_BENCH_COLUMNS = (
    *("iteration", "model", "framework", "device", "pretrain_time(s)"),
    *("initial_sys_mem(MiB)", "initial_rss_mem(MiB)", "compile_max_rss_mem(MiB)", "compile_max_sys_mem(MiB)"),
    *("compile_max_increase_rss_mem(MiB)", "compile_max_increase_sys_mem(MiB)"),
    *("input_size", "infer_count", "generation_time(s)", "output_size", "latency(ms)"),
    *("1st_latency(ms)", "2nd_avg_latency(ms)", "precision", "max_rss_mem(MiB)", "max_sys_mem(MiB)"),
    *("max_increase_rss_mem(MiB)", "max_increase_sys_mem(MiB)", "prompt_idx", "chat_idx"),
    *("1st_infer_latency(ms)", "2nd_infer_avg_latency(ms)", "num_beams", "batch_size"),
    *("tokenization_time", "detokenization_time", "result_md5", "start", "end"),
)

LLM_BENCH_TIMES = {
    "generation_time": "generation_time(s)",
    "latency": "latency(ms)",
    "first_latency": "1st_latency(ms)",
    "second_avg_latency": "2nd_avg_latency(ms)",
    "first_infer_latency": "1st_infer_latency(ms)",
    "second_infer_avg_latency": "2nd_infer_avg_latency(ms)",
    "tokenization_time": "tokenization_time",
    "detokenization_time": "detokenization_time",
}
"""Times by their names in the JSON, with their names in the CSV."""

LLM_BENCH_PEAKS = ("max_rss_mem", "max_sys_mem", "max_increase_rss_mem", "max_increase_sys_mem")
"""Memory in the JSON; in the CSV with its unit."""
