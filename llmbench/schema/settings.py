"""The settings of a configuration, a row each: its option, its field in the run file, and how the two correspond.

The command line, recipes, sweeps and the commands that reports print are derived from these rows. A new option is a new
row, and a new field of `RunConfig` if the run file is to hold it; its default is the field's.
"""

import enum
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from llmbench.schema.engines import ENGINES
from llmbench.schema.tasks import TASKS

ATTENTIONS = ("pa", "sdpa")
WEIGHT_FORMATS = ("fp32", "fp16", "int8", "int4")
LORA_MODES = ("auto", "dynamic", "static_rank", "static", "fuse")
INDEX_KINDS = ("exact", "hnsw", "ivfflat")
POOLINGS = ("mean", "cls", "last_token")
"""How the vectors of a text's tokens become the vector of the text."""

COMPILER = "TORCH_COMPILE"
"""The property of the torch engine that names a back end of ``torch.compile``."""

POLICY, TENSOR_PARALLEL = "MODEL_DISTRIBUTION_POLICY", "TENSOR_PARALLEL"


class ValueKind(enum.Enum):
    """What the values of an option look like."""

    TEXT = enum.auto()
    DEVICE = enum.auto()
    CHOICE = enum.auto()
    INTEGER = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()
    NEGATED_FLAG = enum.auto()
    """Given, it sets its field to false."""
    OPTIONAL_TEXT = enum.auto()
    """A value that may be left out, which stands for the first choice."""
    TEXTS = enum.auto()
    """One value each time the option is given."""
    NUMBERS = enum.auto()
    """As `TEXTS`."""
    WORDS = enum.auto()
    """``pa,sdpa``."""
    INTEGERS = enum.auto()
    """``32,512``."""
    RANGES = enum.auto()
    """``0,2-3``."""
    PROPERTIES = enum.auto()
    """JSON text, a JSON file, or ``KEY=VALUE``; may be given several times."""


class Group(enum.Enum):
    """The sections of a command's help."""

    MODEL = "Model"
    PROMPTS = "Prompts"
    MEASUREMENT = "Measurement"
    PLACEMENT = "Sockets, threads and memory"
    OPENVINO = "OpenVINO"
    SAMPLING = "Sampling and beam search"
    SPECULATION = "Speculative decoding"
    ADAPTERS = "LoRA adapters"
    EMBEDDING = "Text embedding (-t text_embed)"
    TARGET = "Server"
    LOAD = "Load"
    RETRIEVAL = "Retrieval (-t rag)"
    RUN = "Course of the run"
    RESULTS = "Results"


