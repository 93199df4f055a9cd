"""What an engine package throws, as one error: its cause in one line, its exit code, and a remedy.

The class decides what a job does next: wrong input (2) and an unfit machine (4) fail again however often they are
retried, so that only what may be a crash is a `LaunchError` (5).
"""

import contextlib
import errno
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from llmbench.errors import InputError, LaunchError, LlmbenchError, MachineError, OutputError
from llmbench.schema.units import Nanoseconds

_ENGINES = Path(__file__).parent
_LONGEST = 300
_Result = TypeVar("_Result")
_NOISE = re.compile(r"Exception from |Please, check|Failed to create|FrontEnd API failed|^;$")
_QUOTED = re.compile(r"^\w+'s error: ")
"""What introduces the words of a library that the engine uses, such as its reader of chat templates."""
_CHECK = re.compile(r"^(?P<what>.*\bfailed) at \S+?\.(?:[ch]pp|h):\d+:?\s*")
"""A condition of the engine's source, and where it is in it."""


class PagedAttentionError(InputError):
    """A model, or a device, that the engine's paged attention cannot take; SDPA may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What the text of an exception (``Type: message``) says, the class of error that it is, and the remedy."""

    pattern: str
    error: type[LlmbenchError]
    hint: str


WITHOUT_TEMPLATE = (
    "leave out --apply-chat-template, or put a template the engine can read into the tokenizer's files"
)
"""What to do where the engine cannot apply a model's chat template."""

_NOT_PAGED = "paged attention cannot run this model"
_ROWS = (
    _Row(
        pattern=r"bad_alloc|MemoryError|(?i:can(not|'t) allocate|out of memory|not enough memory)",
        error=LaunchError,
        hint="use a smaller --weight-format, end what uses memory, or raise the container's limit",
    ),
    _Row(
        pattern=r"Cannot load library|not registered in the OpenVINO Runtime|as device id",
        error=MachineError,
        hint="use a device that llmbench doctor lists",
    ),
    _Row(
        pattern=r"trust_remote_code|custom code|auto_map",
        error=InputError,
        hint="llmbench run executes no code of a model; choose one whose architecture transformers has built in",
    ),
    _Row(
        pattern=r"not recognize this architecture|Unrecognized (configuration class|model)|have a `model_type`",
        error=InputError,
        hint="give a causal language model whose architecture the installed transformers knows",
    ),
    _Row(
        pattern=r"^(ImportError|ModuleNotFoundError|NameError)\b|is not installed|pip install|undefined symbol",
        error=MachineError,
        hint="install the package that is missing, or use a model that does not need it",
    ),
    _Row(
        pattern=r"Tokenizers for draft and main models",
        error=InputError,
        hint="give a --draft-model with the tokenizer of the main model",
    ),
    _Row(
        pattern=r"supposed to be stateful|text-generation-with-past|name (beam_idx|position_ids|past_key_values)",
        error=InputError,
        hint="convert the model again as a decoder with a cache: llmbench convert --model-id ID --output-dir OUT",
    ),
    _Row(
        pattern=r"cache precision|cache_type|kvcache type|group[ _]size",
        error=InputError,
        hint="correct the precision or the group size of the KV cache",
    ),
    _Row(
        pattern=r"Resource temporarily unavailable",
        error=MachineError,
        hint="raise this process's limits on address space and processes (ulimit -v, ulimit -u)",
    ),
    _Row(
        pattern=r"than available memory|memory than available",
        error=MachineError,
        hint="use a smaller cache_size or num_kv_blocks (--cb-config), or free memory",
    ),
    _Row(
        pattern=r"undeclared parameters|ScaledDotProductAttention|Paged(Attention|Causal)|"
        r"element type is not corresponding with output element type",
        error=PagedAttentionError,
        hint="use --attention sdpa",
    ),
    _Row(
        pattern=r"json\.exception",
        error=InputError,
        hint="config.json or generation_config.json of the model is damaged: fetch both again",
    ),
    _Row(
        pattern=r"Expected \S+ (expression|statement|tag)|[Cc]hat.?template|[Jj]inja|Undefined(Error)?\b",
        error=InputError,
        hint=WITHOUT_TEMPLATE,
    ),
    _Row(
        pattern=r"stop_token_ids|eos_token_id",
        error=InputError,
        hint="leave out --end-token-stopping: the model names no end of text",
    ),
    _Row(
        pattern=r"error loading model",
        error=InputError,
        hint="use a GGUF file that the installed release of xllamacpp (llama.cpp) reads",
    ),
    _Row(
        pattern=r"(?i:gguf)|map::at|Unsupported model architecture|model == \"gpt2\"",
        error=InputError,
        hint="use a GGUF of another quantization (Q4_0, Q4_1, Q8_0, F16), or convert the Hugging Face model",
    ),
    _Row(
        pattern=r"LoRA|lora|Can not clone with new dims",
        error=InputError,
        hint="give a --lora adapter that was trained on this model",
    ),
    _Row(
        pattern=r"Could not (open|find)|model input tensor|does not exist|No such file|size mismatch|state_dict|"
        r"^(\w*Error: )?(unable to (load|read)|Incorrect weights)|missing mandatory attribute|is not an IR",
        error=InputError,
        hint="check the model's files, or convert it again",
    ),
)
_INPUT_KINDS = (KeyError, IndexError, ValueError, OSError)
"""Exceptions of Python that mean a wrong input where their text has nothing that is known."""

