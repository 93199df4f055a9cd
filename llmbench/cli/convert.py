"""``llmbench convert``: a Hugging Face model, a hub's model or a GGUF file to verified OpenVINO IR."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from llmbench.cli.messages import say, shown, warn
from llmbench.cli.options.table import recipe_options
from llmbench.cli.options.types import Command, ParsedType
from llmbench.convert.attention import attention_line
from llmbench.convert.pipeline import Converted, convert
from llmbench.convert.request import CONVERT_FORMATS, ConvertRequest
from llmbench.convert.verification import EXPECTED
from llmbench.errors import InputError
from llmbench.models.manifest import Manifest
from llmbench.schema.progress import Progress
from llmbench.schema.tasks import DEFAULT_TASK
from llmbench.schema.units import counted, format_bytes, format_duration

_CLOSE = 0.97
"""The agreement from which on a format needs no excuse."""


class WeightFormats(ParsedType[tuple[str, ...]]):
    """``int8`` or ``fp16,int8,int4`` as a tuple of weight formats."""

    name = "FORMAT"
    parsed = tuple

    def parse(self, value: object) -> tuple[str, ...]:
        """Return the formats, in the order given."""
        found = tuple(part.strip().lower() for part in str(value).split(",") if part.strip())
        unknown = [part for part in found if part not in CONVERT_FORMATS]
        if unknown or not found:
            raise ValueError(f"{', '.join(unknown) or value!r} is not one of {', '.join(CONVERT_FORMATS)}")
        return found


@click.command(
    cls=Command,
    epilog="""
    llmbench convert --model-id HuggingFaceTB/SmolLM2-135M-Instruct --output-dir models --weight-format int8
    llmbench convert --model-id HuggingFaceTB/SmolLM2-135M-Instruct --weight-format int8,int4
    llmbench convert --model-id ./my-model --output-dir models --weight-format int8,int4 --group-size 64
    llmbench convert --model-id model-q4_0.gguf --output-dir models""",
)
@click.option(
    "--model-id",
    required=True,
    metavar="ID|DIR|FILE",
    help="A hub's name, a folder, a GGUF, or a pipeline's recipe.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder; the IR goes to pytorch/dldt/<FP32|FP16|INT8|INT4> below it.  [default: models/<name of the model>]",
)
@click.option(
    "--weight-format",
    "weight_formats",
    multiple=True,
    type=WeightFormats(),
    metavar="|".join(CONVERT_FORMATS),
    help="May be repeated, or separated by commas.  [default: fp16; a GGUF or an IR keeps its own]",
)
@click.option("--ratio", type=float, help="Share of the weights in int4, the rest int8.  [default: 1.0]")
@click.option(
    "--group-size", type=int, help="Weights per int4 scale.  [default: 128, reduced if a layer needs it]"
)
@click.option(
    "--sym/--asym", "is_symmetric", default=None, help="Integer weights around zero.  [default: asym]"
)
@click.option("--revision", help="Branch, tag or commit of a hub's model.")
@click.option(
    "--trust-remote-code",
    "--trust-recipe-code",
    "trusts_remote_code",
    is_flag=True,
    help="Run Python code that comes with the model or recipe; a hub's needs --revision COMMIT.",
)
@click.option(
    "--min-agreement",
    "least_agreement",
    type=float,
    metavar="SHARE",
    help="Keep a model that agrees with its source on so few next tokens.  [default: 0.3]",
)
@click.option(
    "--require-sdpa",
    "requires_sdpa",
    is_flag=True,
    help="Fail (exit 5) unless every attention layer of the language model is fused (SDPA).",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing conversion.")
def command(weight_formats: tuple[tuple[str, ...], ...], output_dir: Path | None, **options: Any) -> None:
    """Turn a model into OpenVINO IR, verify it against its source, and leave a manifest beside it.

    A GGUF file is read by the engine itself and keeps its weights. A hub's model that is an IR already is fetched.
    """
    formats = tuple(dict.fromkeys(name for group in weight_formats for name in group))
    from llmbench.convert.recipe import is_pipeline  # which imports numpy

    if is_pipeline(options["model_id"]):
        _convert_recipe(
            Path(options["model_id"]), output_dir, formats, trusts_code=options["trusts_remote_code"]
        )
        return
    output = output_dir or Path("models") / Path(
        options["model_id"]
    ).expanduser().absolute().name.removesuffix(".gguf")
    request = ConvertRequest(weight_formats=formats, output_dir=output, **options)
    for converted in watch_conversion(request):
        say(*describe_conversion(converted))
        warn(*converted.manifest.warnings)
        say(f"  next       {_next_command(converted)}", is_whole=True)
        say(attention_line(converted.attention))


def _next_command(converted: Converted) -> str:
    """Return the command that measures a conversion."""
    model = f"-m {shlex.quote(str(converted.folder))}"
    if converted.manifest.task != DEFAULT_TASK:
        return f"llmbench run -t {converted.manifest.task} {model}"
    images = " --images FILE" if converted.manifest.images is not None else ""
    return f"llmbench run {model}{images}"


def _convert_recipe(
    path: Path, output_dir: Path | None, formats: tuple[str, ...], *, trusts_code: bool
) -> None:
    """Convert the networks of a pipeline's recipe, and say which recipe uses them."""
    (weight_format, *others) = formats or ("fp16",)
    if others or weight_format not in {"fp16", "fp32"}:
        raise InputError(
            f"--weight-format {','.join(formats)}: the networks of a pipeline are stored as fp16 or fp32",
            hint="give one of them",
        )
    output = output_dir or Path("models") / path.stem
    screen = progress_screen()
    prompts = recipe_options(path).get("prompt") or ("Hello.",)
    with screen.shown():
        from llmbench.convert.recipe import convert_pipeline

        made = convert_pipeline(
            path,
            output,
            text=str(prompts[0]),
            weight_format=weight_format,
            report=screen.report,
            trusts_code=trusts_code,
        )
    for stage in made.stages:
        agreement = (
            "not compared, it repeats"
            if stage.cosine is None
            else f"cosine with its source {stage.cosine:.6f}"
        )
        say(f"{stage.folder}: {weight_format}, {format_bytes(stage.size_bytes)}, {agreement}")
    say(f"  next       llmbench run -c {shlex.quote(str(made.recipe))}", is_whole=True)


