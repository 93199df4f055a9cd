"""Settings of text embedding."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

POOLINGS = ("mean", "cls", "last_token")
"""How the vectors of a text's tokens become the vector of the text."""

_embedding = functools.partial(Setting, group=Group.EMBEDDING, tasks=("text_embed",))

EMBEDDING_SETTINGS = (
    _embedding(
        "--pooling",
        "How token vectors become one.  [default: as the model was trained]",
        kind=ValueKind.CHOICE,
        choices=POOLINGS,
    ),
    _embedding("--no-normalize", "Leave vectors at the length the model gives them.", kind=ValueKind.FLAG),
)
