"""Is the IR of a text embedding or reranking model the model it was made from? The cosine of both vectors of each text.

A reranking model has a vector per question: its scores of the texts as log-odds, less their mean, so that the cosine
of two is the correlation of the scores. The IR is read by the pipeline that measures it, with the pooling that the
manifest will record. Both steps run in child processes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from llmbench.convert.texts import PLAIN_TEXT, RICH_TEXT, TEXTS
from llmbench.convert.verification import Findings
from llmbench.engines.base import Embedder, Reranker
from llmbench.engines.catalog import find_engine
from llmbench.errors import LaunchError
from llmbench.models.manifest import EmbeddingUse
from llmbench.runner.step import StepProcess
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.progress import ProgressCallback

LEAST_COSINE = 0.8
"""The mean cosine below which the IR is not the model."""

_EXPECTED = {"fp32": 0.999, "fp16": 0.999, "int8": 0.98, "int4": 0.9}
"""The mean cosine below which a format is warned about."""

_READ = (*TEXTS, PLAIN_TEXT, RICH_TEXT)
_QUESTIONS = (
    "Where does water boil at a lower temperature?",
    "How is a program's speed measured?",
    "Who wrote the letter?",
)
_LEAST_ODDS = 1e-6
"""Scores nearer to 0 or 1 than this are not told apart: 32 bits hold no more."""

Vectors = list[list[float]]


def read_with_source(folder: Path, use: EmbeddingUse | None, step: StepProcess) -> Vectors:
    """Return the source model's vectors of the built-in texts; *use* is ``None`` of one that scores pairs of texts.

    An online *step* trusts its code.
    """
    return step.run(_read_source, folder, use, trusts_code=step.is_online)


def compare_vectors(
    source: Vectors,
    folder: Path,
    use: EmbeddingUse | None,
    *,
    weight_format: str,
    least: float | None = None,
    report: ProgressCallback,
) -> Findings:
    """Compare the IR's vectors with its source's; raise LaunchError if it is another model.

    *least* is the mean cosine that is needed, ``LEAST_COSINE`` where it is ``None``.
    """
    found = StepProcess(folder=folder, report=report).run(_read_ir, folder, use)
    cosines = [cosine(one, other) for one, other in zip(source, found, strict=True)]
    mean, worst = sum(cosines) / len(cosines), min(cosines)
    measure, what = ("correlation", "questions' scores") if use is None else ("cosine", "texts' vectors")
    if mean < (LEAST_COSINE if least is None else least):
        raise LaunchError(
            f"the {weight_format} model's {what} agree with its source's by a mean {measure} of {mean:.3f} only",
            hint="what was written is not this model: try another weight format, or keep it with --min-agreement 0",
        )
    expected = _EXPECTED[weight_format]
    low = f"a mean {measure} of {mean:.4f} is low for {weight_format}: {expected:g} is expected"
    return Findings(
        agreement=max(0.0, min(mean, 1.0)),
        note=f"mean {measure} of {len(cosines)} {what}, the lowest {worst:.4f}",
        warnings=(low,) if mean < expected else (),
    )


def cosine(one: Any, other: Any) -> float:
    """Return the cosine of two arrays read as vectors; 0 where their shapes differ, 1 where both are zeros."""
    import numpy as np

    first, second = (np.asarray(each, dtype=np.float64).ravel() for each in (one, other))
    if first.shape != second.shape:
        return 0.0
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else float(not (first.any() or second.any()))


def log_odds(scores: Sequence[float]) -> list[float]:
    """Return scores from 0 to 1 as log-odds, less their mean."""
    import numpy as np

    kept = np.clip(np.asarray(scores, dtype=np.float64), _LEAST_ODDS, 1 - _LEAST_ODDS)
    odds = np.log(kept / (1 - kept))
    return [float(value) for value in odds - odds.mean()]


def _read_source(folder: Path, use: EmbeddingUse | None, *, trusts_code: bool) -> Vectors:
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusts_code)
    kind = AutoModelForSequenceClassification if use is None else AutoModel
    model = kind.from_pretrained(
        folder, trust_remote_code=trusts_code, dtype=torch.float32, use_safetensors=True
    ).eval()
    with torch.inference_mode():
        if use is None:
            return _score_with_source(model, tokenizer)
        return _embed_with_source(model, tokenizer, use)


def _embed_with_source(model: Any, tokenizer: Any, use: EmbeddingUse) -> Vectors:
    import torch

    made = []
    for text in _READ:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=use.max_tokens)
        hidden = model(**tokens).last_hidden_state[0]
        pooled = {"mean": hidden.mean(0), "cls": hidden[0], "last_token": hidden[-1]}[use.pooling]
        made.append(torch.nn.functional.normalize(pooled, dim=0) if use.is_normalized else pooled)
    return [[float(value) for value in vector] for vector in made]


def _score_with_source(model: Any, tokenizer: Any) -> Vectors:
    """Scores as the pipeline makes them: the sigmoid of one class, or the softmax of two of which the second counts."""
    made = []
    for question in _QUESTIONS:
        logits = [
            model(**tokenizer(question, text, return_tensors="pt", truncation=True)).logits[0]
            for text in _READ
        ]
        made.append([float(each.sigmoid()[0] if len(each) == 1 else each.softmax(0)[1]) for each in logits])
    return [log_odds(scores) for scores in made]


def _read_ir(folder: Path, use: EmbeddingUse | None) -> Vectors:
    task = "text_rerank" if use is None else "text_embed"
    config = RunConfig(
        model=str(folder),
        task=task,
        prompts=(Prompt(set="check", index=0, tokens=1),),
        parameters={} if use is None else {"pooling": use.pooling, "no_normalize": not use.is_normalized},
        output_tokens=0,
    )
    session = find_engine("genai", task).open(config)
    if use is not None:
        return [list(map(float, cast("Embedder", session).embed([text]).vectors[0])) for text in _READ]
    ranks = [dict(cast("Reranker", session).rerank(question, _READ).ranks) for question in _QUESTIONS]
    return [log_odds([scores[index] for index in range(len(_READ))]) for scores in ranks]
