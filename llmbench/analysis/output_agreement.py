"""Whether greedy search generated the same output: in every launch of a run, and in two runs.

What is the same is the variant of a prompt: iteration k of every launch and run uses variant k. Outputs are compared
token by token, where their ids are known, else as texts; and only outputs that are complete.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Finish, Measurement
from llmbench.schema.measurement import Sequence as Generated
from llmbench.schema.run import Run

CellPrompt = tuple[int, int]
"""A cell and a prompt of it, by index."""


class Output(NamedTuple):
    """One sequence of a request, and the configuration that it was made under."""

    config: RunConfig
    measurement: Measurement
    sequence: Generated

    @property
    def content(self) -> tuple[object, ...]:
        """The generated content, without the launch that produced it."""
        sequence = self.sequence
        return (sequence.token_ids, sequence.text, sequence.finish, self.measurement.requested_tokens)

    @property
    def is_complete(self) -> bool:
        """Whether it is known and has the requested length, or the end that was allowed."""
        sequence, count = self.sequence, self.sequence.output_tokens
        is_known = len(sequence.token_ids) == count if sequence.token_ids else sequence.text is not None
        if count == 0 or not is_known:
            return False
        if count == self.measurement.requested_tokens:
            return True
        return self.config.stop_at_eos and sequence.finish is Finish.STOP

    def is_comparable(self, other: "Output") -> bool:
        """Whether both have token ids, or texts of as many tokens."""
        if have_tokens(self, other):
            return True
        has_texts = self.sequence.text is not None and other.sequence.text is not None
        return has_texts and self.measurement.requested_tokens == other.measurement.requested_tokens

    def agreed(self, other: "Output") -> int | None:
        """How many tokens both begin with; of texts that differ 0. ``None`` where they are the same.

        Where one was to be shorter, it is the same as far as it goes.
        """
        if not have_tokens(self, other):
            return None if self.sequence.text == other.sequence.text else 0
        one, another = self.sequence.token_ids, other.sequence.token_ids
        if one == another:
            return None
        for location, (left, right) in enumerate(zip(one, another, strict=False)):
            if left != right:
                return location
        shorter = min(self.sequence, other.sequence, key=lambda sequence: len(sequence.token_ids))
        return len(shorter.token_ids) if shorter.finish is Finish.STOP else None


def have_tokens(one: Output, other: "Output") -> bool:
    """Whether both have token ids."""
    return bool(one.sequence.token_ids and other.sequence.token_ids)


@dataclass(frozen=True, slots=True)
class PromptOutputs:
    """The requests of one prompt by iteration, in the order of their launches."""

    config: RunConfig
    prompt: Prompt
    requests: dict[int, list[Measurement]] = field(default_factory=lambda: defaultdict(list))

    @property
    def variants(self) -> Iterable[int]:
        """The variants there may be, in order; a prompt that is never permuted has variant 0 alone."""
        if not self.prompt.is_permuted:
            return (0,)
        size = self.config.batch_size
        return [iteration * size + row for iteration in sorted(self.requests) for row in range(size)]

    def outputs(self, variant: int) -> Iterator[Output]:
        """The complete outputs for a variant; of a prompt that is never permuted each content once per launch."""
        iteration, row = divmod(variant, self.config.batch_size)
        if self.prompt.is_permuted:
            for m in self.requests.get(iteration, ()):
                if (
                    row < len(m.sequences)
                    and (output := Output(self.config, m, m.sequences[row])).is_complete
                ):
                    yield output
            return
        requests = sorted(itertools.chain(*self.requests.values()), key=lambda m: (m.launch, m.iteration))
        first: dict[object, Output] = {}
        for m in requests:
            for sequence in m.sequences:
                output = Output(self.config, m, sequence)
                if output.is_complete:
                    first.setdefault((m.launch, output.content), output)
        yield from first.values()


def outputs_of(run: Run) -> dict[CellPrompt, PromptOutputs]:
    """The requests with greedy search, by prompt, of launches that finished."""
    found: dict[CellPrompt, PromptOutputs] = {}
    for launch in run.launches:
        config = run.config_of(launch)
        is_greedy = not config.do_sample and config.num_beams == 1  # what guesses ahead changes no token
        if launch.is_finished and is_greedy:
            of_prompts = [
                found.setdefault((launch.cell, index), PromptOutputs(config, prompt)).requests
                for index, prompt in enumerate(config.prompts)
            ]
            for m in launch.measurements:
                of_prompts[m.prompt][m.iteration].append(m)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Two outputs for one variant of a prompt (in the base's cell, where two runs are compared) that are not the same.

    *launches* made them. *token* is the number of the first token that differs (the first is 1), and *tokens* how many
    the longer output has; both are ``None`` where only texts are known. *variant* is ``None`` where the prompt is the
    same in every iteration.
    """

    cell: int
    prompt: Prompt
    variant: int | None
    launches: tuple[int, int]
    token: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How many variants were generated twice or more, and which of them diverge.

    *has_tokens* is false where some were compared as texts.
    """

    variants: int
    has_tokens: bool = True
    partings: tuple[Divergence, ...] = ()

    @property
    def first(self) -> Divergence | None:
        """The divergence after the fewest tokens; ``None`` where there is none."""
        return min(self.partings, key=lambda divergence: divergence.token or 0, default=None)


class _Judgement(NamedTuple):
    """A pair, and how many tokens of it agree; ``None`` where all do."""

    pair: tuple[Output, Output]
    agreed: int | None


class _Variant(NamedTuple):
    """The outputs for one variant of a prompt, as pairs to compare.

    With *is_one_enough* the variant is the same where one pair is, else where all are.
    """

    cell: int
    prompt: Prompt
    variant: int
    pairs: Iterable[tuple[Output, Output]]
    is_one_enough: bool

    def chat(self, turn: int) -> tuple[object, ...]:
        """What is the same in all turns of a chat, and a turn of it."""
        return (self.cell, self.prompt.set, self.prompt.index, self.variant, turn)

    def judge(self) -> _Judgement | None:
        """The pair that decides: the first (where one is enough, the last) that diverges, else one that is the same.

        ``None`` where no pair can be compared.
        """
        same: _Judgement | None = None
        divergence: _Judgement | None = None
        for one, other in self.pairs:
            if not one.is_comparable(other):
                continue
            agreed = one.agreed(other)
            if agreed is not None:
                if divergence is None or self._is_rather(agreed, divergence.agreed or 0):
                    divergence = _Judgement((one, other), agreed)
            elif self.is_one_enough:
                return _Judgement((one, other), None)
            else:
                same = _Judgement((one, other), None)
        return divergence or same

    def _is_rather(self, agreed: int, before: int) -> bool:
        """Whether a pair that agrees for this many tokens is reported in place of the one before."""
        return agreed > before if self.is_one_enough else agreed < before

    def divergence(self, judgement: _Judgement) -> Divergence:
        """Where the outputs of a pair diverge."""
        one, other = judgement.pair
        has_tokens = have_tokens(one, other)
        longest = max(len(output.sequence.token_ids) for output in judgement.pair)
        return Divergence(
            cell=self.cell,
            prompt=self.prompt,
            variant=self.variant if self.prompt.is_permuted else None,
            launches=(one.measurement.launch, other.measurement.launch),
            token=(judgement.agreed or 0) + 1 if has_tokens else None,
            tokens=longest if has_tokens else None,
        )


def within(run: Run) -> Agreement:
    """Whether the launches of a run generated the same for each variant of a prompt."""
    found = []
    for (cell, _), reported in sorted(outputs_of(run).items()):
        for variant in reported.variants:
            complete = list(reported.outputs(variant))
            if len({output.measurement.launch for output in complete}) > 1:
                pairs = [(complete[0], other) for other in complete[1:]]
                found.append(
                    _Variant(
                        cell=cell, prompt=reported.prompt, variant=variant, pairs=pairs, is_one_enough=False
                    )
                )
    return _judge(found)


def between(base: Run, candidate: Run, locations: Iterable[tuple[CellPrompt, CellPrompt]]) -> Agreement:
    """Whether two runs generated the same for each variant that both have of the prompts at these *locations*.

    Where launches of one side differ among themselves, the two are the same if any of either side are.
    """
    left, right = outputs_of(base), outputs_of(candidate)
    found = []
    for location, other in locations:
        if location not in left or other not in right:
            continue
        before, after = left[location], right[other]
        for variant in sorted(set(before.variants) & set(after.variants)):
            pairs = _pairs(before, after, variant)
            found.append(
                _Variant(
                    cell=location[0], prompt=before.prompt, variant=variant, pairs=pairs, is_one_enough=True
                )
            )
    return _judge(found)


def _pairs(base: PromptOutputs, candidate: PromptOutputs, variant: int) -> Iterator[tuple[Output, Output]]:
    """Each output of one side for a variant with each of the other, made lazily."""
    for one in base.outputs(variant):
        for other in candidate.outputs(variant):
            yield one, other


def _judge(found: Iterable[_Variant]) -> Agreement:
    """The variants that can be compared, and where they diverge; a chat goes on only from the same words."""
    partings = []
    alike: set[tuple[object, ...]] = set()
    variants = 0
    has_tokens = True
    for output in found:
        turn = output.prompt.turn or 0
        judgement = None if turn and output.chat(turn - 1) not in alike else output.judge()
        if judgement is None:
            continue
        variants += 1
        has_tokens = has_tokens and have_tokens(*judgement.pair)
        if judgement.agreed is not None:
            partings.append(output.divergence(judgement))
        elif output.prompt.turn is not None:
            alike.add(output.chat(turn))
    return Agreement(variants=variants, has_tokens=has_tokens, partings=tuple(partings))
