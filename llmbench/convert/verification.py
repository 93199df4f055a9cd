"""Is the IR the model it was made from? The next tokens both choose, and the tokenizer's round trip.

Both models read the same text (teacher forcing), so one early difference does not count again for every later
token. The steps that need an engine run in child processes.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmbench.convert.generation import LONGEST_WINDOW, TOKENS, IrReader, check_generation, repeat_to
from llmbench.convert.texts import PLAIN_TEXT, RICH_TEXT, TEXTS
from llmbench.engines.failures import engine_words
from llmbench.errors import LaunchError
from llmbench.models.context import sliding_window_of_config
from llmbench.models.manifest import GreedyTokens
from llmbench.runner.step import StepProcess
from llmbench.schema.progress import ProgressCallback

FIRST_POSITION = 4
"""Choices before this position of a text are left out: hardly anything came before them."""

EXPECTED = {"fp32": 0.99, "fp16": 0.95, "int8": 0.9, "int4": 0.6}
"""The agreement below which a format is warned about."""

DEFAULT_TEMPLATE = "default"
"""The name of the chat template that is applied where none is named."""

LEAST = 0.3
"""The agreement below which the IR is not the model."""

Rows = Sequence[Sequence[int]]
"""Token ids, one row a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a verification found; *agreement* is ``None`` where *note* says why it was not measured."""

    agreement: float | None
    note: str | None = None
    warnings: tuple[str, ...] = ()
    expected: GreedyTokens | None = None

    def with_warnings(self, earlier: tuple[str, ...]) -> "Findings":
        """Return these findings after *earlier* warnings."""
        return dataclasses.replace(self, warnings=(*earlier, *self.warnings))


class Spelling(msgspec.Struct):
    """What a tokenizer makes of the plain and the rich text, and of its own tokens."""

    rows: list[list[int]]
    texts: list[str]
    has_template: bool
    template_names: list[str] = []


class Reading(msgspec.Struct):
    """What the source model makes of ``TEXTS``: its tokens, and the token it would choose after each of them."""

    ids: list[list[int]]
    choices: list[list[int]]
    spelling: Spelling
    dtype: str


def read_source_model(folder: Path, step: StepProcess) -> Reading:
    """Read ``TEXTS``, and a text beyond a sliding window, with the source model; an online *step* trusts its code."""
    window = sliding_window_of_config(folder / "config.json")
    return step.run(_read_source, folder, trusts_code=step.is_online, window=window)


def compare_readings(
    source: Reading,
    folder: Path,
    *,
    weight_format: str,
    least_agreement: float | None = None,
    report: ProgressCallback,
) -> Findings:
    """Compare the IR in *folder* with its source; a ``LaunchError`` if it is another model or cannot spell.

    *least_agreement* is the share of next tokens that is needed, ``LEAST`` where it is ``None``.
    """
    chosen = StepProcess(folder=folder, report=report).run(_read_ir, folder, source.ids)
    findings = check_agreement(
        source, chosen, folder, weight_format=weight_format, least_agreement=least_agreement, report=report
    )
    window = sliding_window_of_config(folder / "config.json")
    expected, faults = check_generation(folder, source.ids[: len(TEXTS)], window=window, report=report)
    return dataclasses.replace(findings.with_warnings(faults), expected=expected)


def check_agreement(
    source: Reading,
    chosen: Rows,
    folder: Path,
    *,
    weight_format: str,
    least_agreement: float | None,
    report: ProgressCallback,
) -> Findings:
    """Judge the tokens that an IR has *chosen* against its source's, and its tokenizer.

    Raises:
        LaunchError: it is another model, or cannot spell.
    """
    least = LEAST if least_agreement is None else least_agreement
    agreement = agreement_of(source.choices, chosen)
    if agreement < least:
        raise LaunchError(
            f"the {weight_format} model agrees with its source on {agreement:.1%} of next tokens; "
            f"at least {least:.0%} are needed",
            hint="what was written is not this model: try another weight format, or keep it with --min-agreement 0",
        )
    warnings = check_spelling(folder, source.spelling, report=report)
    if agreement < EXPECTED[weight_format]:
        low = f"agreement {agreement:.3f} is low for {weight_format}: {EXPECTED[weight_format]:g} is expected"
        warnings = (low, *warnings)
    if agreement < LEAST:
        warnings = (f"kept by --min-agreement {least:g}: by its agreement this is another model", *warnings)
    note = None if source.dtype == "float32" else f"the source was read in {source.dtype}"
    return Findings(agreement=agreement, note=note, warnings=warnings)


def expected_spelling(*, has_template: bool) -> Spelling:
    """Return what any tokenizer should make of both texts, where there is no source to compare with."""
    return Spelling(rows=[], texts=[PLAIN_TEXT, RICH_TEXT], has_template=has_template)


def check_spelling(folder: Path, wanted: Spelling, *, report: ProgressCallback) -> tuple[str, ...]:
    """Return warnings on an IR's tokenizer; raise LaunchError if it cannot spell plain English as *wanted*."""
    step = StepProcess(folder=folder, report=report)
    found = step.run(_spell, folder)
    (plain, rich), (wanted_plain, wanted_rich) = found.texts, wanted.texts
    if plain.strip() != wanted_plain.strip():
        raise LaunchError(
            f"the tokenizer's round trip turns {wanted_plain!r} into {plain!r}",
            hint="the source's tokenizer, or its conversion, is broken: its output would be nonsense",
        )
    if wanted.has_template and not found.has_template:
        raise LaunchError("the chat template was lost", hint="report it, with the model's name")
    warnings = []
    if wanted.template_names and not wanted.has_template:
        warnings.append(
            f"the source has named chat templates only ({', '.join(wanted.template_names)}), none of which is the "
            "default: --apply-chat-template has none to apply"
        )
    fault = _template_fault(step, folder) if found.has_template else None
    if fault is not None:
        warnings.append(
            f"OpenVINO GenAI cannot apply the chat template ({fault}): --apply-chat-template and chats "
            "do not work with this model"
        )
    if rich.strip() != wanted_rich.strip():
        warnings.append(f"the tokenizer's round trip turns {wanted_rich!r} into {rich!r}")
    if wanted.rows and found.rows != wanted.rows:
        warnings.append("the tokenizer IR cuts text into other tokens than its source")
    return tuple(warnings)


