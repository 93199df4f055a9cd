"""The exporting steps of ``convert``, each run in a child process: a Hugging Face folder or a GGUF file to an IR."""

import sys
from importlib import metadata
from pathlib import Path

import msgspec

from llmbench.convert.preflight import GENERATION
from llmbench.engines.failures import engine_words
from llmbench.errors import InputError, MachineError
from llmbench.files.package_data import install_command
from llmbench.models.gguf_file import gguf_parts
from llmbench.models.manifest import Recipe
from llmbench.runner.step import run_step
from llmbench.schema.progress import ProgressCallback

CONVERT_PACKAGES = ("optimum-intel", "torch", "transformers", "nncf")
"""What the extra ``convert`` brings."""

VISION_PACKAGES = ("pillow",)
"""What the processor of a vision-language model needs; the extra ``vision`` brings it."""


def check_extra(*, takes_images: bool = False) -> None:
    """Raise a ``MachineError`` unless the packages that convert a model are installed; imports none."""
    packages = {"convert": CONVERT_PACKAGES, "vision": VISION_PACKAGES if takes_images else ()}
    for extra, names in packages.items():
        missing = [name for name in names if next(iter(metadata.distributions(name=name)), None) is None]
        if missing:
            raise MachineError(
                f"converting this model needs {', '.join(missing)} (not installed)",
                hint=install_command(extra),
            )


class _Export(msgspec.Struct, tag=True):
    """Export the Hugging Face *folder* into *target*; *options* are the exporter's own."""

    folder: str
    target: str
    task: str
    recipe: Recipe


class _ReadGguf(msgspec.Struct, tag=True):
    """Let the engine read the GGUF *source* under the name *link* and write its IR beside that."""

    source: str
    link: str


def export(
    folder: Path, target: Path, *, task: str = GENERATION, recipe: Recipe, report: ProgressCallback
) -> None:
    """Export a Hugging Face folder into *target*, with tokenizer and detokenizer; *task* is what the model is for."""
    step = _Export(folder=str(folder), target=str(target), task=task, recipe=recipe)
    run_step(__name__, step, type(None), folder=target, is_online=recipe.trusts_remote_code, report=report)


def export_gguf(source: Path, target: Path, *, report: ProgressCallback) -> None:
    """Write the IR of a GGUF file, with tokenizer and detokenizer, into *target*."""
    parts = gguf_parts(source)
    links = [target / part.name for part in parts]  # the engine writes beside the name it is given
    for part, link in zip(parts, links, strict=True):
        link.symlink_to(part.resolve())
    step = _ReadGguf(source=str(source), link=str(links[0]))
    run_step(__name__, step, type(None), folder=target, is_online=False, report=report)
    for link in links:
        link.unlink()


REQUESTS = _Export | _ReadGguf
"""What the child process takes."""


def do(step: _Export | _ReadGguf) -> None:
    """Do a step, in the child."""
    if isinstance(step, _ReadGguf):
        _read_gguf(step)
    else:
        _run_exporter(step)


def _run_exporter(step: _Export) -> None:
    from optimum.commands.optimum_cli import main

    fixed = ["export", "openvino", "--model", step.folder, "--task", step.task, "--library", "transformers"]
    sys.argv = ["optimum-cli", *fixed, *_options(step.recipe), step.target]
    try:
        main()
    except _refusals(step.recipe) as error:
        raise InputError(
            f"--group-size {step.recipe.group_size} does not divide the channels of every layer",
            hint="leave --group-size out, or choose 64 or 32",
        ) from error


def _refusals(recipe: Recipe) -> tuple[type[Exception], ...]:
    """The exceptions that say a group size does not fit; importing them takes a second, so only for int4."""
    if recipe.weight_format != "int4":
        return ()
    from nncf.errors import InvalidGroupSizeError

    return (InvalidGroupSizeError,)


def _options(recipe: Recipe) -> list[str]:
    options = ["--weight-format", str(recipe.weight_format)]
    if recipe.weight_format == "int4":
        options += ["--ratio", str(recipe.ratio), "--group-size", str(recipe.group_size)]
    options += ["--group-size-fallback", "adjust"] if recipe.may_shrink_groups else []
    options += ["--sym"] if recipe.is_symmetric else []
    return options + (["--trust-remote-code"] if recipe.trusts_remote_code else [])


def _read_gguf(step: _ReadGguf) -> None:
    from openvino_genai import LLMPipeline

    try:
        LLMPipeline(step.link, "CPU", enable_save_ov_model=True)
    except (RuntimeError, IndexError, ValueError, KeyError) as error:  # whatever the C++ reader throws
        raise InputError(
            f"OpenVINO GenAI cannot read {step.source}: {engine_words(error)}",
            hint="use its Q4_0, Q4_1, Q8_0 or F16 file, or convert the Hugging Face model it was made from",
        ) from error
