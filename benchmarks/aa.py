"""A/A on a real model: run after run of the demo's model, two and two compared; of twenty at most one may alarm.

Prints each comparison, and exits 1 where more alarm than that, 3 where the time was up before all were made. Twenty
take about twenty minutes on two cores; a part, such as --comparisons 2, may not alarm at all. It needs the demo's
model, which it fetches and converts as llmbench demo does. Busy neighbours count as noise unless --foreign-cpu-limit
says otherwise, for noise is what a gate has to bear.
"""

import argparse
import collections
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llmbench.analysis.comparison.compare import Comparison, compare
from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.report import Report, summarize_run
from llmbench.convert import pipeline
from llmbench.convert.request import ConvertRequest
from llmbench.models import demo
from llmbench.render.sentences.verdict import sentence
from llmbench.store import reader

ONE_IN = 20
"""Of so many comparisons one may alarm."""


def main() -> int:
    """Measure and compare; 1 where it cried wolf too often, 3 where the time was up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--foreign-cpu-limit", default="1")
    parser.add_argument(
        "--minutes", type=float, default=40.0, help="begin no comparison that would end later"
    )
    asked = parser.parse_args()
    found = []
    for comparison in _compared(asked):
        found.append(comparison)
        print(f"{len(found)} of {asked.comparisons}: {_reported(comparison)}", flush=True)
    alarms, allowed = sum(bool(each.alarms) for each in found), asked.comparisons // ONE_IN
    verdicts = collections.Counter(each.verdict.value for each in found)
    print(f"{len(found)} comparisons, alarms: {alarms}, allowed: {allowed}; {dict(verdicts)}")
    if alarms > allowed:
        return 1
    return 0 if len(found) == asked.comparisons else 3


def _compared(asked: argparse.Namespace) -> Iterator[Comparison]:
    """As many comparisons as were asked for, or as there is time for; each run is told on standard error."""
    model = _model()
    began, longest_s = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, asked.comparisons + 1):
            elapsed_s = time.monotonic() - began
            if elapsed_s + longest_s > asked.minutes * 60:
                _say(f"the time is up after {elapsed_s / 60:.0f} minutes")
                return
            reports: dict[str, Report] = {}
            for side in "ab":
                _say(
                    f"comparison {number} of {asked.comparisons}, run {side}; {elapsed_s / 60:.0f} minutes so far"
                )
                reports[side] = _measured(model, Path(folder) / f"{number}{side}.jsonl", asked)
            yield compare(reports["a"], reports["b"])
            longest_s = max(longest_s, time.monotonic() - began - elapsed_s)


def _model() -> Path:
    """The demo's model, converted."""
    request = ConvertRequest(model_id=str(demo.demo_model()), output_dir=demo.demo_folder() / "models")
    (converted,) = pipeline.convert(request, lambda _progress: None)
    return converted.folder


def _measured(model: Path, path: Path, asked: argparse.Namespace) -> Report:
    """One run, in processes of its own, as a user makes it; in *path*."""
    command = [sys.executable, "-m", "llmbench", "run", "-m", str(model), "--quiet", "--timeout", "2m"]
    command += ["--input-tokens", "64", "-ic", "16", "-n", "3", "--launches", str(asked.launches)]
    command += ["--foreign-cpu-limit", asked.foreign_cpu_limit]
    command += ["--output-dir", str(path.parent), "--name", path.stem]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return summarize_run(reader.read_run(path), COMPARED)


def _reported(found: Comparison) -> str:
    """A comparison in a line."""
    return f"{found.verdict.value}{' (ALARM)' if found.alarms else ''}. {sentence(found)}"


def _say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
