"""Settings that every workload has: its model and inputs, how often it is measured, and where."""

import functools

from llmbench.schema.engines import ENGINES
from llmbench.schema.settings.base import Group, Setting, ValueKind
from llmbench.schema.tasks import TASKS

ATTENTIONS = ("pa", "sdpa")
WEIGHT_FORMATS = ("fp32", "fp16", "int8", "int4")

HUGE_PAGES = "glibc-thp"
JEMALLOC_HUGE = "jemalloc-thp"
ALLOCATORS = (HUGE_PAGES, "jemalloc", JEMALLOC_HUGE, "tcmalloc", "mimalloc")
"""Memory allocators of a worker: glibc's with transparent huge pages, and others."""

COMPILER = "TORCH_COMPILE"
"""The property of the torch engine that names a back end of ``torch.compile``."""

POLICY, TENSOR_PARALLEL = "MODEL_DISTRIBUTION_POLICY", "TENSOR_PARALLEL"

_model = functools.partial(Setting, group=Group.MODEL)
_prompts = functools.partial(Setting, group=Group.PROMPTS)
_measurement = functools.partial(Setting, group=Group.MEASUREMENT)
_openvino = functools.partial(Setting, group=Group.OPENVINO)
_placement = functools.partial(Setting, group=Group.PLACEMENT)

INPUT_SETTINGS = (
    _model(
        "-t --task",
        f"What a request is: {', '.join(TASKS)}.",
        kind=ValueKind.CHOICE,
        field="task",
        metavar="TASK",
        choices=tuple(TASKS),
        is_common=True,
    ),
    _model(
        "-m --model",
        "IR folder, GGUF file, or Hugging Face model.",
        kind=ValueKind.TEXT,
        field="model",
        metavar="MODEL",
        is_common=True,
    ),
    _model(
        "--weight-format",
        "fp32, fp16, int8 or int4.  [sweep]",
        kind=ValueKind.WORDS,
        field="weight_format",
        metavar="FORMAT,...",
        choices=WEIGHT_FORMATS,
        is_common=True,
    ),
    _model("-d --device", "OpenVINO device.", kind=ValueKind.DEVICE, field="device", is_common=True),
    _prompts(
        "-p --prompt",
        "May be repeated.  [default: What is OpenVINO?]",
        kind=ValueKind.TEXTS,
        metavar="TEXT",
        is_common=True,
    ),
    _prompts(
        "-pf --prompt-file",
        'Lines of {"prompt": "..."}; or short, long.',
        kind=ValueKind.TEXTS,
        metavar="FILE.jsonl",
        is_common=True,
    ),
    _prompts(
        "-pi --prompt-index", "Only these prompts of the file, counted from 0.", kind=ValueKind.INTEGERS
    ),
    _prompts(
        "--input-tokens",
        "Synthetic prompts of exactly N tokens.",
        kind=ValueKind.INTEGERS,
        least=1,
        is_common=True,
    ),
)
"""The model, and the prompts it gets."""