@dataclass(frozen=True, slots=True)
class Setting:
    """One option: its *spellings*, and what it sets.

    It sets a *field* of `RunConfig`, an OpenVINO *key* among its properties, the engine that a value of it stands for
    (*engines*), or, where it belongs to some *tasks* only, the parameter of its own name; with none of them it says
    what the prompts are. *sweep* is how deeply its list is nested in a sweep (0 changes slowest), ``None`` where a
    list makes no sweep. *needs* names another parameter and the value of it without which this one means nothing.
    *least* is the smallest integer that is accepted.
    Help lists it in its *group*; without ``--help-all`` only if *is_common*.
    """

    spellings: str
    field: str | None
    kind: ValueKind
    help: str
    _: KW_ONLY
    key: str | None = None
    engines: Mapping[str | bool, str] | None = None
    tasks: tuple[str, ...] = ()
    needs: tuple[str, str] | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int = 0
    sweep: int | None = None
    group: Group
    is_common: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Its spellings; the first one stands in a command to type next."""
        return tuple(self.spellings.split())

    @property
    def name(self) -> str:
        """Its name in recipes and parameters: the first long flag with underscores."""
        return next(flag for flag in self.flags if flag.startswith("--"))[2:].replace("-", "_")


GENERATION_SETTINGS = (
    Setting(
        "--num-beams",
        "num_beams",
        ValueKind.INTEGER,
        "Number of beams; 1 is greedy search.",
        group=Group.SAMPLING,
    ),
    Setting(
        "--do-sample",
        "do_sample",
        ValueKind.FLAG,
        "Sample tokens (see --seed) instead of greedy search.",
        group=Group.SAMPLING,
    ),
    Setting(
        "--temperature",
        "temperature",
        ValueKind.NUMBER,
        "Sampling temperature.",
        group=Group.SAMPLING,
    ),
    Setting(
        "--top-p",
        "top_p",
        ValueKind.NUMBER,
        "Sample from the likeliest tokens up to this cumulative probability.",
        group=Group.SAMPLING,
    ),
    Setting(
        "--top-k",
        "top_k",
        ValueKind.INTEGER,
        "Sample from the N likeliest tokens.  [default: all]",
        group=Group.SAMPLING,
    ),
    Setting(
        "--draft-model",
        "draft_model",
        ValueKind.TEXT,
        "Smaller model that proposes tokens.",
        metavar="DIR",
        group=Group.SPECULATION,
    ),
    Setting(
        "--draft-device",
        "draft_device",
        ValueKind.DEVICE,
        "Device of the draft model.  [default: as --device]",
        group=Group.SPECULATION,
    ),
    Setting(
        "--draft-cb-config",
        "draft_scheduler",
        ValueKind.PROPERTIES,
        "GenAI scheduler of the draft model.",
        group=Group.SPECULATION,
    ),
    Setting(
        "--num-assistant-tokens",
        "num_assistant_tokens",
        ValueKind.INTEGER,
        "Tokens proposed per step.  [default: 5]",
        group=Group.SPECULATION,
    ),
    Setting(
        "--assistant-confidence-threshold",
        "assistant_confidence_threshold",
        ValueKind.NUMBER,
        "Propose tokens while the draft's confidence is above this, instead.",
        group=Group.SPECULATION,
    ),
    Setting(
        "--max-ngram-size",
        "max_ngram_size",
        ValueKind.INTEGER,
        "Prompt lookup: propose tokens from n-grams of the prompt; needs no draft model.",
        group=Group.SPECULATION,
    ),
    Setting(
        "--lora",
        "lora",
        ValueKind.TEXTS,
        "LoRA adapter; may be given several times.",
        metavar="FILE.safetensors",
        group=Group.ADAPTERS,
    ),
    Setting(
        "--lora-alphas",
        "lora_alphas",
        ValueKind.NUMBERS,
        "Weight of each adapter.  [default: 1]",
        group=Group.ADAPTERS,
    ),
    Setting(
        "--lora-mode",
        "lora_mode",
        ValueKind.CHOICE,
        "How adapters are applied.",
        choices=LORA_MODES,
        group=Group.ADAPTERS,
    ),
    Setting(
        "--empty-lora",
        "is_lora_idle",
        ValueKind.FLAG,
        "Load the adapters, but generate without them.",
        group=Group.ADAPTERS,
    ),
    Setting(
        "--streaming",
        "is_streamed",
        ValueKind.FLAG,
        "Stream the text, and record when each callback came.",
        group=Group.MEASUREMENT,
    ),
)
"""Options that say how tokens are made, beside GenAI's scheduler."""

