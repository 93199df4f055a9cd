"""What ``--task`` names: each kind of work that a run measures, and the workload that measures it.

A new workload is a row in each table here and one module below ``llmbench/workloads``. The tables are in this row
because options, models, engines and workloads all need them, and none imports the others.
"""

from dataclasses import dataclass

from llmbench.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One kind of work: the *workload* that measures it, what its model is for, and whether it generates tokens.

    *begin* is what happens at the instant from which times count.
    """

    workload: str
    model_title: str = "text generation"
    is_generating: bool = True
    begin: str = "the token ids are handed to the engine, tokenization outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadInfo:
    """One workload: its class, as ``module:Class``, and the workload whose models it *loads*, where not its own.

    Every engine that has those models measures it.
    """

    factory: str
    loads: str | None = None


DEFAULT_TASK = "text_gen"
VISION_TASK = "visual_text_gen"
"""What a task is where images go in, whether it is named or not."""
RAG = "rag"
QUESTIONS = "questions"
"""The name of the prompt set that a file of questions makes."""
TEXT_TO_SPEECH, SPEECH_TO_TEXT = "text_to_speech", "speech_to_text"
_TEXT_BEGIN = "the text is handed to the engine, tokenization inside"
LOAD_BEGIN = "the request is due; queue, network, and tokenization by the server are inside"
"""The instant from which the times of a load count, whatever its task."""

TASKS = {
    DEFAULT_TASK: TaskInfo(workload="text"),
    VISION_TASK: TaskInfo(
        workload="vision",
        model_title="image-text-to-text",
        begin="question and images are handed to the engine, tokenization inside",
    ),
    "pipeline": TaskInfo(
        workload="pipeline", model_title="a pipeline", is_generating=False, begin="the first stage begins"
    ),
    "text_embed": TaskInfo(
        workload="text_embed", model_title="text embedding", is_generating=False, begin=_TEXT_BEGIN
    ),
    "text_rerank": TaskInfo(
        workload="text_rerank", model_title="text reranking", is_generating=False, begin=_TEXT_BEGIN
    ),
    TEXT_TO_SPEECH: TaskInfo(
        workload=TEXT_TO_SPEECH, model_title="text to speech", is_generating=False, begin=_TEXT_BEGIN
    ),
    SPEECH_TO_TEXT: TaskInfo(
        workload=SPEECH_TO_TEXT,
        model_title="speech to text",
        is_generating=False,
        begin="the sound is handed to the engine",
    ),
    RAG: TaskInfo(workload="rag", begin="the text of the question is handed to the embedder"),
}
"""Every task by the name that ``--task`` takes, which is llm_bench's where that tool has it."""

WORKLOADS = {
    "text": WorkloadInfo(factory="llmbench.workloads.text:TextWorkload"),
    "text_embed": WorkloadInfo(factory="llmbench.workloads.embedding:EmbeddingWorkload"),
    "vision": WorkloadInfo(factory="llmbench.workloads.vision:VisionWorkload"),
    "pipeline": WorkloadInfo(factory="llmbench.workloads.pipeline:PipelineWorkload"),
    "serving": WorkloadInfo(factory="llmbench.workloads.serving:ServingWorkload"),
    TEXT_TO_SPEECH: WorkloadInfo(factory="llmbench.workloads.speech:SpeakingWorkload"),
    SPEECH_TO_TEXT: WorkloadInfo(factory="llmbench.workloads.speech:ListeningWorkload"),
    "quality": WorkloadInfo(factory="llmbench.workloads.quality:QualityWorkload"),
    "text_rerank": WorkloadInfo(factory="llmbench.workloads.embedding:RerankWorkload"),
    RAG: WorkloadInfo(factory="llmbench.workloads.rag.workload:RagWorkload", loads="text"),
}
"""Every workload by its kind; the class is imported when it is used."""


def find_workload_info(kind: str) -> WorkloadInfo:
    """Return the row of a workload; raise InputError where there is none."""
    if kind not in WORKLOADS:
        raise InputError(f"workload {kind!r} is unknown", hint=f"choose one of {', '.join(WORKLOADS)}")
    return WORKLOADS[kind]
