"""How long a run will take, judged by an earlier run of the same model, and once it is under way by its own pace."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.analysis.report import Row, summarize_run
from llmbench.errors import LlmbenchError
from llmbench.models.resolve import ModelInfo
from llmbench.runner import plan
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Provenance, Run
from llmbench.schema.units import format_bytes
from llmbench.store import reader

_LOOKED_AT = 20
_STARTING_S = 1.5
_RESPONSE_S = 0.05
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
    cells: Sequence[RunConfig],
    planned: Sequence[plan.PlannedLaunch],
    model_infos: Sequence[ModelInfo],
    folder: Path,
) -> Forecast | None:
    """How long these launches will take; ``None``: unknown. *model_infos* are the models of the cells.

    The newest run of the same model in *folder* has what a launch, an input and an output token take; without
    one, the size of the weights gives a lower bound. For work without output tokens there is neither.
    """
    if not all(cell.task_info.is_generating for cell in cells):
        return None
    costs = {model_info.path: _cost(model_info, folder) for model_info in model_infos}
    known = [cost for cost in costs.values() if cost is not None]
    if len(known) < len(costs):
        return None
    by_path = dict(zip(costs, known, strict=True))
    total = sum(by_path[model_infos[launch.cell].path].launch_s(cells[launch.cell]) for launch in planned)
    return Forecast(seconds=total, basis="; ".join(dict.fromkeys(cost.basis for cost in known)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What a launch of a model in a configuration takes in seconds, and what that is judged by."""

    launch_s: Callable[[RunConfig], float]
    basis: str


