"""What is examined of a Hugging Face model before its export: architecture, tokenizer, and names of its weights.

An export takes minutes to hours; this takes seconds, in a child process, and loads no weights.
"""

import logging
import re
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from llmbench.convert.texts import PLAIN_TEXT
from llmbench.errors import InputError, LlmbenchError, MachineError
from llmbench.files.strict_json import read_object
from llmbench.models.ir_task import check_generating
from llmbench.models.safetensors import first_few, missing_weights
from llmbench.models.sources import VISION_FAMILIES, LocalSource, check_tokenizer_packages
from llmbench.runner.step import StepProcess
from llmbench.schema.progress import ProgressCallback

GENERATION, VISION = "text-generation-with-past", "image-text-to-text"
EMBEDDING, RERANKING = "feature-extraction", "text-classification"
"""The exporter's names of what a model is for."""

_WHAT = {
    GENERATION: "a language model",
    EMBEDDING: "a text embedding model",
    RERANKING: "a text reranking model",
    VISION: "a vision-language model",
}

_REPORTED = re.compile(
    r"^(?:\x1b\[[\d;]*m)*([\w.{},\s…-]+?)\s*\|\s*(?:\x1b\[[\d;]*m)*(MISSING|MISMATCH|CONVERSION)"
)
"""A row of the table that transformers logs of tensors that are absent or do not fit."""


def examine_source(source: LocalSource, *, task: str, step: StepProcess) -> tuple[str, ...]:
    """Return warnings on a Hugging Face folder before it is exported for a *task*; an online *step* trusts its code.

    Raises:
        InputError: the exporter does not take it, its tokenizer is broken, or weights are missing.
        MachineError: a package is missing, or has the wrong version.
    """
    check_tokenizer_packages(source.path)
    return step.run(
        examine_folder,
        source.path,
        task=task,
        model_type=str(source.model_type),
        trusts_code=step.is_online,
        is_quantized=source.quantization is not None,
    )


def examine_architecture(folder: Path, *, report: ProgressCallback) -> None:
    """Raise unless the architecture that ``config.json`` in *folder* names can be exported here, for any task.

    Raises:
        InputError: the exporter does not support it.
        MachineError: it is exported with other versions of transformers.
    """
    model_type = str(read_object(folder / "config.json").get("model_type"))
    with tempfile.TemporaryDirectory(prefix="llmbench-") as scratch:
        StepProcess(folder=Path(scratch), report=report).run(_check_any_task, model_type)


def examine_folder(
    folder: Path, *, task: str, model_type: str, trusts_code: bool, is_quantized: bool
) -> tuple[str, ...]:
    """Do in this process what `examine_source` does in a child."""
    if task == GENERATION:
        check_generating(folder)
    _check_architecture(model_type, task)
    _check_configuration(folder, trusts_code=trusts_code)
    _check_tokenizer(folder, task, trusts_code=trusts_code)
    return () if is_quantized else tuple(_check_weights(folder, task, trusts_code=trusts_code))


def _check_any_task(model_type: str) -> None:
    faults: list[LlmbenchError] = []
    for task in _WHAT:
        try:
            _check_architecture(model_type, task)
        except (InputError, MachineError) as fault:
            faults.append(fault)
        else:
            return
    raise next((fault for fault in faults if isinstance(fault, MachineError)), faults[0])


def _check_architecture(model_type: str, task: str) -> None:
    """Raise unless optimum-intel exports the architecture, and does so with the transformers installed here.

    The exporter itself looks only after it has loaded the weights.
    """
    import optimum.exporters.openvino  # noqa: F401  (fills the table of architectures)
    from optimum.exporters.tasks import TasksManager
    from packaging.version import Version

    table = TasksManager._LIBRARY_TO_SUPPORTED_MODEL_TYPES["transformers"]  # noqa: SLF001  (no public look-up)
    tasks = table.get(model_type, {}).get("openvino", {})
    if task not in tasks:
        what = _WHAT[task]
        raise InputError(
            f"optimum-intel {metadata.version('optimum-intel')} does not export the architecture "
            f"{model_type!r} as {what}",
            hint="take another model, or an IR that was made elsewhere",
        )
    config = getattr(tasks[task], "func", tasks[task])
    least, most = (getattr(config, f"{end}_TRANSFORMERS_VERSION", None) for end in ("MIN", "MAX"))
    installed = Version(Version(metadata.version("transformers")).base_version)
    is_old = least is not None and installed < Version(str(least))
    is_new = most is not None and installed > Version(str(most))
    if is_old or is_new:
        bounds = [f">={least}"] * (least is not None) + [f"<={most}"] * (most is not None)
        raise MachineError(
            f"the architecture {model_type!r} is exported with transformers {','.join(bounds)}; "
            f"{installed} is installed",
            hint=f"pip install 'transformers{','.join(bounds)}'{_more_needs(model_type)}",
        )


