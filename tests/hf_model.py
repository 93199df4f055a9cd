"""Hugging Face folders without a hub: a real model made from a GGUF, and a tiny one of random weights.

transformers reads a GGUF's weights well but builds a broken tokenizer from it, so the tokenizer is made here. The
tiny model is for the speed of tests, not for proof.
"""

from pathlib import Path

CONTROL_TOKEN = 3
"""``tokenizer.ggml.token_type`` of a token that is never text."""

TINY_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def build(gguf: Path, folder: Path) -> Path:
    """*folder*, holding the model of *gguf* as a hub would."""
    folder.mkdir(parents=True)
    _save_weights(gguf, folder)
    _save_tokenizer(gguf, folder)
    return folder


def build_tiny(folder: Path) -> Path:
    """*folder*, holding a Llama of two layers and random weights, and a tokenizer of single bytes."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    end = "</s>"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(end, special=True, normalized=False)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=TINY_TEMPLATE, eos_token=end, pad_token=end
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet) + 1,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=len(alphabet),
        pad_token_id=len(alphabet),
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    return folder


def build_alibi(folder: Path) -> Path:
    """*folder*, holding an MPT of two layers: ALiBi biases, which GenAI's paged attention gets wrong (2026.4.1)."""
    import torch
    from transformers import MptConfig, MptForCausalLM

    build_tiny(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 512, "vocab_size": 257}
    config = MptConfig(**sizes, initializer_range=0.2, bos_token_id=None, eos_token_id=256, pad_token_id=256)
    MptForCausalLM(config).save_pretrained(folder)
    return folder


def build_xglm(folder: Path) -> Path:
    """*folder*, holding an XGLM of two layers, whose attention optimum-intel 2.1 exports unfused."""
    import torch
    from transformers import XGLMConfig, XGLMForCausalLM

    build_tiny(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4, "vocab_size": 257}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"), 256)
    config = XGLMConfig(**sizes, **ids, max_position_embeddings=512, init_std=0.2)
    XGLMForCausalLM(config).save_pretrained(folder)
    return folder


def build_cross_encoder(folder: Path, tokenizer: Path) -> Path:
    """*folder*, holding a BERT of two layers and random weights that scores pairs of texts."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    found = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(
        vocab_size=found.vocab_size,
        **sizes,
        max_position_embeddings=128,
        num_labels=1,
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    found.save_pretrained(folder)
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
