"""Settings of pipelines."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

_measurement = functools.partial(Setting, group=Group.MEASUREMENT)

PIPELINE_SETTINGS = (
    _measurement(
        "--stage-batch",
        "Rows per call of a pipeline's stages that have a batch.",
        kind=ValueKind.INTEGERS,
        tasks=("pipeline",),
        metavar="N,...",
        least=1,
    ),
)
