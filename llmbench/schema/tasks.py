"""What ``--task`` names: each kind of work that a run measures, and what its configurations need.

The table is in this row because options, models, engines and workloads all need it, and none imports the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One kind of work: the *workload* that measures it, what its model is for, and whether it generates tokens."""

    workload: str
    model_title: str = "text generation"
    is_generating: bool = True


DEFAULT_TASK = "text_gen"
VISION_TASK = "visual_text_gen"
"""What a task is where images go in, whether it is named or not."""
RAG = "rag"
QUESTIONS = "questions"
"""The name of the prompt set that a file of questions makes."""
TEXT_TO_SPEECH, SPEECH_TO_TEXT = "text_to_speech", "speech_to_text"

TASKS = {
    DEFAULT_TASK: TaskInfo(workload="text"),
    VISION_TASK: TaskInfo(workload="vision", model_title="image-text-to-text"),
    "pipeline": TaskInfo(workload="pipeline", model_title="a pipeline", is_generating=False),
    "text_embed": TaskInfo(workload="text_embed", model_title="text embedding", is_generating=False),
    "text_rerank": TaskInfo(workload="text_rerank", model_title="text reranking", is_generating=False),
    TEXT_TO_SPEECH: TaskInfo(workload=TEXT_TO_SPEECH, model_title="text to speech", is_generating=False),
    SPEECH_TO_TEXT: TaskInfo(workload=SPEECH_TO_TEXT, model_title="speech to text", is_generating=False),
    RAG: TaskInfo(workload="rag"),
}
"""Every task by the name that ``--task`` takes, which is llm_bench's where that tool has it."""
