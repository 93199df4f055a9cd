"""What measuring costs: our sessions against bare calls, interleaved in one process; and our code between tokens.

Aims: first token and tpot within 1 % of the bare call's, under 50 microseconds of our code a token, a parent below
1 % of a CPU, ``--help`` without an engine. Run it on a quiet machine: ``python benchmarks/overhead.py IR_DIR [PAIRS]``.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import llmbench
from llmbench.analysis import stats
from llmbench.engines import catalog
from llmbench.engines.base import EngineRequest
from llmbench.engines.openvino.core import slice_last_position
from llmbench.engines.openvino.device import import_openvino
from llmbench.machine.interference import Probe
from llmbench.runner.protocol import Heartbeat
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement

INPUT_TOKENS, OUTPUT_TOKENS, PAIRS, TOKENS = 256, 32, 60, 10_000
Times = tuple[float, float]
"""Seconds to the first token, and seconds a token after it."""


def times(start_ns: int, at_ns: tuple[int, ...]) -> Times:
    """First token and time per output token."""
    return (at_ns[0] - start_ns) / 1e9, (at_ns[-1] - at_ns[0]) / 1e9 / (len(at_ns) - 1)


def open_session(model: str, **changes: Any) -> Any:
    """A loaded engine."""
    config = RunConfig(model=model, prompts=(Prompt(set="s", index=0, text="x"),), **changes)
    return catalog.find_engine(config.engine).open(config)


def bare_genai(session: Any) -> Callable[[tuple[int, ...]], Times]:
    """The pipeline of a session called directly, as a script of twenty lines would."""
    openvino = import_openvino()
    import openvino_genai as genai

    config = genai.GenerationConfig(max_new_tokens=OUTPUT_TOKENS, ignore_eos=True, apply_chat_template=False)
    pipeline = session._pipeline  # noqa: SLF001  the very pipeline that is measured

    def call(ids: tuple[int, ...]) -> Times:
        row = np.array([ids], dtype=np.int64)
        inputs = genai.TokenizedInputs(openvino.Tensor(row), openvino.Tensor(np.ones_like(row)))
        start_ns = time.perf_counter_ns()
        result = pipeline.generate(inputs, config)
        instants = result.perf_metrics.raw_metrics.m_new_token_times
        return times(start_ns, tuple(round(at * 1e6) for at in instants))

    return call


def bare_core(model: str) -> Callable[[tuple[int, ...]], Times]:
    """A loop over the compiled model and nothing else; ``infer(dict)`` would copy all logits, a tenth of a token."""
    openvino = import_openvino()
    core = openvino.Core()
    read = core.read_model(Path(model) / "openvino_model.xml")
    slice_last_position(openvino, read)
    request = core.compile_model(read, "CPU", {"PERFORMANCE_HINT": "LATENCY"}).create_infer_request()

    def call(ids: tuple[int, ...]) -> Times:
        request.reset_state()
        token, done, instants = np.array([ids], dtype=np.int64), 0, []
        start_ns = time.perf_counter_ns()
        for _ in range(OUTPUT_TOKENS):
            width = done + token.shape[1]
            inputs = {
                "input_ids": token,
                "attention_mask": np.ones((1, width), dtype=np.int64),
                "position_ids": np.arange(done, width, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
            for name, value in inputs.items():
                request.set_tensor(name, openvino.Tensor(value))
            request.start_async()
            request.wait()
            done = width
            token = request.get_tensor("logits").data[:, -1, :].argmax(axis=-1)[:, None]
            instants.append(time.perf_counter_ns())
        return times(start_ns, tuple(instants))

    return call


def of_session(session: Any) -> Callable[[tuple[int, ...]], Times]:
    """One request through our own session."""

    def call(ids: tuple[int, ...]) -> Times:
        made = session.generate(EngineRequest(input_ids=(ids,), output_tokens=OUTPUT_TOKENS))
        return times(made.start_ns, made.sequences[0].at_ns)

    return call


def pairs_of(
    session: Any, bare: Callable[[tuple[int, ...]], Times], pairs: int
) -> Iterator[tuple[Times, Times, Conditions]]:
    """Ours and the bare call as neighbours, in turns, and what else the machine did meanwhile."""
    ours = of_session(session)
    ids = session.encode("The sun rose over the hills and the river ran on to the sea. " * 60, chat=False)
    for turn in range(pairs + 2):
        begin = turn % (len(ids) - INPUT_TOKENS)
        given = ids[begin : begin + INPUT_TOKENS]
        order = (ours, bare) if turn % 2 else (bare, ours)
        probe = Probe.start()
        one, other = (call(given) for call in order)
        seen = probe.stop()
        if turn > 1:
            yield (one, other, seen) if turn % 2 else (other, one, seen)


def ratios(name: str, session: Any, bare: Callable[[tuple[int, ...]], Times], pairs: int) -> str:
    """Ours over the bare call: the median of the ratios of neighbours with its interval at 95 %."""
    found = list(pairs_of(session, bare, pairs))
    busy = sum(seen.interference_s for *_, seen in found) / sum(seen.wall_s * seen.cpus for *_, seen in found)
    shown = ", ".join(
        f"{what} {compared([mine[i] for mine, _, _ in found], [theirs[i] for _, theirs, _ in found])}"
        for i, what in enumerate(("first token", "tpot"))
    )
    return f"{name}: {shown}; others took {busy:.0%} of the CPUs"


def compared(ours: list[float], theirs: list[float]) -> str:
    """The median ratio with its interval, and the ratio of the fastest tenths, which noise touches least."""
    ratio = stats.summarize_values([mine / their for mine, their in zip(ours, theirs, strict=True)])
    fastest = statistics.quantiles(ours, n=10)[0] / statistics.quantiles(theirs, n=10)[0]
    return f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] (fastest tenth {fastest:.3f})"


def seconds_a_token(tokens: int = TOKENS) -> tuple[float, float]:
    """CPU seconds of our code a token, where the model takes no time: the scripted session, and a heartbeat."""
    session = open_session("first=1us,next=0us", engine="scripted")
    start = time.process_time()
    session.generate(EngineRequest(input_ids=((1, 2, 3),), output_tokens=tokens))
    ours = (time.process_time() - start) / tokens
    heartbeat = Heartbeat.create()
    start = time.process_time()
    for token in range(tokens):
        heartbeat.beat(token, time.perf_counter_ns())
    beat = (time.process_time() - start) / tokens
    heartbeat.close()
    return ours, beat


def between_tokens() -> str:
    """Our code a token as a sentence."""
    ours, beat = seconds_a_token()
    return f"between tokens: {ours * 1e6:.1f} us of the scripted session, {beat * 1e6:.1f} us a heartbeat (aim: 50)"


def parent_share(config: RunConfig) -> float:
    """The share of one CPU that the parent takes while its worker measures: writing and syncing included."""
    seen: list[tuple[float, float]] = []

    def note(event: object) -> None:
        if isinstance(event, Measurement):
            seen.append((time.process_time(), time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        llmbench.measure(config, output_dir=folder, on_event=note)
    return (seen[-1][0] - seen[0][0]) / (seen[-1][1] - seen[0][1])


def parent(model: str) -> str:
    """That share beside a real model, as a sentence."""
    prompt = Prompt(set="s", index=0, tokens=INPUT_TOKENS)
    share = parent_share(RunConfig(model=model, prompts=(prompt,), output_tokens=128, iterations=8))
    return f"parent: {share:.2%} of one CPU while its worker measures (aim: 1 %)"


def help_page() -> str:
    """How long ``llmbench --help`` takes, and what it imports that it should not."""
    program = (
        "import sys; from llmbench.cli.main import invoke; invoke(['--help']);"
        "heavy = ('openvino', 'openvino_genai', 'torch', 'transformers', 'optimum', 'pandas', 'scipy', 'numpy');"
        "print('imported:', [name for name in heavy if name in sys.modules] or 'nothing heavy')"
    )
    found = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        found.append(time.perf_counter() - start)
    return f"--help: {statistics.median(found):.2f} s, {done.stdout.splitlines()[-1]}"


def lines(model: str, pairs: int) -> Iterator[str]:
    """Each figure as it is there."""
    yield help_page()
    yield between_tokens()
    yield parent(model)
    for attention in ("pa", "sdpa"):
        session = open_session(model, attention=attention)
        yield ratios(f"genai {attention} over a bare call", session, bare_genai(session), pairs)
        del session
    session = open_session(model, engine="core", attention="sdpa")
    yield ratios("core over a bare loop", session, bare_core(model), pairs)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    os.environ.setdefault("NO_COLOR", "1")
    for line in lines(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else PAIRS):
        print(line, file=sys.stderr, flush=True)
