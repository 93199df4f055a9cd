from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.models.resolve import find_model_info


def test_pytorch_takes_a_folder_and_no_file(tmp_path: Path) -> None:
    """A GGUF file is named as what it is, with the engine that runs it."""
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")

    with pytest.raises(InputError, match=r"needs a Hugging Face folder; .*a\.gguf is a file"):
        find_model_info(str(file), engine="torch")