_UNKNOWN = "correct the options that it names, or report it with the run file"


@contextlib.contextmanager
def engine_failures(doing: str) -> Iterator[None]:
    """Turn whatever an engine package throws in the block into one error; what our own code throws stays a bug."""
    try:
        yield
    except LlmbenchError:
        raise
    except Exception as error:
        if _is_ours(error.__traceback__):
            raise
        raise engine_error(error, doing) from error


def timed(
    doing: str, call: Callable[..., _Result], *given: Any, **options: Any
) -> tuple[Nanoseconds, _Result, Nanoseconds]:
    """Return the instant before a call of an engine, what it returned, and the instant after it.

    What the engine throws is raised as by `engine_failures`.
    """
    with engine_failures(doing):
        start_ns = time.perf_counter_ns()
        result = call(*given, **options)
        end_ns = time.perf_counter_ns()
    return Nanoseconds(start_ns), result, Nanoseconds(end_ns)


def engine_error(error: Exception, doing: str) -> LlmbenchError:
    """Return the error that stands for an exception of an engine package; its message is one line."""
    words = engine_words(error)
    message = f"the engine failed while {doing}: {words}"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(message, hint="free some space")
    text = f"{type(error).__name__}: {error}"
    for row in _ROWS:
        if re.search(row.pattern, text):
            is_paging = row.error is PagedAttentionError
            return row.error(f"{_NOT_PAGED}: {words}" if is_paging else message, hint=row.hint)
    if isinstance(error, _INPUT_KINDS):
        return InputError(message, hint="check the model's files and the options of this run")
    return LaunchError(message, hint=_UNKNOWN)


def engine_words(error: Exception) -> str:
    """Return the line of an exception's message that names the cause, without the engine's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    clear = [line for line in lines if not _NOISE.search(line)]
    conditions = [found["what"] for line in clear if (found := _CHECK.match(line))]
    kept = [text for line in clear if (text := _CHECK.sub("", line))] or conditions
    if not kept:
        return type(error).__name__
    if "Unable to cast Python instance" in kept[0]:
        return "a value of this type or size cannot be passed to the engine"
    quoted = [_QUOTED.sub("", line) for line in kept if _QUOTED.match(line)]
    words = kept[-1] if len(clear) < len(lines) or conditions else kept[0]
    words = quoted[0] if quoted else words
    named = words if isinstance(error, RuntimeError) else f"{type(error).__name__}: {words}"
    named = named.rstrip(".:")
    return named if len(named) <= _LONGEST else f"{named[: _LONGEST - 1]}…"


def _is_ours(trace: TracebackType | None) -> bool:
    """Return whether the last code of this package that was running is no adapter of an engine."""
    last = _ENGINES
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        last = file if file.is_relative_to(_ENGINES.parent) else last
        trace = trace.tb_next
    return not last.is_relative_to(_ENGINES)
