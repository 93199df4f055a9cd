"""Options of a conversion, refused where they do not go together, and the recipe of each weight format."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError
from llmbench.models.manifest import Recipe

CONVERT_FORMATS = ("fp32", "fp16", "int8", "int4")
DEFAULT_RATIO = 1.0
DEFAULT_GROUP_SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """What to convert and how; ``None`` and an empty tuple leave the choice to llmbench."""

    model_id: str
    output_dir: Path
    weight_formats: tuple[str, ...] = ()
    ratio: float | None = None
    group_size: int | None = None
    is_symmetric: bool | None = None
    revision: str | None = None
    trusts_remote_code: bool = False
    overwrite: bool = False
    least_agreement: float | None = None
    requires_sdpa: bool = False

    def __post_init__(self) -> None:
        for name in self.weight_formats:
            if name not in CONVERT_FORMATS:
                raise InputError(
                    f"weight format {name!r} is unknown", hint=f"choose from {', '.join(CONVERT_FORMATS)}"
                )
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise InputError(f"--ratio {self.ratio:g} is not a share from 0 to 1")
        if self.least_agreement is not None and not 0 <= self.least_agreement <= 1:
            raise InputError(f"--min-agreement {self.least_agreement:g} is not a share from 0 to 1")
        if self.group_size is not None and self.group_size != -1 and self.group_size < 1:
            raise InputError(f"--group-size {self.group_size} is neither positive nor -1 (a whole channel)")
        if (self.ratio, self.group_size) != (None, None) and "int4" not in self.weight_formats:
            raise InputError(
                "--ratio and --group-size are for int4 weights",
                hint="add --weight-format int4, or leave them out",
            )
        if self.is_symmetric is not None and not {"int8", "int4"} & set(self.weight_formats):
            raise InputError("--sym and --asym are for int8 and int4 weights", hint="leave them out")


def recipe_of(request: ConvertRequest, weight_format: str) -> Recipe:
    """Return the recipe of one weight format, with every default, so that it can be repeated."""
    recipe = Recipe(weight_format=weight_format, trusts_remote_code=request.trusts_remote_code)
    if weight_format in {"fp32", "fp16"}:
        return recipe
    recipe = dataclasses.replace(recipe, is_symmetric=bool(request.is_symmetric))
    if weight_format == "int8":
        return recipe
    return dataclasses.replace(
        recipe,
        ratio=DEFAULT_RATIO if request.ratio is None else request.ratio,
        group_size=DEFAULT_GROUP_SIZE if request.group_size is None else request.group_size,
        may_shrink_groups=request.group_size is None,
    )


def check_format(request: ConvertRequest, precision: str, what: str) -> None:
    """Refuse a weight format other than the one the source has."""
    if set(request.weight_formats) - {precision}:
        raise InputError(
            f"{what}; --weight-format {','.join(request.weight_formats)} cannot change that",
            hint="leave --weight-format out, or give the Hugging Face model",
        )
