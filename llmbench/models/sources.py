"""What ``--model-id`` names: a GGUF file, a Hugging Face folder, or a hub's model; judged before it loads."""

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmbench.errors import InputError, MachineError
from llmbench.files.cache import combined_sha256, file_sha256
from llmbench.files.package_data import missing_packages
from llmbench.models.checkpoint import check_adapter, read_description, weight_files
from llmbench.models.gguf import is_gguf
from llmbench.models.gguf_file import gguf_sha256
from llmbench.models.hub import DESCRIPTIONS, WEIGHTS, HubModel, find_model
from llmbench.models.integrity import check_no_pointer, holds_ir
from llmbench.models.ir_task import check_other_task
from llmbench.models.ir_xml import read_constants
from llmbench.models.manifest import ModelSource
from llmbench.models.quantization import Quantization, check_exportable, find_quantization
from llmbench.models.safetensors import read_safetensors_head
from llmbench.schema.tasks import SPEECH_TO_TEXT, TEXT_TO_SPEECH

_HUB_NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PRECISIONS = {
    "f32": "fp32",
    "f16": "fp16",
    "bf16": "fp16",
    "i8": "int8",
    "u8": "int8",
    "i4": "int4",
    "u4": "int4",
}
_SPEECH_TASKS = {"whisper": SPEECH_TO_TEXT, "speecht5": TEXT_TO_SPEECH, "kokoro": TEXT_TO_SPEECH}
"""What measures a model of speech, by its ``model_type``."""

_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json", "tokenization_*.py")
"""Files one of which every tokenizer has; without any, transformers makes an empty one up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionFamily:
    """Vision-language models that bring code of their own: the *transformers* that run it, and other *packages*."""

    title: str
    transformers: str
    packages: str

    @property
    def needs(self) -> str:
        """What a person must install to convert one, in an environment of its own."""
        return f"{self.title} is converted in an environment with 'transformers{self.transformers}' and {self.packages}"


VISION_FAMILIES = {
    "minicpmv": VisionFamily(title="MiniCPM-V", transformers=">=4.57,<=4.57.6", packages="torchvision"),
    "minicpmo": VisionFamily(title="MiniCPM-o", transformers=">=4.51.0,<=4.51.3", packages="torchvision"),
    "internvl_chat": VisionFamily(
        title="InternVL", transformers=">=4.57,<=4.57.6", packages="torchvision, timm and einops"
    ),
    "phi3_v": VisionFamily(
        title="Phi-3.5-vision", transformers=">=4.51.0,<=4.53.3", packages="torchvision and backoff"
    ),
}
"""By ``model_type``. Ranges are those of optimum-intel 2.1, packages those of OpenVINO GenAI's export requirements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """A model on this disk, ready to be converted.

    *id* and *kind* are where it came from, *revision* the hub's commit or a SHA-256 of its content. *parameters*
    are its weights, *model_type* its architecture; ``None`` where they do not matter to the conversion. A
    vision-language model *takes_images*.
    """

    kind: Literal["hub", "folder", "gguf"]
    id: str
    path: Path
    revision: str
    parameters: int | None = None
    model_type: str | None = None
    quantization: Quantization | None = None
    takes_images: bool = False

    @property
    def origin(self) -> ModelSource:
        """The source as a manifest names it."""
        return ModelSource(kind=self.kind, id=self.id, revision=self.revision)


def find_source(model_id: str, *, revision: str | None, trusts_remote_code: bool) -> LocalSource | HubModel:
    """What *model_id* names. A path wins over a hub's name; an ``InputError`` says why it is neither."""
    path = Path(model_id).expanduser()
    if model_id and path.exists():
        if revision is not None:
            raise InputError(
                f"--revision is for models of a hub; {path} is on this disk", hint="leave it out"
            )
        if path.is_dir():
            return inspect_folder(path, trusts_remote_code=trusts_remote_code)
        return _gguf(path)
    if (
        model_id.startswith((".", "/", "~"))
        or not _HUB_NAME.fullmatch(model_id)
        or model_id.endswith(".gguf")
    ):
        raise InputError(
            f"there is no file or folder {model_id!r}",
            hint="give a Hugging Face folder, FILE.gguf, or a hub's name such as ORGANISATION/MODEL",
        )
    if trusts_remote_code and not _COMMIT.fullmatch(revision or ""):
        raise InputError(
            f"--trust-remote-code runs code of {model_id}, which may change under the same name",
            hint="read it, and pin it: --revision with the 40 hexadecimal digits of a commit",
        )
    return find_model(model_id, revision=revision, with_code=trusts_remote_code)


def inspect_folder(
    folder: Path, *, trusts_remote_code: bool, hub_model: HubModel | None = None
) -> LocalSource:
    """The Hugging Face model in *folder*; an ``InputError`` names everything that keeps it from loading."""
    if holds_ir(folder):
        run = f"llmbench run -m {shlex.quote(str(folder))}"
        raise InputError(f"{folder} is an IR already", hint=f"run it as it is: {run}")
    check_other_task(folder)
    check_adapter(folder)
    config = _check_code(folder, trusts_remote_code=trusts_remote_code)
    _check_speech(config, str(folder) if hub_model is None else hub_model.id)
    quantization = find_quantization(folder, config)
    if not any(next(folder.glob(pattern), None) for pattern in _VOCABULARIES):
        raise InputError(
            f"{folder} contains no tokenizer", hint="fetch tokenizer.json or tokenizer.model beside it"
        )
    for file in (found for pattern in _VOCABULARIES for found in folder.glob(pattern)):
        check_no_pointer(file)
    parameters = sum(_count_parameters(file) for file in weight_files(folder))
    if not parameters:
        raise InputError(f"the safetensors files of {folder} contain no weights", hint="fetch them again")
    return LocalSource(
        kind="folder" if hub_model is None else "hub",
        id=str(folder.resolve()) if hub_model is None else hub_model.id,
        path=folder,
        revision=_content_sha256(folder) if hub_model is None else hub_model.revision,
        parameters=parameters,
        model_type=config["model_type"],
        quantization=quantization,
        takes_images=_takes_images(config),
    )


