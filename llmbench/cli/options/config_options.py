"""The options that say what to measure, and what was asked with them.

The command line and a recipe (RUN.toml) go the same way, so that a recipe means the same to every subcommand.
"""

import dataclasses
import itertools
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from llmbench.analysis.placement_proof import Effect
from llmbench.cli.options import properties, recipe
from llmbench.cli.options.properties import PropertySets, RunValue
from llmbench.cli.options.types import IntegerList, WordList, find_prompts
from llmbench.errors import InputError, MachineError
from llmbench.machine.topology import parse_list
from llmbench.runner import pinning
from llmbench.schema.config import (
    ATTENTIONS,
    COMPILER,
    LORA_MODES,
    POLICY,
    TENSOR_PARALLEL,
    WEIGHT_FORMATS,
    Prompt,
    PropertyValue,
    RunConfig,
)
from llmbench.schema.engines import ENGINES

_WIDTH = 100
MARK = f"tensor_parallel={Effect.INEFFECTIVE.value}"


class NumberList(click.ParamType[tuple[int, ...]]):
    """``0,2-3`` as a tuple of numbers."""

    name = "N,N-N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, ascending; a recipe's list has its parts already."""
        if value == ():
            return ()
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        try:
            numbers = parse_list(text)
        except InputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if not numbers:
            self.fail(f"{text!r} is no list of numbers; write it like 0,2-3", param, ctx)
        return numbers


PLACEMENT_OPTIONS = (
    click.option(
        "--sockets",
        type=NumberList(),
        default=(),
        help="Run on these sockets, threads and memory: 0, or 0,1.",
    ),
    click.option("--numa-nodes", type=NumberList(), default=(), help="Run on the CPUs of these NUMA nodes."),
    click.option("--cores", type=NumberList(), default=(), help="Run on these CPUs, by number."),
    click.option("--membind", type=NumberList(), default=(), help="Take memory from these NUMA nodes only."),
    click.option(
        "--interleave",
        type=NumberList(),
        default=(),
        help="Spread memory page by page over these NUMA nodes.",
    ),
    click.option(
        "--tensor-parallel",
        is_flag=True,
        help=f"Split every matrix multiplication over the sockets: -lc {POLICY}={TENSOR_PARALLEL}.",
    ),
)
"""Options of every subcommand that measures; the parameters have the names of `RunConfig`'s fields."""


def with_policy(properties: Mapping[str, RunValue]) -> dict[str, RunValue]:
    """The properties and ``--tensor-parallel`` together; refused where they contradict each other."""
    given = properties.get(POLICY, TENSOR_PARALLEL)
    if given != TENSOR_PARALLEL:
        raise InputError(
            f"--tensor-parallel was given, and -lc sets {POLICY} to {given!r}", hint="keep one of the two"
        )
    return {**properties, POLICY: TENSOR_PARALLEL}


def check_places(cells: Sequence[RunConfig], *, is_strict: bool) -> None:
    """Find every configuration's place before anything is loaded; warn, loudly, where nothing will be split.

    Raises ``MachineError`` where the machine has less than was asked for, and under *is_strict* where tensor
    parallelism would split nothing.
    """
    found = [pinning.warn_of_no_split(config, pinning.find_placement(config)) for config in cells]
    for sentence in dict.fromkeys(filter(None, found)):
        if is_strict:
            raise MachineError(
                sentence,
                hint="run it on a machine of two sockets, or without --strict: its rows are marked then",
            )
        _shout("TENSOR PARALLELISM WILL DO NOTHING HERE", f"{sentence}. Every row is marked {MARK}.")


def _shout(title: str, sentence: str) -> None:
    """A warning that no one can miss, on standard error."""
    lines = ["!" * _WIDTH, title, *textwrap.wrap(sentence, _WIDTH - 4), "!" * _WIDTH]
    for line in lines:
        text = line if line.startswith("!!!") else f"!!! {line}"
        click.echo(click.style(text, fg="red", bold=True) if "NO_COLOR" not in os.environ else text, err=True)


