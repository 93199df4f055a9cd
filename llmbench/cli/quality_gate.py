"""What quality a configuration must keep: the options of ``quality``, ``run`` and ``ab``, and the check they share."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.analysis.quality import Quality, QualityLimits
from llmbench.analysis.report import distinguish
from llmbench.cli.messages import say, warn
from llmbench.cli.options.course import Course
from llmbench.cli.options.help import added
from llmbench.cli.options.table import option
from llmbench.cli.run_view import View
from llmbench.errors import InputError
from llmbench.models.resolve import ModelInfo, Side, find_model_info
from llmbench.render.text import settings_text
from llmbench.runner import quality
from llmbench.runner.blocks import Stop
from llmbench.runner.quality import Judged, Trial
from llmbench.schema.settings.any_workload import WEIGHT_FORMATS

LIMITS = ("max_kld", "min_same_top")
"""The options that limit what a configuration may lose."""

GATE = (*LIMITS, "quality_base")
"""Those of a command that measures latency."""

limit_options = added(*(option(name, is_rare=False) for name in LIMITS))
gate_options = added(*(option(name, is_rare=False) for name in GATE))
"""Add them to a command."""


def limits_of(options: Mapping[str, Any]) -> QualityLimits:
    """Return the limits among options."""
    return QualityLimits(**{name: options[name] for name in LIMITS})


def find_base(name: str | None, first: str, *, root: str | None = None) -> ModelInfo:
    """Return the base: a weight format below *root* (else beside the *first* model), a path, or by default the best.

    Raises:
        InputError: no such model.
    """
    root = root or first
    if name is not None:
        is_format = name.lower() in WEIGHT_FORMATS
        return find_model_info(
            _parent(root) if is_format else name,
            engine="likelihood",
            weight_format=name.lower() if is_format else None,
        )
    for weight_format in ("fp32", "fp16"):
        with contextlib.suppress(InputError):
            return find_model_info(_parent(root), engine="likelihood", weight_format=weight_format)
    return find_model_info(first, engine="likelihood")


def _parent(root: str) -> str:
    """The folder whose IRs a weight format chooses among: of an IR named by its format, the one above."""
    location = Path(root).expanduser()
    return str(location.parent if location.name.lower() in WEIGHT_FORMATS else location)


class _QualityView(View):
    """What is shown while texts are read: the live line."""

    def _describe(self) -> Iterator[str]:
        yield "quality"
        yield from super()._describe()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QualityGate:
    """The limits, the base that they are measured against, and how the texts are read."""

    limits: QualityLimits
    trial: Trial

    def measure(
        self,
        sides: Sequence[Side],
        course: Course,
        *,
        stop: Stop | None = None,
    ) -> Judged:
        """Read the texts with the base and with the configurations, until *stop*; print where the run is kept."""
        with _QualityView(is_quiet=course.is_quiet) as view:
            judged = quality.measure_quality(
                sides,
                self.trial,
                outputs=course.outputs,
                policy=course.policy,
                launcher=view.launcher,
                on_event=view.show,
                stop=stop,
            )
        say(f"written: {view.path}")
        return judged


def gated(sides: Sequence[Side], options: Mapping[str, Any], course: Course) -> tuple[Side, ...]:
    """Return the sides, those that lose too much quality with the reason why their rows are invalid."""
    limits, base = limits_of(options), options["quality_base"]
    if not limits:
        if base is not None:
            raise InputError(
                "--quality-base was given without a limit", hint="add --max-kld or --min-same-top"
            )
        return tuple(sides)
    texts = quality.read_texts((quality.ENGLISH,), 8 * 256)
    gate = QualityGate(
        limits=limits, trial=Trial(base=find_base(base, sides[0].model_info.path), texts=texts)
    )
    judged = gate.measure(sides, course.part("quality"))
    apart = distinguish([side.config for side in sides])
    for settings, found in zip(apart, judged.of_cells, strict=True):
        _tell(settings_text(settings), found, limits)
    return quality.with_faults(sides, judged.of_cells, limits)


def _tell(settings: str, found: Quality | None, limits: QualityLimits) -> None:
    where = f" [{settings}]" if settings else ""
    if found is None:
        warn(f"the quality{where} could not be measured")
        return
    faults = limits.faults(found)
    say(
        f"quality{where}: KL divergence {found.kld.value:.3g} nats, same top token {found.same_top.value:.1%}"
        + (f": {'; '.join(faults)}" if faults else "")
    )
