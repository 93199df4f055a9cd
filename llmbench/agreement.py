"""Whether greedy search said the same: in every launch of a run, and in two runs.

What is the same is the variant of a prompt: iteration k of every launch and run uses variant k. Outputs are compared
token by token, where their ids are known, else as texts; and only outputs that are complete.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from llmbench import outputs
from llmbench.config import Prompt
from llmbench.outputs import Output, Place, Told, have_tokens
from llmbench.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
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
    """How many variants were said twice or more, and which of them not alike.

    *has_tokens* is false where some were compared as texts.
    """

    variants: int
    has_tokens: bool = True
    partings: tuple[Parting, ...] = ()

    @property
    def first(self) -> Parting | None:
        """The parting after the fewest tokens; ``None`` where there is none."""
        return min(self.partings, key=lambda parting: parting.token or 0, default=None)


class _Judgement(NamedTuple):
    """A pair, and how many tokens of it agree; ``None`` where all do."""

    pair: tuple[Output, Output]
    agreed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What was said for one variant of a prompt, as pairs to set against each other.

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
        """The pair that decides: one that parts, first of all or (where one is enough) last, else one that is the same.

        ``None`` where no pair can be compared.
        """
        same: _Judgement | None = None
        parting: _Judgement | None = None
        for one, other in self.pairs:
            if not one.is_comparable(other):
                continue
            agreed = one.agreed(other)
            if agreed is not None:
                if parting is None or self._is_rather(agreed, parting.agreed or 0):
                    parting = _Judgement((one, other), agreed)
            elif self.is_one_enough:
                return _Judgement((one, other), None)
            else:
                same = _Judgement((one, other), None)
        return parting or same

    def _is_rather(self, agreed: int, before: int) -> bool:
        """Whether a pair that agrees for so many tokens is to be told rather than the one before."""
        return agreed > before if self.is_one_enough else agreed < before

    def parting(self, judgement: _Judgement) -> Parting:
        """Where the outputs of a pair part."""
        one, other = judgement.pair
        has_tokens = have_tokens(one, other)
        longest = max(len(output.sequence.token_ids) for output in judgement.pair)
        return Parting(
            cell=self.cell,
            prompt=self.prompt,
            variant=self.variant if self.prompt.is_permuted else None,
            launches=(one.measurement.launch, other.measurement.launch),
            token=(judgement.agreed or 0) + 1 if has_tokens else None,
            tokens=longest if has_tokens else None,
        )


def within(run: Run) -> Agreement:
    """Whether the launches of a run said the same for each variant of a prompt."""
    found = []
    for (cell, _), told in sorted(outputs.of(run).items()):
        for variant in told.variants:
            complete = [output for output in told.outputs(variant) if output.is_complete]
            if len({output.measurement.launch for output in complete}) > 1:
                pairs = [(complete[0], other) for other in complete[1:]]
                found.append(
                    _Said(cell=cell, prompt=told.prompt, variant=variant, pairs=pairs, is_one_enough=False)
                )
    return _judge(found)


def between(base: Run, candidate: Run, places: Iterable[tuple[Place, Place]]) -> Agreement:
    """Whether two runs said the same for each variant that both have of the prompts at these *places*.

    Where launches of one side differ among themselves, the two are the same if any of either side are.
    """
    left, right = outputs.of(base), outputs.of(candidate)
    found = []
    for place, other in places:
        if place not in left or other not in right:
            continue
        before, after = left[place], right[other]
        for variant in sorted(set(before.variants) & set(after.variants)):
            pairs = _pairs(before, after, variant)
            found.append(
                _Said(cell=place[0], prompt=before.prompt, variant=variant, pairs=pairs, is_one_enough=True)
            )
    return _judge(found)


def _pairs(base: Told, candidate: Told, variant: int) -> Iterator[tuple[Output, Output]]:
    """Each output of one side for a variant with each of the other, as they are asked for."""
    for one in base.outputs(variant):
        for other in candidate.outputs(variant):
            yield one, other


def _judge(found: Iterable[_Said]) -> Agreement:
    """The variants that can be compared, and where they part; a chat goes on only from the same words."""
    partings = []
    alike: set[tuple[object, ...]] = set()
    variants = 0
    has_tokens = True
    for said in found:
        turn = said.prompt.turn or 0
        judgement = None if turn and said.chat(turn - 1) not in alike else said.judge()
        if judgement is None:
            continue
        variants += 1
        has_tokens = has_tokens and have_tokens(*judgement.pair)
        if judgement.agreed is not None:
            partings.append(said.parting(judgement))
        elif said.prompt.turn is not None:
            alike.add(said.chat(turn))
    return Agreement(variants=variants, has_tokens=has_tokens, partings=tuple(partings))
