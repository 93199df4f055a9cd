"""What other clients report of the server that ``llmbench load`` measures; prints a table.

``load``, ``vllm bench serve`` and ``aiperf profile`` in turns, the latter two where their programs are given; and
where lengths vary (``--spread 0.5``) beside ``load``, at the same time, a client of forty lines. Of a scripted server
the table has its own account of the same requests. A closed loop of one length that begins in step stays in step: such
is ``load --warmups 0``.

    python -m benchmarks.clients -m MODEL --server llama.cpp --at-once 4 --vllm VENV/bin/vllm --tokenizer DIR
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from llmbench.analysis.metrics.table import METRICS
from llmbench.engines.servers.base import ready_path, served_model, start_server, wait_until_ready
from llmbench.schema.config import Prompt, RunConfig
from llmbench.store.reader import read_run
from tests.plain_client import closed_loop

INPUT_TOKENS, OUTPUT_TOKENS = 64, 16
OFFLINE = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
Times = tuple[float, float]
"""Medians of the time to the first token and of the time per later token, in ms."""


class Trial:
    """One server, so many requests at once, and what each client reports of it."""

    def __init__(self, options: argparse.Namespace, url: str, at_once: int, folder: Path) -> None:
        self.options, self.url, self.at_once, self.folder = options, url, at_once, folder
        self.model = served_model(url)

    def load(self, *more: str) -> Times:
        """What ``llmbench load`` measures; exit code 5 is that of a busy machine."""
        spread = f"uniform:{self.options.spread}" if self.options.spread else ""
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "llmbench",
                    "load",
                    "--url",
                    self.url,
                    "-n",
                    str(self.options.requests),
                ),
                *(
                    "--concurrency",
                    str(self.at_once),
                    "--input-tokens",
                    str(INPUT_TOKENS),
                    "-ic",
                    str(OUTPUT_TOKENS),
                ),
                *(
                    "--input-distribution",
                    spread,
                    "--output-distribution",
                    spread,
                    "--foreign-cpu-limit",
                    "1",
                ),
                *("--quiet", "--output-dir", str(self.folder), "--name", "run", "--overwrite", *more),
            ],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        run = read_run(self.folder / "run.jsonl")
        found = [
            m for launch in run.launches for m in launch.measurements if not m.is_warmup and m.error is None
        ]
        first, later = (METRICS[name].of for name in ("first_token", "tpot"))
        return medians([(first(m) or 0.0, later(m) or 0.0) for m in found])

    def in_step(self) -> Times:
        """What it measures where all requests begin at once."""
        return self.load("--warmups", "0")

    def beside(self) -> tuple[Times, Times]:
        """What ``load`` and the plain client measure at the same time."""
        rng, spread = random.Random(7), self.options.spread  # noqa: S311  lengths, no secret
        ends = [round(OUTPUT_TOKENS * (1 + sign * spread)) for sign in (-1, 1)]
        requests = (
            ([rng.randrange(100, 4000) for _ in range(INPUT_TOKENS)], rng.randint(*ends))
            for _ in itertools.count()
        )
        seen: list[tuple[float, list[float]]] = []
        is_over = threading.Event()
        other = threading.Thread(
            target=lambda: seen.extend(closed_loop(self.url, requests, at_once=self.at_once, is_over=is_over))
        )
        other.start()
        ours = self.load()
        is_over.set()
        other.join()
        window = read_run(self.folder / "run.jsonl").launches[0].window
        begin_s, end_s = (window.begin_ns / 1e9, window.end_ns / 1e9) if window else (0.0, 0.0)
        times = [at for began, at in seen if begin_s <= began < end_s and len(at) > 1]
        return ours, medians([(at[0], (at[-1] - at[0]) / (len(at) - 1)) for at in times])

    def vllm(self) -> Times:
        """What ``vllm bench serve`` reports."""
        call(
            [
                *(self.options.vllm, "bench", "serve", "--backend", "openai", "--base-url", self.url),
                *(
                    "--endpoint",
                    "/v1/completions",
                    "--dataset-name",
                    "random",
                    "--ignore-eos",
                    "--temperature",
                    "0",
                ),
                *("--random-input-len", str(INPUT_TOKENS), "--random-output-len", str(OUTPUT_TOKENS)),
                *(
                    "--random-range-ratio",
                    str(self.options.spread),
                    "--num-prompts",
                    str(self.options.requests),
                ),
                *(
                    "--max-concurrency",
                    str(self.at_once),
                    "--num-warmups",
                    str(self.at_once),
                    "--disable-tqdm",
                ),
                *("--tokenizer", self.options.tokenizer, "--model", self.model, "--save-result"),
                *("--result-dir", str(self.folder), "--result-filename", "vllm.json"),
            ],
            OFFLINE,
        )
        found = json.loads((self.folder / "vllm.json").read_text(encoding="utf-8"))
        return found["median_ttft_ms"], found["median_tpot_ms"]

    def aiperf(self) -> Times:
        """What ``aiperf profile`` reports."""
        deviation = self.options.spread / 3**0.5  # of a uniform distribution of that half width
        call(
            [
                *(self.options.aiperf, "profile", "-m", self.model, "--url", self.url, "--ui", "none"),
                *("--endpoint-type", "completions", "--streaming", "--use-server-token-count"),
                *("--use-legacy-max-tokens", "--extra-inputs", "ignore_eos:true"),
                *("--tokenizer", self.options.tokenizer, "--concurrency", str(self.at_once)),
                *("--request-count", str(self.options.requests), "--warmup-request-count", str(self.at_once)),
                *("--isl", str(INPUT_TOKENS), "--isl-stddev", str(INPUT_TOKENS * deviation)),
                *("--osl", str(OUTPUT_TOKENS), "--osl-stddev", str(OUTPUT_TOKENS * deviation)),
                *("--artifact-dir", str(self.folder / "aiperf")),
            ],
            {},
        )
        found = json.loads((self.folder / "aiperf/profile_export_aiperf.json").read_text(encoding="utf-8"))
        return found["time_to_first_token"]["p50"], found["inter_token_latency"]["p50"]

    def by_server(self) -> Times | None:
        """What a scripted server wrote in the last requests that it served; ``None`` of any other."""
        if self.options.server != "scripted":
            return None
        with urllib.request.urlopen(f"{self.url}/log") as response:  # noqa: S310  our own server
            log = [entry for entry in json.load(response) if len(entry.get("written_ns", ())) > 2]
        ends = [(entry["arrived_ns"], entry["written_ns"]) for entry in log[-self.options.requests :]]
        return medians(
            [((at[0] - began) / 1e9, (at[-1] - at[0]) / 1e9 / (len(at) - 1)) for began, at in ends]
        )


def medians(times: list[Times]) -> Times:
    """The medians of some times in seconds, in ms."""
    first, later = (statistics.median(each) * 1e3 for each in zip(*times, strict=True))
    return first, later


def call(command: list[str], more: dict[str, str]) -> None:
    """Run another client; its output is shown where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])


