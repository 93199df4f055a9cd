"""Every way to generate on a real model: the same tokens where the arithmetic is the same, times that agree."""

import functools
import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.validity import TICKS_ALLOWED_S
from llmbench.convert.pipeline import Converted
from llmbench.engines import catalog
from llmbench.engines.base import EngineRequest, EngineSession, Generation
from llmbench.engines.clock_check import suspicions
from llmbench.machine.interference import Probe
from llmbench.models.manifest import MANIFEST_NAME
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Finish, Measurement
from llmbench.schema.run import Run as Recorded
from tests import benchmark, command, outcome
from tests import conversions as kept

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]
Measure = Callable[..., Recorded]

TEXTS = (
    '{"prompt": "What is OpenVINO?"}\n'
    '{"prompt": "The quick brown fox jumps over the lazy dog. The quick brown fox"}\n'
    '{"prompt": "List three colours and three animals, one a line."}\n'
)
ACCURATE = ("-lc", "EXECUTION_MODE_HINT=ACCURACY")
"""Without it the engines' sums differ in order and precision, and greedy tokens part."""
ENOUGH = 7
"""Undisturbed pairs of calls; the fastest of each side are compared."""


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Measures a model by the command itself and reads the run file; times may be invalid here, outputs may not."""
    return _measure_in(tmp_path)


def _measure_in(folder: Path) -> Measure:
    numbers = itertools.count()

    def call(model: Path, *options: str) -> Recorded:
        name = f"run{next(numbers)}"
        shared = ("--name", name, "--foreign-cpu-limit", "1")
        done = command.in_process(folder, "process", "run", "-m", str(model), *shared, *options)
        return outcome.measured_run(done, folder / "reports" / f"{name}.jsonl")

    return call


def _measured(run: Recorded) -> list[Measurement]:
    return [m for launch in run.launches for m in launch.measurements if not m.is_warmup]


def _tokens(run: Recorded) -> list[tuple[int, ...]]:
    return [m.sequences[0].token_ids for m in _measured(run)]


def _greedy(measure: Measure, model: Path, folder: Path, *options: str) -> list[tuple[int, ...]]:
    """The first 16 greedy tokens of three prompts."""
    prompts = folder / "three.jsonl"
    prompts.write_text(TEXTS)
    found = _tokens(
        measure(model, "-pf", str(prompts), "-n", "1", "--warmups", "0", "-ic", "16", *ACCURATE, *options)
    )
    assert [16] * 3 == [len(tokens) for tokens in found]
    return found


@pytest.mark.convert
def test_optimum_gives_the_same_greedy_tokens(
    measure: Measure, conversions: dict[str, Converted], tmp_path: Path
) -> None:
    """The library's loop over the same IR as GenAI's; a file of prompts, one after the other."""
    folder = conversions["int8"].folder

    assert _greedy(measure, folder, tmp_path) == _greedy(measure, folder, tmp_path, "--engine", "optimum")


@pytest.mark.convert
def test_pytorch_runs_the_published_model(measure: Measure, real_folder: Path) -> None:
    """The reference: every token has its instant, and the end of a text may stop it."""
    run = measure(real_folder, "-f", "pt", "-lc", "DTYPE=float32", "-n", "1", "-ic", "4", "-bs", "2")
    (m,) = _measured(run)

    assert "float32" == run.launches[0].effective.properties["DTYPE"]
    assert [4, 4] == [s.output_tokens for s in m.sequences]
    assert () == m.suspicions


@pytest.fixture(scope="module")
def tiny() -> tuple[Path, Path]:
    """A model of random weights as it would be published, and its IR with the very same weights, in fp32."""
    published = kept.tiny_model()
    return published, kept.converted(published, "fp32")["fp32"].folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options of the runs of the tiny model: three prompts, 16 tokens each."""
    prompts = tmp_path_factory.mktemp("prompts") / "three.jsonl"
    prompts.write_text(TEXTS)
    return ("-pf", str(prompts), "-n", "2", "-ic", "16")


