"""A real Hugging Face folder without a hub: a GGUF's weights beside a tokenizer built from its vocabulary.

transformers reads a GGUF's weights well but builds a broken tokenizer from it, so the tokenizer is made here.
"""

import json
import shutil
from pathlib import Path

CONTROL_TOKEN = 3
"""``tokenizer.ggml.token_type`` of a token that is never text."""


def build(gguf: Path, folder: Path) -> Path:
    """*folder*, holding the model of *gguf* as a hub would; made once, under a temporary name, and kept."""
    if (folder / "config.json").exists():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _save_weights(gguf, partial)
    _save_tokenizer(gguf, partial)
    partial.rename(folder)
    return folder


def _save_weights(gguf: Path, folder: Path) -> None:
    """Write config.json and the weights as bfloat16 safetensors, the way such models are published."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    model.save_pretrained(folder, safe_serialization=True)


def _save_tokenizer(gguf: Path, folder: Path) -> None:
    """Write a byte-level BPE tokenizer with the GGUF's vocabulary, merges, control tokens and chat template."""
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(gguf).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    kinds = fields["tokenizer.ggml.token_type"].contents()
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    named = {
        f"{name}_token": tokens[fields[f"tokenizer.ggml.{key}_token_id"].contents()]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))
    }
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=fields["tokenizer.chat_template"].contents(),
        clean_up_tokenization_spaces=False,
        **named,
    ).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {key: tokens.index(named[key.removesuffix("_id")]) for key in ("bos_token_id", "eos_token_id")}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
