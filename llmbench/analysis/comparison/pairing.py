"""Which row of the base belongs to which row of the candidate; what has no partner says why."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.comparison.differences import Difference, is_imported
from llmbench.analysis.report import Report, Row, varied_settings
from llmbench.schema.units import counted

_WORDS = {
    "input_tokens": "input tokens",
    "asked_tokens": "requested output tokens",
    "output_tokens": "output tokens",
    "batch_size": "batch",
    "generation": "way of generating",
    "product": "samples or frames",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Couple:
    """Two rows of the same prompt; *reasons* say why they cannot be compared, *lifted* what may differ and does."""

    base: Row
    candidate: Row
    reasons: tuple[str, ...] = ()
    lifted: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The couples of two reports, in the base's order, and a sentence on every row without a partner."""

    couples: tuple[Couple, ...]
    unpaired: tuple[str, ...]

    @property
    def lifted(self) -> tuple[Difference, ...]:
        """Each difference of rows that the rule allows, once."""
        return tuple(dict.fromkeys(each for couple in self.couples for each in couple.lifted))


def pair(base: Report, candidate: Report, vary: frozenset[str] = frozenset()) -> Pairing:
    """Pair rows by prompt, then by what distinguishes the cells of a sweep; *vary* lifts what must be the same.

    Where a configuration has a prompt several times, its k-th row is paired with the k-th row of the other side.
    """
    by_index = is_imported(base.run) or is_imported(candidate.run)
    apart = tuple(dict.fromkeys((*base.distinctions[0], *candidate.distinctions[0])))
    left = _by_prompt(base, by_index=by_index)
    right = _by_prompt(candidate, by_index=by_index)
    couples: list[Couple] = []
    unpaired: list[str] = []
    for prompt in dict.fromkeys((*left, *right)):
        found, alone = _match(left.get(prompt, []), right.get(prompt, []), apart)
        couples += [_couple(one, other, vary, by_index=by_index) for one, other in found]
        unpaired += alone
    return Pairing(couples=tuple(couples), unpaired=tuple(unpaired))


def _by_prompt(report: Report, *, by_index: bool) -> dict[str, list[Row]]:
    """Rows by the hash of their prompt; by its index where one side has no hash."""
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in report.rows:
        groups[str(row.prompt.index) if by_index else row.prompt.sha256].append(row)
    return groups


def _match(
    left: Sequence[Row], right: Sequence[Row], apart: Sequence[str]
) -> tuple[list[tuple[Row, Row]], list[str]]:
    """Rows of one prompt: one on each side belong together, several by their settings and then in order."""
    if len(left) == len(right) == 1:
        return [(left[0], right[0])], []
    before, after = _by_settings(left, apart), _by_settings(right, apart)
    found, base_only, candidate_only = [], [], []
    for settings in dict.fromkeys((*before, *after)):
        for one, other in itertools.zip_longest(before.get(settings, ()), after.get(settings, ())):
            if one and other:
                found.append((one, other))
            elif one:
                base_only.append(f"{describe_group(one, apart)} is in the base only")
            else:
                candidate_only.append(f"{describe_group(other, apart)} is in the candidate only")
    return found, base_only + candidate_only


def _by_settings(rows: Sequence[Row], names: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = collections.defaultdict(list)
    for row in rows:
        flat = varied_settings(row.config)
        groups[tuple(flat.get(name, "") for name in names)].append(row)
    return groups


def describe_group(row: Row, names: Sequence[str] = ()) -> str:
    """A row in words: its prompt, its length, and the settings that set it apart."""
    flat = varied_settings(row.config)
    apart = "".join(f", {name}={flat.get(name, '')}" for name in names)
    return f"{row.prompt.label} of {row.prompt.set} ({counted(row.input_tokens, 'token')} in{apart})"


def _couple(base: Row, candidate: Row, vary: frozenset[str], *, by_index: bool) -> Couple:
    """Two rows of one prompt, with what differs though it must not, and what *vary* lets differ."""
    before, after = (_guarded(row, by_index=by_index) for row in (base, candidate))
    may_differ = vary | ({"asked_tokens"} if "output_tokens" in vary else set())
    differing = [name for name in before if before[name] != after[name]]
    return Couple(
        base=base,
        candidate=candidate,
        reasons=tuple(
            f"{_WORDS[name]}: {before[name]} against {after[name]}"
            for name in differing
            if name not in may_differ
        ),
        lifted=tuple(
            Difference(name=_WORDS[name], base=str(before[name]), candidate=str(after[name]))
            for name in differing
            if name in may_differ
        ),
    )


def _guarded(row: Row, *, by_index: bool) -> Mapping[str, object]:
    """What must be the same for two rows to be compared; of an imported report what it has."""
    reported: dict[str, object] = {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "batch_size": row.config.batch_size,
        "product": row.product,
    }
    if by_index:
        return reported
    config = row.config
    way = [
        *([config.way] if config.generation else []),
        "ends at its end token" if config.stop_at_eos else "exact length",
        *(["chat template"] if config.apply_chat_template else []),
    ]
    return reported | {"asked_tokens": config.output_tokens, "generation": ", ".join(way)}
