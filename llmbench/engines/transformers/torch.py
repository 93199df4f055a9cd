"""PyTorch on the CPU: the model as it was published, for reference. Needs the extra ``convert``."""

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from llmbench.engines.base import Engine
from llmbench.engines.catalog import check_capabilities, check_packages
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.tokenizer import Tokenizer
from llmbench.engines.transformers.compile import Compiler, check_compiler, set_cache_folder
from llmbench.engines.transformers.generate import GenerateSession
from llmbench.errors import InputError, MachineError
from llmbench.models.safetensors import missing_weights
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.settings.any_workload import COMPILER

_DTYPES = ("float32", "bfloat16", "float16")
_DTYPE = "DTYPE"


class _HubTokenizer:
    """A Hugging Face tokenizer behind the words of OpenVINO GenAI's."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.chat_template: str | None = tokenizer.chat_template

    def get_bos_token_id(self) -> int:
        """The token in front of a text; -1 if there is none."""
        found = self._tokenizer.bos_token_id
        return -1 if found is None else int(found)

    def get_eos_token_id(self) -> int:
        """The token at the end of a text; -1 if there is none."""
        found = self._tokenizer.eos_token_id
        return -1 if found is None else int(found)

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:
        """Token ids, where GenAI's tokenizer has them."""
        ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return SimpleNamespace(input_ids=SimpleNamespace(data=[ids]))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True))

    def apply_chat_template(self, chat: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
        """A chat as text."""
        return str(
            self._tokenizer.apply_chat_template(
                list(chat), add_generation_prompt=add_generation_prompt, tokenize=False
            )
        )


class TorchEngine(Engine):
    """transformers' own model on the CPU.

    ``-lc DTYPE=float32`` chooses another type than the model's, ``--torch-compile`` has its forward pass compiled.
    """

    def check(self, config: RunConfig) -> None:
        """Refuse what this engine or its packages cannot do, before anything is loaded."""
        check_capabilities(config)
        if config.device != "CPU":
            raise MachineError(
                f"device {config.device} is not available to the torch engine (available: CPU)",
                hint="use -d CPU",
            )
        for name, value in config.properties.items():
            if name not in {_DTYPE, COMPILER}:
                raise InputError(
                    f"the torch engine has no property {name!r}", hint=f"it has {_DTYPE} and {COMPILER}"
                )
            if name == _DTYPE and value not in _DTYPES:
                raise InputError(
                    f"property {name} does not take {value!r}", hint=f"it takes {', '.join(_DTYPES)}"
                )
        check_packages(config, "accelerate")
        if COMPILER in config.properties:
            check_compiler(config.properties[COMPILER], config)

    def open(self, config: RunConfig) -> GenerateSession:
        """Read the model; what is to be compiled is compiled in the first request."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        set_cache_folder()
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if config.threads is not None:
            torch.set_num_threads(config.threads)
        with engine_failures("loading"):
            model, found = AutoModelForCausalLM.from_pretrained(
                config.model,
                output_loading_info=True,
                dtype=config.properties.get(_DTYPE, "auto"),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
            model.eval()
            native = AutoTokenizer.from_pretrained(
                config.model, local_files_only=True, trust_remote_code=False
            )
        if found["missing_keys"]:
            raise missing_weights(config.model, sorted(found["missing_keys"]))
        properties = {
            _DTYPE: str(model.dtype).removeprefix("torch."),
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
        }
        compiler = None
        if COMPILER in config.properties:
            properties[COMPILER] = str(config.properties[COMPILER])
            compiler = Compiler(model, properties[COMPILER])
        kind = getattr(model.config, "_attn_implementation", None)
        effective = EffectiveSettings(properties=properties, attention=kind)
        return GenerateSession(
            model,
            Tokenizer(_HubTokenizer(native)),
            config,
            read_effective=lambda: effective,
            compiler=compiler,
        )
