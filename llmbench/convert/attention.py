"""Is the attention of a conversion fused? The closing line of ``convert``, and the package versions that repair it."""

from collections.abc import Mapping
from pathlib import Path

from llmbench.errors import LaunchError
from llmbench.models.attention import LANGUAGE_MODEL, read_fusions
from llmbench.schema.attention import Fusion

REPAIRED_BY = {"transformers": "5.5.4", "optimum-intel": "2.1.0"}
"""Versions known to export decoders with fused attention.

With transformers 5.5.0 the attention of Gemma 4 was lost, with 5.5.4 it was not (huggingface/optimum-intel, 1948).
"""


def read_attention(
    folder: Path, *, is_required: bool, versions: Mapping[str, str | None]
) -> Mapping[str, Fusion]:
    """Return the attention layers of each part of an IR by title; *versions* are those of the packages that made it.

    Raises:
        LaunchError: the language model's attention *is_required* to be fused in every layer, and is not.
    """
    found = read_fusions(folder)
    language = found.get(LANGUAGE_MODEL)
    if is_required and (language is None or not language.is_whole):
        raise LaunchError(
            f"{attention_line(found)}; --require-sdpa needs all of them", hint=attention_remedy(versions)
        )
    return found


def attention_line(found: Mapping[str, Fusion]) -> str:
    """Return how many layers are fused, those of the language model first: ``attention: 30 of 30 layers use ...``."""
    language = found.get(LANGUAGE_MODEL)
    first = "unknown, the IR could not be read" if language is None else language.sentence
    others = [
        f"{title} {fusion.fused} of {fusion.layers}"
        for title, fusion in found.items()
        if title != LANGUAGE_MODEL
    ]
    return f"attention: {'; '.join([first, *others])}"


def attention_warnings(found: Mapping[str, Fusion], versions: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return a warning where layers of the language model are not fused."""
    language = found.get(LANGUAGE_MODEL)
    if language is None or language.is_whole:
        return ()
    cost = "paged attention cannot run this model, and next tokens take longer than they need to"
    return (f"only {language.sentence}: {cost}; {attention_remedy(versions)}",)


def attention_remedy(versions: Mapping[str, str | None]) -> str:
    """Return what to install, or that nothing newer is known to help."""
    made = ", ".join(f"{name} {versions.get(name) or 'unknown'}" for name in REPAIRED_BY)
    known = " ".join(f"'{name}=={version}'" for name, version in REPAIRED_BY.items())
    if all(versions.get(name) == version for name, version in REPAIRED_BY.items()):
        return f"it was made with {made}, which fuse other models: report the architecture to optimum-intel"
    return f"it was made with {made}; convert it again after: pip install {known}"
