"""Vision-language models that no hub is needed for: LLaVA and LLaVA-NeXT with a language part and a random tower.

With SmolLM2 as the language part tokens and text are real and so is the work of the language model; the CLIP tower is
small and random, so nothing is to be learnt from what such a model says of a picture. The tiny ones are for speed.
"""

from pathlib import Path
from typing import Any

_TOWER = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "image_size": 224,
    "patch_size": 16,
    "projection_dim": 384,
}
_TINY_TOWER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "projection_dim": 64,
}
"""16 tokens an image, or a slice of one."""


def build_llava(language: Path, folder: Path, *, has_slices: bool = False) -> Path:
    """*folder*, holding a LLaVA (LLaVA-NeXT if it *has_slices*) with the language model in *language*."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPVisionConfig

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(language)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    model = AutoModelForCausalLM.from_pretrained(language, dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer))
    tower = CLIPVisionConfig(**(_TINY_TOWER if model.config.hidden_size < 100 else _TOWER))
    made = _wrap(tower, model, tokenizer.convert_tokens_to_ids("<image>"), has_slices=has_slices)
    made.save_pretrained(folder)
    _processor(tokenizer, tower, has_slices=has_slices).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _pinpoints(side: int) -> list[list[int]]:
    return [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]


def _wrap(tower: Any, language: Any, image_id: int, *, has_slices: bool) -> Any:
    import transformers

    name = "LlavaNext" if has_slices else "Llava"
    tokens = (tower.image_size // tower.patch_size) ** 2
    options: dict[str, Any] = {"image_seq_length": tokens}
    if has_slices:
        options["image_grid_pinpoints"] = _pinpoints(tower.image_size)
    config = getattr(transformers, f"{name}Config")(
        vision_config=tower,
        text_config=language.config,
        image_token_index=image_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        **options,
    )
    made = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    made.model.language_model.load_state_dict(language.model.state_dict())
    made.lm_head.load_state_dict(language.lm_head.state_dict())
    return made


def _processor(tokenizer: Any, tower: Any, *, has_slices: bool) -> Any:
    import transformers

    side = tower.image_size
    options = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    kind, reader = ("LlavaNext", "LlavaNextImageProcessor") if has_slices else ("Llava", "CLIPImageProcessor")
    if has_slices:
        options["image_grid_pinpoints"] = _pinpoints(side)  # type: ignore[assignment]
    return getattr(transformers, f"{kind}Processor")(
        getattr(transformers, reader)(**options),
        tokenizer,
        patch_size=tower.patch_size,
        vision_feature_select_strategy="default",
        image_token="<image>",  # noqa: S106  of text
        num_additional_image_tokens=1,
    )
