"""A real model for the tests that need one: fetched once, kept in the user's cache folder."""

from pathlib import Path

import pytest

from llmbench import convert, fetch


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file."""
    return fetch.demo_model()


@pytest.fixture(scope="session")
def demo_ir(demo_gguf: Path) -> Path:
    """The IR folder of that model, with tokenizers and manifest."""
    request = convert.Request(model_id=str(demo_gguf), output_dir=fetch.demo_folder() / "models")
    (converted,) = convert.convert(request, lambda _progress: None)
    return converted.folder