@pytest.fixture(scope="module")
def published_tokens(
    tiny: tuple[Path, Path], three: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[int, ...]]:
    """What PyTorch answers with the published model in fp32."""
    measure = _measure_in(tmp_path_factory.mktemp("published"))
    found = _tokens(measure(tiny[0], *three, "-f", "pt", "-lc", "DTYPE=float32"))
    assert [16] * 6 == list(map(len, found))
    return found


@pytest.mark.convert
def test_pytorch_and_an_fp32_ir_give_the_same_greedy_tokens(
    measure: Measure,
    tiny: tuple[Path, Path],
    three: tuple[str, ...],
    published_tokens: list[tuple[int, ...]],
) -> None:
    """With the same weights in the same precision, and only then: the published model, the core engine, GenAI."""
    _, folder = tiny
    for engine in ("core", "genai"):
        run = measure(folder, *three, *ACCURATE, "--engine", engine)

        assert published_tokens == _tokens(run), engine


@pytest.mark.convert
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_compiled_model_says_the_same_and_compiles_in_the_warm_up(
    measure: Measure,
    tiny: tuple[Path, Path],
    three: tuple[str, ...],
    published_tokens: list[tuple[int, ...]],
) -> None:
    """Prompts of other lengths and longer contexts compile nothing anew; the warm-up says what it did."""
    published, _ = tiny
    run = measure(published, *three, "-f", "pt", "-lc", "DTYPE=float32", "--torch-compile")
    warmups = [m for m in run.launches[0].measurements if m.is_warmup]

    assert published_tokens == _tokens(run)
    assert "inductor" == run.launches[0].effective.properties["TORCH_COMPILE"]
    assert any("torch.compile compiled" in output for m in warmups for output in m.suspicions)
    assert [()] * 6 == [m.suspicions for m in _measured(run)]


def test_a_draft_is_recorded_with_its_hash_and_a_run_is_not_resumed_with_another(
    llmbench_workers: Run, measure: Measure, demo_ir: Path, tmp_path: Path
) -> None:
    """Content is what counts: a copy is the same draft, another recipe's is not."""
    draft = shutil.copytree(demo_ir, tmp_path / "draft")
    run = measure(demo_ir, "--draft-model", str(draft), "-n", "1", "-ic", "4", "--warmups", "0")
    path = tmp_path / "reports" / f"{run.id}.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))  # as if it had been killed
    (draft / MANIFEST_NAME).unlink()

    assert (("draft model", run.provenance.content_sha256),) == run.provenance.companions
    done = llmbench_workers("run", "--resume", str(path))
    assert 2 == done.returncode
    assert "the draft model and the adapters" in done.stderr


def test_guesses_are_counted_by_the_step(measure: Measure, demo_ir: Path) -> None:
    """A model that drafts for itself is right in almost every guess; a prompt that repeats itself is easy to guess."""
    options = ("-n", "1", "-ic", "24", *ACCURATE)
    (drafted,) = _measured(measure(demo_ir, *options, "--draft-model", str(demo_ir)))
    text = "one two three four five six one two three four five six one two three four five six"
    looked = _measured(
        measure(demo_ir, *options, "--max-ngram-size", "3", "-p", text, "--disable-prompt-permutation")
    )[0]

    for m in (drafted, looked):
        assert 24 == sum(m.sequences[0].counts) == len(m.sequences[0].token_ids)
        assert () == m.suspicions
        assert (METRICS["tokens_per_step"].of(m) or 0) > 2
    assert METRICS["first_infer"].of(looked) is None


def test_beams_take_steps_of_all_and_the_whole_length(measure: Measure, demo_ir: Path) -> None:
    """An end of text does not shorten a beam where an exact length was asked for; the note says what a time is."""
    run = measure(demo_ir, "--num-beams", "3", "-n", "1", "-ic", "12", "-bs", "2")
    (m,) = _measured(run)

    assert [(12, 12)] * 2 == [(s.output_tokens, len(s.token_ids)) for s in m.sequences]
    assert () == m.suspicions
    assert any("a step of all 3 beams" in note for note in run.launches[0].effective.notes)


