"""Whatever an engine package throws is one error: its cause, its exit code, a remedy."""

import errno
from collections.abc import Callable

import pytest

from llmbench.engines.failures import PagedAttentionError, engine_error, engine_failures
from llmbench.errors import InputError, LaunchError, LlmbenchError, MachineError, OutputError
from llmbench.machine import topology

_GENAI = "Exception from /home/jenkins/agent/workspace/private-ci/b/repos/openvino.genai/src/cpp/src/gguf.cpp:288:\n"

CASES = [
    (
        ValueError(
            "The checkpoint has model type `llama5` but Transformers does not recognize this architecture. "
            "You can update Transformers with the command `pip install --upgrade transformers`"
        ),
        2,
        "`llama5`",
        "whose architecture the installed transformers knows",
    ),
    (
        RuntimeError(
            "Exception from /home/jenkins/src/tokenizer_impl.cpp:855:\nMinja failed to apply chat template. "
            "Possible solutions are\n* Set apply_chat_template to false.\n"
            "Minja's error: System role not supported at row 1, column 19:\n{{ raise_exception('S') }}\n  ^\n"
        ),
        2,
        "loading: System role not supported at row 1, column 19",
        "leave out --apply-chat-template",
    ),
    (RuntimeError("Tokenizers for draft and main models are different!"), 2, "different", "--draft-model"),
    (
        RuntimeError("Model references undeclared parameters: opset1::Parameter beam_idx () -> (i32[?])"),
        2,
        "beam_idx",
        "--attention sdpa",
    ),
    (
        RuntimeError("No ScaledDotProductAttention operation observed in the graph"),
        2,
        "ScaledDot",
        "--attention sdpa",
    ),
    (
        RuntimeError("PagedCausalConv1D supports only f32/f16/bf16 conv_state_table precision, got dynamic"),
        2,
        "PagedCausalConv1D",
        "--attention sdpa",
    ),
    (
        RuntimeError(
            "ScaledDotProductAttention AttentionExecutor creation fails key state 16 cannot be divided by group size 7"
        ),
        2,
        "group size 7",
        "correct the precision or the group size",
    ),
    (RuntimeError("expect kvcache type bf16, current: u3 , u3"), 2, "u3", "correct the precision"),
    (
        RuntimeError(
            "ScaledDotProductAttentionWithKVCache node with name 'x' supports key/value cache precision f32, f16, "
            "bf16, u8, u4 but gets u3"
        ),
        2,
        "gets u3",
        "correct the precision",
    ),
    (RuntimeError("Resource temporarily unavailable"), 4, "temporarily unavailable", "ulimit -v"),
    (
        RuntimeError("Requested cache blocks require more memory than available on the system"),
        4,
        "cache blocks",
        "--cb-config",
    ),
    (
        RuntimeError("Requested cache size is larger than available memory size on the system"),
        4,
        "cache size",
        "--cb-config",
    ),
    (RuntimeError("Model is supposed to be stateful"), 2, "stateful", "convert the model again"),
    (RuntimeError("Port for tensor name beam_idx was not found."), 2, "beam_idx", "convert the model again"),
    (IndexError("map::at"), 2, "IndexError: map::at", "GGUF"),
    (
        RuntimeError(
            "[json.exception.parse_error.101] parse error at line 2, column 1: unexpected end of input"
        ),
        2,
        "line 2, column 1",
        "generation_config.json",
    ),
    (
        RuntimeError(f"{_GENAI}[load_gguf] gguf_tensor_to_f16 failed\n"),
        2,
        ": [load_gguf] gguf_tensor_to_f16 failed",
        "GGUF",
    ),
    (
        RuntimeError("Check 'model == \"gpt2\"' failed at /home/jenkins/agent/a/gguf.cpp:12:\n"),
        2,
        "Check 'model == \"gpt2\"' failed",
        "GGUF",
    ),
    (
        RuntimeError("Expected closing expression tag at row 1, column 6:\n{{ x \n     ^\n"),
        2,
        "row 1, column 6",
        "--apply-chat-template",
    ),
    (
        RuntimeError("'stop_token_ids' must be non-negative, but it contains a value -1"),
        2,
        "stop_token_ids",
        "--end-token-stopping",
    ),
    (
        RuntimeError(
            "Can not clone with new dims. Descriptor's shape: {0 - ?, 576} is incompatible with {4, 64}"
        ),
        2,
        "new dims",
        "--lora",
    ),
    (
        ValueError(
            "The repository x contains custom code which must be executed.\nSet `trust_remote_code=True`"
        ),
        2,
        "custom code",
        "built in",
    ),
    (
        ValueError(
            "The checkpoint has model type `x` but Transformers does not recognize this architecture."
        ),
        2,
        "x",
        "transformers",
    ),
    (KeyError("layers"), 2, "KeyError", "files"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.json"), 2, "a.json", "files"),
    (
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.gguf/config.json"),
        2,
        "Not a directory",
        "GGUF",
    ),
    (ImportError("Loading an AWQ quantized model requires gptqmodel."), 4, "gptqmodel", "install"),
    (NameError("name 'QuantizeConfig' is not defined"), 4, "QuantizeConfig", "install"),
    (ModuleNotFoundError("No module named 'triton'"), 4, "triton", "install"),
    (
        RuntimeError('Cannot load library "libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot open'),
        4,
        "libOpenCL",
        "doctor",
    ),
    (
        RuntimeError('Device with "NVIDIA" name is not registered in the OpenVINO Runtime'),
        4,
        "NVIDIA",
        "doctor",
    ),
    (OSError(errno.ENOSPC, "No space left on device"), 6, "No space", "free some space"),
    (MemoryError(), 5, "MemoryError", "--weight-format"),
    (RuntimeError("std::bad_alloc"), 5, "bad_alloc", "--weight-format"),
    (RuntimeError("the moon is full"), 5, "the moon is full", "report it"),
    (AttributeError("'NoneType' object has no attribute 'x'"), 5, "NoneType", "report it"),
    (RuntimeError(""), 5, "RuntimeError", "report it"),
]


@pytest.mark.parametrize(
    ("thrown", "code", "cause", "remedy"), CASES, ids=[repr(case[0])[:40] for case in CASES]
)
def test_what_an_engine_throws_has_a_code_a_cause_and_a_remedy(
    thrown: Exception, code: int, cause: str, remedy: str
) -> None:
    """One line, without the sources of the machine it was built on."""
    error = engine_error(thrown, "loading")

    assert code == error.exit_code
    assert cause in error.message
    assert remedy in (error.hint or "")
    assert "\n" not in error.message
    assert "jenkins" not in error.message


def test_only_what_may_be_a_crash_is_worth_a_retry() -> None:
    """The kinds are those of the table, and paged attention's is told from other inputs."""
    kinds = {type(engine_error(thrown, "loading")) for thrown, *_ in CASES}

    assert {InputError, PagedAttentionError, MachineError, LaunchError, OutputError} == kinds


def test_a_deliberate_error_passes_unchanged() -> None:
    """What was refused already keeps its words."""
    refused = MachineError("requested 9 threads, got 2")

    with pytest.raises(MachineError) as caught, engine_failures("loading"):
        raise refused

    assert caught.value is refused


def _fail_in_the_machine() -> object:
    return topology.parse_list(None)  # type: ignore[arg-type]


def _fail_in_an_engine() -> object:
    from llmbench.engines.openvino.tokenizer import Tokenizer

    return Tokenizer(None)


@pytest.mark.parametrize(
    ("failing", "kind"), [(_fail_in_the_machine, AttributeError), (_fail_in_an_engine, LlmbenchError)]
)
def test_our_own_bugs_stay_bugs(failing: Callable[[], object], kind: type[Exception]) -> None:
    """Only what an adapter of an engine calls is the engine's failure."""
    with pytest.raises(kind), engine_failures("loading"):
        failing()