EXECUTION_SETTINGS = (
    _measurement(
        "-n --num-iters",
        "Measured iterations per launch.",
        kind=ValueKind.INTEGER,
        field="iterations",
        is_common=True,
    ),
    _measurement(
        "--warmups", "Warm-ups, not averaged in.", kind=ValueKind.INTEGER, field="warmups", is_common=True
    ),
    _measurement(
        "--launches",
        "Processes; 5 to compare runs.",
        kind=ValueKind.INTEGER,
        field="launches",
        is_common=True,
    ),
    _measurement(
        "-ic --infer-count",
        "Output tokens.  [sweep]",
        kind=ValueKind.INTEGERS,
        field="output_tokens",
        sweep=5,
        is_common=True,
    ),
    _measurement(
        "-bs --batch-size",
        "Sequences per request.  [sweep]",
        kind=ValueKind.INTEGERS,
        field="batch_size",
        sweep=4,
        is_common=True,
    ),
    _openvino(
        "-lc --load-config",
        "JSON, FILE or KEY=VALUE,...  [sweep]",
        kind=ValueKind.PROPERTIES,
        field="properties",
        sweep=2,
        is_common=True,
    ),
    _openvino(
        "--cb-config",
        "GenAI's scheduler: max_num_batched_tokens=256.  [sweep]",
        kind=ValueKind.PROPERTIES,
        field="scheduler",
        sweep=3,
    ),
    _openvino(
        "--kv-cache-precision",
        "KV_CACHE_PRECISION: u8, f16, bf16, ...  [sweep]",
        kind=ValueKind.WORDS,
        key="KV_CACHE_PRECISION",
    ),
    _openvino(
        "--model-cache",
        "CACHE_DIR: cache the compiled model there, so that later launches load faster.",
        kind=ValueKind.TEXT,
        key="CACHE_DIR",
        metavar="DIR",
    ),
    _openvino(
        "--torch-compile --torch-compile-backend",
        "With --engine torch: compile the forward pass.  [default BACKEND: inductor]",
        kind=ValueKind.OPTIONAL_TEXT,
        key=COMPILER,
        metavar="[BACKEND]",
        choices=("inductor",),
    ),
    _model(
        "-f --framework",
        "As in llm_bench: pt is --engine torch.",
        kind=ValueKind.CHOICE,
        engines={"pt": "torch"},
        choices=("ov", "pt"),
    ),
    _model("--optimum", "As in llm_bench: --engine optimum.", kind=ValueKind.FLAG, engines={True: "optimum"}),
    _measurement(
        "-s --seed",
        "Seed of synthetic prompts, of sampling, and of the order of a sweep.",
        kind=ValueKind.INTEGER,
        field="seed",
    ),
    _model(
        "--engine",
        "Inference engine.",
        kind=ValueKind.CHOICE,
        field="engine",
        choices=tuple(name for name, info in ENGINES.items() if info.workloads & {"text", "pipeline"}),
    ),
    _openvino(
        "--attention",
        "Paged attention or SDPA.  [default: pa with genai; sweep]",
        kind=ValueKind.WORDS,
        field="attention",
        choices=ATTENTIONS,
        sweep=0,
    ),
    _placement(
        "--threads",
        "INFERENCE_NUM_THREADS.  [sweep]",
        kind=ValueKind.INTEGERS,
        field="threads",
        sweep=1,
        is_common=True,
    ),
    _placement(
        "--allocator",
        "Library of malloc; -thp: with huge pages.  [default: the system's; sweep]",
        kind=ValueKind.WORDS,
        field="allocator",
        choices=ALLOCATORS,
        sweep=6,
    ),
)
"""How often it is measured, and how the engine executes it."""

CONDITION_SETTINGS = (
    _prompts(
        "--apply-chat-template",
        "Apply the model's chat template to the prompts.",
        kind=ValueKind.FLAG,
        field="apply_chat_template",
    ),
    _measurement(
        "--end-token-stopping",
        "Stop a sequence at its end-of-text token.",
        kind=ValueKind.FLAG,
        field="stop_at_eos",
    ),
    _prompts(
        "--disable-prompt-permutation",
        "The same prompt in each iteration, not a variant of it (no prefix-cache protection).",
        kind=ValueKind.FLAG,
    ),
    _measurement(
        "--subsequent",
        "All iterations of one prompt, then the next prompt.  [default: all prompts in each iteration]",
        kind=ValueKind.FLAG,
        field="is_subsequent",
    ),
    _model(
        "--no-verify",
        "Skip checksum verification of the model's files (noted in the report).",
        kind=ValueKind.NEGATED_FLAG,
        field="is_verified",
    ),
    _model(
        "--ignore-context-limit",
        "Measure beyond the model's context length (noted in the report).",
        kind=ValueKind.FLAG,
        field="ignores_context_limit",
    ),
    _model(
        "--trust-recipe-code",
        "Run the Python code that a pipeline's recipe has beside it.",
        kind=ValueKind.FLAG,
        field="trusts_recipe_code",
    ),
    _model(
        "--python",
        "Python of another environment, whose engine is measured; it needs msgspec and psutil.",
        kind=ValueKind.TEXT,
        field="interpreter",
        metavar="PATH",
    ),
    _measurement(
        "--foreign-cpu-limit",
        "CPU use of other processes (share of all CPUs) above which a measurement is invalid.",
        kind=ValueKind.NUMBER,
        field="foreign_cpu_limit",
    ),
    _placement(
        "--sockets",
        "CPUs and memory of these sockets: 0, or 0,1.",
        kind=ValueKind.RANGES,
        field="sockets",
        is_common=True,
    ),
    _placement(
        "--numa-nodes", "Run on the CPUs of these NUMA nodes.", kind=ValueKind.RANGES, field="numa_nodes"
    ),
    _placement("--cores", "Run on these CPUs, by number.", kind=ValueKind.RANGES, field="cores"),
    _placement(
        "--membind", "Allocate memory on these NUMA nodes only.", kind=ValueKind.RANGES, field="membind"
    ),
    _placement(
        "--interleave",
        "Interleave memory pages over these NUMA nodes.",
        kind=ValueKind.RANGES,
        field="interleave",
    ),
    _placement(
        "--tensor-parallel",
        "Split matrix multiplications over sockets.",
        kind=ValueKind.FLAG,
        key=POLICY,
        is_common=True,
    ),
)
"""Under which conditions: checks, limits and placement."""