def _more_needs(model_type: str) -> str:
    """Return what a model with code of its own needs beside its range of transformers."""
    family = VISION_FAMILIES.get(model_type)
    return "" if family is None else f"; {family.title} also needs {family.packages}, and --trust-remote-code"


def _check_configuration(folder: Path, *, trusts_code: bool) -> None:
    """Raise unless transformers reads ``config.json``, whose faults it would otherwise tell of the tokenizer."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=trusts_code)
    except ImportError:
        raise
    except Exception as error:
        raise InputError(
            f"transformers cannot read {folder / 'config.json'}: {type(error).__name__}: {_first_line(error)}",
            hint="correct it, or fetch it again",
        ) from error


def _check_tokenizer(folder: Path, task: str, *, trusts_code: bool) -> None:
    """Raise unless the tokenizer can be read, keeps plain English in a round trip, and can be converted."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusts_code)
    except ImportError as error:
        raise _lacking(folder, error) from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise InputError(
                f"the tokenizer of {folder} comes with Python code of its own",
                hint="read that code, then allow it: llmbench convert --trust-remote-code",
            ) from error
        raise InputError(
            f"the tokenizer of {folder} cannot be read: {type(error).__name__}: {_first_line(error)}",
            hint="fetch the tokenizer's files again",
        ) from error
    ids = tokenizer(PLAIN_TEXT, add_special_tokens=False)["input_ids"]
    plain = tokenizer.decode(ids, skip_special_tokens=True)
    if task in {GENERATION, VISION} and plain.strip().casefold() != PLAIN_TEXT.casefold():
        raise InputError(
            f"the tokenizer of {folder} is broken: its round trip turns {PLAIN_TEXT!r} into {plain!r}",
            hint="fetch the tokenizer's files again; a tokenizer made from a GGUF is often wrong",
        )
    _check_conversion(folder, tokenizer)


def _lacking(folder: Path, error: ImportError) -> MachineError:
    return MachineError(
        f"the tokenizer of {folder} needs a package that is not installed: {_first_line(error)}",
        hint="pip install sentencepiece protobuf tiktoken",
    )


def _check_conversion(folder: Path, tokenizer: Any) -> None:
    """Raise unless openvino-tokenizers converts the tokenizer, as the exporter will have it do."""
    from openvino_tokenizers import convert_tokenizer

    try:
        convert_tokenizer(tokenizer, with_detokenizer=True)
    except ImportError as error:
        raise _lacking(folder, error) from error
    except Exception as error:
        raise InputError(
            f"openvino-tokenizers {metadata.version('openvino-tokenizers')} cannot convert the tokenizer of "
            f"{folder} ({type(tokenizer).__name__}): {_first_line(error)}",
            hint="use a model with another tokenizer, or a newer openvino-tokenizers",
        ) from error


def _check_weights(folder: Path, task: str, *, trusts_code: bool) -> Iterator[str]:
    """Yield warnings on tensors that the model does not use; an ``InputError`` names those that are missing.

    On the meta device transformers matches every name, renamed, merged and tied ones included, and reads no weights.
    """
    import transformers

    kinds = {
        GENERATION: transformers.AutoModelForCausalLM,
        VISION: transformers.AutoModelForImageTextToText,
        RERANKING: transformers.AutoModelForSequenceClassification,
    }
    kind = kinds.get(task, transformers.AutoModel)
    logged = _Rows()
    logging.getLogger("transformers").addHandler(logged)
    try:
        _, found = kind.from_pretrained(
            folder,
            device_map="meta",
            output_loading_info=True,
            trust_remote_code=trusts_code,
            use_safetensors=True,
        )
        missing = sorted(found["missing_keys"])
    except ImportError:
        raise
    except Exception as error:  # experts of which some are absent cannot be merged into one tensor
        missing = logged.names
        if logged.has_other_shapes:
            raise InputError(
                f"{folder} has tensors of other shapes than config.json ({len(missing)}): {first_few(missing)}",
                hint="fetch config.json and the weights again, of the same revision",
            ) from error
        if not missing:
            kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            raise InputError(
                f"the weights in {folder} do not fit its architecture: {kind}{_first_line(error)}",
                hint="fetch config.json and the weights again, of the same revision",
            ) from error
    if missing:
        raise missing_weights(str(folder), missing)
    unused = sorted(found["unexpected_keys"])
    if unused:
        yield f"{len(unused)} tensors of the source are not part of this architecture: {first_few(unused)}"


class _Rows(logging.Handler):
    """The names in the table of tensors that transformers logs where some are absent or do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.has_other_shapes = False

    def emit(self, record: logging.LogRecord) -> None:
        """Collect the names of one logged table."""
        rows = [found for line in record.getMessage().splitlines() if (found := _REPORTED.match(line))]
        self.names = list(dict.fromkeys([*self.names, *(row[1].strip() for row in rows)]))
        self.has_other_shapes |= any(row[2] == "MISMATCH" for row in rows)


def _first_line(error: Exception) -> str:
    """Return the first line of a message, and the one after where it only introduces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:300]