def test_sampling_follows_the_seed(measure: Measure, demo_ir: Path) -> None:
    """The same seed gives the same text in another process, another seed another text."""
    options = ("-n", "1", "--warmups", "0", "-ic", "16", "--do-sample", "--temperature", "2")
    first, second = _tokens(measure(demo_ir, *options, "--seed", "1", "--launches", "2"))

    assert first == second
    assert [first] != _tokens(measure(demo_ir, *options, "--seed", "2"))


def test_a_batch_ends_one_by_one(measure: Measure, demo_ir: Path) -> None:
    """Each sequence has the steps it lived through, up to its end of text."""
    text = "What is 2+2? Answer with one number."
    options = (
        "-bs",
        "3",
        "--end-token-stopping",
        "--apply-chat-template",
        "-p",
        text,
        "-ic",
        "40",
        "-n",
        "1",
    )
    for attention in ("pa", "sdpa"):
        (m,) = _measured(measure(demo_ir, *options, "--attention", attention))
        lengths = [s.output_tokens for s in m.sequences]

        assert lengths == [len(s.token_ids) for s in m.sequences]
        assert len(set(lengths)) > 1
        assert Finish.STOP in {s.finish for s in m.sequences}
        assert () == m.suspicions


def test_a_scheduler_s_parts_are_in_force(measure: Measure, demo_ir: Path) -> None:
    """Cache eviction and sparse attention are switched on by naming a key of theirs, and read back."""
    part = {
        "cache_eviction_config.max_cache_size=256,cache_eviction_config.recent_size=64": "use_cache_eviction",
        '{"sparse_attention_config": {"num_retained_recent_tokens_in_cache": 128}}': "use_sparse_attention",
    }
    for given, switch in part.items():
        run = measure(demo_ir, "--cb-config", given, "--input-tokens", "400", "-n", "1", "-ic", "4")

        assert "true" == run.launches[0].effective.scheduler[switch]
        assert () == _measured(run)[0].suspicions


def test_a_prompt_prefilled_in_chunks_shows_no_first_inference(measure: Measure, demo_ir: Path) -> None:
    """What the engine tells then is its last chunk's; in a batch, who waits for the others begins later."""
    options = ("--input-tokens", "300", "-bs", "3", "-n", "1", "-ic", "4")
    (m,) = _measured(measure(demo_ir, *options, "--cb-config", "max_num_batched_tokens=256"))
    first = [s.at_ns[0] for s in m.sequences]

    assert METRICS["first_infer"].of(m) is None
    assert first == sorted(first)
    assert len(set(first)) == 3
    assert () == m.suspicions


def test_a_chat_goes_on_turn_by_turn(measure: Measure, demo_ir: Path, tmp_path: Path) -> None:
    """Each turn has its own first token; its input holds all that was said before."""
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"prompt": ["My name is Ada.", "What is the capital of Italy?", "What is my name?"]}\n')
    run = measure(demo_ir, "-pf", str(chat), "-n", "1", "-ic", "8")
    turns = _measured(run)

    assert [0, 1, 2] == [run.cells[0].prompts[m.prompt].turn for m in turns]
    assert turns[0].input_tokens + 8 < turns[1].input_tokens < turns[2].input_tokens - 8
    assert [8, 8, 8] == [m.output_tokens for m in turns]


def _adapter(path: Path, layers: range) -> Path:
    """A LoRA adapter of rank 4 for the demo model's query projections, its numbers drawn by a seed."""
    draw = np.random.default_rng(0)
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight": draw.normal(
            scale=0.5, size=shape
        ).astype(np.float32)
        for layer in layers
        for side, shape in (("A", (4, 576)), ("B", (576, 4)))
    }
    from safetensors.numpy import save_file

    save_file(tensors, path)
    return path


