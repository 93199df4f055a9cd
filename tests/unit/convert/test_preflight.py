"""What is examined before an export, on variants of a tiny model; every step runs in this process."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench.convert import preflight
from llmbench.errors import InputError, LlmbenchError, MachineError
from llmbench.models.sources import check_tokenizer_packages
from tests import conversions

pytestmark = pytest.mark.filterwarnings("default")
row_42 = pytest.mark.fault(42, "the effective path gives other tokens than the source")
Weights = dict[str, object]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(conversions.tiny_model(), tmp_path / "source")


def _examine(folder: Path) -> tuple[str, ...]:
    model_type = str(json.loads((folder / "config.json").read_text())["model_type"])
    return preflight.examine_folder(
        folder, task=preflight.GENERATION, model_type=model_type, trusts_code=False, is_quantized=False
    )


def _edit_weights(folder: Path, edit: Callable[[str], bool], **config: object) -> None:
    """Keep the tensors whose name passes, and set values of config.json."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    kept = {name: tensor.clone() for name, tensor in load_file(path).items() if edit(name)}
    save_file(kept, path, metadata={"format": "pt"})
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, **config}))


@pytest.mark.convert
@pytest.mark.parametrize(
    ("model_type", "error", "message"),
    [
        ("gemma", MachineError, "the architecture 'gemma' is exported with transformers >=4.57,<=5.0"),
        ("clap", InputError, "does not export the architecture 'clap' as a language model"),
        ("never-heard-of", InputError, "does not export the architecture 'never-heard-of'"),
    ],
)
def test_an_architecture_is_checked_before_the_weights(
    copy: Path, *, model_type: str, error: type[LlmbenchError], message: str
) -> None:
    """Outside the exporter's range of transformers: the range, and the exact command to type.

    The weights here are no Gemma's, so had they been loaded, the error would be another.
    """
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": model_type}))

    with pytest.raises(error, match=message) as caught:
        _examine(copy)

    if error is MachineError:
        assert caught.value.hint == "pip install 'transformers>=4.57,<=5.0'"


@pytest.mark.convert
def test_a_tokenizer_that_cannot_spell_is_refused(copy: Path) -> None:
    """The fault that counts of tokens never show: without its decoder, spaces come out as Ġ."""
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps({**tokenizer, "decoder": None}))

    with pytest.raises(InputError, match="is broken: its round trip turns"):
        _examine(copy)


@row_42
@pytest.mark.convert
@pytest.mark.parametrize(
    ("part", "count", "first"),
    [
        ("lm_head", 1, "lm_head.weight"),
        ("layers.1.mlp", 3, "model.layers.1.mlp.down_proj.weight"),
        ("embed_tokens", 1, "model.embed_tokens.weight"),
        ("model.norm", 1, "model.norm.weight"),
        ("layers.0", 9, "model.layers.0.input_layernorm.weight"),
    ],
)
def test_missing_tensors_are_named(part: str, count: int, first: str, copy: Path) -> None:
    """They would be random numbers; nothing is exported."""
    _edit_weights(copy, lambda name: part not in name)

    with pytest.raises(InputError, match=f"lacks tensors of its architecture \\({count}\\): {first}"):
        _examine(copy)


@pytest.mark.convert
def test_tied_embeddings_are_not_missing(copy: Path) -> None:
    """One tensor serves both ends, so a file without lm_head is whole."""
    _edit_weights(copy, lambda name: "lm_head" not in name, tie_word_embeddings=True)

    assert not _examine(copy)