def progress_screen() -> "_Live | _Plain":
    """Return what shows progress on standard error: a line that moves on a terminal, else a line per step."""
    return _Live() if sys.stderr.isatty() else _Plain()


def watch_conversion(request: ConvertRequest) -> Iterator[Converted]:
    """Yield each conversion of a request; progress is on standard error while it is made."""
    screen = progress_screen()
    conversions = convert(request, screen.report)
    while True:
        with screen.shown():
            converted = next(conversions, None)
        if converted is None:
            return
        yield converted


def convert_once(request: ConvertRequest, model: str) -> list[Path]:
    """Convert a model that the cache keeps from now on, and describe it on standard error; return the folders."""
    click.echo(shown(f"{model} is converted once, and kept in {request.output_dir}"), err=True)
    folders = []
    for converted in watch_conversion(request):
        click.echo(shown("\n".join(describe_conversion(converted))), err=True)
        folders.append(converted.folder)
    return folders


def describe_conversion(converted: Converted) -> tuple[str, ...]:
    """Describe a conversion in a few lines: where it is, what it is, how it was verified, and what that took."""
    manifest = converted.manifest
    size = sum(file.bytes for file in manifest.files.values())
    context = counted(manifest.context_tokens, "token") if manifest.context_tokens else "unknown"
    if manifest.agreement is None:
        agreement = manifest.agreement_note or "not measured"
    elif manifest.task != DEFAULT_TASK:
        agreement = f"{manifest.agreement:.4f} ({manifest.agreement_note})"
    else:
        note = f" ({manifest.agreement_note})" if manifest.agreement_note else ""
        agreement = f"{manifest.agreement:.3f} of next tokens{note}"
    times = (
        ("export", manifest.timings.export_s),
        ("verification", manifest.timings.verify_s),
        ("hashing", manifest.timings.hash_s),
    )
    state = "" if converted.is_new else " was there already, nothing was done"
    return (
        f"{converted.folder}{state}",
        f"  weights    {manifest.recipe.weight_format}, {format_bytes(size)}; context {context}",
        *_embedding(manifest),
        *([f"  images     {manifest.images}"] if manifest.images is not None else []),
        f"  agreement  {agreement}",
        *(f"             {judgement}" for judgement in _judgement(manifest)),
        f"  took       {', '.join(f'{name} {_seconds(s)}' for name, s in times if s is not None)}",
    )


def _embedding(manifest: Manifest) -> Iterator[str]:
    use = manifest.embedding
    if use is not None:
        yield f"  vectors    {use.pooling} pooling, {'normalized' if use.is_normalized else 'not normalized'}"


def _judgement(manifest: Manifest) -> Iterator[str]:
    share, name = manifest.agreement, (manifest.recipe.weight_format or "").lower()
    if share is None or name not in EXPECTED or manifest.task != DEFAULT_TASK:
        return
    differ = f"{1 - share:.0%} of next tokens differ from the source"
    if share < EXPECTED[name]:
        yield f"LOW: {differ}; {name} usually agrees on {EXPECTED[name]:.0%} or more, so check its output"
    elif share < _CLOSE:
        yield f"usual for {name}: {differ}; small models lose more than large ones"
    else:
        yield f"as good as the source for most purposes: {differ}"


def _seconds(seconds: float) -> str:
    """A step's time; tenths where it is short."""
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(seconds)


class _Plain:
    """Progress where there is no terminal: a line as each step begins."""

    def report(self, progress: Progress) -> None:
        """Print a step that begins."""
        if progress.share is None:
            click.echo(shown(f"{progress.label} …"), err=True)

    def shown(self) -> AbstractContextManager[object]:
        """Nothing stays on the screen."""
        return contextlib.nullcontext()


class _Live:
    """Progress on a terminal: one line that moves, gone where a result is printed."""

    def __init__(self) -> None:
        self._step = self._part = ""

    def report(self, progress: Progress) -> None:
        """Show a step that begins, or how far a part of it is; what follows a finished part is the step again."""
        if progress.share is None:
            self._step, self._part = progress.label, ""
        else:
            self._part = f"{progress.label.lower()} {progress.share:.0%}" if progress.share < 1 else ""

    def describe(self) -> tuple[str, ...]:
        """Return the step, and the part of it that is not finished."""
        return (self._step, self._part)

    def shown(self) -> AbstractContextManager[object]:
        """Return the line, which is on the screen while the block runs."""
        from llmbench.render.terminal.live import LiveLine

        return LiveLine(self.describe)