@pytest.mark.convert
def test_an_adapter_changes_what_is_said(
    llmbench_workers: Run,
    measure: Measure,
    conversions: dict[str, Converted],
    *,
    demo_ir: Path,
    tmp_path: Path,
) -> None:
    """Two adapters with alphas; where one fits nothing it is refused, for it would silently do nothing."""
    lora = [str(_adapter(tmp_path / f"{n}.safetensors", range(n))) for n in (1, 30)]
    folder = conversions["int8"].folder
    options = ("-n", "1", "--warmups", "0", "-ic", "16")
    adapters = ("--lora", lora[0], "--lora", lora[1], "--lora-alphas", "0.5", "--lora-alphas", "0.75")
    run = measure(folder, *options, *adapters)

    assert _tokens(measure(folder, *options)) != _tokens(run)
    assert {"lora 1.safetensors", "lora 30.safetensors"} <= run.launches[0].effective.properties.keys()
    done = llmbench_workers("run", "-m", str(demo_ir), *options, "--lora", lora[0])
    assert 2 == done.returncode
    assert "fit nothing in this model" in done.stderr


@pytest.fixture
def open_session(demo_ir: Path) -> Callable[..., EngineSession]:
    """Loads the model in this process."""

    def load(**changes: object) -> EngineSession:
        config = RunConfig(
            model=str(demo_ir),
            prompts=(Prompt(set="s", index=0, text="x"),),
            **changes,  # type: ignore[arg-type]
        )
        engine = catalog.find_engine(config.engine)
        engine.check(config)
        return cast("EngineSession", engine.open(config))

    return load


def test_every_way_gives_the_same_greedy_tokens(
    open_session: Callable[..., EngineSession], demo_ir: Path
) -> None:
    """Paged attention, its scheduler, SDPA, our own loop, a draft and prompt lookup: guessing changes nothing."""
    ways: dict[str, dict[str, object]] = {
        "sdpa": {"attention": "sdpa"},
        "continuous batching": {"scheduler": {"max_num_batched_tokens": 256, "dynamic_split_fuse": True}},
        "core": {"engine": "core", "attention": "sdpa"},
        "draft": {"draft_model": str(demo_ir), "num_assistant_tokens": 5},
        "lookup": {"max_ngram_size": 3, "num_assistant_tokens": 5},
    }
    accurate = functools.partial(open_session, properties={"EXECUTION_MODE_HINT": "ACCURACY"})
    expected = _greedy_tokens(accurate())

    assert [16] * 3 == list(map(len, expected))
    for name, changes in ways.items():
        assert expected == _greedy_tokens(accurate(**changes)), name


def _greedy_tokens(session: EngineSession) -> list[tuple[int, ...]]:
    """The first 16 greedy tokens of three prompts."""
    prompts = [json.loads(line)["prompt"] for line in TEXTS.splitlines()]
    requests = [
        EngineRequest(input_ids=(session.encode(text, chat=False),), output_tokens=16) for text in prompts
    ]
    return [session.generate(request).sequences[0].token_ids for request in requests]


def _ids(session: EngineSession, length: int, *, variant: int = 0) -> tuple[int, ...]:
    """A text of so many tokens."""
    ids = session.encode("The sun rose over the hills and the river ran on to the sea. " * 60, chat=False)
    return ids[variant : variant + length]


@pytest.mark.alone
def test_the_engine_s_clock_is_ours(open_session: Callable[..., EngineSession]) -> None:
    """Milliseconds, microseconds and callbacks tell one story: forward, inside the call, first token first."""
    session = open_session(is_streamed=True)
    for variant in range(3):
        request = EngineRequest(input_ids=(_ids(session, 64, variant=variant),), output_tokens=24)
        made = session.generate(request)
        at_ns, seen = made.sequences[0].at_ns, made.callback_ns

        assert 24 == len(at_ns)
        assert made.start_ns < at_ns[0] < at_ns[-1] <= made.end_ns
        assert list(seen) == sorted(seen)
        assert made.start_ns < seen[0]
        assert seen[-1] <= made.end_ns
        assert at_ns[0] <= seen[0] + 1_000_000
        assert 0 < len(seen) <= 24 + 1
        assert made.counters is not None
        assert made.counters.first_token_s is not None
        assert () == suspicions(made)


def _aggregate_rate(made: Generation) -> float:
    """Tokens of all sequences a second, by their events."""
    last = max(s.at_ns[-1] for s in made.sequences)
    return sum(s.output_tokens for s in made.sequences) * 1e9 / (last - made.start_ns)