def _cost(model_info: ModelInfo, folder: Path) -> _Cost | None:
    """The cost of a model's launches; ``None``: unknown."""
    if model_info.provenance.source == "script":
        return None
    earlier = next(_earlier(model_info, folder), None)
    if earlier is not None:
        path, known = earlier
        return _Cost(launch_s=lambda config: _launch_s(config, known), basis=f"judged by {path}")
    size = _weights_bytes(Path(model_info.path))
    if not size:
        return None
    return _Cost(
        launch_s=lambda config: _guessed_s(config, size),
        basis=f"an estimate from {format_bytes(size)} of weights, read once per token",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What an earlier run has of a model: the median load time in seconds, and its rows with a first token."""

    load_s: float
    rows: Sequence[Row]


def _earlier(model_info: ModelInfo, folder: Path) -> Iterator[tuple[Path, _Known]]:
    files = sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for path in files[:_LOOKED_AT]:
        try:
            head = reader.read_run_header(path)
            cells = [] if head is None else _cells_of(model_info.provenance, head)
            if not cells:
                continue
            report = summarize_run(reader.read_run(path), ("first_token", "tpot", "e2e"))
        except LlmbenchError:
            continue
        rows = [row for row in report.rows if row.cell in cells and "first_token" in row.summaries]
        loads = [load.median for cell in cells for load in report.load[cell].values()]
        if rows:
            yield path, _Known(load_s=max(loads, default=0.0), rows=rows)


def _cells_of(origin: Provenance, run: Run) -> list[int]:
    wanted = (origin.content_sha256, origin.path)
    origins = [run.origin_of(cell) for cell in range(len(run.cells))]
    return [cell for cell, found in enumerate(origins) if (found.content_sha256, found.path) == wanted]


def _requests(config: RunConfig) -> Iterator[Prompt]:
    for request in plan.plan_requests(config):
        yield config.prompts[request.prompt]


def _launch_s(config: RunConfig, known: _Known) -> float:
    """Seconds of a launch, as an earlier run has it: starting, loading, and its requests."""
    return _STARTING_S + known.load_s + sum(_request_s(config, p, known.rows) for p in _requests(config))


def _request_s(config: RunConfig, prompt: Prompt, rows: Sequence[Row]) -> float:
    """Seconds of a request like one of another length: the first token grows with the input, the others do not."""
    tokens = _tokens(prompt)
    row = min(rows, key=lambda row: (_unlikeness(config, row.config), abs(row.input_tokens - tokens)))
    batch = config.batch_size / row.config.batch_size
    first_s = row.summaries["first_token"].median * batch * max(tokens / max(row.input_tokens, 1), 0.1)
    later_s = row.summaries["tpot"].median if "tpot" in row.summaries else 0.0
    return _RESPONSE_S + first_s + later_s * (config.output_tokens - 1) * math.sqrt(max(batch, 1.0))


def _unlikeness(one: RunConfig, other: RunConfig) -> int:
    names = ("engine", "attention", "threads", "properties", "batch_size", "num_beams", "device")
    return sum(getattr(one, name) != getattr(other, name) for name in names)


def _guessed_s(config: RunConfig, size: int) -> float:
    """Seconds of a launch where nothing is known but the weights."""
    token_s = size / _GUESSED_BYTES_PER_S
    loading_s = _STARTING_S + 4 * token_s
    later_s = token_s * (config.output_tokens - 1)
    return loading_s + sum(
        _RESPONSE_S + token_s * (1 + config.batch_size * _tokens(prompt) / _PREFILL_GAIN) + later_s
        for prompt in _requests(config)
    )


def _tokens(prompt: Prompt) -> int:
    output = (*(prompt.earlier or ()), prompt.text or "")
    return prompt.tokens or max(1, sum(map(len, output)) // _CHARACTERS_PER_TOKEN)


def _weights_bytes(model: Path) -> int:
    """The size of a model's weights; 0 where there is no such file."""
    files = [*model.glob("openvino_model*.bin"), *model.glob("*.safetensors")] if model.is_dir() else [model]
    return sum(file.stat().st_size for file in files if file.is_file())


class Pace:
    """What loading and requests took so far, and what is still to come; instants are seconds of one clock.

    A prompt's requests take what they took on average in the same configuration, else in any, else what any request
    took. Loads are those of the launches so far, so that later ones are counted from the first on.
    """

    def __init__(self, configurations: Sequence[RunConfig], planned: Sequence[plan.PlannedLaunch]) -> None:
        self._requests = [[request.prompt for request in plan.plan_requests(cell)] for cell in configurations]
        self._launches = [launch.cell for launch in planned]
        self._cooldown_s = 0.0
        self._loads: list[float] = []
        self._used: dict[tuple[int, int], list[float]] = {}
        self._since = 0.0
        self._cell = 0
        self._left: list[int] = []
        self._is_loading = False

    def begin_launch(self, cell: int, at: float, *, cooldown_s: float = 0.0) -> None:
        """Note that a launch of a configuration begins to load, after a rest of *cooldown_s* seconds."""
        self._cooldown_s = cooldown_s
        self._launches = self._launches[1:]
        self._is_loading = True
        self._cell, self._since, self._left = cell, at, list(self._requests[cell])

    def loaded(self, at: float) -> None:
        """Note that its model is loaded, and the first request begins."""
        self._is_loading = False
        self._loads.append(at - self._since)
        self._since = at

    def measured(self, at: float) -> None:
        """Note that the request under way has ended, and the next begins; those behind the planned ones are no news."""
        if not self._left:
            return
        prompt = self._left.pop(0)
        self._used.setdefault((self._cell, prompt), []).append(at - self._since)
        self._since = at

    def left_s(self, at: float) -> float | None:
        """Return the seconds still to go; ``None`` before anything was measured."""
        if not self._used:
            return None
        requests = [(self._cell, prompt) for prompt in self._left]
        requests += [(cell, prompt) for cell in self._launches for prompt in self._requests[cell]]
        load_s = statistics.fmean(self._loads)
        total = sum(map(self._request_s, requests)) + (load_s + self._cooldown_s) * len(self._launches)
        if self._is_loading:
            return total + max(load_s - (at - self._since), 0.0)
        return max(total - (min(at - self._since, self._request_s(requests[0])) if self._left else 0.0), 0.0)

    def _request_s(self, request: tuple[int, int]) -> float:
        same_prompt = [used for (_, prompt), used in self._used.items() if prompt == request[1]]
        groups = [self._used[request]] if request in self._used else same_prompt or self._used.values()
        return statistics.fmean(seconds for used in groups for seconds in used)
