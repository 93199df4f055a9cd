"""Conversion of vision-language models: what GenAI reads of image sizes, and whether the IR is its source.

Both models read texts behind a picture (teacher forcing), each with the processor that it is published with, and
choose the next token at each place of the text. Then GenAI's pipeline, with its own processing of pictures, generates
from the same picture, and the IR must choose the same tokens.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from llmbench.convert.generation import TOKENS, Generated, checked_config, describe_faults
from llmbench.convert.texts import TEXTS
from llmbench.convert.verification import Findings, Reading, check_agreement, read_spelling, reading_dtype
from llmbench.engines.base import EngineRequest, EngineSession, Question
from llmbench.engines.catalog import find_engine
from llmbench.errors import LaunchError, LlmbenchError
from llmbench.files.strict_json import read_object
from llmbench.models.image_tokens import image_token
from llmbench.runner.step import StepProcess
from llmbench.schema.progress import ProgressCallback
from llmbench.schema.settings.any_workload import ATTENTIONS

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
PICTURE_QUESTION = "Describe the picture."
_HEIGHT, _WIDTH = 300, 400
_LINE_BREAKS = 4
"""Tokens by which a prompt may differ without another picture: line breaks around it, as Gemma's has them."""

_READ = TEXTS[:3]


class _IrReading(msgspec.Struct):
    """What the IR makes of the texts, and of what GenAI generated; *counts* are tokens of the prompt in both."""

    choices: list[list[int]]
    generated: Generated
    counts: tuple[int, int] | None = None


def write_preprocessor(source: Path, folder: Path) -> str:
    """Write the image sizes that GenAI reads into *folder*, and return them as a sentence.

    transformers 5 keeps them in ``processor_config.json``, which GenAI does not read: it would take its own defaults.
    A source that has the older file keeps it.
    """
    published = read_object(source / PREPROCESSOR)
    written = read_object(folder / PROCESSOR) or read_object(source / PROCESSOR)
    found = {**_image_part(written), **published}
    config = read_object(folder / "config.json")
    vision = config.get("vision_config")
    inherited = {
        "patch_size": written.get("patch_size") or (vision or {}).get("patch_size"),
        "image_grid_pinpoints": config.get("image_grid_pinpoints"),
    }
    found = {**{name: value for name, value in inherited.items() if value is not None}, **found}
    if not found:
        raise LaunchError(
            f"neither {PROCESSOR} nor {PREPROCESSOR} has the sizes of images",
            hint="fetch the processor's files of the model, and convert it again",
        )
    (folder / PREPROCESSOR).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return describe_sizes(found)


def describe_sizes(preprocessor: Mapping[str, Any]) -> str:
    """Return the sizes that images are brought to: ``336 x 336 pixels, patches of 14``."""
    return ", ".join(_sizes(preprocessor)) or "as the model's code has them"


def _sizes(preprocessor: Mapping[str, Any]) -> Iterator[str]:
    crop, size = preprocessor.get("crop_size"), preprocessor.get("size")
    whole = next((each for each in (crop, size) if isinstance(each, dict) and "height" in each), None)
    if whole is not None:
        yield f"{whole['height']} x {whole['width']} pixels"
    elif isinstance(size, dict) and "shortest_edge" in size:
        yield f"shortest edge {size['shortest_edge']} pixels"
    for name, title in (("min_pixels", "at least {} pixels"), ("max_pixels", "at most {} pixels")):
        if preprocessor.get(name):
            yield title.format(preprocessor[name])
    if preprocessor.get("patch_size"):
        yield f"patches of {preprocessor['patch_size']}"
    if preprocessor.get("image_grid_pinpoints"):
        yield f"slices in {len(preprocessor['image_grid_pinpoints'])} layouts"


def _image_part(written: Mapping[str, Any]) -> Mapping[str, Any]:
    part = written.get("image_processor", written)
    return part if isinstance(part, dict) else {}


def read_vision_source(folder: Path, step: StepProcess) -> Reading:
    """Read the texts behind a picture with the source model; an online *step* trusts its code."""
    return step.run(_read_source, folder, trusts_code=step.is_online)


def compare_vision(
    source: Reading,
    folder: Path,
    *,
    weight_format: str,
    least_agreement: float | None,
    report: ProgressCallback,
) -> Findings:
    """Compare the IR in *folder* with its source; a ``LaunchError`` if it is another model or cannot spell."""
    found = StepProcess(folder=folder, report=report).run(_read_ir, folder)
    findings = check_agreement(
        source,
        found.choices,
        folder,
        weight_format=weight_format,
        least_agreement=least_agreement,
        report=report,
    )
    return findings.with_warnings((*_count_warnings(found.counts), *describe_faults(found.generated)))


