"""RUN.toml and ``-lc`` into values; errors name the file and the line."""

from llmbench.recipes.files import FOLDER, suggest
from llmbench.recipes.properties import Properties, read_properties
from llmbench.recipes.run_toml import read_run
from llmbench.recipes.values import RunValue

__all__ = ["FOLDER", "Properties", "RunValue", "read_properties", "read_run", "suggest"]
