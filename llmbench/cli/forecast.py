"""How long a run will take, judged by an earlier run of the same model where there is one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench import plan, store
from llmbench.config import Prompt, RunConfig
from llmbench.errors import LlmbenchError
from llmbench.recording import Subject
from llmbench.report import Report, Row, summarize
from llmbench.units import format_bytes

_LOOKED_AT = 20
_STARTING_S = 1.5
_ANSWER_S = 0.05
_CHARACTERS_PER_TOKEN = 4
_GUESSED_BYTES_PER_S = 10e9
"""A modest memory: each token after the first reads every weight once."""

_PREFILL_GAIN = 10
"""A prompt's tokens are worked on side by side, so one of them takes a fraction of a later token's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds a run will take, about, and what that is judged by."""

    seconds: float
    basis: str


def forecast(
    cells: Sequence[RunConfig], planned: Sequence[plan.PlannedLaunch], subject: Subject, folder: Path
) -> Forecast | None:
    """How long these launches will take; ``None`` where nothing tells.

    The newest run of the same model in *folder* tells what a launch, an input and an output token take; without
    one, the size of the weights tells a floor.
    """
    if subject.provenance.source == "script":
        return None
    earlier = next(_earlier(subject, folder), None)
    if earlier is not None:
        path, report = earlier
        total = sum(_launch_s(cells[launch.cell], report) for launch in planned)
        return Forecast(seconds=total, basis=f"judged by {path}")
    size = _weights_bytes(Path(subject.path))
    if not size:
        return None
    total = sum(_guessed_s(cells[launch.cell], size) for launch in planned)
    return Forecast(seconds=total, basis=f"a guess from {format_bytes(size)} of weights, read once a token")


def _earlier(subject: Subject, folder: Path) -> Iterator[tuple[Path, Report]]:
    """Runs of the same content, the newest first, each with something that counts."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    wanted = (subject.provenance.content_sha256, subject.provenance.path)
    for path in files[:_LOOKED_AT]:
        try:
            head = store.read_header(path)
            if head is None or (head.provenance.content_sha256, head.provenance.path) != wanted:
                continue
            report = summarize(store.read(path), ("first_token", "tpot", "e2e"))
        except LlmbenchError:
            continue
        if any("first_token" in row.summaries for row in report.rows):
            yield path, report


def _requests(config: RunConfig) -> Iterator[Prompt]:
    """The prompt of each request of a launch."""
    for request in plan.requests(config):
        yield config.prompts[request.prompt]


def _launch_s(config: RunConfig, report: Report) -> float:
    """Seconds of a launch, as an earlier run has it: starting, loading, and its requests."""
    loads = [load.median for load in report.load if load is not None]
    rows = [row for row in report.rows if "first_token" in row.summaries]
    return _STARTING_S + max(loads, default=0.0) + sum(_request_s(config, p, rows) for p in _requests(config))


def _request_s(config: RunConfig, prompt: Prompt, rows: Sequence[Row]) -> float:
    """Seconds of a request like one of another length: the first token grows with the input, the others do not."""
    tokens = _tokens(prompt)
    row = min(rows, key=lambda row: (_unlikeness(config, row.config), abs(row.input_tokens - tokens)))
    batch = config.batch_size / row.config.batch_size
    first_s = row.summaries["first_token"].median * batch * max(tokens / max(row.input_tokens, 1), 0.1)
    later_s = row.summaries["tpot"].median if "tpot" in row.summaries else 0.0
    return _ANSWER_S + first_s + later_s * (config.output_tokens - 1) * math.sqrt(max(batch, 1.0))


def _unlikeness(one: RunConfig, other: RunConfig) -> int:
    """In how many ways that matter two configurations differ."""
    names = ("engine", "attention", "threads", "batch_size", "num_beams", "device")
    return sum(getattr(one, name) != getattr(other, name) for name in names)


def _guessed_s(config: RunConfig, size: int) -> float:
    """Seconds of a launch where nothing is known but the weights."""
    token_s = size / _GUESSED_BYTES_PER_S
    loading_s = _STARTING_S + 4 * token_s
    later_s = token_s * (config.output_tokens - 1)
    return loading_s + sum(
        _ANSWER_S + token_s * (1 + config.batch_size * _tokens(prompt) / _PREFILL_GAIN) + later_s
        for prompt in _requests(config)
    )


def _tokens(prompt: Prompt) -> int:
    """How long a prompt is, about."""
    said = (*(prompt.earlier or ()), prompt.text or "")
    return prompt.tokens or max(1, sum(map(len, said)) // _CHARACTERS_PER_TOKEN)


def _weights_bytes(model: Path) -> int:
    """The size of a model's weights; 0 where there is no such file."""
    files = [*model.glob("openvino_model*.bin"), *model.glob("*.safetensors")] if model.is_dir() else [model]
    return sum(file.stat().st_size for file in files if file.is_file())
