"""What greedy search said in a run: its outputs by prompt and by variant of it.

Iteration k of every launch and run uses variant k of a prompt (of a batch of n, the variants from k n on).
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from llmbench.config import Prompt, RunConfig
from llmbench.measurement import Finish, Measurement
from llmbench.measurement import Sequence as Answer
from llmbench.run import Outcome, Run

Place = tuple[int, int]
"""A cell and a prompt of it, by index."""


class Output(NamedTuple):
    """One sequence of a request, and the configuration that it was made under."""

    config: RunConfig
    measurement: Measurement
    sequence: Answer

    @property
    def content(self) -> tuple[object, ...]:
        """What was said, by whomever."""
        sequence = self.sequence
        return (sequence.token_ids, sequence.text, sequence.finish, self.measurement.asked_tokens)

    @property
    def is_complete(self) -> bool:
        """Whether it is known and has all that was asked for, or the end that was allowed."""
        ids, count = self.sequence.token_ids, self.sequence.output_tokens
        is_ended = self.config.stop_at_eos and self.sequence.finish is Finish.STOP
        is_known = len(ids) == count if ids else self.sequence.text is not None
        return count > 0 and is_known and (count == self.measurement.asked_tokens or is_ended)

    def is_comparable(self, other: "Output") -> bool:
        """Whether both are complete and tell their tokens, or the text of as many."""
        has_texts = self.sequence.text is not None and other.sequence.text is not None
        is_as_long = self.measurement.asked_tokens == other.measurement.asked_tokens
        is_told = have_tokens(self, other) or (has_texts and is_as_long)
        return is_told and self.is_complete and other.is_complete

    def agreed(self, other: "Output") -> int | None:
        """How many tokens both begin with; of texts that differ 0. ``None`` where they are the same.

        Where one was to be shorter, it is the same as far as it goes.
        """
        if not have_tokens(self, other):
            return None if self.sequence.text == other.sequence.text else 0
        one, another = self.sequence.token_ids, other.sequence.token_ids
        if one == another:
            return None
        for place, (left, right) in enumerate(zip(one, another, strict=False)):
            if left != right:
                return place
        shorter = min(self.sequence, other.sequence, key=lambda sequence: len(sequence.token_ids))
        return len(shorter.token_ids) if shorter.finish is Finish.STOP else None


def have_tokens(one: Output, other: "Output") -> bool:
    """Whether both tell their tokens."""
    return bool(one.sequence.token_ids and other.sequence.token_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The requests of one prompt by iteration, in the order of their launches."""

    config: RunConfig
    prompt: Prompt
    requests: dict[int, list[Measurement]]

    @property
    def variants(self) -> Iterable[int]:
        """The variants there may be, in order; a prompt that is never permuted has variant 0 alone."""
        if not self.prompt.is_permuted:
            return (0,)
        size = self.config.batch_size
        return [iteration * size + row for iteration in sorted(self.requests) for row in range(size)]

    def outputs(self, variant: int) -> Iterator[Output]:
        """What was said for a variant; of a prompt that is never permuted each thing once a launch."""
        iteration, row = divmod(variant, self.config.batch_size)
        if self.prompt.is_permuted:
            for m in self.requests.get(iteration, ()):
                if row < len(m.sequences):
                    yield Output(self.config, m, m.sequences[row])
            return
        requests = sorted(itertools.chain(*self.requests.values()), key=lambda m: (m.launch, m.iteration))
        first: dict[object, Output] = {}
        for m in requests:
            for sequence in m.sequences:
                output = Output(self.config, m, sequence)
                first.setdefault((m.launch, output.content), output)
        yield from first.values()


def of(run: Run) -> dict[Place, Told]:
    """What greedy search was asked, by prompt, in launches that finished."""
    found: dict[Place, Told] = {}
    for launch in run.launches:
        config = run.config_of(launch)
        if launch.outcome is Outcome.FINISHED and _is_greedy(config):
            for m in launch.measurements:
                place = launch.cell, m.prompt
                if place not in found:
                    found[place] = Told(config=config, prompt=config.prompts[m.prompt], requests={})
                found[place].requests.setdefault(m.iteration, []).append(m)
    return found


def _is_greedy(config: RunConfig) -> bool:
    """Whether tokens are chosen without chance or search; what guesses ahead changes no token."""
    return not config.do_sample and config.num_beams == 1
