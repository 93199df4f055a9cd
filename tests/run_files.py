"""Runs as run files, for tests that read them."""

from pathlib import Path

from llmbench.schema.run import Run
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded, encode


def write(run: Run, path: Path) -> Path:
    """A run as its run file; where that lies."""
    header = Header(
        id=run.id,
        started_at=run.started_at,
        version=run.version,
        configurations=run.cells,
        environment=run.environment,
        provenance=run.provenance,
        origins=run.origins,
    )
    lines = [encode(header)]
    for launch in run.launches:
        started = LaunchStarted(
            launch=launch.index,
            configuration=launch.cell,
            started_at=launch.started_at,
            load_s=launch.load_s,
            model_cache=launch.model_cache,
            load_memory=launch.load_memory,
            effective=launch.effective,
        )
        lines += [encode(started), *map(encode, launch.measurements)]
        lines.append(encode(LaunchEnded(launch=launch.index, outcome=launch.outcome)))
    path.write_bytes(b"".join([*lines, encode(RunEnded(ended_at="2026-01-02T03:05:00+00:00"))]))
    return path