def check_description(folder: Path, *, name: str, trusts_remote_code: bool) -> None:
    """Raise if the small files of the model *name* show that it cannot be converted; no weights are needed.

    Raises:
        InputError: it runs code of its own, or its weights are quantized in a way that nothing exports.
        MachineError: a package that reads its weights is missing.
    """
    config = _check_code(folder, trusts_remote_code=trusts_remote_code)
    _check_speech(config, name)
    check_exportable(find_quantization(folder, config), name)


def check_tokenizer_packages(folder: Path) -> None:
    """Raise a ``MachineError`` if a package that reads the tokenizer's files is not installed."""
    if (folder / "tokenizer.json").exists():
        return
    needed = {"tiktoken": "*.tiktoken", "mistral-common": "tekken.json"}
    packages = [package for package, pattern in needed.items() if next(folder.glob(pattern), None)]
    for file in sorted(folder.glob("*.model")):
        with file.open("rb") as content:  # a SentencePiece model begins with its first piece, field 1
            packages += ["sentencepiece", "protobuf"] if content.read(1) == b"\n" else ["tiktoken"]
    if missing := missing_packages(packages):
        raise MachineError(
            f"the tokenizer of {folder} needs {' and '.join(missing)}, not installed here",
            hint=f"pip install {' '.join(missing)}",
        )


def _check_code(folder: Path, *, trusts_remote_code: bool) -> dict[str, Any]:
    """Return ``config.json``; an ``InputError`` where the model runs code of its own without trust."""
    config = read_description(folder / "config.json")
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise InputError(
            f"{folder / 'config.json'} names no architecture (model_type)",
            hint="fetch config.json again, or give a model that transformers knows",
        )
    if config.get("auto_map") and not trusts_remote_code:
        family = VISION_FAMILIES.get(str(config.get("model_type")))
        needs = "" if family is None else f"; {family.needs}"
        raise InputError(
            f"{folder / 'config.json'} has an auto_map: the model runs Python code of its own",
            hint=f"read that code, then allow it: llmbench convert --trust-remote-code{needs}",
        )
    return config


def _takes_images(config: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` is that of a vision-language model."""
    if config.get("model_type") in VISION_FAMILIES:
        return True
    names = config.get("architectures")
    ends = ("ForConditionalGeneration", "ForCausalLM")
    is_generating = isinstance(names, list) and any(str(name).endswith(ends) for name in names)
    return is_generating and isinstance(config.get("vision_config"), dict)


def _check_speech(config: Mapping[str, Any], name: str) -> None:
    """Refuse a model of speech, which the exporter itself converts; name the two commands that measure it."""
    task = _SPEECH_TASKS.get(str(config.get("model_type")))
    if task is not None:
        raise InputError(
            f"{name} is a model of speech; llmbench converts models that read text",
            hint=f"optimum-cli export openvino --model {shlex.quote(name)} OUT, then llmbench run -t {task} -m OUT",
        )


def precision_of_gguf(weight_format: str) -> str:
    """The folder name's precision for a GGUF's dominant type: ``Q4_1`` is ``int4``."""
    if weight_format.startswith(("F32", "F64")):
        return "fp32"
    if weight_format.startswith(("F16", "BF16")):
        return "fp16"
    bits = re.search(r"\d", weight_format)
    return "int8" if bits and int(bits[0]) > 4 else "int4"


def precision_of_ir(xml: Path) -> str:
    """The precision that most constants of a network have; an ``InputError`` if it has none that is known."""
    weights: dict[str, int] = {}
    for constant in read_constants(xml):
        precision = _PRECISIONS.get(constant.element_type)
        if precision is not None:
            weights[precision] = weights.get(precision, 0) + math.prod(constant.shape)
    if not weights:
        raise InputError(f"{xml} contains no weights")
    return max(weights, key=lambda precision: weights[precision])


def _gguf(path: Path) -> LocalSource:
    if not path.is_file() or not is_gguf(path):
        if path.is_file():
            check_no_pointer(path)
        raise InputError(
            f"{path} is not a GGUF file", hint="give a Hugging Face folder, FILE.gguf, or a hub's name"
        )
    return LocalSource(kind="gguf", id=path.name, path=path, revision=gguf_sha256(path))


def _count_parameters(file: Path) -> int:
    """Weights in a safetensors file, from its head; an ``InputError`` if the file is not whole."""
    check_no_pointer(file)
    size = file.stat().st_size
    try:
        head = read_safetensors_head(file)
    except ValueError as error:
        raise InputError(f"{file} is not a whole safetensors file: {error}", hint="fetch it again") from error
    if size < head.file_bytes:
        raise InputError(
            f"{file} is truncated at {size} bytes; {head.file_bytes} are needed", hint="fetch it again"
        )
    return sum(head.weights.values())


def _content_sha256(folder: Path) -> str:
    """One SHA-256 for the files of a local model that a conversion reads."""
    wanted = (*DESCRIPTIONS, WEIGHTS, ".py")
    files = [file for file in folder.iterdir() if file.suffix in wanted and file.is_file()]
    return combined_sha256({file.name: file_sha256(file) for file in files})
