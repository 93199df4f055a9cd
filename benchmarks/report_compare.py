"""The CPU time ``report compare`` takes on 100,000 measurements of 32 tokens: the aim is 2 s, without imports."""

import itertools
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.report import summarize_run
from llmbench.cli.messages import load_run
from llmbench.machine import environment
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement, Sequence
from llmbench.schema.run import Outcome, Provenance
from llmbench.schema.units import Nanoseconds
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded, encode

LAUNCHES, ITERATIONS, PROMPTS, TOKENS = 5, 1000, 10, 32
CONFIG = RunConfig(
    model="m",
    prompts=tuple(Prompt(set="s", index=i, tokens=32 * (i + 1)) for i in range(PROMPTS)),
    output_tokens=TOKENS,
    iterations=ITERATIONS,
    warmups=0,
    launches=LAUNCHES,
)


def measurement(source: random.Random, launch: int, iteration: int, prompt: int) -> Measurement:
    """A request of 50 ms and then 10 ms a token, with a noise of 1 %."""
    at, instants = 10**9, []
    for token in range(TOKENS):
        at += round((10e6 if token else 50e6) * source.gauss(1, 0.01))
        instants.append(Nanoseconds(at))
    return Measurement(
        launch=launch,
        iteration=iteration,
        prompt=prompt,
        is_warmup=False,
        start_ns=Nanoseconds(10**9),
        end_ns=instants[-1],
        started_at="2026-01-02T03:04:05.000006",
        ended_at="2026-01-02T03:04:05.400006",
        requested_tokens=TOKENS,
        sequences=(
            Sequence(input_tokens=32, at_ns=tuple(instants), token_ids=tuple(range(TOKENS)), text="text"),
        ),
        conditions=Conditions(wall_s=0.36, cpus=2, worker_s=0.7, interference_s=0.0),
    )


def write(path: Path, seed: int) -> None:
    """A run file of 50,000 measurements."""
    source = random.Random(seed)  # noqa: S311  a simulation, not a secret
    provenance = Provenance(path="m", known=True, source="hub", source_id="example/m")
    header = Header(
        id=path.stem,
        started_at="2026-01-02T03:04:00+00:00",
        version="0",
        configurations=(CONFIG,),
        environment=environment.capture(),
        provenance=provenance,
    )
    with path.open("wb") as file:
        file.write(encode(header))
        for launch in range(LAUNCHES):
            file.write(
                encode(LaunchStarted(launch=launch, configuration=0, started_at="2026-01-02T03:04:00"))
            )
            for iteration in range(ITERATIONS):
                for prompt in range(PROMPTS):
                    file.write(encode(measurement(source, launch, iteration, prompt)))
            file.write(encode(LaunchEnded(launch=launch, outcome=Outcome.FINISHED)))
        file.write(encode(RunEnded(ended_at="2026-01-02T04:04:00+00:00")))


def main() -> None:
    """Write two runs, compare them, and print what each part took."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("base.jsonl", "candidate.jsonl")]
        for seed, path in enumerate(paths):
            write(path, seed)
        compare(
            summarize_run(load_run(paths[0]), COMPARED), summarize_run(load_run(paths[1]), COMPARED)
        )  # everything is imported now
        instants = [time.process_time()]
        runs = [load_run(path) for path in paths]
        instants.append(time.process_time())
        base, candidate = (summarize_run(run, COMPARED) for run in runs)
        instants.append(time.process_time())
        comparison = compare(base, candidate)
        same = not comparison.agreement.partings
        instants.append(time.process_time())
    parts = [after - before for before, after in itertools.pairwise(instants)]
    print("read {:.2f} s, summarise {:.2f} s, compare {:.2f} s".format(*parts))
    print(f"in all {sum(parts):.2f} s: {comparison.verdict.value}, greedy tokens the same: {same}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"pandas imported: {'pandas' in sys.modules}")


if __name__ == "__main__":
    main()
