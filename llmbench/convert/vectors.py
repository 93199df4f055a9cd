"""Is the IR of a text embedding model the model it was made from? The cosine of both vectors of each text.

The IR is read by the pipeline that measures it, with the pooling that the manifest will record. Both steps run in child
processes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from llmbench.convert.texts import PLAIN_TEXT, RICH_TEXT, TEXTS
from llmbench.convert.verification import Findings
from llmbench.engines.base import Embedder
from llmbench.engines.catalog import find_engine
from llmbench.errors import LaunchError
from llmbench.models.manifest import EmbeddingUse
from llmbench.runner.step import run_step
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.progress import ProgressCallback

LEAST_COSINE = 0.8
"""The mean cosine below which the IR is not the model."""

_EXPECTED = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.98, "int4": 0.9}
"""The mean cosine below which a format is warned about."""

_READ = (*TEXTS, PLAIN_TEXT, RICH_TEXT)

Vectors = list[list[float]]


class _EmbedSource(msgspec.Struct, tag=True):
    folder: str
    use: EmbeddingUse
    trusts_remote_code: bool


class _EmbedIr(msgspec.Struct, tag=True):
    folder: str
    use: EmbeddingUse


def embed_with_source(
    folder: Path, use: EmbeddingUse, *, trusts_remote_code: bool, scratch: Path, report: ProgressCallback
) -> Vectors:
    """Return the source model's vectors of the built-in texts; temporary files go below *scratch*."""
    step = _EmbedSource(folder=str(folder), use=use, trusts_remote_code=trusts_remote_code)
    return run_step(__name__, step, Vectors, folder=scratch, is_online=trusts_remote_code, report=report)


def compare_vectors(
    source: Vectors,
    folder: Path,
    use: EmbeddingUse,
    *,
    weight_format: str,
    least: float | None = None,
    report: ProgressCallback,
) -> Findings:
    """Compare the IR's vectors with its source's; raise LaunchError if it is another model.

    *least* is the mean cosine that is needed, ``LEAST_COSINE`` where it is ``None``.
    """
    step = _EmbedIr(folder=str(folder), use=use)
    found = run_step(__name__, step, Vectors, folder=folder, is_online=False, report=report)
    cosines = [cosine(one, other) for one, other in zip(source, found, strict=True)]
    mean, worst = sum(cosines) / len(cosines), min(cosines)
    if mean < (LEAST_COSINE if least is None else least):
        raise LaunchError(
            f"the {weight_format} model's vectors agree with its source's by a mean cosine of {mean:.3f} only",
            hint="what was written is not this model: try another weight format, or keep it with --min-agreement 0",
        )
    expected = _EXPECTED[weight_format]
    low = f"a mean cosine of {mean:.4f} is low for {weight_format}: {expected:g} is expected"
    return Findings(
        agreement=max(0.0, min(mean, 1.0)),
        note=f"mean cosine of {len(cosines)} texts' vectors, the lowest {worst:.4f}",
        warnings=(low,) if mean < expected else (),
    )


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors; 0 where one has no length."""
    import numpy as np

    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / lengths if lengths else 0.0


REQUESTS = _EmbedSource | _EmbedIr
"""What the child process takes."""


def do(step: _EmbedSource | _EmbedIr) -> Vectors:
    """Do a step, in the child."""
    return _embed_source(step) if isinstance(step, _EmbedSource) else _embed_ir(step)


def _embed_source(step: _EmbedSource) -> Vectors:
    import torch
    from transformers import AutoModel, AutoTokenizer

    trusts = step.trusts_remote_code
    tokenizer = AutoTokenizer.from_pretrained(step.folder, trust_remote_code=trusts)
    model = AutoModel.from_pretrained(
        step.folder, trust_remote_code=trusts, dtype=torch.float32, use_safetensors=True
    ).eval()
    made = []
    with torch.inference_mode():
        for text in _READ:
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=step.use.max_tokens)
            hidden = model(**tokens).last_hidden_state[0]
            pooled = {"mean": hidden.mean(0), "cls": hidden[0], "last_token": hidden[-1]}[step.use.pooling]
            made.append(torch.nn.functional.normalize(pooled, dim=0) if step.use.is_normalized else pooled)
    return [[float(value) for value in vector] for vector in made]


def _embed_ir(step: _EmbedIr) -> Vectors:
    config = RunConfig(
        model=step.folder,
        task="text_embed",
        prompts=(Prompt(set="check", index=0, tokens=1),),
        parameters={"pooling": step.use.pooling, "no_normalize": not step.use.is_normalized},
        output_tokens=0,
    )
    session = cast("Embedder", find_engine("genai", "text_embed").open(config))
    return [list(map(float, session.embed([text]).vectors[0])) for text in _READ]
