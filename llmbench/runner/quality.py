"""Measure what configurations lose against a base: one launch each over the same blocks of text, the base first."""

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from llmbench.analysis.quality import KIND, Quality, QualityLimits, qualities
from llmbench.errors import InputError, readable
from llmbench.files.cache import cache_folder
from llmbench.models.resolve import ModelInfo, Side
from llmbench.runner import session
from llmbench.runner.blocks import Stop
from llmbench.runner.launchers.base import Launcher
from llmbench.runner.session import OnEvent, Outputs, Policy
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import Run, WorkloadSettings
from llmbench.schema.tasks import DEFAULT_TASK
from llmbench.workloads.text import corpus

ENGLISH = "en"
LANGUAGES = (ENGLISH, "de", "fr", "es", "zh")
"""The texts that the package has, by language; others are files."""

_UNMEASURED = ("its quality could not be measured",)
_CHARACTERS_PER_TOKEN = 16
"""A text is cut to this many characters for each token that is read: it is stored in the run file."""

EXACT = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
"""The properties of the base: without them the engine computes with bf16, quantized activations or a u8 cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The base, and over what it is compared: *blocks* of *block_tokens* from each of the *texts*.

    A forward pass reads *chunk_tokens* at a time; the cache's precision acts from the second one on.
    """

    base: ModelInfo
    texts: tuple[Prompt, ...]
    blocks: int = 8
    block_tokens: int = 256
    chunk_tokens: int = 16


def read_texts(names: Sequence[str], trial_tokens: int) -> tuple[Prompt, ...]:
    """Return each text by its name, a language or a file in UTF-8, cut to what this many tokens can need.

    Raises:
        InputError: a file that cannot be read, or is no text.
    """
    limit = trial_tokens * _CHARACTERS_PER_TOKEN
    return tuple(
        Prompt(set=name, index=index, text=_read_text(name)[:limit], is_permuted=False)
        for index, name in enumerate(names)
    )


def _read_text(name: str) -> str:
    if name == ENGLISH:
        return corpus()
    if name in LANGUAGES:
        return (resources.files("llmbench.data") / f"texts/{name}.txt").read_text(encoding="utf-8")
    with readable(f"text {name}", hint="give a text file in UTF-8", also=UnicodeDecodeError):
        found = Path(name).expanduser().read_text(encoding="utf-8")
    if not found.strip():
        raise InputError(f"text {name} is empty", hint="give a longer text")
    return found


def quality_cell(config: RunConfig, trial: Trial) -> RunConfig:
    """Return the configuration that reads texts as *config* generates: same model, properties and attention.

    How tokens are chosen, and what guesses them, has no effect on their distributions. Raises InputError for what has
    one and cannot be read here.
    """
    info = config.engine_info
    if config.task != DEFAULT_TASK:
        raise InputError(f"quality is that of generated text; the task is {config.task}", hint="leave out -t")
    if ModelKind.IR not in info.models:
        raise InputError(
            f"quality is read from the logits of an IR, which {info.title} does not run",
            hint="use --engine genai, core or optimum",
        )
    return RunConfig(
        model=config.model,
        weight_format=config.weight_format,
        engine="likelihood",
        device=config.device,
        attention=config.attention if config.attention in info.capabilities else info.default_attention,
        properties=config.properties,
        lora=() if config.is_lora_idle else config.lora,
        lora_alphas=() if config.is_lora_idle else config.lora_alphas,
        threads=config.threads,
        interpreter=config.interpreter,
        prompts=trial.texts,
        iterations=trial.blocks,
        warmups=0,
        output_tokens=1,
        foreign_cpu_limit=1.0,
        is_verified=config.is_verified,
        is_subsequent=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The run that scored configurations.

    *of_cells* has the quality of each, ``None`` where its launch failed or was not made.
    """

    run: Run
    of_cells: tuple[Quality | None, ...]


def measure_quality(
    sides: Sequence[Side],
    trial: Trial,
    *,
    outputs: Outputs,
    policy: Policy | None = None,
    launcher: Launcher | None = None,
    on_event: OnEvent | None = None,
    stop: Stop | None = None,
) -> Judged:
    """Score the configurations of *sides* against the base; those that read texts alike are read once.

    The base's distributions are kept in the cache folder meanwhile: 4 bytes for each scored token and each entry of
    the vocabulary.
    """
    wanted = [quality_cell(side.config, trial) for side in sides]
    distinct = list(dict.fromkeys(map(repr, wanted)))
    first = {key: next(i for i, cell in enumerate(wanted) if repr(cell) == key) for key in distinct}
    base = dataclasses.replace(
        wanted[0],
        model=trial.base.path,
        weight_format=trial.base.weight_format,
        attention="sdpa",
        properties=EXACT,
    )
    cells = (base, *(wanted[first[key]] for key in distinct))
    infos = (trial.base, *(sides[first[key]].model_info for key in distinct))
    cache_folder().mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="quality-", dir=cache_folder())
    try:
        run = session.measure(
            cells,
            models=infos,
            workload=WorkloadSettings(
                kind=KIND,
                parameters={
                    "block_tokens": trial.block_tokens,
                    "chunk_tokens": trial.chunk_tokens,
                    "folder": folder,
                },
                primary_metrics=(),
            ),
            outputs=outputs,
            policy=policy,
            launcher=launcher,
            on_event=on_event,
            stop=stop,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {each.cell: each for each in qualities(run)}
    return Judged(run=run, of_cells=tuple(found.get(1 + distinct.index(repr(cell))) for cell in wanted))


def with_faults(
    sides: Sequence[Side], judged: Sequence[Quality | None], limits: QualityLimits
) -> tuple[Side, ...]:
    """Return the sides with what is wrong with the quality of each, for which no request of it counts."""
    return tuple(
        side.with_faults(limits.faults(found) if found else _UNMEASURED)
        for side, found in zip(sides, judged, strict=True)
    )
