"""A real model for the tests that need one: fetched and converted once, kept in the user's cache folder."""

import functools
from pathlib import Path

import pytest

from llmbench.convert.pipeline import Converted
from llmbench.models import demo
from tests import command
from tests import conversions as kept
from tests.command import RunCommand

FORMATS = ("fp16", "int8", "int4")


@pytest.fixture
def llmbench(tmp_path: Path) -> RunCommand:
    """Runs the command in a process of its own: the launcher inside this one runs the scripted engine only."""
    return functools.partial(command.as_process, tmp_path)


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file."""
    return demo.demo_model()


@pytest.fixture(scope="session")
def demo_ir(demo_gguf: Path) -> Path:
    """The IR folder of that model, with tokenizers and manifest."""
    (made,) = kept.converted(demo_gguf).values()
    return made.folder


@pytest.fixture(scope="session")
def real_folder(demo_gguf: Path) -> Path:
    """A Hugging Face folder with a real model."""
    return kept.real_model(demo_gguf)


@pytest.fixture(scope="session")
def conversions(real_folder: Path) -> dict[str, Converted]:
    """That model in each weight format."""
    return kept.converted(real_folder, *FORMATS)