@pytest.mark.alone
@pytest.mark.parametrize("attention", ["pa", "sdpa"])
def test_a_batch_s_rate_is_that_of_the_wall(
    open_session: Callable[..., EngineSession], attention: str
) -> None:
    """One, two and eight sequences: tokens by their events over the time by our clock, within 2 %.

    The best of five, for a neighbour that takes the CPU as a call returns is no difference between two clocks.
    """
    session = open_session(attention=attention)
    for size in (1, 2, 8):
        rows = tuple(_ids(session, 48, variant=row) for row in range(size))
        calls = (session.generate(EngineRequest(input_ids=rows, output_tokens=16)) for _ in range(5))

        assert any(_is_rate_of_the_wall(made) for made in calls)


def _is_rate_of_the_wall(made: Generation) -> bool:
    """Whether the tokens by their events over the time by our clock agree within 2 %, and nothing is doubtful."""
    tokens = sum(s.output_tokens for s in made.sequences)
    by_wall = tokens * 1e9 / (made.end_ns - made.start_ns)
    return not suspicions(made) and _aggregate_rate(made) == pytest.approx(by_wall, rel=0.02)


def _calm(seen: Conditions) -> bool:
    """Whether others left the CPUs alone, by the rule for a measurement."""
    return seen.interference_s < 0.05 * seen.wall_s * seen.cpus + TICKS_ALLOWED_S * seen.cpus


@pytest.mark.alone
@pytest.mark.parametrize("way", ["genai pa", "genai sdpa", "core"])
def test_a_session_takes_as_long_as_a_bare_call(
    open_session: Callable[..., EngineSession], demo_ir: Path, way: str
) -> None:
    """Interleaved in one process with a script of twenty lines, as the benchmark does it.

    Pairs that others disturbed do not count. The benchmark's aim is 1 % on a quiet machine; here a fifth is allowed.
    """
    overhead = benchmark.load("overhead")
    engine, _, attention = way.partition(" ")
    session = open_session(engine=engine, attention=attention or "sdpa")
    bare = overhead.bare_core(str(demo_ir)) if engine == "core" else overhead.bare_genai(session)
    calm = ((ours, theirs) for ours, theirs, seen in overhead.pairs_of(session, bare, 13) if _calm(seen))
    first, tpot = _fastest_over_fastest(list(itertools.islice(calm, ENOUGH)))

    assert 0.8 < first < 1.25
    assert 0.8 < tpot < 1.25


def _fastest_over_fastest(pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> list[float]:
    """First token and tpot, the fastest of ours over the fastest of theirs: noise makes calls slower, never faster."""
    if len(pairs) < 5:
        pytest.skip("others keep the CPUs busy")
    ours, theirs = zip(*pairs, strict=True)
    return [
        min(mine) / min(their)
        for mine, their in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
    ]


def _seconds(made: Generation) -> tuple[float, float]:
    """First token, and time per output token."""
    at_ns = made.sequences[0].at_ns
    return (at_ns[0] - made.start_ns) / 1e9, (at_ns[-1] - at_ns[0]) / 1e9 / (len(at_ns) - 1)


@pytest.mark.alone
def test_our_loop_is_as_fast_as_the_engine_s(open_session: Callable[..., EngineSession]) -> None:
    """Interleaved in one process, the fastest first token and tpot are within a fifth of SDPA's.

    Logits of every position, which it leaves out as the engine does, would cost more than that. Pairs that others
    disturbed do not count, as in a measurement.
    """
    sessions = [open_session(engine=engine, attention="sdpa") for engine in ("core", "genai")]
    calm: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for turn in range(15):
        request = EngineRequest(input_ids=(_ids(sessions[0], 256, variant=turn),), output_tokens=16)
        probe = Probe.start()
        ours, theirs = (_seconds(session.generate(request)) for session in sessions)
        seen = probe.stop()
        if turn > 1 and _calm(seen):
            calm.append((ours, theirs))
        if len(calm) == ENOUGH:
            break
    first, tpot = _fastest_over_fastest(calm)

    assert 0.8 < first < 1.2
    assert 0.8 < tpot < 1.2
