"""Every engine as data: what it is called, what it can do, what it needs, and where its code is.

A new engine is one row here and one module below ``llmbench/engines``; nothing else compares engine names. The table
is in this row because run files, reports and options need it, and none of them may import an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from llmbench.schema.tasks import find_workload_info


class Capability(Enum):
    """Something that not every engine can do: its name in a sentence, and the option that requests it.

    The order is that in which a lack is reported.
    """

    PAGED = ("paged attention", "--attention pa")
    SCHEDULER = ("scheduler", "--cb-config")
    BATCH = ("batches", "-bs")
    BEAMS = ("beam search", "--num-beams")
    SAMPLING = ("sampling", "--do-sample")
    DRAFT = ("speculative decoding", "--draft-model")
    LOOKUP = ("prompt lookup", "--max-ngram-size")
    ADAPTERS = ("LoRA adapters", "--lora")
    STREAMING = ("streaming", "--streaming")
    EARLY_END = ("an early end of text", "--end-token-stopping")
    COMPILING = ("torch.compile", "--torch-compile")
    IMAGES = ("vision-language models", "--images")

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return self.value[0]

    @property
    def option(self) -> str:
        """The option that requests it."""
        return self.value[1]


class ModelKind(StrEnum):
    """What an engine can load: OpenVINO IR, GGUF file, Hugging Face folder, what a server has, or a script."""

    IR = "IR"
    GGUF = "GGUF"
    HUGGING_FACE = "Hugging Face folder"
    NAME = "name"
    SCRIPT = "script"
    PIPELINE = "recipe of a pipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """One engine.

    *factory* is its class, as ``module:Class`` below ``llmbench.engines``, *factories* are those of some of its
    *workloads*, whose models it has. *capabilities* are by kind of attention, the
    default one first; an engine with several kinds is chosen with ``--attention`` too. *packages* must be installed,
    which the *extra* brings, and their versions are recorded. *fixed_weights* says why an engine without IRs has no
    weight format to choose. A *simulated* engine has a clock of its own and neither a model nor a machine: nothing is
    verified, placed or pinned. With *needs_state* it runs only IRs that keep their KV cache as a state.
    """

    title: str
    factory: str
    models: frozenset[ModelKind]
    capabilities: Mapping[str, frozenset[Capability]]
    packages: tuple[str, ...] = ()
    extra: str = "convert"
    workloads: frozenset[str] = frozenset({"text"})
    factories: Mapping[str, str] = field(default_factory=dict)
    framework: str = "ov"
    fixed_weights: str | None = None
    is_simulated: bool = False
    needs_state: bool = False

    def factory_of(self, workload: str) -> str | None:
        """Return the class that does a kind of work; ``None`` where the engine does not do it."""
        loaded = find_workload_info(workload).loads or workload
        does_it = self.is_simulated or loaded in self.workloads
        return self.factories.get(loaded, self.factory) if does_it else None

    @property
    def default_attention(self) -> str:
        """The kind of attention used where none is requested."""
        return next(iter(self.capabilities))

    def capabilities_with(self, attention: str) -> frozenset[Capability]:
        """Return what it can do with a kind of attention; one it does not have changes nothing."""
        return self.capabilities.get(attention, self.capabilities[self.default_attention])


_GENAI_SDPA = frozenset(
    {
        Capability.BATCH,
        Capability.SAMPLING,
        Capability.ADAPTERS,
        Capability.STREAMING,
        Capability.EARLY_END,
        Capability.IMAGES,
    }
)
"""SDPA could search with beams, but the forward passes it reports then are 40 % of the time (GenAI 2026.4.1)."""

_GENERATE = frozenset({Capability.BATCH, Capability.BEAMS, Capability.SAMPLING, Capability.EARLY_END})
"""What ``generate`` of transformers can do."""

ENGINES: dict[str, EngineInfo] = {
    "genai": EngineInfo(
        title="GenAI",
        factory="openvino.genai:GenaiEngine",
        models=frozenset({ModelKind.IR, ModelKind.GGUF}),
        capabilities={"pa": frozenset(Capability) - {Capability.COMPILING}, "sdpa": _GENAI_SDPA},
        packages=("openvino", "openvino-genai"),
        workloads=frozenset(
            {"text", "text_embed", "text_rerank", "vision", "text_to_speech", "speech_to_text"}
        ),
        factories={
            "text_embed": "openvino.embedding:EmbeddingEngine",
            "text_rerank": "openvino.embedding:RerankEngine",
            "vision": "openvino.vision:GenaiVisionEngine",
            "text_to_speech": "openvino.speech:SpeakingEngine",
            "speech_to_text": "openvino.speech:ListeningEngine",
        },
        needs_state=True,
    ),
    "genai-batching": EngineInfo(
        title="GenAI's continuous batching",
        factory="openvino.continuous_batch:BatchingEngine",
        models=frozenset({ModelKind.IR, ModelKind.GGUF}),
        capabilities={
            "pa": frozenset(
                {
                    Capability.PAGED,
                    Capability.SCHEDULER,
                    Capability.BATCH,
                    Capability.SAMPLING,
                    Capability.EARLY_END,
                }
            )
        },
        packages=("openvino", "openvino-genai"),
        workloads=frozenset({"text", "serving"}),
        factories={"serving": "servers.direct:DirectEngine"},
        needs_state=True,
    ),
    "core": EngineInfo(
        title="the core engine",
        factory="openvino.core:CoreEngine",
        models=frozenset({ModelKind.IR}),
        capabilities={"sdpa": frozenset({Capability.BATCH, Capability.EARLY_END})},
        packages=("openvino", "openvino-genai", "openvino-tokenizers"),
        needs_state=True,
    ),
    "likelihood": EngineInfo(
        title="the likelihood engine",
        factory="openvino.likelihood:LikelihoodEngine",
        models=frozenset({ModelKind.IR}),
        capabilities={
            "pa": frozenset({Capability.PAGED, Capability.ADAPTERS}),
            "sdpa": frozenset({Capability.ADAPTERS}),
        },
        packages=("openvino", "openvino-genai", "openvino-tokenizers"),
        workloads=frozenset({"quality"}),
        needs_state=True,
    ),
    "optimum": EngineInfo(
        title="the optimum engine",
        factory="transformers.optimum:OptimumEngine",
        workloads=frozenset({"text", "vision"}),
        factories={"vision": "transformers.vision:OptimumVisionEngine"},
        models=frozenset({ModelKind.IR}),
        capabilities={"sdpa": _GENERATE | {Capability.IMAGES}},
        packages=("openvino", "optimum-intel", "transformers", "torch"),
    ),
    "torch": EngineInfo(
        title="the torch engine",
        factory="transformers.torch:TorchEngine",
        models=frozenset({ModelKind.HUGGING_FACE}),
        capabilities={"sdpa": _GENERATE | {Capability.COMPILING}},
        packages=("torch", "transformers"),
        framework="pytorch",
        fixed_weights="PyTorch runs the weights as they were published "
        "(-lc DTYPE=bfloat16 sets their type in memory)",
    ),
    "llama.cpp": EngineInfo(
        title="llama.cpp",
        factory="llama_cpp.engine:LlamaCppEngine",
        models=frozenset({ModelKind.GGUF}),
        capabilities={"sdpa": frozenset({Capability.BATCH, Capability.SAMPLING, Capability.EARLY_END})},
        packages=("xllamacpp",),
        extra="llamacpp",
        framework="llama.cpp",
        fixed_weights="a GGUF file keeps its weights",
    ),
    "pipeline": EngineInfo(
        title="the pipeline engine",
        factory="openvino.pipeline:PipelineEngine",
        models=frozenset({ModelKind.PIPELINE}),
        capabilities={"sdpa": frozenset()},
        packages=("openvino",),
        workloads=frozenset({"pipeline"}),
        fixed_weights="a pipeline's recipe names the files of its stages",
    ),
    "server": EngineInfo(
        title="a server",
        factory="servers.session:ServedEngine",
        models=frozenset({ModelKind.IR, ModelKind.GGUF, ModelKind.NAME}),
        capabilities={"pa": frozenset({Capability.PAGED, Capability.SCHEDULER, Capability.EARLY_END})},
        packages=("httpx",),
        extra="load",
        workloads=frozenset({"serving"}),
    ),
    "scripted": EngineInfo(
        title="the scripted engine",
        factory="scripted:ScriptedEngine",
        factories={
            "text_embed": "scripted:ScriptedEmbeddingEngine",
            "text_rerank": "scripted:ScriptedRerankEngine",
        },
        models=frozenset({ModelKind.SCRIPT}),
        capabilities={
            "sdpa": frozenset(
                {
                    Capability.PAGED,
                    Capability.BATCH,
                    Capability.LOOKUP,
                    Capability.EARLY_END,
                    Capability.IMAGES,
                }
            )
        },
        fixed_weights="the scripted engine has no weights",
        is_simulated=True,
    ),
}
"""Every engine by its name, in the order in which help lists them."""

SERVER_ENGINES = {"genai": "genai-batching", "llama.cpp": "llama.cpp", "scripted": "scripted"}
"""The engine that computes in each server that llmbench can start."""

ENGINE_PACKAGES = tuple(dict.fromkeys(name for info in ENGINES.values() for name in info.packages))
"""Every package that shapes an engine's numbers, each once."""