PARAMETERS = (
    Setting(
        "--stage-batch",
        None,
        ValueKind.INTEGERS,
        "Rows per call of a pipeline's stages that have a batch.",
        metavar="N,...",
        tasks=("pipeline",),
        least=1,
        group=Group.MEASUREMENT,
    ),
    Setting(
        "--pooling",
        None,
        ValueKind.CHOICE,
        "How token vectors become one.  [default: as the model was trained]",
        choices=POOLINGS,
        tasks=("text_embed",),
        group=Group.EMBEDDING,
    ),
    Setting(
        "--no-normalize",
        None,
        ValueKind.FLAG,
        "Leave vectors at the length the model gives them.",
        tasks=("text_embed",),
        group=Group.EMBEDDING,
    ),
    Setting(
        "--documents",
        None,
        ValueKind.TEXT,
        "Folder of text, Markdown and HTML; indexed first, once.  [default: the demo's]",
        metavar="DIR",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--questions",
        None,
        ValueKind.TEXT,
        "Questions, one per iteration, and words of the right chunk.  [default: the demo's]",
        metavar="FILE.jsonl",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--database",
        None,
        ValueKind.TEXT,
        "PostgreSQL with pgvector: postgresql://..., or embedded[:NAME].  [default: embedded]",
        metavar="URL",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--collection",
        None,
        ValueKind.TEXT,
        "Name of the indexed documents in the database.  [default: the folder's name]",
        metavar="NAME",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--embedder",
        None,
        ValueKind.TEXT,
        "Embedding model: an IR, or a Hugging Face model.  [default: all-MiniLM-L6-v2]",
        metavar="MODEL",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--reranker",
        None,
        ValueKind.TEXT,
        "Reranking model (IR) that orders the chunks anew.  [default: none]",
        metavar="MODEL",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--rerank-top-n",
        None,
        ValueKind.INTEGERS,
        "With --reranker: the best N chunks go into the prompt.  [default: all; sweep]",
        least=1,
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--retrieve-top-k",
        None,
        ValueKind.INTEGERS,
        "Chunks that are retrieved.  [default: 4; sweep]",
        least=1,
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--fixed-context",
        None,
        ValueKind.INTEGERS,
        "Cut or repeat the chunks so that every prompt has N tokens.  [sweep]",
        least=1,
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--chunk-size",
        None,
        ValueKind.INTEGERS,
        "Characters in a chunk.  [default: 800; sweep]",
        least=1,
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--chunk-overlap",
        None,
        ValueKind.INTEGER,
        "Characters that a chunk repeats of the one before.  [default: an eighth]",
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--index",
        None,
        ValueKind.WORDS,
        "exact, hnsw or ivfflat.  [default: exact; sweep]",
        choices=INDEX_KINDS,
        tasks=("rag",),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--ef-search",
        None,
        ValueKind.INTEGERS,
        "HNSW: nodes of the graph that a search looks at.  [default: 40; sweep]",
        least=1,
        tasks=("rag",),
        needs=("index", "hnsw"),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--hnsw-m",
        None,
        ValueKind.INTEGERS,
        "HNSW: links of a node.  [default: 16; sweep]",
        least=1,
        tasks=("rag",),
        needs=("index", "hnsw"),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--ef-construction",
        None,
        ValueKind.INTEGERS,
        "HNSW: nodes looked at to build it.  [default: 64; sweep]",
        least=1,
        tasks=("rag",),
        needs=("index", "hnsw"),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--ivf-lists",
        None,
        ValueKind.INTEGERS,
        "IVFFlat: lists.  [default: a thousandth of the chunks; sweep]",
        least=1,
        tasks=("rag",),
        needs=("index", "ivfflat"),
        group=Group.RETRIEVAL,
    ),
    Setting(
        "--ivf-probes",
        None,
        ValueKind.INTEGERS,
        "IVFFlat: lists that a search looks at.  [default: the root of their number; sweep]",
        least=1,
        tasks=("rag",),
        needs=("index", "ivfflat"),
        group=Group.RETRIEVAL,
    ),
)
"""Options of some tasks only; each is a parameter of the configuration, by its name."""