@contextlib.contextmanager
def served(options: argparse.Namespace) -> Iterator[str]:
    """The address of the server, started with as many slots as are needed."""
    prompts = (Prompt(set="synthetic", index=0, tokens=2 * INPUT_TOKENS),)
    config = RunConfig(
        model=options.model,
        engine="server",
        threads=options.threads,
        server=options.server,
        concurrency=2 * max(options.at_once),
        prompts=prompts,
    )
    server = start_server(config)
    try:
        wait_until_ready(server, ready_path(config), limit_s=600)
        yield server.url
    finally:
        server.stop()


def measure(options: argparse.Namespace, trial: Trial) -> Iterator[tuple[str, Times, Times | None]]:
    """Yield what each client reports, and the server of it."""
    alone: dict[str, Callable[[], Times]] = {"load": trial.load}
    alone |= {"load, begun in step": trial.in_step} if not options.spread else {}
    alone |= {"vLLM's": trial.vllm} if options.vllm else {}
    alone |= {"aiperf": trial.aiperf} if options.aiperf else {}
    for name, client in alone.items():
        yield name, client(), trial.by_server()
    if options.spread:
        for name, times in zip(
            ("load, beside the other", "40 lines, beside it"), trial.beside(), strict=True
        ):
            yield name, times, None


def report(found: dict[tuple[int, str], list[tuple[Times, Times | None]]]) -> None:
    """Print medians over the rounds, with the least and the most of several."""
    print("| at once | client | first token, ms | per later token, ms | by the server |")
    print("|---|---|---|---|---|")
    for (at_once, name), rounds in found.items():
        shown = [_over([times[which] for times, _ in rounds]) for which in range(2)]
        told = [server for _, server in rounds if server]
        own = ", ".join(f"{statistics.median(each):.1f}" for each in zip(*told, strict=True)) if told else ""
        print(f"| {at_once} | {name} | {shown[0]} | {shown[1]} | {own} |")


def _over(values: list[float]) -> str:
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.1f}{spread}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--server", default="scripted")
    parser.add_argument("--at-once", type=lambda text: [int(part) for part in text.split(",")], default=[4])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--vllm")
    parser.add_argument("--aiperf")
    parser.add_argument("--tokenizer")
    options = parser.parse_args()
    found: dict[tuple[int, str], list[tuple[Times, Times | None]]] = {}
    with served(options) as url, tempfile.TemporaryDirectory() as folder:
        for _, at_once in itertools.product(range(options.rounds), options.at_once):
            for name, times, own in measure(options, Trial(options, url, at_once, Path(folder))):
                found.setdefault((at_once, name), []).append((times, own))
                print(
                    f"{at_once} at once, {name}: {times[0]:.1f} ms, {times[1]:.1f} ms per token",
                    file=sys.stderr,
                )
    report(found)


if __name__ == "__main__":
    main()
