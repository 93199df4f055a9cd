"""How a text embedding model is to be used: read from the files of sentence-transformers, and from the manifest."""

import json
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.models.embedding import embedding_use, read_source_use
from llmbench.models.manifest import EmbeddingUse

KIND = "sentence_transformers.models."


def _source(
    folder: Path, *, modes: tuple[str, ...] = ("mean_tokens",), more: tuple[str, ...] = ("Normalize",)
) -> Path:
    kinds = ("Transformer", "Pooling", *more)
    paths = ("", "1_Pooling", *(f"{number}_{kind}" for number, kind in enumerate(more, 2)))
    modules = [{"type": f"{KIND}{kind}", "path": path} for kind, path in zip(kinds, paths, strict=True)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    every = ("cls_token", "mean_tokens", "lasttoken", "max_tokens")
    pooling = {f"pooling_mode_{mode}": mode in modes for mode in every} | {"word_embedding_dimension": 8}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    return folder


@pytest.mark.parametrize(
    ("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "last_token")]
)
def test_pooling_is_the_one_that_the_source_was_trained_with(mode: str, pooling: str, tmp_path: Path) -> None:
    """Each of the three that OpenVINO GenAI has."""
    found = read_source_use(_source(tmp_path, modes=(mode,)))

    assert EmbeddingUse(pooling=pooling, is_normalized=True, max_tokens=256) == found


def test_a_source_without_normalize_is_not_normalized(tmp_path: Path) -> None:
    """GenAI would normalize by default."""
    found = read_source_use(_source(tmp_path, more=()))

    assert found is not None
    assert not found.is_normalized


@pytest.mark.parametrize(
    ("modes", "more", "named"),
    [
        (("max_tokens",), ("Normalize",), "pooling_mode_max_tokens"),
        (("mean_tokens", "cls_token"), ("Normalize",), "pooling_mode_cls_token and pooling_mode_mean_tokens"),
        (("mean_tokens",), ("Dense", "Normalize"), "Dense"),
    ],
)
def test_what_the_pipeline_does_not_have_is_refused_by_name(
    modes: tuple[str, ...], more: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    """Another pooling, two at once, or a layer after it would give other vectors in silence."""
    with pytest.raises(InputError, match=named):
        read_source_use(_source(tmp_path, modes=modes, more=more))


def test_an_ir_that_says_nothing_needs_the_pooling_from_the_user(tmp_path: Path) -> None:
    """The pipeline's default (CLS) is wrong for most models, so it is never taken in silence."""
    with pytest.raises(InputError, match="is not recorded beside") as caught:
        embedding_use(tmp_path, {})

    assert "--pooling" in str(caught.value.hint)
    assert EmbeddingUse(pooling="cls", is_normalized=True) == embedding_use(tmp_path, {"pooling": "cls"})
    given = {"pooling": "mean", "no_normalize": True}
    assert EmbeddingUse(pooling="mean", is_normalized=False) == embedding_use(tmp_path, given)


def test_a_language_model_is_no_embedding_source(tmp_path: Path) -> None:
    """It has no modules.json."""
    assert read_source_use(tmp_path) is None
