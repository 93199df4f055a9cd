"""A/A on a real model: run after run of the demo's model, two and two compared; of twenty at most one may alarm.

Prints each comparison, and exits 1 where there are more alarms than that. Busy neighbours count as noise unless
--foreign-cpu-limit says otherwise, for noise is what a gate has to bear.
"""

import argparse
import collections
import subprocess
import sys
import tempfile
from pathlib import Path

from llmbench import convert, fetch, store
from llmbench.comparison import Comparison, compare
from llmbench.comparison.rule import COMPARED
from llmbench.render.verdict import sentence
from llmbench.report import Report, summarize


def main() -> int:
    """Measure and compare; 1 where it cried wolf too often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--foreign-cpu-limit", default="1")
    asked = parser.parse_args()
    allowed = asked.comparisons // 20
    verdicts: collections.Counter[str] = collections.Counter()
    alarms = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.comparisons):
            base, candidate = (
                _measured(Path(folder), f"{number}{side}", asked.launches, asked.foreign_cpu_limit)
                for side in "ab"
            )
            found = compare(base, candidate)
            alarms += bool(found.alarms)
            verdicts[found.verdict.value] += 1
            print(f"{number + 1} of {asked.comparisons}: {_told(found)}", flush=True)
    print(f"alarms: {alarms}, allowed: {allowed}; {dict(verdicts)}")
    return int(alarms > allowed)


def _measured(folder: Path, name: str, launches: int, foreign_cpu_limit: str) -> Report:
    """One run of the demo's model, in processes of its own, as a user makes it."""
    request = convert.Request(model_id=str(fetch.demo_model()), output_dir=fetch.demo_folder() / "models")
    (converted,) = convert.convert(request, lambda _progress: None)
    command = [sys.executable, "-m", "llmbench", "run", "-m", str(converted.folder), "--quiet"]
    command += ["--input-tokens", "64", "-ic", "16", "-n", "3", "--launches", str(launches)]
    command += ["--foreign-cpu-limit", foreign_cpu_limit, "--output-dir", str(folder), "--name", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return summarize(store.read(folder / f"{name}.jsonl"), COMPARED)


def _told(found: Comparison) -> str:
    """A comparison in a line."""
    return f"{found.verdict.value}{' (ALARM)' if found.alarms else ''}. {sentence(found)}"


if __name__ == "__main__":
    sys.exit(main())