@pytest.mark.fault(47, "a checkpoint that is not whole, or whose files are something else")
@pytest.mark.convert
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate_size": 9}, r"tensors of other shapes than config\.json \(3\): model\.layers"),
        ({"hidden_act": "nope"}, "do not fit its architecture: KeyError: 'nope'"),
        ({"eos_token_id": "2"}, r"cannot read .*config\.json: .*'eos_token_id': \w"),
        ({"dtype": "float99"}, r"cannot read .*config\.json: .*float99"),
        ({"is_encoder_decoder": True}, r"is a model for text2text-generation \(LlamaForCausalLM\)"),
        ({"architectures": ["BertForMaskedLM"]}, r"is a model for fill-mask \(BertForMaskedLM\)"),
        ({"architectures": ["BertModel"]}, r"is a model for feature-extraction \(BertModel\)"),
    ],
)
def test_a_configuration_is_not_blamed_on_the_tokenizer(
    changes: dict[str, object], message: str, copy: Path
) -> None:
    """Values of a wrong kind, and models for another task: exit 2 before an export, and what to do."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))

    with pytest.raises(InputError, match=message) as caught:
        _examine(copy)

    assert caught.value.hint


@row_42
@pytest.mark.convert
def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    """Transformers merges experts into one tensor, and only logs which of them it could not merge."""
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = tmp_path / "mixtral"
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = MixtralConfig(vocab_size=257, num_local_experts=4, num_key_value_heads=2, **sizes)
    MixtralForCausalLM(config).save_pretrained(folder)
    shutil.copytree(
        conversions.tiny_model(),
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("config.json", "*.safe*"),
    )
    _edit_weights(folder, lambda name: "experts.1.w1" not in name)

    with pytest.raises(InputError, match=r"lacks tensors .*layers\.0\.mlp\.experts\.gate_up_proj"):
        _examine(folder)


@pytest.mark.convert
def test_tensors_that_are_not_used_are_a_warning(copy: Path) -> None:
    """A config.json with one layer cuts the second off."""
    _edit_weights(copy, lambda _name: True, num_hidden_layers=1)

    (warning,) = _examine(copy)

    assert warning.startswith("9 tensors of the source are not part of this architecture: model.layers.1.")


@pytest.mark.convert
def test_code_of_a_tokenizer_is_not_run(copy: Path, tmp_path: Path) -> None:
    """The refusal comes before an export, and names the option."""
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}, "tokenizer_class": "X"}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    (copy / "tokenization_x.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(InputError, match="code of its own") as caught:
        _examine(copy)

    assert "--trust-remote-code" in str(caught.value.hint)
    assert not (tmp_path / "ran").exists()


@pytest.mark.convert
def test_a_sentencepiece_model_alone_is_enough(copy: Path) -> None:
    """Llama 2, Mistral and Yi have only tokenizer.model; the extra brings what reads it."""
    import sentencepiece

    from llmbench.workloads.text import corpus

    (copy / "corpus.txt").write_text(corpus().replace(". ", ".\n"))
    options = {"vocab_size": 600, "byte_fallback": True, "split_digits": True, "pad_id": -1, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        input=str(copy / "corpus.txt"), model_prefix=str(copy / "tokenizer"), model_type="bpe", **options
    )
    (copy / "tokenizer.json").unlink()
    described = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (copy / "tokenizer_config.json").write_text(json.dumps(described))

    assert not _examine(copy)


@pytest.fixture
def bare_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Python in which no package is installed."""
    with monkeypatch.context() as patch:
        patch.setattr("sys.path", [])
        yield


@pytest.mark.usefixtures("bare_python")
@pytest.mark.parametrize(
    ("name", "content", "packages"),
    [
        ("tokenizer.model", b"\n\x0e\n\x05<unk>", "sentencepiece protobuf"),
        ("spiece.model", b"\n\x0e\n\x05<unk>", "sentencepiece protobuf"),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", "tiktoken"),
        ("qwen.tiktoken", b"IQ== 0\n", "tiktoken"),
        ("tekken.json", b"{}", "mistral-common"),
    ],
)
def test_the_packages_that_a_tokenizer_needs_are_named(
    name: str, content: bytes, packages: str, tmp_path: Path
) -> None:
    """Exit 4 before the export; with a tokenizer.json nothing more is needed."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(MachineError, match="not installed here") as caught:
        check_tokenizer_packages(tmp_path)

    assert f"pip install {packages}" == caught.value.hint
    (tmp_path / "tokenizer.json").write_text("{}")
    check_tokenizer_packages(tmp_path)
