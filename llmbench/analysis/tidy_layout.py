"""The columns of the tidy CSV, apart from its writer and its reader, which may not import each other."""

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
