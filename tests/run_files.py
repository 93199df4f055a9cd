"""Runs as run files, for tests that read them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec

from llmbench.schema.run import Launch, Run
from llmbench.store.events import Event, Header, LaunchEnded, LaunchStarted, RunEnded
from llmbench.store.writer import RunFile


def write(run: Run, path: Path) -> Path:
    """A run as its run file of today's schema, every field of it; where that lies."""
    with RunFile.create(path, _header(run), overwrite=True) as file:
        for launch in run.launches:
            for event in _events(launch):
                file.append(event)
        if run.is_complete:
            file.append(RunEnded(ended_at="2026-01-02T03:05:00+00:00"))
    return path


def _header(run: Run) -> Header:
    names = {field.name for field in dataclasses.fields(Header)} - {"configurations", "schema"}
    return Header(configurations=run.cells, **{name: getattr(run, name) for name in names})


def _events(launch: Launch) -> Iterator[Event]:
    fields = {field.name for field in dataclasses.fields(LaunchStarted)}
    same = fields - {"launch", "configuration", "environment"}
    environment = launch.environment and msgspec.to_builtins(launch.environment, str_keys=True)
    yield LaunchStarted(
        launch=launch.index,
        configuration=launch.cell,
        environment=environment,
        **{name: getattr(launch, name) for name in same},
    )
    yield from launch.measurements
    yield LaunchEnded(
        launch=launch.index, outcome=launch.outcome, failure=launch.failure, configuration=launch.cell
    )
