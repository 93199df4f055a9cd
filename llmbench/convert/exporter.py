"""The exporting steps of ``convert``, each run in a child process: a Hugging Face folder or a GGUF file to an IR."""

import sys
from pathlib import Path

from llmbench.convert.preflight import GENERATION
from llmbench.engines.failures import engine_words
from llmbench.errors import InputError
from llmbench.files.package_data import check_installed
from llmbench.models.gguf_file import gguf_parts
from llmbench.models.manifest import Recipe
from llmbench.runner.step import StepProcess
from llmbench.schema.progress import ProgressCallback

CONVERT_PACKAGES = ("optimum-intel", "torch", "transformers", "nncf")
"""What the extra ``convert`` brings."""

VISION_PACKAGES = ("pillow",)
"""What the processor of a vision-language model needs; the extra ``vision`` brings it."""


def check_extra(*, takes_images: bool = False) -> None:
    """Raise a ``MachineError`` unless the packages that convert a model are installed; imports none."""
    check_installed(CONVERT_PACKAGES, user="converting this model", extra="convert")
    check_installed(VISION_PACKAGES if takes_images else (), user="converting this model", extra="vision")


def export(
    folder: Path, target: Path, *, task: str = GENERATION, recipe: Recipe, report: ProgressCallback
) -> None:
    """Export a Hugging Face folder into *target*, with tokenizer and detokenizer; *task* is what the model is for."""
    step = StepProcess(folder=target, report=report, is_online=recipe.trusts_remote_code)
    step.run(_run_exporter, folder, target, task, recipe)


def export_gguf(source: Path, target: Path, *, report: ProgressCallback) -> None:
    """Write the IR of a GGUF file, with tokenizer and detokenizer, into *target*."""
    parts = gguf_parts(source)
    links = [target / part.name for part in parts]  # the engine writes beside the name it is given
    for part, link in zip(parts, links, strict=True):
        link.symlink_to(part.resolve())
    StepProcess(folder=target, report=report).run(_read_gguf, source, links[0])
    for link in links:
        link.unlink()


def _run_exporter(folder: Path, target: Path, task: str, recipe: Recipe) -> None:
    from optimum.commands.optimum_cli import main

    fixed = ["export", "openvino", "--model", str(folder), "--task", task, "--library", "transformers"]
    sys.argv = ["optimum-cli", *fixed, *_options(recipe), str(target)]
    try:
        main()
    except _refusals(recipe) as error:
        raise InputError(
            f"--group-size {recipe.group_size} does not divide the channels of every layer",
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


def _read_gguf(source: Path, link: Path) -> None:
    """Let the engine read a GGUF file under the name *link* and write its IR beside that."""
    from openvino_genai import LLMPipeline

    try:
        LLMPipeline(link, "CPU", enable_save_ov_model=True)
    except (RuntimeError, IndexError, ValueError, KeyError) as error:  # whatever the C++ reader throws
        raise InputError(
            f"OpenVINO GenAI cannot read {source}: {engine_words(error)}",
            hint="use its Q4_0, Q4_1, Q8_0 or F16 file, or convert the Hugging Face model it was made from",
        ) from error
