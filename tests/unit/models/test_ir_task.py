"""IRs that are no language model with a KV cache of its own: named as what they are, with what runs them."""

import json
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.models import ir_task, locate, sources
from llmbench.models.resolve import find_model_info

SMALL = (
    '<net><layer id="0" type="Const"><data element_type="f32" shape="1" offset="0" size="4"/></layer></net>'
)
ENDS = {"beam_idx": '<layer id="9" type="ReadValue"><data variable_id="k"/></layer>'}


def _network(inputs: tuple[str, ...], output: str) -> str:
    """An IR with these inputs and one output; a beam_idx stands for a state."""
    layers = "".join(
        f'<layer id="{i}" name="{name}" type="Parameter"><output><port id="0" names="{name}"/></output></layer>'
        for i, name in enumerate(inputs)
    )
    state = ENDS["beam_idx"] if "beam_idx" in inputs else ""
    result = f'<layer id="8" type="Result" output_names="{output}"><input><port id="0"/></input></layer>'
    return f'<net name="m"><layers>{layers}{state}{result}</layers></net>'


def _ir(folder: Path, network: str, architecture: str = "LlamaForCausalLM") -> Path:
    """A whole IR folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("openvino_tokenizer", "openvino_detokenizer"):
        (folder / f"{part}.xml").write_text(SMALL)
        (folder / f"{part}.bin").write_bytes(bytes(4))
    (folder / "openvino_model.xml").write_text(network)
    (folder / "openvino_model.bin").write_bytes(bytes(4))
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return folder


IDS, MASK, BEAM = "input_ids", "attention_mask", "beam_idx"
PAST = ("past_key_values.0.key", "past_key_values.0.value")
NETWORKS = [
    ((IDS, MASK), "logits", "LlamaForCausalLM", "exported with --task text-generation"),
    ((IDS, MASK, *PAST), "logits", "LlamaForCausalLM", "exported with --disable-stateful"),
    ((IDS, MASK), "last_hidden_state", "BertModel", "for feature-extraction"),
    ((IDS, MASK), "logits", "BertForSequenceClassification", "for text-classification"),
    ((IDS, MASK), "logits", "BertForMaskedLM", "for fill-mask"),
    ((IDS, MASK, "cache_position", BEAM), "logits", "MambaForCausalLM", "is a state-space model"),
    (("pixel_values",), "logits", "ViTForImageClassification", "for image-classification"),
]


@pytest.mark.parametrize("engine", ["genai", "core"])
@pytest.mark.parametrize(("inputs", "output", "architecture", "expected"), NETWORKS)
def test_a_network_that_cannot_generate_is_refused_before_loading(
    *, inputs: tuple[str, ...], output: str, architecture: str, expected: str, engine: str, tmp_path: Path
) -> None:
    """Its .xml tells, and the remedy is named; no engine is imported."""
    folder = _ir(tmp_path / "a model", _network(inputs, output), architecture)

    with pytest.raises(InputError, match=expected) as caught:
        find_model_info(str(folder), engine=engine)

    assert any(
        word in str(caught.value.hint) for word in ("text-generation-with-past", "--engine optimum", "'")
    )


@pytest.mark.parametrize(
    ("output", "architecture", "found"),
    [
        ("logits", "LlamaForCausalLM", "for text-generation; text embedding needs"),
        ("logits", "BertForMaskedLM", "for fill-mask; text embedding needs"),
        ("last_hidden_state", "BertModel", None),
        ("sentence_embedding", "XLMRobertaModel", None),
    ],
)
def test_a_task_that_generates_nothing_takes_its_own_kind_of_network(
    output: str, architecture: str, found: str | None, tmp_path: Path
) -> None:
    """An encoder without a head makes vectors; anything with logits does not."""
    folder = str(_ir(tmp_path, _network((IDS, MASK), output), architecture))

    if found is None:
        assert folder == find_model_info(folder, engine="genai", task="text_embed").path
        return
    with pytest.raises(InputError, match=found):
        find_model_info(folder, engine="genai", task="text_embed")


def test_a_network_with_a_state_passes(tmp_path: Path) -> None:
    """As optimum-intel exports a language model; Mamba has no beam_idx, but a state."""
    found = find_model_info(str(_ir(tmp_path, _network((IDS, MASK, BEAM), "logits"))), engine="genai")

    assert str(tmp_path) == found.path


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "fill-mask"),
        ({"architectures": ["BertForPreTraining"]}, "fill-mask"),
        ({"architectures": ["BertModel"]}, "feature-extraction"),
        ({"architectures": ["RobertaForSequenceClassification"]}, "text-classification"),
        (
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "text2text-generation",
        ),
        (
            {"architectures": ["BartForConditionalGeneration"], "is_encoder_decoder": True},
            "text2text-generation",
        ),
    ],
)
def test_a_published_model_that_is_not_causal_is_refused_from_its_config(
    config: dict[str, object], task: str, tmp_path: Path
) -> None:
    """As `-f pt` runs it: no weights are needed to see it."""
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(InputError, match=f"is a model for {task} .*{config['architectures'][0]}"):  # type: ignore[index]
        find_model_info(str(tmp_path), engine="torch")


@pytest.mark.parametrize(
    "name",
    ["LlamaForCausalLM", "GPT2LMHeadModel", "GPT2DoubleHeadsModel", "Gemma3ForConditionalGeneration", ""],
)
def test_a_published_model_that_is_causal_passes(name: str, tmp_path: Path) -> None:
    """Whatever the class is called; without a name the engine has to see."""
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))

    ir_task.check_causal(tmp_path)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForSequenceClassification"])
def test_optimum_refuses_an_ir_that_is_not_causal(name: str, tmp_path: Path) -> None:
    """It needs no state, but a model that generates."""
    with pytest.raises(InputError, match="is a model for"):
        find_model_info(str(_ir(tmp_path, _network((IDS, MASK), "logits"), name)), engine="optimum")


def test_optimum_needs_no_state(tmp_path: Path) -> None:
    """It feeds the past back itself."""
    find_model_info(str(_ir(tmp_path, _network((IDS, MASK, *PAST), "logits"))), engine="optimum")


FILES = [
    (("openvino_vision_embeddings_model.xml",), "image-text-to-text", "VLMPipeline"),
    (("openvino_encoder_model.xml", "t5"), "text2text-generation", "OVModelForSeq2SeqLM"),
    (("model_index.json",), "text-to-image", "Text2ImagePipeline"),
    (("unet/openvino_model.xml",), "text-to-image", "Text2ImagePipeline"),
]


@pytest.mark.parametrize(("files", "task", "pipeline"), FILES)
@pytest.mark.parametrize("depth", ["", "below/it"])
def test_an_ir_of_another_task_is_named(
    files: tuple[str, ...], task: str, pipeline: str, *, depth: str, tmp_path: Path
) -> None:
    """By `run`, also from a folder above, and by `convert`; the remedy can be pasted."""
    folder = tmp_path / depth
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if "." in name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(SMALL)
        else:
            (folder / "config.json").write_text(json.dumps({"model_type": name}))

    with pytest.raises(InputError, match=f"a model for {task}") as caught:
        locate.locate(tmp_path)
    assert f"{pipeline}(" in str(caught.value.hint)
    if "openvino_model.xml" not in files:
        with pytest.raises(InputError, match=f"a model for {task}"):
            sources.inspect_folder(folder, trusts_remote_code=False)


PAIR = ("openvino_encoder_model", "openvino_decoder_model")
TOKENIZERS = ("openvino_tokenizer", "openvino_detokenizer")
SPEECH = [
    ((*PAIR, *TOKENIZERS), "whisper", "speech_to_text"),
    ((*PAIR, "openvino_postnet", "openvino_vocoder", "openvino_tokenizer"), "speecht5", "text_to_speech"),
    (("openvino_model",), "kokoro", "text_to_speech"),
]


@pytest.mark.parametrize(("parts", "kind", "task"), SPEECH)
def test_a_model_of_speech_is_found_whole_and_for_its_task_alone(
    parts: tuple[str, ...], kind: str, task: str, tmp_path: Path
) -> None:
    """Each network must be there; another task is refused with the command that measures this one."""
    for part in parts:
        (tmp_path / f"{part}.xml").write_text(SMALL)
        (tmp_path / f"{part}.bin").write_bytes(bytes(4))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))

    assert str(tmp_path) == find_model_info(str(tmp_path), engine="genai", task=task).path
    other = {"text_to_speech": "speech_to_text", "speech_to_text": "text_embed"}[task]
    for wrong in ("text_gen", other):
        with pytest.raises(InputError, match="is a model for"):
            find_model_info(str(tmp_path), engine="genai", task=wrong)
    with pytest.raises(InputError) as caught:
        find_model_info(str(tmp_path), engine="genai")
    assert f"llmbench run -t {task} -m {tmp_path}" == caught.value.hint

    (tmp_path / f"{parts[-1]}.bin").unlink()
    with pytest.raises(InputError, match=f"{parts[-1]}.bin is missing"):
        find_model_info(str(tmp_path), engine="genai", task=task)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, True),
        ({"architectures": ["BertForSequenceClassification"]}, True),
        ({"architectures": ["BertModel"]}, False),
        ({"architectures": ["LlamaForCausalLM"]}, False),
    ],
)
def test_a_cross_encoder_is_known_by_its_class(
    tmp_path: Path, *, config: dict[str, object], expected: bool
) -> None:
    """One class, or two, which transformers does not write down."""
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert expected == ir_task.is_reranker_source(tmp_path)


def test_a_classifier_of_many_classes_is_no_cross_encoder(tmp_path: Path) -> None:
    """Its classes are counted in the error."""
    names = {"id2label": {str(number): f"LABEL_{number}" for number in range(5)}}
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": ["BertForSequenceClassification"], **names})
    )

    with pytest.raises(InputError, match="sorts texts into 5 classes"):
        ir_task.is_reranker_source(tmp_path)
