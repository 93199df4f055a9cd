"""Options of OpenVINO's llm_bench that are not here, for those who paste its command lines.

It stands alone as the other half of `docs/llm_bench.md`.
"""

_SHAPES = "leave it out: shapes are always dynamic"
_MEMORY = "leave it out: memory is always recorded"
_CHATS = "-n N: each iteration is one pass over whole chats"
_CALLBACKS = "leave it out: the engine decides how much text a callback has"
_LENGTHS = "--input-tokens N,...: prompts of exactly these lengths"

REPLACEMENTS = {
    "--genai": "leave it out: --engine genai is the default",
    "--use-cb": "leave it out: paged attention is the default",
    "-np": _LENGTHS,
    "--num-prefill-tokens": _LENGTHS,
    "-od": "--output-dir DIR: input and output texts are in the run file",
    "-mc": _MEMORY,
    "--memory-consumption": _MEMORY,
    "--memory-consumption-interval": _MEMORY,
    "--memory-consumption-dir": _MEMORY,
    "--convert-tokenizer": "leave it out: llmbench convert always makes tokenizer and detokenizer",
    "--set-torch-thread": "--threads N",
    "--from-onnx": "convert the model to an IR: llmbench convert --help",
    "--torch-compile-dynamic": _SHAPES,
    "--torch-compile-options": _SHAPES,
    "--torch-compile-input-module": _SHAPES,
    "--sd-generation-config": "--num-assistant-tokens N, or --assistant-confidence-threshold X",
    "--chat-iter": _CHATS,
    "--full-chat": _CHATS,
    "-tl": _CALLBACKS,
    "--tokens-len": _CALLBACKS,
}
"""What to type instead, by option."""

SHORT = tuple(name for name in REPLACEMENTS if not name.startswith("--"))
"""Those of several letters behind one dash, which click would take for ``-m`` and its value."""
