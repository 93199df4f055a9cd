"""Pieces of text that every rendering shares: numbers with their intervals, and text that cannot do harm."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

from llmbench.analysis.stats import Ratio, Summary
from llmbench.schema.config import Prompt
from llmbench.schema.run import ModelCache
from llmbench.schema.units import Unit, counted, format_number

LEAST_FOR_MARGIN = 3
"""Launches from which on an interval is shown; only launches have intervals with fewer values."""


def plain(text: str, *, kept: str = "") -> str:
    """Text without anything that steers a terminal: control and direction characters are shown as escapes.

    So are halves of characters and what XML does not allow. Line feeds or tabs that a format can quote may be *kept*.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if _steers(character) and character not in kept
        else character
        for character in text
    )


def plain_json(text: str) -> str:
    """JSON without anything that steers a terminal: such characters are JSON's own escapes, and mean the same."""
    return _BEYOND_ASCII.sub(lambda found: _json_escape(found[0]) if _steers(found[0]) else found[0], text)


_BEYOND_ASCII = re.compile("[^\n -~]")


def _steers(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or character in "\ufffe\uffff"


def _json_escape(character: str) -> str:
    if unicodedata.category(character) == "Cs":
        return f"\\\\u{ord(character):x}"  # as text, for readers refuse half of a pair
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def minute(instant: str) -> str:
    """An instant of ISO 8601 to the minute, in UTC; one without a zone as it stands."""
    try:
        found = datetime.fromisoformat(instant)
    except ValueError:
        return instant
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if found.tzinfo else instant[:16].replace("T", " ")


def number_text(value: float | None, unit: Unit) -> str:
    """A value in its unit, without the unit's name; ``n/a`` where it does not exist."""
    return format_number(None if value is None else value * unit.scale)


def margin(summary: Summary) -> str:
    """``±3 %``: how far the interval reaches to its farther side; empty where there is none.

    Two launches have an interval of several hundred per cent, which says nothing: ``n=2``. One that reaches beyond
    twice the value, or below zero, decides nothing, however far: ``±>100 %``.
    """
    if not summary.has_interval or not summary.median:
        return ""
    if summary.n < LEAST_FOR_MARGIN:
        return f"n={summary.n}"
    reach = max(summary.high - summary.median, summary.median - summary.low) / summary.median
    return f"±{share(reach)}" if reach < 1 else "±>100 %"


def share(value: float | None) -> str:
    """Return a share as a percentage: a decimal below 10 %; ``n/a`` where it does not exist."""
    if value is None:
        return "n/a"
    percent = value * 100
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def change(ratio: float) -> str:
    """A ratio as a change: ``+3.2 %``, ``-12 %``."""
    percent = (ratio - 1) * 100
    text = f"{percent:+.1f} %" if abs(percent) < 9.95 else f"{percent:+.0f} %"
    return "0.0 %" if text in {"+0.0 %", "-0.0 %"} else text


def ratio_change(ratio: Ratio) -> str:
    """Return a ratio as a change with its interval, where there is one: ``+3.2 % [+1.1 %, +5.3 %]``."""
    reach = f" [{change(ratio.low)}, {change(ratio.high)}]" if ratio.has_interval else ""
    return f"{change(ratio.ratio)}{reach}"


def load_time(seconds: float, state: ModelCache | None) -> str:
    """``2.05 s``, and how the model cache was found where one was requested."""
    found = f" (model cache {state.value})" if state not in (None, ModelCache.OFF) else ""
    return f"{seconds:.2f} s{found}"


def settings_text(settings: Mapping[str, str]) -> str:
    """Return settings on one line: ``threads=4, device=CPU``; one without a value is not set."""
    return ", ".join(f"{name.removeprefix('is_')}={setting_text(value)}" for name, value in settings.items())


def setting_text(value: str | None) -> str:
    """Return the value of a setting; ``not set`` where it has none."""
    return value or "not set"


def appended(settings: Mapping[str, str]) -> str:
    """Return settings behind other facts: ``, threads=4``; empty where there are none."""
    return f", {settings_text(settings)}" if settings else ""


def in_brackets(settings: Mapping[str, str]) -> str:
    """Return settings behind a name: `` [threads=4]``; empty where there are none."""
    return f" [{settings_text(settings)}]" if settings else ""


def after(name: str, text: str) -> str:
    """Return ``name: text``; without a name the text alone."""
    return f"{name}: {text}" if name else text


def prompt_name(prompt: Prompt, input_tokens: int) -> str:
    """Return a prompt with its length: ``P0, 32 tokens in``."""
    return f"{prompt.label}, {counted(input_tokens, 'token')} in"
