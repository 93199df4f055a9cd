"""How long a language model makes a person wait, on this machine: LLM latency on OpenVINO."""

from llmbench._version import __version__

__all__ = ["__version__"]