_FRAMEWORKS = ("ov", "pt")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the options say, one field an option of the same name; several values make a sweep."""

    model: str | None
    weight_format: tuple[str, ...]
    device: str
    prompt: str | None
    prompt_file: tuple[str, ...]
    prompt_index: tuple[int, ...]
    input_tokens: tuple[int, ...]
    num_iters: int
    warmups: int
    launches: int
    infer_count: tuple[int, ...]
    batch_size: tuple[int, ...]
    load_config: tuple[str, ...]
    cb_config: tuple[str, ...]
    kv_cache_precision: tuple[str, ...]
    model_cache: str | None
    torch_compile: str | None
    engine: str
    attention: tuple[str, ...]
    threads: tuple[int, ...]
    seed: int
    num_beams: int
    do_sample: bool
    temperature: float
    top_p: float
    top_k: int | None
    draft_model: str | None
    draft_device: str | None
    draft_cb_config: tuple[str, ...]
    num_assistant_tokens: int | None
    assistant_confidence_threshold: float | None
    max_ngram_size: int | None
    lora: tuple[str, ...]
    lora_alphas: tuple[float, ...]
    lora_mode: str
    empty_lora: bool
    streaming: bool
    apply_chat_template: bool
    end_token_stopping: bool
    disable_prompt_permutation: bool
    subsequent: bool
    no_verify: bool
    python: str | None
    foreign_cpu_limit: float
    sockets: tuple[int, ...]
    numa_nodes: tuple[int, ...]
    cores: tuple[int, ...]
    membind: tuple[int, ...]
    interleave: tuple[int, ...]
    tensor_parallel: bool


def _choose_engine(ctx: click.Context, _param: click.Parameter, given: str | bool) -> None:
    """The engine that llm_bench's words name, as the default: ``-f pt`` is PyTorch's."""
    named = {"pt": "torch", True: "optimum"}.get(given)
    if named is not None:
        ctx.default_map = {**(ctx.default_map or {}), "engine": named}


_OPTIONS = (
    click.option(
        "-m",
        "--model",
        metavar="IR_DIR|FILE.gguf",
        help="IR folder, a parent of one, a parent of several (--weight-format), or a GGUF file.",
    ),
    click.option(
        "--weight-format",
        type=WordList(WEIGHT_FORMATS),
        default=(),
        metavar="fp32|fp16|int8|int4,...",
        help="Which of the IRs below -m, as convert lays them out.  [sweep]",
    ),
    click.option("-d", "--device", default="CPU", help="OpenVINO device."),
    click.option("-p", "--prompt", metavar="TEXT", help="One prompt.  [default: What is OpenVINO?]"),
    click.option(
        "-pf",
        "--prompt-file",
        multiple=True,
        metavar="FILE.jsonl",
        help='Lines of {"prompt": "text"}; repeatable.',
    ),
    click.option(
        "-pi", "--prompt-index", type=IntegerList(least=0), default=(), help="Only these prompts of the file."
    ),
    click.option(
        "--input-tokens", type=IntegerList(), default=(), help="Synthetic prompts of exactly so many tokens."
    ),
    click.option("-n", "--num-iters", default=6, help="Measured iterations in each launch."),
    click.option("--warmups", default=1, help="Iterations before them; kept, flagged, never averaged in."),
    click.option(
        "--launches", default=1, help="Fresh processes; five or more make a comparison worth something."
    ),
    click.option(
        "-ic",
        "--infer-count",
        type=IntegerList(least=0),
        default="128",
        help="Output tokens, exactly so many.  [sweep]",
    ),
    click.option(
        "-bs",
        "--batch-size",
        type=IntegerList(least=0),
        default="1",
        help="Sequences in a request; each is a distinct variant of the prompt.  [sweep]",
    ),
    click.option(
        "-lc",
        "--load-config",
        multiple=True,
        metavar="JSON|FILE|KEY=VALUE",
        help="OpenVINO properties; a list of values, or of whole sets, is swept.",
    ),
    click.option(
        "--cb-config",
        multiple=True,
        metavar="JSON|FILE|KEY=VALUE",
        help="GenAI's scheduler, such as max_num_batched_tokens=256; a list of values is swept.",
    ),
    click.option(
        "--kv-cache-precision",
        type=WordList(),
        default=(),
        help="KV_CACHE_PRECISION: u8, f16, bf16 ...  [sweep]",
    ),
    click.option(
        "--model-cache",
        metavar="DIR",
        help="CACHE_DIR: keep the compiled model there, so that later launches load it.",
    ),
    click.option(
        "--torch-compile",
        "--torch-compile-backend",
        is_flag=False,
        flag_value="inductor",
        metavar="[BACKEND]",
        help="Under -f pt: compile the model's forward pass.  [BACKEND: inductor]",
    ),
    click.option(
        "-f",
        "--framework",
        type=click.Choice(_FRAMEWORKS),
        default="ov",
        is_eager=True,
        expose_value=False,
        callback=_choose_engine,
        help="As in llm_bench; pt is --engine torch.",
    ),
    click.option(
        "--optimum",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_choose_engine,
        help="As in llm_bench; --engine optimum.",
    ),
    click.option(
        "-s", "--seed", default=42, help="For synthetic prompts, sampling, and the order of a sweep."
    ),
    click.option("--engine", type=click.Choice(ENGINES), default="genai", help="What generates."),
    click.option(
        "--attention",
        type=WordList(ATTENTIONS),
        default=(),
        help="Paged attention or SDPA.  [default: pa with genai; sweep]",
    ),
    click.option(
        "--threads",
        type=IntegerList(least=0),
        default=(),
        help="INFERENCE_NUM_THREADS; getting fewer is an error.  [sweep]",
    ),
    click.option("--num-beams", default=1, help="Beam search with so many beams."),
    click.option(
        "--do-sample", is_flag=True, help="Sample tokens, by the seed; otherwise the likeliest is taken."
    ),
    click.option("--temperature", default=1.0, help="Of sampling."),
    click.option("--top-p", default=1.0, help="Sample from the likeliest tokens that make up this share."),
    click.option("--top-k", type=int, help="Sample from so many likeliest tokens."),
    click.option(
        "--draft-model", metavar="IR_DIR", help="Speculative decoding: a smaller model guesses ahead."
    ),
    click.option("--draft-device", help="Device of the draft model.  [default: that of the model]"),
    click.option(
        "--draft-cb-config", multiple=True, metavar="JSON|FILE|KEY=VALUE", help="The draft's scheduler."
    ),
    click.option("--num-assistant-tokens", type=int, help="Tokens guessed in a step.  [default: 5]"),
    click.option(
        "--assistant-confidence-threshold", type=float, help="Guess on while the draft is so sure, instead."
    ),
    click.option(
        "--max-ngram-size", type=int, help="Prompt lookup: guess from n-grams of the prompt, without a model."
    ),
    click.option("--lora", multiple=True, metavar="FILE.safetensors", help="A LoRA adapter; repeatable."),
    click.option(
        "--lora-alphas", multiple=True, type=float, help="Its weight; one an adapter.  [default: 1]"
    ),
    click.option(
        "--lora-mode", type=click.Choice(LORA_MODES), default="auto", help="How adapters are applied."
    ),
    click.option("--empty-lora", is_flag=True, help="Load the adapters, and generate without them."),
    click.option(
        "--streaming", is_flag=True, help="Stream the text; the callbacks are kept beside the tokens."
    ),
    click.option("--apply-chat-template", is_flag=True, help="Hand prompts over as a user's turn."),
    click.option("--end-token-stopping", is_flag=True, help="Let the end of text stop a sequence early."),
    click.option(
        "--disable-prompt-permutation", is_flag=True, help="The same prompt each iteration, not a variant."
    ),
    click.option(
        "--subsequent",
        is_flag=True,
        help="All iterations of one prompt, then the next one; otherwise each iteration goes through all.",
    ),
    click.option("--no-verify", is_flag=True, help="Do not hold the files against their manifest; recorded."),
    click.option(
        "--python",
        metavar="PATH",
        help="The Python of another environment, to measure its engine; it needs msgspec and psutil as well.",
    ),
    click.option(
        "--foreign-cpu-limit", default=0.05, help="CPU share of others that makes a measurement invalid."
    ),
    *PLACEMENT_OPTIONS,
)


def configuration_options(command: _Command) -> _Command:
    """Add every option that says what to measure; the command gets them by the names of `Options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The options of a recipe that say what to measure; what else ``run`` takes, such as a time limit, is left out.

    Raises InputError that names the line.
    """
    from llmbench.cli import run

    known = {option.name for option in run.command.params if option.name}
    wanted = {option.name for option in configuration_options(click.Command("recipe")).params}
    return {name: value for name, value in recipe.read_run(path, known=known).items() if name in wanted}


def ask(values: Mapping[str, Any]) -> Options:
    """What these values of options ask for, the other options at their defaults.

    Raises InputError or click's UsageError on a value that is none.
    """
    command = configuration_options(click.Command("recipe"))
    context = command.make_context("recipe", [], default_map=dict(values))
    return Options(**context.params)


_KV_PRECISION = "KV_CACHE_PRECISION"
_MODEL_CACHE = "CACHE_DIR"


def configurations(asked: Options, model: str, weight_format: str | None = None) -> tuple[RunConfig, ...]:
    """The configuration asked for, or the cells of a sweep: the cross product of every list, in the order given.

    *model* and its *weight_format* are those of all cells.
    """
    swept = itertools.product(
        asked.attention or (ENGINES[asked.engine].default_attention,),
        asked.threads or (None,),
        _swept(_with_named(found, asked) for found in _read(asked.load_config, "-lc")),
        _swept(_read(asked.cb_config, "--cb-config")),
        asked.batch_size,
        asked.infer_count,
    )
    base = dataclasses.replace(_base(asked, model), weight_format=weight_format)
    return tuple(
        dataclasses.replace(
            base,
            attention=attention,
            threads=threads,
            properties=properties,
            scheduler=scheduler,
            batch_size=batch_size,
            output_tokens=output_tokens,
        )
        for attention, threads, properties, scheduler, batch_size, output_tokens in swept
    )


def _base(asked: Options, model: str) -> RunConfig:
    """What every cell of a sweep has in common."""
    return RunConfig(
        model=model,
        prompts=_prompts(asked),
        engine=asked.engine,
        device=asked.device if ENGINES[asked.engine].is_simulated else asked.device.upper(),
        iterations=asked.num_iters,
        warmups=asked.warmups,
        launches=asked.launches,
        seed=asked.seed,
        num_beams=asked.num_beams,
        do_sample=asked.do_sample,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        is_streamed=asked.streaming,
        draft_model=asked.draft_model,
        draft_device=asked.draft_device.upper() if asked.draft_device else None,
        draft_scheduler=_single(asked.draft_cb_config, "--draft-cb-config"),
        num_assistant_tokens=asked.num_assistant_tokens,
        assistant_confidence_threshold=asked.assistant_confidence_threshold,
        max_ngram_size=asked.max_ngram_size,
        lora=asked.lora,
        lora_alphas=asked.lora_alphas,
        lora_mode=asked.lora_mode,
        is_lora_idle=asked.empty_lora,
        apply_chat_template=asked.apply_chat_template,
        stop_at_eos=asked.end_token_stopping,
        foreign_cpu_limit=asked.foreign_cpu_limit,
        sockets=asked.sockets,
        numa_nodes=asked.numa_nodes,
        cores=asked.cores,
        membind=asked.membind,
        interleave=asked.interleave,
        is_verified=not asked.no_verify,
        is_subsequent=asked.subsequent,
        interpreter=asked.python,
    )


def _prompts(asked: Options) -> tuple[Prompt, ...]:
    """The prompts asked for, permuted each iteration or not."""
    found = find_prompts(
        text=asked.prompt,
        files=asked.prompt_file,
        indices=asked.prompt_index,
        lengths=asked.input_tokens,
        seed=asked.seed,
    )
    is_permuted = not asked.disable_prompt_permutation
    return tuple(dataclasses.replace(prompt, is_permuted=is_permuted) for prompt in found)


def _read(sources: tuple[str, ...], option: str) -> Iterator[PropertySets]:
    """The properties of every source together, later ones over earlier ones; of several sets each in turn."""
    for sets in itertools.product(*(properties.read_properties(source, option=option) for source in sources)):
        yield {name: value for properties in sets for name, value in properties.items()}


def _single(sources: tuple[str, ...], option: str) -> dict[str, PropertyValue]:
    """The properties of every source, none of which is swept."""
    (found, *others) = _swept(_read(sources, option))
    if others:
        raise InputError(f"{option} takes one value a key", hint="sweep --cb-config instead")
    return found


def _with_named(properties: PropertySets, asked: Options) -> PropertySets:
    """The OpenVINO properties of ``-lc``, and those that have an option of their own."""
    named = {
        _KV_PRECISION: ("--kv-cache-precision", asked.kv_cache_precision),
        _MODEL_CACHE: ("--model-cache", asked.model_cache),
        COMPILER: ("--torch-compile", asked.torch_compile),
    }
    for name, (option, value) in named.items():
        if value and name in properties:
            raise InputError(f"{name} stands in -lc and {option} is given as well", hint="keep one of them")
        if value:
            properties = {**properties, name: value}
    return with_policy(properties) if asked.tensor_parallel else properties


def _swept(sets: Iterable[PropertySets]) -> list[dict[str, PropertyValue]]:
    """Of each set every combination of the values listed, the last key changing fastest."""
    return [
        dict(zip(properties, values, strict=True))
        for properties in sets
        for values in itertools.product(*_lists(properties))
    ]


def _lists(properties: PropertySets) -> Iterator[tuple[PropertyValue, ...]]:
    """The values of each key; a single one as a list of one."""
    for value in properties.values():
        yield value if isinstance(value, tuple) else (value,)
