"""What an IR is for, by its files and its network: a language model that keeps its KV cache, or something else.

File names are those of optimum-intel 2.1; pipelines are those of OpenVINO GenAI 2026.4.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError
from llmbench.files.strict_json import read_object
from llmbench.models.integrity import LANGUAGE_XML, MODEL_XML, is_kokoro
from llmbench.models.ir_xml import Network
from llmbench.schema.tasks import DEFAULT_TASK, SPEECH_TO_TEXT, TEXT_TO_SPEECH, TaskInfo

_MOST_CLASSES = 2


@dataclass(frozen=True, slots=True)
class _ModelTask:
    """A task that is not text generation: its name on the hub, and what runs it."""

    title: str
    runs: str


_VISION = _ModelTask("image-text-to-text", "openvino_genai.VLMPipeline")
_WHISPER = _ModelTask("automatic-speech-recognition", "openvino_genai.WhisperPipeline")
_SEQ2SEQ = _ModelTask("text2text-generation", "optimum.intel.OVModelForSeq2SeqLM")
_DIFFUSION = _ModelTask("text-to-image", "openvino_genai.Text2ImagePipeline")
_SPEECH = _ModelTask("text-to-audio", "openvino_genai.Text2SpeechPipeline")
_EMBEDDING = _ModelTask("feature-extraction", "openvino_genai.TextEmbeddingPipeline")
_RERANK = _ModelTask("text-classification", "openvino_genai.TextRerankPipeline")
_GENERATION = _ModelTask("text-generation", "openvino_genai.LLMPipeline")
_TITLES = {
    "text_embed": _EMBEDDING.title,
    "text_rerank": _RERANK.title,
    TEXT_TO_SPEECH: _SPEECH.title,
    SPEECH_TO_TEXT: _WHISPER.title,
}
"""What the model of a workload that generates nothing is called on the hub."""

_MASKED = _ModelTask("fill-mask", "optimum.intel.OVModelForMaskedLM")

_BY_FILE = {
    "openvino_vision_embeddings_model.xml": _VISION,
    "openvino_thinker_language_model.xml": _VISION,
    "model_index.json": _DIFFUSION,
    "unet/openvino_model.xml": _DIFFUSION,
    "transformer/openvino_model.xml": _DIFFUSION,
    "vae_decoder/openvino_model.xml": _DIFFUSION,
}
"""Files that only one task has; the first that is there decides."""

_BY_ARCHITECTURE = {
    "ForSequenceClassification": _RERANK,
    "ForMaskedLM": _MASKED,
    "ForPreTraining": _MASKED,
    "ForTokenClassification": _ModelTask(
        "token-classification", "optimum.intel.OVModelForTokenClassification"
    ),
    "ForQuestionAnswering": _ModelTask("question-answering", "optimum.intel.OVModelForQuestionAnswering"),
    "ForImageClassification": _ModelTask(
        "image-classification", "optimum.intel.OVModelForImageClassification"
    ),
    "ForAudioClassification": _ModelTask(
        "audio-classification", "optimum.intel.OVModelForAudioClassification"
    ),
    "ForCTC": _ModelTask("automatic-speech-recognition", "optimum.intel.OVModelForCTC"),
}
"""Ends of a class name in config.json."""


def check_other_task(folder: Path) -> None:
    """Raise an ``InputError`` that names the task of an IR which is not a language model by itself."""
    task = _other_task(folder)
    if task is not None:
        raise _refusal(folder, task)


def is_other_task(folder: Path) -> bool:
    """Return whether *folder* contains an IR that is not a language model by itself, or a part of one."""
    return any(_other_task(each) is not None for each in (folder, folder.parent))


def _other_task(folder: Path) -> _ModelTask | None:
    if (folder / LANGUAGE_XML).exists():
        return None
    task = next((task for name, task in _BY_FILE.items() if (folder / name).exists()), None)
    if task is None and (folder / "openvino_encoder_model.xml").exists() and _speech(folder) is None:
        return _SEQ2SEQ
    return task


def _speech(folder: Path) -> _ModelTask | None:
    """What a model of speech is for; ``None`` where it is none."""
    if (folder / "openvino_vocoder.xml").exists() or is_kokoro(folder):
        return _SPEECH
    has_encoder = (folder / "openvino_encoder_model.xml").exists()
    return _WHISPER if has_encoder and "whisper" in _config(folder, "model_type") else None


def check_network(folder: Path, network: Network, *, task: TaskInfo, needs_state: bool) -> None:
    """Raise an ``InputError`` unless the *network* in *folder* is one for *task*; see `check_language_model`."""
    speech = _speech(folder)
    if task.is_generating:
        if speech is not None:
            raise _refusal(folder, speech)
        check_language_model(folder, network, needs_state=needs_state)
        return
    found = speech or _by_architecture(folder) or (_GENERATION if network.has_logits else _EMBEDDING)
    title = _TITLES.get(task.workload, found.title)
    if (speech or network.inputs) and found.title != title:
        raise InputError(
            f"{folder} is a model for {found.title}; {task.model_title} needs one for {title}",
            hint=f"give another model, or measure it with -t {DEFAULT_TASK}"
            if found is _GENERATION
            else "give another model",
        )


def check_language_model(folder: Path, network: Network, *, needs_state: bool) -> None:
    """Raise an ``InputError`` unless the *network* in *folder* generates text, with a KV cache where it is needed.

    A network that could not be read is left to the engine.
    """
    if not network.inputs:
        return
    if not network.has_logits:
        raise _refusal(folder, _by_architecture(folder) or _EMBEDDING)
    if needs_state and "cache_position" in network.inputs:
        raise InputError(
            f"{folder / MODEL_XML} is a state-space model (Mamba, by its input cache_position), which OpenVINO GenAI "
            "and the core engine do not run",
            hint="measure it with llmbench run --engine optimum",
        )
    if network.has_state:
        return
    task = _by_architecture(folder)
    if task is not None:
        raise _refusal(folder, task)
    if not needs_state:
        return
    has_past = any(name.startswith("past_key_values") for name in network.inputs)
    how = "with --disable-stateful" if has_past else "with --task text-generation"
    raise InputError(
        f"{folder / MODEL_XML} has no state (no beam_idx, no KV cache of its own): it was exported {how}",
        hint="convert the Hugging Face model again: llmbench convert --model-id ID --output-dir OUT "
        "(or: optimum-cli export openvino --model ID --task text-generation-with-past OUT)",
    )


def check_causal(folder: Path) -> None:
    """Raise an ``InputError`` if ``config.json`` of a Hugging Face *folder* names a model that is not causal."""
    task = _published_task(folder)
    if task is not None:
        measured = next((f"-t {name}" for name, title in _TITLES.items() if title == task.title), None)
        raise InputError(
            f"{_named(folder, task)}; llmbench run measures text generation",
            hint=f"measure it with llmbench run {measured} -m {shlex.quote(str(folder))}"
            if measured
            else _GIVE_CAUSAL,
        )


def check_generating(folder: Path) -> None:
    """Raise an ``InputError`` if a Hugging Face *folder* that is to be converted is for a task without a workload."""
    task = _published_task(folder)
    if task is not None:
        raise InputError(
            f"{_named(folder, task)}, which llmbench does not convert",
            hint="where it embeds texts, fetch its modules.json and 1_Pooling/config.json as well"
            if task is _EMBEDDING
            else _GIVE_CAUSAL,
        )


_GIVE_CAUSAL = "give a causal language model, whose architecture in config.json is ...ForCausalLM"


def _named(folder: Path, task: _ModelTask) -> str:
    return f"{folder} is a model for {task.title} ({_config(folder, 'architectures')})"


def _published_task(folder: Path) -> _ModelTask | None:
    """What a model in a Hugging Face folder is for; ``None`` for a causal one."""
    name, is_pair = _config(folder, "architectures"), _config(folder, "is_encoder_decoder") == "True"
    is_headless = name.endswith("Model") and not name.endswith(("HeadModel", "HeadsModel"))
    return _by_architecture(folder) or (_SEQ2SEQ if is_pair else _EMBEDDING if is_headless else None)


def is_reranker_source(folder: Path) -> bool:
    """Return whether a Hugging Face *folder* contains a cross-encoder, which scores pairs of texts.

    Raises:
        InputError: it has more classes than a score has; two may be "no" and "yes".
    """
    if _by_architecture(folder) is not _RERANK:
        return False
    names = read_object(folder / "config.json").get("id2label")
    classes = len(names) if isinstance(names, dict) else _MOST_CLASSES  # which transformers does not write
    if classes > _MOST_CLASSES:
        raise InputError(
            f"{folder} sorts texts into {classes} classes; llmbench measures models that score pairs of texts",
            hint="give a cross-encoder, which has one class, or two",
        )
    return True


def _refusal(folder: Path, task: _ModelTask) -> InputError:
    measured = next((name for name, title in _TITLES.items() if title == task.title), None)
    if measured is not None:
        return InputError(
            f"{folder} is a model for {task.title}, which is another task than text generation",
            hint=f"llmbench run -t {measured} -m {shlex.quote(str(folder))}",
        )
    return InputError(
        f"{folder} is a model for {task.title}; llmbench run measures text generation",
        hint=f"run it with {task.runs}({shlex.quote(str(folder))}, ...), or give a language model",
    )


def _by_architecture(folder: Path) -> _ModelTask | None:
    name = _config(folder, "architectures")
    return next((task for end, task in _BY_ARCHITECTURE.items() if name.endswith(end)), None)


def _config(folder: Path, key: str) -> str:
    """Return a value of config.json, the first of a list; empty where there is none."""
    value = read_object(folder / "config.json").get(key)
    return str(value[0] if isinstance(value, list) and value else value or "")
