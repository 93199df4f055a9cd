"""The settings of a configuration, a row each: its option, its field in the run file, and how the two correspond.

The command line, recipes, sweeps and the commands that reports print are derived from these rows. A new option is a new
row, and a new field of `RunConfig` if the run file is to hold it; its default is the field's.
"""

import enum
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from llmbench.schema.engines import ENGINES

ATTENTIONS = ("pa", "sdpa")
WEIGHT_FORMATS = ("fp32", "fp16", "int8", "int4")
LORA_MODES = ("auto", "dynamic", "static_rank", "static", "fuse")
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


@dataclass(frozen=True, slots=True)
class Setting:
    """One option: its *spellings*, and what it sets.

    It sets a *field* of `RunConfig`, an OpenVINO *key* among its properties, or the engine that a value of it stands
    for (*engines*); with none of them it says what the prompts are. *sweep* is how deeply its list is nested in a sweep
    (0 changes slowest), ``None`` where a list makes no sweep. *least* is the smallest integer that is accepted.
    """

    spellings: str
    field: str | None
    kind: ValueKind
    help: str
    _: KW_ONLY
    key: str | None = None
    engines: Mapping[str | bool, str] | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int = 0
    sweep: int | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """Its spellings; the first one stands in a command to type next."""
        return tuple(self.spellings.split())

    @property
    def name(self) -> str:
        """Its name in recipes and parameters: the first long flag with underscores."""
        return next(flag for flag in self.flags if flag.startswith("--"))[2:].replace("-", "_")


GENERATION_SETTINGS = (
    Setting("--num-beams", "num_beams", ValueKind.INTEGER, "Beam search with so many beams."),
    Setting(
        "--do-sample",
        "do_sample",
        ValueKind.FLAG,
        "Sample tokens, by the seed; otherwise the likeliest is taken.",
    ),
    Setting("--temperature", "temperature", ValueKind.NUMBER, "Of sampling."),
    Setting(
        "--top-p", "top_p", ValueKind.NUMBER, "Sample from the likeliest tokens that make up this share."
    ),
    Setting("--top-k", "top_k", ValueKind.INTEGER, "Sample from so many likeliest tokens."),
    Setting(
        "--draft-model",
        "draft_model",
        ValueKind.TEXT,
        "Speculative decoding: a smaller model guesses ahead.",
        metavar="IR_DIR",
    ),
    Setting(
        "--draft-device",
        "draft_device",
        ValueKind.DEVICE,
        "Device of the draft model.  [default: that of the model]",
    ),
    Setting("--draft-cb-config", "draft_scheduler", ValueKind.PROPERTIES, "The draft's scheduler."),
    Setting(
        "--num-assistant-tokens",
        "num_assistant_tokens",
        ValueKind.INTEGER,
        "Tokens guessed in a step.  [default: 5]",
    ),
    Setting(
        "--assistant-confidence-threshold",
        "assistant_confidence_threshold",
        ValueKind.NUMBER,
        "Guess on while the draft is so sure, instead.",
    ),
    Setting(
        "--max-ngram-size",
        "max_ngram_size",
        ValueKind.INTEGER,
        "Prompt lookup: guess from n-grams of the prompt, without a model.",
    ),
    Setting("--lora", "lora", ValueKind.TEXTS, "A LoRA adapter; repeatable.", metavar="FILE.safetensors"),
    Setting("--lora-alphas", "lora_alphas", ValueKind.NUMBERS, "Its weight; one an adapter.  [default: 1]"),
    Setting("--lora-mode", "lora_mode", ValueKind.CHOICE, "How adapters are applied.", choices=LORA_MODES),
    Setting("--empty-lora", "is_lora_idle", ValueKind.FLAG, "Load the adapters, and generate without them."),
    Setting(
        "--streaming",
        "is_streamed",
        ValueKind.FLAG,
        "Stream the text; the callbacks are kept beside the tokens.",
    ),
)
"""Options that say how tokens are made, beside GenAI's scheduler."""

