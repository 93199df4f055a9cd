"""How a run in blocks goes: where it is kept, with which limits, for how long; its options, and the value they make."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import click

from llmbench.cli.options.help import GroupedOption, added
from llmbench.cli.options.table import option
from llmbench.cli.options.types import Duration, check_folder
from llmbench.errors import InputError
from llmbench.runner.blocks import Stop
from llmbench.runner.launchers.base import TimeLimits
from llmbench.runner.session import Outputs, Policy
from llmbench.schema.settings.base import Group
from llmbench.store import reader

_Command = TypeVar("_Command", bound=Callable[..., Any])

_LEAST_S = 1.0

block_options = added(
    click.option(
        "--budget",
        cls=GroupedOption,
        group=Group.RUN.value,
        type=Duration(),
        help="Begin no block that would end after so long.",
    ),
    *(
        option(name, is_rare=False)
        for name in ("output_dir", "name", "overwrite", "timeout", "keep_going", "cooldown", "quiet")
    ),
)
"""Adds the options of every command that measures in blocks."""


def blocks_option(*names: str, least: int = 2, **attributes: Any) -> Callable[[_Command], _Command]:
    """Return the decorator that adds ``--blocks``, of at least this many, which may have more *names*."""
    return click.option("--blocks", *names, type=click.IntRange(min=least), **attributes)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a run is kept, its policy, for how many seconds it begins blocks, and whether it prints its progress."""

    outputs: Outputs
    policy: Policy
    budget_s: float | None = None
    is_quiet: bool = False

    @property
    def stop(self) -> Stop:
        """The rule that ends it early."""
        return Stop(budget_s=self.budget_s)

    def left_s(self, began: float, share: float = 1.0) -> float | None:
        """Return the seconds left of a share of the budget that began at an instant of ``time.monotonic``."""
        return None if self.budget_s is None else began + share * self.budget_s - time.monotonic()

    def stop_of_part(self, began: float, share: float = 1.0) -> Stop:
        """Return the rule that ends one of several parts where a share of the budget of all is used."""
        left_s = self.left_s(began, share)
        return Stop(budget_s=None if left_s is None else max(left_s, _LEAST_S))

    def named(self, kind: str) -> Self:
        """Return it with a new name of this kind, unless it has one."""
        name = self.outputs.name or reader.new_id(kind)
        return dataclasses.replace(self, outputs=dataclasses.replace(self.outputs, name=name))

    def part(self, suffix: str) -> Self:
        """Return the course of a run beside it: its name with a suffix, or none where it has none."""
        name = f"{self.outputs.name}-{suffix}" if self.outputs.name else None
        return dataclasses.replace(self, outputs=dataclasses.replace(self.outputs, name=name))

    def with_policy(self, **changes: Any) -> Self:
        """Return it with these changes of its policy."""
        return dataclasses.replace(self, policy=dataclasses.replace(self.policy, **changes))


def take_course(options: dict[str, Any], *, must_split: bool = False) -> Course:
    """Return the course that options describe, and take them out of *options*."""
    timeout_s = options.pop("timeout")
    return Course(
        outputs=Outputs(
            folder=options.pop("output_dir"), name=options.pop("name"), overwrite=options.pop("overwrite")
        ),
        policy=Policy(
            limits=TimeLimits(load_s=timeout_s, request_s=timeout_s),
            keep_going=options.pop("keep_going"),
            must_split=must_split,
            cooldown_s=options.pop("cooldown"),
        ),
        budget_s=options.pop("budget", None),
        is_quiet=options.pop("quiet"),
    )


def check_resume(given: Iterable[str]) -> None:
    """Refuse options of these names beside ``--resume``: the run file contains them."""
    names = ", ".join(given)
    if names:
        raise InputError(
            f"--resume takes the configuration from the run file; {names} was given as well",
            hint="leave it out, or start a new run",
        )


def course_options(command: _Command) -> _Command:
    """Add the same options, and call the command with the `Course` that they make, as *course*."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        """Call the command with its course; raise InputError on a folder that cannot be written."""
        check_folder(options["output_dir"], "--output-dir")
        return command(*arguments, course=take_course(options), **options)

    return block_options(wrapped)  # type: ignore[return-value]
