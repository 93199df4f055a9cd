"""Settings of questions about images."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

_prompts = functools.partial(Setting, group=Group.PROMPTS)

VISION_SETTINGS = (
    _prompts(
        "-i --images --media",
        "Image, or a folder of some, for each prompt; with -t speech_to_text, a WAV file each.",
        kind=ValueKind.TEXTS,
        metavar="PATH",
        is_common=True,
    ),
    _prompts(
        "--image-size",
        "336 (longer side) or 640x480; a row each.",
        kind=ValueKind.WORDS,
        metavar="SIZE,...",
        is_common=True,
    ),
)
