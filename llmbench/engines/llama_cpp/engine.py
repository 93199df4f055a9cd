"""llama.cpp on a GGUF file: token ids go in, and each chunk of its stream is timed as it arrives.

A chunk has the id of one token and how many there are so far: a token that ends inside of a character is held back
until the next one, which then counts for two.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llmbench.engines.base import Counters, Engine, EngineRequest, Generation
from llmbench.engines.catalog import check_capabilities, check_packages
from llmbench.engines.failures import engine_failures
from llmbench.engines.llama_cpp.server import LocalServer, check_properties, checked
from llmbench.engines.openvino.tokenizer import text_between, tokens_so_far
from llmbench.errors import InputError
from llmbench.machine.environment import cpu_flags
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Finish
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds, counted

_NOTES = (
    "llama.cpp through its own server in this process: queue, sampling and text are inside of a token's time",
    "an end of text cannot be chosen where the length is exact (ignore_eos)",
)


@dataclasses.dataclass(slots=True)
class _Stream:
    """What came of one sequence: ids and instants by chunk, and how many tokens there were up to each."""

    at_ns: list[int] = dataclasses.field(default_factory=list)
    counts: list[int] = dataclasses.field(default_factory=list)
    token_ids: list[int] = dataclasses.field(default_factory=list)
    text: str = ""
    last: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """How many tokens there were so far."""
        return sum(self.counts)

    def add(self, at_ns: int, chunk: Mapping[str, Any]) -> None:
        """Add a chunk; one without a new token has no instant."""
        came = chunk["tokens_predicted"] - self.tokens
        if came:
            self.at_ns.append(at_ns)
            self.counts.append(came)
        self.token_ids += chunk.get("tokens", ()) if came else ()
        self.text += chunk["content"]
        self.last = chunk


class LlamaCppSession:
    """A GGUF file loaded by llama.cpp."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._server = LocalServer(config)
        self.bos_id = next(iter(self._tokens("", special=True)), None)
        end = self._server.ask("/props")["eos_token"]
        self._eos_id = next(iter(self._tokens(end)), None)
        self.effective = self._effective()

    def _effective(self) -> EffectiveSettings:
        parameters = self._server.parameters
        return EffectiveSettings(
            properties={
                "INFERENCE_NUM_THREADS": str(parameters.cpuparams.n_threads),
                "KEY_CACHE_PRECISION": _type_name(parameters.cache_type_k),
                "VALUE_CACHE_PRECISION": _type_name(parameters.cache_type_v),
                "flash_attn": parameters.flash_attn_type.name.rpartition("_")[2].lower(),
                **{name: str(getattr(parameters, name)) for name in ("n_batch", "n_ubatch", "n_ctx")},
                "instructions": " ".join(self._server.instructions),
            },
            notes=(*_NOTES, *_unused(self._server.instructions, cpu_flags())),
        )

    def _tokens(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        return tuple(self._server.ask("/tokenize", {"content": text, "add_special": special})["tokens"])

    def _templated(self, chat: Sequence[Mapping[str, str]]) -> str:
        return str(self._server.ask("/apply-template", {"messages": list(chat)})["prompt"])

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text, as a user's turn under the model's chat template where *chat* is set."""
        if not chat:
            return self._tokens(text, special=True)
        return self._tokens(self._templated([{"role": "user", "content": text}]))

    def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
        """Token ids of a chat so far, its last answer, and the user's next turn under the chat template."""
        return (
            *tokens_so_far(earlier, response, self._eos_id),
            *self._tokens(text_between(self._templated, text)),
        )

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""
        return str(self._server.ask("/detokenize", {"tokens": list(token_ids)})["content"])

    def _content(self, request: EngineRequest) -> dict[str, Any]:
        """The body of a request: a single input alone, for the response to a list of one has no index."""
        config, rows = self._config, list(map(list, request.input_ids))
        content = {
            "prompt": rows if len(rows) > 1 else rows[0],
            "n_predict": request.output_tokens,
            "ignore_eos": not request.stop_at_eos,
            "stream": True,
            "return_tokens": True,
            "cache_prompt": False,
            "timings_per_token": True,
        }
        if not config.do_sample:
            return content | {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0}
        return content | {
            "samplers": ["top_k", "top_p", "temperature"],
            "top_k": config.top_k or 0,
            "top_p": config.top_p,
            "temperature": config.temperature,
            "seed": config.seed,
        }

    def generate(self, request: EngineRequest) -> Generation:
        """One request, observed as the chunks of its stream arrive."""
        body = json.dumps(self._content(request)).encode()
        lines: list[tuple[int, bytes]] = []
        with engine_failures("generating"), contextlib.closing(self._server.connect()) as connection:
            request.beat(0, time.perf_counter_ns())
            start_ns = time.perf_counter_ns()
            connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
            for line in connection.getresponse():
                if line != b"\n":
                    lines.append((time.perf_counter_ns(), line))
                    request.beat(len(lines), lines[-1][0])
            end_ns = time.perf_counter_ns()
            streams = _read(lines, sequences=len(request.input_ids))
            sequences = tuple(
                self._sequence(ids, stream) for ids, stream in zip(request.input_ids, streams, strict=True)
            )
        return Generation(
            start_ns=Nanoseconds(start_ns),
            end_ns=Nanoseconds(end_ns),
            sequences=sequences,
            counters=_counters(streams),
            suspicions=_suspicions(request, streams),
        )

    def _sequence(self, given: Sequence[int], stream: _Stream) -> measurement.Sequence:
        """Return the sequence; an id that was held back with its token is found by tokenizing the text."""
        ids = tuple(stream.token_ids)
        if len(ids) != stream.tokens:
            ids = self._tokens(stream.text)
        return measurement.Sequence(
            input_tokens=len(given),
            at_ns=tuple(map(Nanoseconds, stream.at_ns)),
            counts=() if set(stream.counts) <= {1} else tuple(stream.counts),
            token_ids=ids if len(ids) == stream.tokens else (),
            text=stream.text,
            finish=Finish.STOP if stream.last.get("stop_type") == "eos" else Finish.LENGTH,
        )


def _unused(built_for: Sequence[str], flags: Collection[str]) -> tuple[str, ...]:
    """Return a sentence where the library was built for a lesser CPU; a build from source may be faster."""
    if "avx512f" not in flags or any(name.startswith("AVX512") for name in built_for):
        return ()
    return ("this build of llama.cpp uses AVX2; the CPU has AVX-512, which a build from source would use",)


def _type_name(kind: Any) -> str:
    return str(kind.name).removeprefix("GGML_TYPE_").lower()


def _read(lines: Sequence[tuple[int, bytes]], *, sequences: int) -> list[_Stream]:
    """Return what came of each sequence; raise RuntimeError where the server reports an error.

    A line ``data: null`` says that a request of a batch has begun.
    """
    streams = [_Stream() for _ in range(sequences)]
    for at_ns, line in lines:
        kind, _, content = line.partition(b":")
        if kind == b"data" and (chunk := json.loads(content)) is not None:
            streams[checked(chunk)["index"]].add(at_ns, chunk)
        elif kind == b"error":
            checked({"error": json.loads(content)})
        elif line.startswith(b"{"):
            checked(json.loads(line))
    return streams


def _counters(streams: Sequence[_Stream]) -> Counters | None:
    """Return the server's own times of a single sequence; those of a batch overlap."""
    timings = streams[0].last.get("timings")
    if len(streams) > 1 or timings is None:
        return None
    return Counters(
        first_token_s=timings["prompt_ms"] / 1e3,
        gaps_s=timings["predicted_ms"] / 1e3,
        tokens=timings["predicted_n"],
    )


def _suspicions(request: EngineRequest, streams: Sequence[_Stream]) -> tuple[str, ...]:
    """Return what shows that a prompt was not computed as it was given, or not all of it."""
    found = []
    for given, stream in zip(request.input_ids, streams, strict=True):
        timings = stream.last.get("timings", {})
        if stream.last.get("tokens_evaluated", len(given)) != len(given) or stream.last.get("truncated"):
            found.append(
                f"the engine read {stream.last.get('tokens_evaluated')} of {counted(len(given), 'input token')}"
            )
        if timings.get("cache_n"):
            found.append(f"{timings['cache_n']} input tokens came from the engine's cache")
    return tuple(found)


class LlamaCppEngine(Engine):
    """llama.cpp's server as a library."""

    def check(self, config: RunConfig) -> None:
        """Refuse what this engine cannot do or does not have, before anything is loaded."""
        check_capabilities(config)
        check_packages(config)
        if config.device.upper() != "CPU":
            raise InputError(
                f"llama.cpp is measured on the CPU; -d {config.device} was given", hint="use -d CPU"
            )
        check_properties(config.properties)

    def open(self, config: RunConfig) -> LlamaCppSession:
        """Load the model."""
        return LlamaCppSession(config)
