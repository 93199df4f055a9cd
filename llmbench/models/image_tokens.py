"""What a vision-language model makes of images, by its configuration: tokens of a part, and the token of an image.

An image becomes one part or several (LLaVA-NeXT: the whole image, and slices of it), each of this many tokens. The
module stands alone, for a context is a number of text tokens elsewhere.
"""

from pathlib import Path

from llmbench.files.strict_json import read_object

_IDS = ("image_token_index", "image_token_id")


def tokens_per_slice(folder: Path) -> int | None:
    """Return the tokens of one part of an image; ``None`` where the configuration does not report.

    That is ``mm_tokens_per_image`` where there is such a number, and else the patches of the vision encoder; families
    whose parts vary in size have neither.
    """
    config = read_object(folder / "config.json")
    fixed = config.get("mm_tokens_per_image")
    if isinstance(fixed, int) and fixed > 0:
        return fixed
    vision = config.get("vision_config")
    if not (str(config.get("model_type")).startswith("llava") and isinstance(vision, dict)):
        return None
    whole, patch = vision.get("image_size"), vision.get("patch_size")
    if not (isinstance(whole, int) and isinstance(patch, int) and patch > 0):
        return None
    return (whole // patch) ** 2


def image_token(folder: Path) -> str | None:
    """Return the text that stands for an image in a prompt; ``None`` where no token of the vocabulary does."""
    config = read_object(folder / "config.json")
    wanted = next((config[name] for name in _IDS if isinstance(config.get(name), int)), None)
    added = read_object(folder / "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("id") == wanted:
            return str(token.get("content"))
    return None