def agreement_of(one: Rows, other: Rows) -> float:
    """Return the share of positions, past the first few of each text, at which both chose the same token."""
    pairs = [
        pair
        for left, right in zip(one, other, strict=True)
        for pair in zip(left[FIRST_POSITION:], right[FIRST_POSITION:], strict=True)
    ]
    return sum(left == right for left, right in pairs) / len(pairs)


def _read_source(folder: Path, *, trusts_code: bool, window: int | None) -> Reading:
    """Read the texts in float32 where the memory allows it, else in the source's own type."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusts_code)
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=trusts_code, dtype=reading_dtype(folder), use_safetensors=True
    ).eval()
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    if window is not None and window <= LONGEST_WINDOW:
        ids.append(repeat_to(ids, window + FIRST_POSITION + TOKENS))
    with torch.inference_mode():
        choices = [model(torch.tensor([row])).logits[0].argmax(-1).tolist() for row in ids]
    name = str(model.dtype).removeprefix("torch.")
    return Reading(ids=ids, choices=choices, spelling=read_spelling(tokenizer), dtype=name)


def reading_dtype(folder: Path) -> Any:
    """Return the type to read a source model in: float32 where the memory allows it, else its own."""
    import psutil
    import torch

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return torch.float32 if psutil.virtual_memory().available > 2.5 * size else "auto"


def read_spelling(tokenizer: Any) -> Spelling:
    """Return what a source's *tokenizer* makes of the plain and the rich text."""
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (PLAIN_TEXT, RICH_TEXT)]
    found = tokenizer.chat_template or {}
    templates = found if isinstance(found, dict) else {DEFAULT_TEMPLATE: found}
    return Spelling(
        rows=rows,
        texts=[tokenizer.decode(row, skip_special_tokens=True) for row in rows],
        has_template=bool(templates.get(DEFAULT_TEMPLATE)),
        template_names=sorted(templates),
    )


def _read_ir(folder: Path, ids: list[list[int]]) -> list[list[int]]:
    """The tokens that an IR chooses, computed as exactly as the engine can."""
    reader = IrReader(folder)
    return [reader.read(row).argmax(-1).tolist() for row in ids]


def _spell(folder: Path) -> Spelling:
    from openvino_genai import Tokenizer

    tokenizer = Tokenizer(folder)
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in (PLAIN_TEXT, RICH_TEXT)]
    rows = [tensors.input_ids.data[0].tolist() for tensors in encoded]
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    return Spelling(rows=rows, texts=texts, has_template=bool(tokenizer.chat_template))


def _template_fault(step: StepProcess, folder: Path) -> str | None:
    """Return why GenAI cannot apply a chat template, which may end its process; ``None`` where it can."""
    try:
        return step.run(_apply_template, folder)
    except LaunchError as error:
        return error.message


def _apply_template(folder: Path) -> str | None:
    from openvino_genai import Tokenizer

    try:
        chat = [{"role": "user", "content": PLAIN_TEXT}]
        made = Tokenizer(folder).apply_chat_template(chat, add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001  whatever the engine's template reader throws
        return engine_words(error)
    return None if PLAIN_TEXT in made else "it leaves out what the user writes"
