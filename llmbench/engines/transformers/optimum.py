"""optimum-intel's ``OVModelForCausalLM``: the IR under transformers' own generation loop.

Needs the extra ``convert``. The tokenizer is the IR's own, so that every engine gets the same tokens.
"""

import os
from pathlib import Path
from typing import Any

from llmbench.engines.catalog import check_capabilities, check_packages
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.attention import prove_attention
from llmbench.engines.openvino.device import check_device, compile_properties, import_openvino, read_back
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.tokenizer import open_tokenizer
from llmbench.engines.transformers.generate import GenerateSession
from llmbench.errors import InputError
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings


def _load(config: RunConfig) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from optimum.intel import OVModelForCausalLM

    return OVModelForCausalLM.from_pretrained(
        config.model,
        export=False,
        local_files_only=True,
        device=config.device,
        ov_config={"PERFORMANCE_HINT": "LATENCY", **compile_properties(config)},
    )


EVERY_POSITION = "logits are computed for every position of a prompt, as the IR has it"


def effective_settings(compiled: Any, config: RunConfig, note: str = EVERY_POSITION) -> EffectiveSettings:
    """Return what a compiled model that generates tokens uses."""
    settings = EffectiveSettings(properties=read_back(compiled), notes=(note,))
    return prove_attention(compiled, Path(config.model)).in_settings(settings)


class OptimumEngine(OpenvinoEngine[GenerateSession]):
    """The IR through optimum-intel."""

    def check(self, config: RunConfig) -> None:
        """Refuse what this engine, its packages or the device cannot do, before anything is loaded."""
        check_capabilities(config)
        check_packages(config)
        if not (Path(config.model) / "config.json").is_file():
            raise InputError(
                f"the optimum engine needs a config.json beside the IR; {config.model} has none",
                hint="use --engine genai or core, or convert the Hugging Face model instead",
            )
        check_device(config.device, compile_properties(config))

    def open(self, config: RunConfig) -> GenerateSession:
        """Read and compile the model."""
        import_openvino()
        with engine_failures("loading"):
            model = _load(config)
        return GenerateSession(
            model,
            open_tokenizer(config),
            config,
            read_effective=lambda: effective_settings(model.request.get_compiled_model(), config),
        )
