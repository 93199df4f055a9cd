"""What a network's attention does not take is refused by compiling its first layer, before the model is loaded."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.engines.failures import PagedAttentionError
from llmbench.engines.openvino.attention_trial import check_attention
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, PropertyValue, RunConfig
from tests.tiny_ir import save_decoder

pytestmark = pytest.mark.fault(
    49, "cache properties, an adapter, or a kind of attention that the model cannot take"
)

Make = Callable[..., RunConfig]
WAYS = {
    "default": {},
    "sdpa": {"attention": "sdpa", "is_attention_fixed": True},
    "core": {"engine": "core"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Two IRs of one layer with heads of 8, by whether their attention is one operation."""
    found = {}
    for is_fused in (True, False):
        found[is_fused] = tmp_path_factory.mktemp("ir")
        save_decoder(found[is_fused] / "openvino_model.xml", is_fused=is_fused)
    return found


@pytest.fixture
def make(folders: dict[bool, Path]) -> Make:
    """A configuration of one of the IRs."""

    def config(*, is_fused: bool = True, **changes: object) -> RunConfig:
        prompts = (Prompt(set="s", index=0, text="x"),)
        return RunConfig(model=str(folders[is_fused]), prompts=prompts, **changes)  # type: ignore[arg-type]

    return config


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("properties", "is_taken"),
    [
        ({"KV_CACHE_PRECISION": "u8"}, True),
        ({"KV_CACHE_PRECISION": "f32"}, True),
        ({"KV_CACHE_PRECISION": "u3"}, False),
        ({"VALUE_CACHE_PRECISION": "u3"}, False),
        ({"KEY_CACHE_PRECISION": "u3"}, False),
        ({"VALUE_CACHE_GROUP_SIZE": 4}, True),
        ({"VALUE_CACHE_GROUP_SIZE": 3}, False),
        ({"KV_CACHE_PRECISION": "u8", "KEY_CACHE_GROUP_SIZE": 3, "VALUE_CACHE_GROUP_SIZE": 3}, False),
        ({"NUM_STREAMS": 1}, True),
    ],
    ids=str,
)
def test_properties_of_the_cache_are_tried_with_the_attention_that_uses_them(
    make: Make, way: str, properties: dict[str, PropertyValue], *, is_taken: bool
) -> None:
    """The device itself accepts all of these values; heads of 8 are no multiple of 3."""
    config = make(**WAYS[way])
    if is_taken:
        check_attention(config, properties)
        return
    with pytest.raises(InputError, match=r"the attention of this model does not take .*=") as refused:
        check_attention(config, properties)
    assert not isinstance(refused.value, PagedAttentionError)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, None),
        ({"attention": "sdpa", "is_attention_fixed": True}, None),
        ({"engine": "core"}, None),
        ({"is_attention_fixed": True}, "use --attention sdpa"),
        ({"scheduler": {"max_num_seqs": 4}}, "leave out the option that needs paged attention"),
        ({"max_ngram_size": 3}, "leave out the option that needs paged attention"),
        ({"num_beams": 2}, "leave out the option that needs paged attention"),
    ],
    ids=str,
)
def test_paged_attention_is_tried_where_nothing_may_replace_it(
    make: Make, options: dict[str, object], hint: str | None
) -> None:
    """Without a request for it SDPA replaces it, with a warning, so that there is nothing to refuse."""
    config = make(is_fused=False, **options)
    if hint is None:
        check_attention(config, {})
        return
    with pytest.raises(InputError, match=r"^paged attention cannot run this model") as refused:
        check_attention(config, {})
    assert (refused.value.hint or "").startswith(hint)


def test_an_ir_that_cannot_be_read_is_left_to_loading(make: Make, tmp_path: Path) -> None:
    """It has no attention that could be to blame."""
    (tmp_path / "openvino_model.xml").write_text("no IR")
    config = dataclasses.replace(make(is_attention_fixed=True), model=str(tmp_path))

    check_attention(config, {"KV_CACHE_PRECISION": "u3"})
