"""Every setting of a configuration; the module stands alone, because it joins those of all workloads.

The command line, recipes, sweeps and the commands that reports print are derived from these rows. A new option is a new
row in the module of its workload, and a new field of `RunConfig` if the run file is to contain it; its default is the
field's.
"""

from llmbench.schema.settings.any_workload import CONDITION_SETTINGS, EXECUTION_SETTINGS, INPUT_SETTINGS
from llmbench.schema.settings.embedding import EMBEDDING_SETTINGS
from llmbench.schema.settings.pipeline import PIPELINE_SETTINGS
from llmbench.schema.settings.rag import RAG_SETTINGS
from llmbench.schema.settings.speech import SPEECH_SETTINGS
from llmbench.schema.settings.text import GENERATION_SETTINGS
from llmbench.schema.settings.vision import VISION_SETTINGS

PARAMETERS = (*PIPELINE_SETTINGS, *SPEECH_SETTINGS, *EMBEDDING_SETTINGS, *RAG_SETTINGS)
"""Options of some tasks only; each is a parameter of the configuration, by its name."""

SETTINGS = (
    *INPUT_SETTINGS,
    *VISION_SETTINGS,
    *EXECUTION_SETTINGS,
    *GENERATION_SETTINGS,
    *CONDITION_SETTINGS,
    *PARAMETERS,
)
"""Every option that says what to measure, in the order of ``--help``."""