SETTINGS = (
    Setting(
        "-m --model",
        "model",
        ValueKind.TEXT,
        "IR folder, a parent of one, a parent of several (--weight-format), or a GGUF file.",
        metavar="IR_DIR|FILE.gguf",
    ),
    Setting(
        "--weight-format",
        "weight_format",
        ValueKind.WORDS,
        "Which of the IRs below -m, as convert lays them out.  [sweep]",
        metavar="fp32|fp16|int8|int4,...",
        choices=WEIGHT_FORMATS,
    ),
    Setting("-d --device", "device", ValueKind.DEVICE, "OpenVINO device."),
    Setting("-p --prompt", None, ValueKind.TEXT, "One prompt.  [default: What is OpenVINO?]", metavar="TEXT"),
    Setting(
        "-pf --prompt-file",
        None,
        ValueKind.TEXTS,
        'Lines of {"prompt": "text"}; repeatable.',
        metavar="FILE.jsonl",
    ),
    Setting("-pi --prompt-index", None, ValueKind.INTEGERS, "Only these prompts of the file."),
    Setting(
        "--input-tokens", None, ValueKind.INTEGERS, "Synthetic prompts of exactly so many tokens.", least=1
    ),
    Setting("-n --num-iters", "iterations", ValueKind.INTEGER, "Measured iterations in each launch."),
    Setting(
        "--warmups", "warmups", ValueKind.INTEGER, "Iterations before them; kept, flagged, never averaged in."
    ),
    Setting(
        "--launches",
        "launches",
        ValueKind.INTEGER,
        "Fresh processes; five or more make a comparison worth something.",
    ),
    Setting(
        "-ic --infer-count",
        "output_tokens",
        ValueKind.INTEGERS,
        "Output tokens, exactly so many.  [sweep]",
        sweep=5,
    ),
    Setting(
        "-bs --batch-size",
        "batch_size",
        ValueKind.INTEGERS,
        "Sequences in a request; each is a distinct variant of the prompt.  [sweep]",
        sweep=4,
    ),
    Setting(
        "-lc --load-config",
        "properties",
        ValueKind.PROPERTIES,
        "OpenVINO properties; a list of values, or of whole sets, is swept.",
        sweep=2,
    ),
    Setting(
        "--cb-config",
        "scheduler",
        ValueKind.PROPERTIES,
        "GenAI's scheduler, such as max_num_batched_tokens=256; a list of values is swept.",
        sweep=3,
    ),
    Setting(
        "--kv-cache-precision",
        None,
        ValueKind.WORDS,
        "KV_CACHE_PRECISION: u8, f16, bf16 ...  [sweep]",
        key="KV_CACHE_PRECISION",
    ),
    Setting(
        "--model-cache",
        None,
        ValueKind.TEXT,
        "CACHE_DIR: keep the compiled model there, so that later launches load it.",
        key="CACHE_DIR",
        metavar="DIR",
    ),
    Setting(
        "--torch-compile --torch-compile-backend",
        None,
        ValueKind.OPTIONAL_TEXT,
        "Under -f pt: compile the model's forward pass.  [BACKEND: inductor]",
        key=COMPILER,
        metavar="[BACKEND]",
        choices=("inductor",),
    ),
    Setting(
        "-f --framework",
        None,
        ValueKind.CHOICE,
        "As in llm_bench; pt is --engine torch.",
        engines={"pt": "torch"},
        choices=("ov", "pt"),
    ),
    Setting(
        "--optimum", None, ValueKind.FLAG, "As in llm_bench; --engine optimum.", engines={True: "optimum"}
    ),
    Setting(
        "-s --seed", "seed", ValueKind.INTEGER, "For synthetic prompts, sampling, and the order of a sweep."
    ),
    Setting("--engine", "engine", ValueKind.CHOICE, "What generates.", choices=tuple(ENGINES)),
    Setting(
        "--attention",
        "attention",
        ValueKind.WORDS,
        "Paged attention or SDPA.  [default: pa with genai; sweep]",
        choices=ATTENTIONS,
        sweep=0,
    ),
    Setting(
        "--threads",
        "threads",
        ValueKind.INTEGERS,
        "INFERENCE_NUM_THREADS; getting fewer is an error.  [sweep]",
        sweep=1,
    ),
    *GENERATION_SETTINGS,
    Setting(
        "--apply-chat-template", "apply_chat_template", ValueKind.FLAG, "Hand prompts over as a user's turn."
    ),
    Setting(
        "--end-token-stopping", "stop_at_eos", ValueKind.FLAG, "Let the end of text stop a sequence early."
    ),
    Setting(
        "--disable-prompt-permutation", None, ValueKind.FLAG, "The same prompt each iteration, not a variant."
    ),
    Setting(
        "--subsequent",
        "is_subsequent",
        ValueKind.FLAG,
        "All iterations of one prompt, then the next one; otherwise each iteration goes through all.",
    ),
    Setting(
        "--no-verify",
        "is_verified",
        ValueKind.NEGATED_FLAG,
        "Do not hold the files against their manifest; recorded.",
    ),
    Setting(
        "--python",
        "interpreter",
        ValueKind.TEXT,
        "The Python of another environment, to measure its engine; it needs msgspec and psutil as well.",
        metavar="PATH",
    ),
    Setting(
        "--foreign-cpu-limit",
        "foreign_cpu_limit",
        ValueKind.NUMBER,
        "CPU share of others that makes a measurement invalid.",
    ),
    Setting("--sockets", "sockets", ValueKind.RANGES, "Run on these sockets, threads and memory: 0, or 0,1."),
    Setting("--numa-nodes", "numa_nodes", ValueKind.RANGES, "Run on the CPUs of these NUMA nodes."),
    Setting("--cores", "cores", ValueKind.RANGES, "Run on these CPUs, by number."),
    Setting("--membind", "membind", ValueKind.RANGES, "Take memory from these NUMA nodes only."),
    Setting(
        "--interleave", "interleave", ValueKind.RANGES, "Spread memory page by page over these NUMA nodes."
    ),
    Setting(
        "--tensor-parallel",
        None,
        ValueKind.FLAG,
        f"Split every matrix multiplication over the sockets: -lc {POLICY}={TENSOR_PARALLEL}.",
        key=POLICY,
    ),
)
"""Every option that says what to measure, in the order of ``--help``."""
