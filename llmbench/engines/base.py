"""What an engine must offer: two small Protocols, and the values that pass through them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Conditions, Finish
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt with images, which only the engine can turn into tokens.

    *images* are uint8 of shape [height, width, 3]. With *is_chat* it is the first turn of a chat, or, if it *is_later*,
    the turn after the request before.
    """

    text: str
    images: "tuple[np.ndarray[Any, Any], ...]"
    is_chat: bool = False
    is_later: bool = False


Beat = Callable[[int, int], None]
"""Takes the count of tokens so far, and the instant in ns."""


def no_beat(_tokens: int, _at_ns: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """Token ids of each sequence of one request, and how many tokens to generate for each.

    A *question* is in place of the ids where images go in.

    An engine that sees tokens as they come calls *beat* with their count so far and the instant: with 0 when it
    begins, then once per step. It is how a watchdog tells a slow generation from one that hangs. *launch* is the number
    of the launch, by which a scripted engine varies.
    """

    input_ids: tuple[tuple[int, ...], ...]
    output_tokens: int
    stop_at_eos: bool = False
    beat: Beat = no_beat

    def padded(self) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Return left-padded ids and their mask, both int64 of shape [batch, longest]."""
        import numpy as np

        longest = max(map(len, self.input_ids))
        ids = np.zeros((len(self.input_ids), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(self.input_ids):
            ids[row, longest - len(tokens) :] = tokens
            mask[row, longest - len(tokens) :] = 1
        return ids, mask

    def cut(
        self, rows: Iterable[list[int]], at_ns: Sequence[int], *, eos_id: int | None, has_beams: bool = False
    ) -> tuple[measurement.Sequence, ...]:
        """Return each row of tokens up to an end of text that may stop it; with beams, the time of every step."""
        sequences = []
        for given, row in zip(self.input_ids, rows, strict=True):
            is_cut = self.stop_at_eos and eos_id is not None and eos_id in row
            kept = row[: row.index(eos_id) + 1] if is_cut and eos_id is not None else row
            steps = len(at_ns) if has_beams else len(kept)
            sequences.append(
                measurement.Sequence(
                    input_tokens=len(given),
                    at_ns=tuple(map(Nanoseconds, at_ns[:steps])),
                    token_ids=tuple(kept),
                    finish=Finish.STOP if is_cut else Finish.LENGTH,
                )
            )
        return tuple(sequences)

    launch: int = 0
    question: Question | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The engine's own account of one request, in seconds and tokens; ``None`` where it gives none.

    *first_token_s* is the wait for the first token, *gaps_s* all gaps after it together, *call_s* the whole call.
    """

    first_token_s: float | None = None
    gaps_s: float | None = None
    call_s: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What an engine observed of one request; the clock is ``time.perf_counter_ns``.

    *start_ns* is when the token ids were handed over, *end_ns* when the call returned. *infer_ns* are forward
    passes, empty where the engine does not show them. *callback_ns* are the instants at which a streamer was
    called, which are not those of tokens. *stages* are parts of the wait for the first token, which add up to it.
    *conditions* are reported only by an engine without a machine.
    """

    start_ns: Nanoseconds
    end_ns: Nanoseconds
    sequences: tuple[measurement.Sequence, ...]
    infer_ns: tuple[int, ...] = ()
    callback_ns: tuple[Nanoseconds, ...] = ()
    counters: Counters | None = None
    conditions: Conditions | None = None
    suspicions: tuple[str, ...] = ()
    stages: tuple[measurement.Stage, ...] = ()


class Codec(Protocol):
    """Text to token ids and back, as a model has it."""

    @property
    def bos_id(self) -> int | None:
        """The token that must stay in front of every input; ``None`` if the model has none."""

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text, as a user's turn under the model's chat template where *chat* is set."""

    def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
        """Token ids of a chat so far, its last response, and the user's next turn; an end of text is not doubled."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""


class LoadedModel(Protocol):
    """A loaded model, of whatever kind."""

    @property
    def effective(self) -> EffectiveSettings:
        """What the engine really uses, read back after loading."""


class EngineSession(Codec, LoadedModel, Protocol):
    """A loaded model that generates text."""

    def generate(self, request: EngineRequest) -> Generation:
        """One request, observed. Nothing but the engine's call happens between its two instants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The *vectors* of some texts, and when the texts were handed over and the call returned."""

    start_ns: Nanoseconds
    end_ns: Nanoseconds
    vectors: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """Texts in a new order, the best first: the index of each and its score; and when that was computed."""

    start_ns: Nanoseconds
    end_ns: Nanoseconds
    ranks: Sequence[tuple[int, float]]


class Reranker(LoadedModel, Protocol):
    """A loaded model that judges how well texts fit a question."""

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads of a text, special ones included."""

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Judge all texts in one call, tokenization inside."""


class Embedder(LoadedModel, Protocol):
    """A loaded model that makes a vector of each text."""

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads of a text, special ones included."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents in one call, tokenization inside."""

    def embed_query(self, text: str) -> Embedded:
        """Embed one question, with the instruction that the model has for questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a text became: *samples* in [-1, 1] at *sample_rate*, and when it was handed over and the call returned.

    *engine_ns* is how long the engine says that it took.
    """

    start_ns: Nanoseconds
    end_ns: Nanoseconds
    samples: "np.ndarray[Any, Any]"
    sample_rate: int
    engine_ns: int


class Speaker(LoadedModel, Protocol):
    """A loaded model that speaks a text."""

    def speak(self, text: str) -> Spoken:
        """Speak a text in one call, its phonemes or tokens inside."""


class Listener(LoadedModel, Protocol):
    """A loaded model that transcribes speech."""

    def hear(self, samples: Sequence[float], beat: Beat) -> Generation:
        """Write down a sound of 16,000 samples per second in one call; the text is that of its one sequence."""


class Likelihood(Protocol):
    """A loaded model that shows the logits of every position of a text."""

    @property
    def bos_id(self) -> int | None:
        """The token in front of every text; ``None`` if the model has none."""

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text."""

    def logits(self, ids: Sequence[int], chunk: int) -> "Iterator[np.ndarray[Any, Any]]":
        """Yield logits, shape [tokens, vocabulary], of *chunk* tokens at a time; valid until the next are taken."""


class Engine(Protocol):
    """A way to load a model."""

    def check(self, config: RunConfig) -> None:
        """Refuse, before anything is loaded, what this engine or device cannot do.

        Raises:
            InputError: an unknown or badly typed property, or an option this engine does not have.
            MachineError: no such device or package.
        """

    def open_tokenizer(self, config: RunConfig) -> Codec | None:  # noqa: ARG002  others use it
        """Return the model's tokenizer alone; ``None`` where that would take as long as loading it, or there is none.

        Raises:
            InputError: the model names no end of text, and one is to end the output.
        """
        return None

    def open(self, config: RunConfig) -> LoadedModel:
        """Load and compile the model."""
