"""What engines that run an IR through OpenVINO have in common; it stands alone because each of them is a module."""

from collections.abc import Callable
from typing import Generic, TypeVar

from llmbench.engines.catalog import check_capabilities
from llmbench.engines.openvino.attention_trial import check_attention
from llmbench.engines.openvino.device import check_device, compile_properties
from llmbench.engines.openvino.tokenizer import Tokenizer, open_tokenizer
from llmbench.schema.config import RunConfig

_Session = TypeVar("_Session")


class OpenvinoEngine(Generic[_Session]):
    """An engine that compiles a model for a device; *session* loads it."""

    session: Callable[[RunConfig], _Session]

    def check(self, config: RunConfig) -> None:
        """Refuse what the engine or the device cannot do, before anything is loaded."""
        check_capabilities(config)
        properties = compile_properties(config)
        check_device(config.device, properties)
        self.check_options(config)
        check_attention(config, properties)

    def check_options(self, config: RunConfig) -> None:
        """Refuse options of this engine only."""

    def open_tokenizer(self, config: RunConfig) -> Tokenizer | None:
        """Return the tokenizer beside the model."""
        return open_tokenizer(config)

    def open(self, config: RunConfig) -> _Session:
        """Load and compile the model."""
        return type(self).session(config)
