"""What native code prints on the process's own output, caught."""

import contextlib
import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmbench.schema.attention import FUSED, PAGED
from llmbench.schema.run import EffectiveSettings

_SECTION = re.compile(r"^Model: (?P<name>.+)\n(?P<body>(?:  .+\n?)+)", re.MULTILINE)
_PAIR = re.compile(r"^  (?P<key>[A-Za-z_]+): ?(?P<value>.*)$", re.MULTILINE)
_PRINT_OUT = re.compile(
    rb"^(Model: .*|EXECUTION_DEVICES:.*| \w+: .*|  [A-Za-z_]+: ?.*|\w+Config \{ *| \})\n?", re.MULTILINE
)
"""The lines in which an engine log of level 2 lists settings."""

_OTHER_MODEL = re.compile(r"okenizer|embeddings|resampler|merger|projection", re.IGNORECASE)
"""Names of models beside the one that generates tokens: tokenizers, and parts of a vision-language model."""

_SCHEDULER = "SchedulerConfig {"
_NO_LIMIT = 1 << 62


@dataclass(slots=True)
class Caught:
    """Text that was printed while it was caught; empty until the block ends."""

    text: str = ""


@contextlib.contextmanager
def caught_output(descriptor: int = 1) -> Iterator[Caught]:
    """Keep what a descriptor gets while the block runs; then pass it on, without the engine's list of settings."""
    libc = ctypes.CDLL(None)
    caught = Caught()
    with tempfile.TemporaryFile() as file:
        (sys.stdout if descriptor == 1 else sys.stderr).flush()
        libc.fflush(None)
        saved = os.dup(descriptor)
        os.dup2(file.fileno(), descriptor)
        try:
            yield caught
        finally:
            libc.fflush(None)
            os.dup2(saved, descriptor)
            os.close(saved)
            file.seek(0)
            content = file.read()
            caught.text = content.decode(errors="replace")
            with contextlib.suppress(OSError):
                os.write(descriptor, _PRINT_OUT.sub(b"", content))


def _pairs(body: str) -> dict[str, str]:
    return {found["key"]: found["value"].strip() for found in _PAIR.finditer(body)}


def _scheduler(log: str) -> dict[str, str]:
    """The scheduler's settings as printed, those of its parts behind a dot: ``cache_eviction_config.start_size``."""
    found: dict[str, str] = {}
    parts: list[str] = []
    for line in log[log.find(_SCHEDULER) :].splitlines() if _SCHEDULER in log else ():
        words = line.strip()
        pair = _PAIR.match(f"  {words}")
        if words.endswith("{"):
            name = words.removesuffix("{").strip()
            parts.append(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        elif words == "}":
            parts.pop()
        elif pair:
            found[".".join([*parts[1:], pair["key"]])] = pair["value"].strip()
        if not parts:
            break
    return found


def read_effective(
    log: str, *, notes: tuple[str, ...] = (), also: Mapping[str, str] = MappingProxyType({})
) -> EffectiveSettings:
    """The effective settings of the language model in an engine log of level 2 (not its tokenizers or encoders).

    The properties and the scheduler are printed at load only (seen with OpenVINO GenAI 2026.4), the main model's
    before those of a draft, which get ``draft`` before their names. *also* is what else is known to be effective.
    """
    models = [found for found in _SECTION.finditer(log) if not _OTHER_MODEL.search(found["name"])]
    limits = {
        key: "no limit" if value.isdigit() and int(value) >= _NO_LIMIT else value
        for key, value in _scheduler(log).items()
    }
    name = models[0]["name"] if models else ""
    draft = {f"draft {key}": value for found in models[1:2] for key, value in _pairs(found["body"]).items()}
    return EffectiveSettings(
        properties=(_pairs(models[0]["body"]) if models else {}) | draft | dict(also),
        scheduler=limits,
        attention=PAGED if "Paged" in name else FUSED if models else None,
        notes=notes,
    )
