"""A real model for the tests that need one: fetched once, kept in the user's cache folder."""

from pathlib import Path

import pytest

from llmbench.convert import pipeline
from llmbench.convert.pipeline import Converted
from llmbench.convert.request import ConvertRequest
from llmbench.files import cache
from llmbench.models import demo
from tests import hf_model

FORMATS = ("fp16", "int8", "int4")


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file."""
    return demo.demo_model()


@pytest.fixture(scope="session")
def demo_ir(demo_gguf: Path) -> Path:
    """The IR folder of that model, with tokenizers and manifest."""
    request = ConvertRequest(model_id=str(demo_gguf), output_dir=demo.demo_folder() / "models")
    (converted,) = pipeline.convert(request, lambda _progress: None)
    return converted.folder


@pytest.fixture(scope="session")
def real_folder(demo_gguf: Path) -> Path:
    """A Hugging Face folder with a real model; kept in the user's cache, for it takes half a minute."""
    return hf_model.build(demo_gguf, cache.cache_folder() / "tests" / "SmolLM2-135M-Instruct")


@pytest.fixture(scope="session")
def conversions(real_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    """That model in each weight format."""
    output = tmp_path_factory.mktemp("converted")
    request = ConvertRequest(model_id=str(real_folder), output_dir=output, weight_formats=FORMATS)
    made = list(pipeline.convert(request, lambda _progress: None))
    return {str(converted.manifest.recipe.weight_format): converted for converted in made}
