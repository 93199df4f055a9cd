"""Options of OpenVINO's llm_bench that are not here, for those who paste its command lines.

It stands alone as the other half of `docs/llm_bench.md`.
"""

_SHAPES = "leave it out: shapes are always dynamic"
_MEMORY = "leave it out: memory is always recorded"
_CHATS = "-n N: each iteration is one pass over whole chats"
_CALLBACKS = "leave it out: the engine decides how much text a callback has"
_LENGTHS = "--input-tokens N,...: prompts of exactly these lengths"
_TEXT_LENGTHS = "--input-tokens N,...: texts of exactly these lengths"
_CANDIDATES = "-bs N --input-tokens M,...: N texts of exactly M tokens are judged in each request"
_PADDING = "leave it out: texts are as long as they are, and the model's own tokenizer pads a batch"
_PRUNING = "leave it out: all image tokens are kept"
_MADE_IMAGES = "llm_bench itself: making images and films is not measured here"
_FILMS = "--images FILE.png for each frame: films are not measured here"

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
    "-mc-dir": _MEMORY,
    "--memory-consumption-cooldown": _MEMORY,
    "--memory-sampler": _MEMORY,
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
    "--embedding-pooling": "--pooling cls, mean or last_token; without it the model's own",
    "--embedding-normalize": "leave it out: vectors are normalized unless --no-normalize is given",
    "--embedding-max-length": _TEXT_LENGTHS,
    "--embedding-pad-to-max-length": _PADDING,
    "--embedding-padding-side": _PADDING,
    "--embedding-prompt": "-p TEXT: the instruction before the text",
    "--reranking-max-length": _TEXT_LENGTHS,
    "--reranking-top-n": "leave it out: all texts are judged, and none is left out",
    "--texts": _CANDIDATES,
    "--texts-file": _CANDIDATES,
    "--vocoder-path": "leave it out: the vocoder is in the folder of the converted model",
    "--pruning-ratio": _PRUNING,
    "--relevance-weight": _PRUNING,
    "--video": _FILMS,
    "--video-frames": _FILMS,
    "-vf": _FILMS,
    **dict.fromkeys(
        (
            "-mi",
            "--mask-image",
            "--height",
            "--width",
            "--num-steps",
            "--static-reshape",
            "--strength",
            "--frame-rate",
            "--num-frames",
            "--negative-prompt",
            "--taylorseer-config",
        ),
        _MADE_IMAGES,
    ),
}
"""What to type instead, by option."""

SHORT = tuple(name for name in REPLACEMENTS if not name.startswith("--"))
"""Those of several letters behind one dash, which click would take for ``-m`` and its value."""