def _count_warnings(counts: tuple[int, int] | None) -> Iterator[str]:
    if counts is not None and abs(counts[0] - counts[1]) > _LINE_BREAKS:
        yield (
            f"OpenVINO GenAI makes {counts[0]} tokens of a prompt with a picture, the model's own processor makes "
            f"{counts[1]}: it brings pictures to another size"
        )


def picture() -> "Pixels":
    """Return a picture of our own: a gradient with a disc, uint8 of shape [height, width, 3]."""
    import numpy as np

    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    is_disc = (y - _HEIGHT / 2) ** 2 + (x - _WIDTH / 3) ** 2 < (_HEIGHT / 4) ** 2
    planes = (x * 255 / _WIDTH, y * 255 / _HEIGHT, np.where(is_disc, 230, 60))
    return np.stack(planes, axis=-1).astype(np.uint8)


def _read_source(folder: Path, *, trusts_code: bool) -> Reading:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(
        folder, trust_remote_code=trusts_code, dtype=reading_dtype(folder), use_safetensors=True
    ).eval()
    reader = _Reader(model, folder, trusts_code=trusts_code)
    read = [reader.read(text) for text in _READ]
    return Reading(
        ids=[ids for ids, _ in read],
        choices=[choices for _, choices in read],
        spelling=read_spelling(reader.processor.tokenizer),
        dtype=str(model.dtype).removeprefix("torch."),
    )


def _read_ir(folder: Path) -> _IrReading:
    from optimum.intel import OVModelForVisualCausalLM

    model = OVModelForVisualCausalLM.from_pretrained(folder, ov_config={"EXECUTION_MODE_HINT": "ACCURACY"})
    reader = _Reader(model, folder, trusts_code=False)
    choices = [reader.read(text)[1] for text in _READ]
    made = Generated(texts=[reader.ids(PICTURE_QUESTION)])
    counts = None
    for kind in ATTENTIONS:
        try:
            tokens, count = _generate(folder, kind)
        except LlmbenchError as error:
            made.faults[kind] = error.message.partition(": ")[2] or error.message
            continue
        counts = (count, len(made.texts[0]))
        made.tokens[kind] = [tokens]
        made.agreement[kind] = reader.agreement(PICTURE_QUESTION, tokens)
    return _IrReading(choices=choices, generated=made, counts=counts)


def _generate(folder: Path, attention: str) -> tuple[list[int], int]:
    """Return GenAI's greedy tokens of the question behind the picture, and the tokens of that prompt."""
    session = cast("EngineSession", find_engine("genai", "vision").open(checked_config(folder, attention)))
    question = Question(text=PICTURE_QUESTION, images=(picture(),))
    made = session.generate(EngineRequest(input_ids=(), output_tokens=TOKENS, question=question)).sequences[0]
    return list(made.token_ids), made.input_tokens


class _Reader:
    """A vision-language model, its source's or an IR, with the processor beside it."""

    def __init__(self, model: Any, folder: Path, *, trusts_code: bool) -> None:
        from transformers import AutoProcessor

        self.processor = AutoProcessor.from_pretrained(
            folder, trust_remote_code=trusts_code, local_files_only=True
        )
        self._model = model
        image = image_token(folder) or getattr(self.processor, "image_token", "<image>")
        self._image_id = self.processor.tokenizer.convert_tokens_to_ids(image)
        self._mark = getattr(self.processor, "boi_token", image)  # Gemma's is before the tokens of an image

    def ids(self, text: str) -> list[int]:
        """Return the token ids of the picture and a text behind it."""
        ids: list[int] = self._inputs(text)["input_ids"][0].tolist()
        return ids

    def read(self, text: str) -> tuple[list[int], list[int]]:
        """Return the token ids of the picture with a text, and the token chosen after each one behind the picture."""
        inputs = self._inputs(text)
        ids = inputs["input_ids"][0].tolist()
        start = len(ids) - ids[::-1].index(self._image_id) if self._image_id in ids else 0
        return ids, self._choices(inputs)[start:]

    def agreement(self, text: str, tokens: Sequence[int]) -> float:
        """Return the share of some tokens behind a text that this model would choose at the same place."""
        import torch

        inputs = self._inputs(text)
        start = inputs["input_ids"].shape[1]
        more = torch.tensor([tokens])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
        for name in ("attention_mask", "token_type_ids", "mm_token_type_ids"):
            if name in inputs:
                fill = torch.full_like(more, 1 if name == "attention_mask" else 0)
                inputs[name] = torch.cat([inputs[name], fill], dim=1)
        chosen = self._choices(inputs)[start - 1 : -1]
        return sum(one == other for one, other in zip(chosen, tokens, strict=True)) / len(tokens)

    def _inputs(self, text: str) -> Any:
        return self.processor(text=f"{self._mark}\n{text}", images=picture(), return_tensors="pt")

    def _choices(self, inputs: Any) -> list[int]:
        import torch

        with torch.inference_mode():
            chosen: list[int] = self._model(**inputs).logits[0].argmax(-1).tolist()
        return chosen
