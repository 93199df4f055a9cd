"""The lexicon by which OpenVINO GenAI turns English into the phonemes of Kokoro: that of misaki, fetched once.

It stands alone because it is data of a package, and no model.
"""

import os

from llmbench.files.cache import cache_folder
from llmbench.models.parts import fetch_part
from llmbench.schema.pipeline import Part

LEXICON_VARIABLE = "MISAKI_DATA_DIR"
"""The variable of the environment by which the engine finds it; where a person has set it, that one is used."""

_FILES = {
    "gb_gold.json": "29e62f4b60261c88f7f3c2c7811ca3825978948090b72d2b27d565b729282f71",
    "gb_silver.json": "48131e2d92ccc41655f4543e87e0f938e71463eb5a54be7f0693bb712ebb6bce",
    "us_gold.json": "dc414872a49a28ae6c141463d502fd945f3b2fde040484fdc47d00cc4612686f",
    "us_silver.json": "de8f67be911bb6c659187b4a65fd966b6a30e56350e0f790d763210b053ac475",
}


def need_lexicon() -> None:
    """Have the engine find the lexicon, fetched where it is not in the cache; raise MachineError where it cannot be.

    It reads four files, two each of American and British English.
    """
    if LEXICON_VARIABLE in os.environ:
        return
    folder = cache_folder() / "parts" / "misaki-0.9.4"
    for file, sha256 in _FILES.items():
        fetch_part(
            Part(packages=("misaki==0.9.4",), file=file, sha256=sha256),
            folder,
            title=f"Kokoro's lexicon {file}",
            hint=f"go online once, or set {LEXICON_VARIABLE} to the folder data of the package misaki",
        )
    os.environ[LEXICON_VARIABLE] = str(folder)