SETTINGS = (
    Setting(
        "-t --task",
        "task",
        ValueKind.CHOICE,
        f"What a request is: {', '.join(TASKS)}.",
        metavar="TASK",
        choices=tuple(TASKS),
        group=Group.MODEL,
        is_common=True,
    ),
    Setting(
        "-m --model",
        "model",
        ValueKind.TEXT,
        "IR folder, GGUF file, or Hugging Face model.",
        metavar="MODEL",
        group=Group.MODEL,
        is_common=True,
    ),
    Setting(
        "--weight-format",
        "weight_format",
        ValueKind.WORDS,
        "fp32, fp16, int8 or int4.  [sweep]",
        metavar="FORMAT,...",
        choices=WEIGHT_FORMATS,
        group=Group.MODEL,
        is_common=True,
    ),
    Setting(
        "-d --device",
        "device",
        ValueKind.DEVICE,
        "OpenVINO device.",
        group=Group.MODEL,
        is_common=True,
    ),
    Setting(
        "-p --prompt",
        None,
        ValueKind.TEXTS,
        "May be repeated.  [default: What is OpenVINO?]",
        metavar="TEXT",
        group=Group.PROMPTS,
        is_common=True,
    ),
    Setting(
        "-pf --prompt-file",
        None,
        ValueKind.TEXTS,
        'Lines of {"prompt": "..."}; or short, long.',
        metavar="FILE.jsonl",
        group=Group.PROMPTS,
        is_common=True,
    ),
    Setting(
        "-pi --prompt-index",
        None,
        ValueKind.INTEGERS,
        "Only these prompts of the file, counted from 0.",
        group=Group.PROMPTS,
    ),
    Setting(
        "--input-tokens",
        None,
        ValueKind.INTEGERS,
        "Synthetic prompts of exactly N tokens.",
        least=1,
        group=Group.PROMPTS,
        is_common=True,
    ),
    Setting(
        "-i --images --media",
        None,
        ValueKind.TEXTS,
        "Image, or a folder of some, for each prompt.",
        metavar="PATH",
        group=Group.PROMPTS,
        is_common=True,
    ),
    Setting(
        "--image-size",
        None,
        ValueKind.WORDS,
        "336 (longer side) or 640x480; a row each.",
        metavar="SIZE,...",
        group=Group.PROMPTS,
        is_common=True,
    ),
    Setting(
        "-n --num-iters",
        "iterations",
        ValueKind.INTEGER,
        "Measured iterations per launch.",
        group=Group.MEASUREMENT,
        is_common=True,
    ),
    Setting(
        "--warmups",
        "warmups",
        ValueKind.INTEGER,
        "Warm-ups, not averaged in.",
        group=Group.MEASUREMENT,
        is_common=True,
    ),
    Setting(
        "--launches",
        "launches",
        ValueKind.INTEGER,
        "Processes; 5 to compare runs.",
        group=Group.MEASUREMENT,
        is_common=True,
    ),
    Setting(
        "-ic --infer-count",
        "output_tokens",
        ValueKind.INTEGERS,
        "Output tokens.  [sweep]",
        sweep=5,
        group=Group.MEASUREMENT,
        is_common=True,
    ),
    Setting(
        "-bs --batch-size",
        "batch_size",
        ValueKind.INTEGERS,
        "Sequences per request.  [sweep]",
        sweep=4,
        group=Group.MEASUREMENT,
        is_common=True,
    ),
    Setting(
        "-lc --load-config",
        "properties",
        ValueKind.PROPERTIES,
        "JSON, FILE or KEY=VALUE,...  [sweep]",
        sweep=2,
        group=Group.OPENVINO,
        is_common=True,
    ),
    Setting(
        "--cb-config",
        "scheduler",
        ValueKind.PROPERTIES,
        "GenAI's scheduler: max_num_batched_tokens=256.  [sweep]",
        sweep=3,
        group=Group.OPENVINO,
    ),
    Setting(
        "--kv-cache-precision",
        None,
        ValueKind.WORDS,
        "KV_CACHE_PRECISION: u8, f16, bf16, ...  [sweep]",
        key="KV_CACHE_PRECISION",
        group=Group.OPENVINO,
    ),
    Setting(
        "--model-cache",
        None,
        ValueKind.TEXT,
        "CACHE_DIR: cache the compiled model there, so that later launches load faster.",
        key="CACHE_DIR",
        metavar="DIR",
        group=Group.OPENVINO,
    ),
    Setting(
        "--torch-compile --torch-compile-backend",
        None,
        ValueKind.OPTIONAL_TEXT,
        "With --engine torch: compile the forward pass.  [default BACKEND: inductor]",
        key=COMPILER,
        metavar="[BACKEND]",
        choices=("inductor",),
        group=Group.OPENVINO,
    ),
    Setting(
        "-f --framework",
        None,
        ValueKind.CHOICE,
        "As in llm_bench: pt is --engine torch.",
        engines={"pt": "torch"},
        choices=("ov", "pt"),
        group=Group.MODEL,
    ),
    Setting(
        "--optimum",
        None,
        ValueKind.FLAG,
        "As in llm_bench: --engine optimum.",
        engines={True: "optimum"},
        group=Group.MODEL,
    ),
    Setting(
        "-s --seed",
        "seed",
        ValueKind.INTEGER,
        "Seed of synthetic prompts, of sampling, and of the order of a sweep.",
        group=Group.MEASUREMENT,
    ),
    Setting(
        "--engine",
        "engine",
        ValueKind.CHOICE,
        "Inference engine.",
        choices=tuple(name for name, info in ENGINES.items() if info.workloads & {"text", "pipeline"}),
        group=Group.MODEL,
    ),
    Setting(
        "--attention",
        "attention",
        ValueKind.WORDS,
        "Paged attention or SDPA.  [default: pa with genai; sweep]",
        choices=ATTENTIONS,
        sweep=0,
        group=Group.OPENVINO,
    ),
    Setting(
        "--threads",
        "threads",
        ValueKind.INTEGERS,
        "INFERENCE_NUM_THREADS.  [sweep]",
        sweep=1,
        group=Group.PLACEMENT,
        is_common=True,
    ),
    *GENERATION_SETTINGS,
    Setting(
        "--apply-chat-template",
        "apply_chat_template",
        ValueKind.FLAG,
        "Apply the model's chat template to the prompts.",
        group=Group.PROMPTS,
    ),
    Setting(
        "--end-token-stopping",
        "stop_at_eos",
        ValueKind.FLAG,
        "Stop a sequence at its end-of-text token.",
        group=Group.MEASUREMENT,
    ),
    Setting(
        "--disable-prompt-permutation",
        None,
        ValueKind.FLAG,
        "The same prompt in each iteration, not a variant of it (no prefix-cache protection).",
        group=Group.PROMPTS,
    ),
    Setting(
        "--subsequent",
        "is_subsequent",
        ValueKind.FLAG,
        "All iterations of one prompt, then the next prompt.  [default: all prompts in each iteration]",
        group=Group.MEASUREMENT,
    ),
    Setting(
        "--no-verify",
        "is_verified",
        ValueKind.NEGATED_FLAG,
        "Skip checksum verification of the model's files (noted in the report).",
        group=Group.MODEL,
    ),
    Setting(
        "--ignore-context-limit",
        "ignores_context_limit",
        ValueKind.FLAG,
        "Measure beyond the model's context length (noted in the report).",
        group=Group.MODEL,
    ),
    Setting(
        "--trust-recipe-code",
        "trusts_recipe_code",
        ValueKind.FLAG,
        "Run the Python code that a pipeline's recipe has beside it.",
        group=Group.MODEL,
    ),
    Setting(
        "--python",
        "interpreter",
        ValueKind.TEXT,
        "Python of another environment, whose engine is measured; it needs msgspec and psutil.",
        metavar="PATH",
        group=Group.MODEL,
    ),
    Setting(
        "--foreign-cpu-limit",
        "foreign_cpu_limit",
        ValueKind.NUMBER,
        "CPU use of other processes (share of all CPUs) above which a measurement is invalid.",
        group=Group.MEASUREMENT,
    ),
    Setting(
        "--sockets",
        "sockets",
        ValueKind.RANGES,
        "CPUs and memory of these sockets: 0, or 0,1.",
        group=Group.PLACEMENT,
        is_common=True,
    ),
    Setting(
        "--numa-nodes",
        "numa_nodes",
        ValueKind.RANGES,
        "Run on the CPUs of these NUMA nodes.",
        group=Group.PLACEMENT,
    ),
    Setting(
        "--cores",
        "cores",
        ValueKind.RANGES,
        "Run on these CPUs, by number.",
        group=Group.PLACEMENT,
    ),
    Setting(
        "--membind",
        "membind",
        ValueKind.RANGES,
        "Allocate memory on these NUMA nodes only.",
        group=Group.PLACEMENT,
    ),
    Setting(
        "--interleave",
        "interleave",
        ValueKind.RANGES,
        "Interleave memory pages over these NUMA nodes.",
        group=Group.PLACEMENT,
    ),
    Setting(
        "--tensor-parallel",
        None,
        ValueKind.FLAG,
        "Split matrix multiplications over sockets.",
        key=POLICY,
        group=Group.PLACEMENT,
        is_common=True,
    ),
    *PARAMETERS,
)
"""Every option that says what to measure, in the order of ``--help``."""
