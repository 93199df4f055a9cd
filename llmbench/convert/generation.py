"""Does the engine generate what the IR says? Greedy tokens with a cache, the way ``run`` measures them.

GenAI's paged attention and its SDPA generate from a few texts, prefill and then token by token. The IR then reads each
text with what was generated behind it, in one pass without a cache: at each position it must choose the same token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from llmbench.engines.base import EngineRequest, EngineSession
from llmbench.engines.catalog import find_engine
from llmbench.engines.openvino.attention import read_executed
from llmbench.errors import LlmbenchError
from llmbench.files.strict_json import read_object
from llmbench.models.attention import language_fusion
from llmbench.models.integrity import MODEL_XML
from llmbench.models.manifest import LEAST_AGREEMENT, GreedyTokens
from llmbench.runner.step import StepProcess
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.progress import ProgressCallback
from llmbench.schema.settings.any_workload import ATTENTIONS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

TOKENS = 16
"""Tokens generated from each text."""

SURE_MARGIN = 2.0
"""The gap between the first and the second logit beyond which rounding hardly changes a choice."""

LONGEST_WINDOW = 1024
"""A sliding window beyond which a text longer than it would take too long."""

_TITLES = {"pa": "paged attention", "sdpa": "SDPA"}


class Generated(msgspec.Struct):
    """Tokens of each text by kind of attention, and the fault of each kind that failed; *margins* are the IR's.

    *executed* is how many attention layers are one operation when the IR is run, ``None`` where its graph shows none.
    """

    texts: list[list[int]]
    tokens: dict[str, list[list[int]]] = {}
    agreement: dict[str, float] = {}
    margins: dict[str, list[list[float]]] = {}
    faults: dict[str, str] = {}
    executed: int | None = None


def check_generation(
    folder: Path, texts: Sequence[Sequence[int]], *, window: int | None, report: ProgressCallback
) -> tuple[GreedyTokens | None, tuple[str, ...]]:
    """Return the greedy tokens of an IR, and warnings on each kind of attention that chooses others or fails.

    *texts* are token ids; beyond a sliding *window* another text is made of them.
    """
    used = [list(text) for text in texts]
    is_covered = window is None or window <= LONGEST_WINDOW
    if window is not None and is_covered:
        used = [repeat_to(used, window + TOKENS), *used]
    made = StepProcess(folder=folder, report=report).run(_generate_and_read, folder, used)
    warnings = [*describe_faults(made), *_describe_executed(folder, made.executed)]
    if not is_covered:
        warnings.append(f"not verified beyond the model's sliding window of {window} tokens")
    return _surest(made), tuple(warnings)


def repeat_to(texts: Sequence[Sequence[int]], length: int) -> list[int]:
    """Return *length* token ids of some texts in turn, again and again."""
    joined = [token for text in texts for token in text]
    return (joined * (length // len(joined) + 1))[:length]


def describe_faults(made: Generated) -> list[str]:
    """Return a warning on each kind of attention that fails, or chooses other tokens than the IR."""
    able = [kind for kind, share in made.agreement.items() if share >= LEAST_AGREEMENT]
    remedy = f"run it with --attention {able[0]}" if able else "run it with --engine optimum"
    warnings = [
        f"{_TITLES[kind]} chooses other tokens than the model: {share:.0%} of {TOKENS * len(made.texts)} greedy "
        f"tokens agree; {remedy}"
        for kind, share in made.agreement.items()
        if share < LEAST_AGREEMENT
    ]
    return warnings + [
        f"{_TITLES[kind]} cannot run this model ({fault}); {remedy}" for kind, fault in made.faults.items()
    ]


def _describe_executed(folder: Path, executed: int | None) -> list[str]:
    """Warn where layers that are fused in the IR are not when it is run; the engine may undo what it cannot do."""
    fusion = language_fusion(folder)
    if executed is None or fusion is None or executed >= fusion.fused:
        return []
    layers = f"{fusion.fused} of {fusion.layers} layers"
    return [f"{layers} have fused attention (SDPA) in the IR, {executed} when it is executed on this CPU"]


def _surest(made: Generated) -> GreedyTokens | None:
    """Return the tokens of the text whose first choices are surest; ``None`` where nothing could be generated."""
    best = max(made.agreement, key=lambda kind: made.agreement[kind], default=None)
    if best is None:
        return None
    counts = [
        next((i for i, margin in enumerate(row) if margin < SURE_MARGIN), len(row))
        for row in made.margins[best]
    ]
    chosen = counts.index(max(counts))
    return GreedyTokens(
        prompt=tuple(made.texts[chosen]),
        tokens={kind: tuple(rows[chosen]) for kind, rows in made.tokens.items()},
        sure=counts[chosen],
        agreement=made.agreement,
    )


def _generate_and_read(folder: Path, texts: list[list[int]]) -> Generated:
    """Generate with both kinds of attention and read the results, in the child."""
    reader = IrReader(folder)
    made = Generated(texts=texts, executed=reader.fused_attention)
    for kind in ATTENTIONS:
        try:
            rows = _generate(folder, kind, texts)
        except LlmbenchError as error:
            made.faults[kind] = error.message.partition(": ")[2] or error.message
            continue
        made.tokens[kind] = rows
        read = [_read(reader, text, row) for text, row in zip(texts, rows, strict=True)]
        made.margins[kind] = [margins for _, margins in read]
        made.agreement[kind] = sum(agreed for agreed, _ in read) / sum(map(len, rows))
    return made


def checked_config(folder: Path, attention: str) -> RunConfig:
    """Return the configuration that an IR is checked in: as exactly as the engine can compute."""
    return RunConfig(
        model=str(folder),
        prompts=(Prompt(set="check", index=0, tokens=1),),
        attention=attention,
        properties={"EXECUTION_MODE_HINT": "ACCURACY"},
        output_tokens=TOKENS,
    )


def _generate(folder: Path, attention: str, texts: Sequence[Sequence[int]]) -> list[list[int]]:
    session = cast("EngineSession", find_engine("genai").open(checked_config(folder, attention)))
    made = [session.generate(EngineRequest(input_ids=(tuple(text),), output_tokens=TOKENS)) for text in texts]
    return [list(each.sequences[0].token_ids) for each in made]


def _read(reader: "IrReader", text: Sequence[int], row: Sequence[int]) -> tuple[int, list[float]]:
    """Return how many tokens of a row the IR itself would choose, and by what margin it chooses at each place."""
    import numpy as np

    logits = reader.read([*text, *row])[len(text) - 1 : -1]
    two = np.sort(np.partition(logits, -2, axis=-1)[:, -2:], axis=-1)
    agreed = int((logits.argmax(axis=-1) == np.array(row)).sum())
    return agreed, (two[:, 1] - two[:, 0]).astype(float).tolist()


class IrReader:
    """A compiled IR that reads whole texts in one pass, without a cache, as exactly as the engine can."""

    def __init__(self, folder: Path) -> None:
        import openvino

        model = openvino.Core().read_model(folder / MODEL_XML)
        self._kernel = read_object(folder / "config.json").get("conv_kernel")
        self._ports = {port.get_any_name(): port for port in model.inputs}
        compiled = openvino.compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
        executed = read_executed(compiled)
        self.fused_attention = executed.fused if executed.counts else None
        self._request = compiled.create_infer_request()

    def read(self, ids: Sequence[int]) -> "Array":
        """Return the logits [positions, vocabulary] for one text."""
        self._request.reset_state()
        self._request.infer({name: self._values(name, port, ids) for name, port in self._ports.items()})
        logits: Array = self._request.get_tensor("logits").data[0]
        return logits

    def _values(self, name: str, port: Any, ids: Sequence[int]) -> "Array":
        """Return what an input gets.

        Mamba's cache_position has one dimension; by its length, that of the convolution, optimum-intel's IR knows that
        a text begins.
        """
        import numpy as np

        if name == "input_ids":
            return np.array([ids], dtype=np.int64)
        if name == "attention_mask":
            return np.ones((1, len(ids)), dtype=np.int64)
        if name == "beam_idx":
            return np.zeros(1, dtype=np.int32)
        positions = np.arange(len(ids), dtype=np.int64)
        if name == "position_ids" or name.endswith("cache_position"):
            if len(port.get_partial_shape()) != 1:
                return positions[None]
            return np.arange(self._kernel or len(ids), dtype=np.int64)
        return np.zeros((1, len(ids)), dtype=np.int64)
