"""What reports cost on run files of 100,000 measurements: ``python benchmarks/big_files.py [MEASUREMENTS]``.

Prints the wall time, CPU time and peak memory of each command, and the ratio of its CPU time to that of parsing the
same bytes with msgspec alone, which does not depend on the machine. The aims on an idle machine: ``show`` and
``compare`` below 3 s and 500 MiB, ``csv``, ``json`` and ``html`` below 8 s.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmbench.machine import environment
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.measurement import Sequence as TokenSequence
from llmbench.schema.run import Outcome, Provenance
from llmbench.schema.units import Nanoseconds
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded, encode

LAUNCHES, PROMPTS, TOKENS = 5, 10, 32
COMMANDS = {
    "show": ("show", "{base}"),
    "csv": ("csv", "{base}", "-o", "{folder}/tidy.csv"),
    "csv --summary": ("csv", "--summary", "{base}", "-o", "{folder}/summary.csv"),
    "csv --layout llm-bench": ("csv", "--layout", "llm-bench", "{base}", "-o", "{folder}/llm-bench.csv"),
    "json": ("json", "{base}", "-o", "{folder}/report.json"),
    "json --layout llm-bench": ("json", "--layout", "llm-bench", "{base}", "-o", "{folder}/llm-bench.json"),
    "html": ("html", "{base}", "-o", "{folder}/page.html"),
    "compare": ("compare", "{base}", "{candidate}"),
    "compare --html": ("compare", "{base}", "{candidate}", "--html", "{folder}/comparison.html"),
}
"""The arguments of ``llmbench report``, by what the table calls them."""


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
            TokenSequence(
                input_tokens=32,
                at_ns=tuple(instants),
                token_ids=tuple(1000 * (token + prompt) for token in range(TOKENS)),
                text="text",
            ),
        ),
        conditions=Conditions(wall_s=0.36, cpus=2, worker_s=0.7, interference_s=0.0),
    )


def write(path: Path, seed: int, measurements: int) -> None:
    """Write a run file of so many measurements."""
    source = random.Random(seed)  # noqa: S311  a simulation, not a secret
    iterations = measurements // LAUNCHES // PROMPTS
    config = RunConfig(
        model="m",
        prompts=tuple(Prompt(set="s", index=i, tokens=32 * (i + 1)) for i in range(PROMPTS)),
        output_tokens=TOKENS,
        iterations=iterations,
        warmups=0,
        launches=LAUNCHES,
    )
    header = Header(
        id=path.stem,
        started_at="2026-01-02T03:04:00+00:00",
        version="0",
        configurations=(config,),
        environment=environment.capture(),
        provenance=Provenance(path="m", known=True, source="hub", source_id="example/m"),
    )
    with path.open("wb") as file:
        file.write(encode(header))
        for launch in range(LAUNCHES):
            started = LaunchStarted(launch=launch, configuration=0, started_at="2026-01-02T03:04:00")
            file.write(encode(started))
            for iteration in range(iterations):
                for prompt in range(PROMPTS):
                    file.write(encode(measurement(source, launch, iteration, prompt)))
            file.write(encode(LaunchEnded(launch=launch, outcome=Outcome.FINISHED)))
        file.write(encode(RunEnded(ended_at="2026-01-02T04:04:00+00:00")))


def parsing_s(path: Path) -> float:
    """Return the CPU seconds that msgspec takes to parse the lines of a file, and nothing else."""
    decoder = msgspec.json.Decoder()
    start = time.process_time()
    with path.open("rb") as file:
        for line in file:
            decoder.decode(line)
    return time.process_time() - start


def arguments(command: Sequence[str], folder: Path) -> list[str]:
    """Return the command line of ``llmbench`` for the two runs in *folder*."""
    names = {"folder": folder, "base": folder / "base.jsonl", "candidate": folder / "candidate.jsonl"}
    return ["report", *(part.format(**names) for part in command)]


def main() -> None:
    """Write two runs and print what each command costs."""
    measurements = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, stem in enumerate(("base", "candidate")):
            write(folder / f"{stem}.jsonl", seed, measurements)
        size = (folder / "base.jsonl").stat().st_size
        parsing = parsing_s(folder / "base.jsonl")
        print(f"{measurements} measurements, {size / 1e6:.0f} MB, parsed by msgspec alone in {parsing:.2f} s")
        print(f"{'llmbench report':<24} {'wall s':>7} {'CPU s':>7} {'ratio':>6} {'MiB':>6}")
        for title, command in COMMANDS.items():
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "llmbench", *arguments(command, folder)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, _, used = os.wait4(process.pid, 0)
            wall, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
            runs = sum("jsonl" in part for part in arguments(command, folder))
            ratio, peak = cpu / parsing / runs, used.ru_maxrss / 1024
            print(f"{title:<24} {wall:>7.1f} {cpu:>7.1f} {ratio:>6.1f} {peak:>6.0f}")


if __name__ == "__main__":
    main()
