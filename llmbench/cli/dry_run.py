"""``--dry-run``: check everything that a run would refuse, describe what it would measure, and how long it takes."""

import collections
from collections.abc import Iterator, Sequence

from llmbench.analysis.report import distinguish
from llmbench.cli.messages import say
from llmbench.cli.options.course import Course
from llmbench.cli.options.resolve import check_locations
from llmbench.models.resolve import Side
from llmbench.render.text import appended
from llmbench.runner import session
from llmbench.runner.forecast import forecast
from llmbench.runner.plan import PlannedLaunch
from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import counted, format_duration


def rehearse(
    sides: Sequence[Side],
    planned: Sequence[PlannedLaunch],
    course: Course,
    *,
    workload: WorkloadSettings | None = None,
) -> None:
    """Raise what measuring would raise before its first launch; else print how long it would take."""
    cells, models = [side.config for side in sides], [side.model_info for side in sides]
    check_locations(cells, is_strict=course.policy.must_split)
    session.check(cells, models, outputs=course.outputs, policy=course.policy, workload=workload)
    expected = forecast(cells, planned, models, course.outputs.folder)
    if expected is not None:
        say(f"about {format_duration(expected.seconds)}, {expected.basis}")


def describe_cells(cells: Sequence[RunConfig], planned: Sequence[PlannedLaunch]) -> Iterator[str]:
    """Yield a line per configuration, in the order of their first launches, and one on all of them."""
    distinctions = distinguish(cells)
    for cell, count in collections.Counter(launch.cell for launch in planned).items():
        config = cells[cell]
        work = f"{config.warmups} warm-up + {config.iterations} measured iterations"
        length = (
            f", {counted(config.output_tokens, 'output token')}" if config.task_info.is_generating else ""
        )
        apart = appended(distinctions[cell])
        yield (
            f"{count} {'launch' if count == 1 else 'launches'}: {config.model} on {config.device} with "
            f"{config.engine}, prompts: {len(config.prompts)}, {work}{length}{apart}"
        )
    requests = session.planned_requests(cells, planned)
    yield f"requests: {requests}, launches: {len(planned)}; nothing was run"
