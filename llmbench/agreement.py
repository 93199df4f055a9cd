"""Whether greedy search said the same: in every launch of a run, and in two runs.

What is the same is the variant of a prompt: iteration k of every launch and run uses variant k. Outputs are compared
token by token, where their ids are known, else as texts; and only outputs that are complete.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmbench import measurement
from llmbench.config import Prompt, RunConfig
from llmbench.measurement import Finish, Measurement
from llmbench.run import Outcome, Run


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """What a launch said: token ids, empty where unknown, and the text, ``None`` where unknown."""

    launch: int
    ids: tuple[int, ...]
    text: str | None
    asked: int
    is_stopped: bool

    @property
    def content(self) -> tuple[object, ...]:
        """What was said, by whomever."""
        return (self.ids, self.text, self.asked, self.is_stopped)

    def is_comparable(self, other: "_Output") -> bool:
        """Whether both tell their tokens, or both the text of as many."""
        has_texts = self.text is not None and other.text is not None and self.asked == other.asked
        return _have_tokens(self, other) or has_texts

    def agreed(self, other: "_Output") -> int | None:
        """How many tokens both begin with; of texts that differ 0. ``None`` where they are the same.

        Where one was to be shorter, it is the same as far as it goes.
        """
        if not _have_tokens(self, other):
            return None if self.text == other.text else 0
        if self.ids == other.ids:
            return None
        for place, (one, another) in enumerate(zip(self.ids, other.ids, strict=False)):
            if one != another:
                return place
        shorter = min(self, other, key=lambda output: len(output.ids))
        return len(shorter.ids) if shorter.is_stopped else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What was said for one variant of a prompt, on one side or on either, as pairs to set against each other."""

    cell: int
    prompt: Prompt
    variant: int
    pairs: tuple[tuple[_Output, _Output], ...]

    def chat(self, turn: int) -> tuple[object, ...]:
        """What is the same in all turns of a chat, and a turn of it."""
        return (self.cell, self.prompt.set, self.prompt.index, self.variant, turn)

    def parting(self, one: _Output, other: _Output, agreed: int) -> Parting:
        """Where two outputs part that agree for so many tokens."""
        has_ids = _have_tokens(one, other)
        return Parting(
            cell=self.cell,
            prompt=self.prompt,
            variant=self.variant if self.prompt.is_permuted else None,
            launches=(one.launch, other.launch),
            token=agreed + 1 if has_ids else None,
            tokens=max(len(one.ids), len(other.ids)) if has_ids else None,
        )


Place = tuple[int, int]
"""A cell and a prompt of it, by index."""


def within(run: Run) -> Agreement:
    """Whether the launches of a run said the same for each variant of a prompt."""
    found = []
    for (cell, number), outputs in sorted(_told(run).items()):
        for variant, (first, *others) in sorted(outputs.items()):
            if any(other.launch != first.launch for other in others):
                prompt = run.cells[cell].prompts[number]
                pairs = tuple((first, other) for other in others if first.is_comparable(other))
                found.append(_Said(cell=cell, prompt=prompt, variant=variant, pairs=pairs))
    return _judge(found, _earliest)


def between(base: Run, candidate: Run, places: Iterable[tuple[Place, Place]]) -> Agreement:
    """Whether two runs said the same for each variant that both have of the prompts at these *places*.

    Where launches of one side differ among themselves, the two are the same if any of either side are.
    """
    left, right = _told(base), _told(candidate)
    found = []
    for one, other in places:
        before, after = left.get(one, {}), right.get(other, {})
        prompt = base.cells[one[0]].prompts[one[1]]
        for variant in sorted(before.keys() & after.keys()):
            pairs = itertools.product(_distinct(before[variant]), _distinct(after[variant]))
            alike = tuple(pair for pair in pairs if pair[0].is_comparable(pair[1]))
            found.append(_Said(cell=one[0], prompt=prompt, variant=variant, pairs=alike))
    return _judge(found, _latest)


def _earliest(said: _Said) -> Parting | None:
    """Where the first output and one of the others part, after the fewest tokens; ``None`` if all are the same."""
    found = [(agreed, pair) for pair in said.pairs if (agreed := pair[0].agreed(pair[1])) is not None]
    if not found:
        return None
    agreed, pair = min(found, key=lambda each: each[0])
    return said.parting(*pair, agreed)


def _latest(said: _Said) -> Parting | None:
    """Where the two outputs part that agree for the most tokens; ``None`` if two are the same."""
    found = []
    for one, other in said.pairs:
        agreed = one.agreed(other)
        if agreed is None:
            return None
        found.append((agreed, (one, other)))
    agreed, pair = max(found, key=lambda each: each[0])
    return said.parting(*pair, agreed)


def _judge(found: Iterable[_Said], judge: Callable[[_Said], Parting | None]) -> Agreement:
    """The variants that can be compared, and where they part; a chat goes on only from the same words."""
    partings = []
    alike: set[tuple[object, ...]] = set()
    variants = 0
    has_tokens = True
    for said in found:
        turn = said.prompt.turn or 0
        if not said.pairs or (turn and said.chat(turn - 1) not in alike):
            continue
        variants += 1
        has_tokens = has_tokens and all(_have_tokens(*pair) for pair in said.pairs)
        parting = judge(said)
        if parting is None:
            alike.add(said.chat(turn))
        else:
            partings.append(parting)
    return Agreement(variants=variants, has_tokens=has_tokens, partings=tuple(partings))


def _have_tokens(one: _Output, other: _Output) -> bool:
    """Whether both tell their tokens."""
    return bool(one.ids and other.ids)


def _distinct(outputs: Sequence[_Output]) -> Iterable[_Output]:
    """The first of each that say the same."""
    return {output.content: output for output in reversed(outputs)}.values() if outputs[1:] else outputs


def _told(run: Run) -> dict[Place, dict[int, list[_Output]]]:
    """The complete outputs of greedy search by prompt and variant; one that is never permuted has variant 0 alone."""
    told: dict[Place, dict[int, list[_Output]]] = {}
    for launch in run.launches:
        config = run.config_of(launch)
        if launch.outcome is Outcome.FINISHED and _is_greedy(config):
            for m in launch.measurements:
                variants = told.setdefault((launch.cell, m.prompt), {})
                is_permuted = config.prompts[m.prompt].is_permuted
                for row, sequence in enumerate(m.sequences):
                    if _is_complete(m, sequence, config):
                        variant = m.iteration * m.batch_size + row if is_permuted else 0
                        variants.setdefault(variant, []).append(_output(m, sequence))
    return {place: variants for place, variants in told.items() if variants}


def _is_greedy(config: RunConfig) -> bool:
    """Whether tokens are chosen without chance or search; what guesses ahead changes no token."""
    return not config.do_sample and config.num_beams == 1


def _is_complete(m: Measurement, sequence: measurement.Sequence, config: RunConfig) -> bool:
    """Whether an output is known and has all that was asked for, or the end that was allowed."""
    count = sequence.output_tokens
    is_whole = count == m.asked_tokens or (config.stop_at_eos and sequence.finish is Finish.STOP)
    is_known = len(sequence.token_ids) == count or (not sequence.token_ids and sequence.text is not None)
    return count > 0 and is_whole and is_known


def _output(m: Measurement, sequence: measurement.Sequence) -> _Output:
    """What one sequence said."""
    return _Output(
        launch=m.launch,
        ids=sequence.token_ids,
        text=sequence.text,
        asked=m.asked_tokens,
        is_stopped=sequence.finish is Finish.STOP,
    )
