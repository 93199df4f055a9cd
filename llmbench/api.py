"""The Python interface: measure, load, compare, and a run as a table, a frame and plots."""

import dataclasses
import html
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.compare import compare as compare_reports
from llmbench.analysis.comparison.rule import Rule, compared_metrics
from llmbench.analysis.report import Row, summarize_run
from llmbench.analysis.stages import row_metric
from llmbench.errors import InputError
from llmbench.files.atomic import write_atomically
from llmbench.runner import session
from llmbench.runner.configurations import configurations, option_values
from llmbench.runner.launchers.base import Launcher, TimeLimits
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run as Record
from llmbench.store import reader

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_LIMIT_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Run(Record):
    """A run, which prints as its table, in a terminal and in a notebook."""

    def __repr__(self) -> str:
        """Return a line that identifies the run."""
        return f"<Run {self.id}: {self.model}, launches: {len(self.launches)}; print(run) shows its table>"

    def __str__(self) -> str:
        from llmbench.render.terminal.report import render_report

        return _printed(lambda console: render_report(summarize_run(self), console))

    def _repr_html_(self) -> str:
        frame = self.summary()
        return (
            f"<p><b>{html.escape(self.model)}</b>, run {html.escape(self.id)}</p>{frame.to_html(index=False)}"
        )

    def summary(self) -> "pd.DataFrame":
        """Return a row per configuration and prompt: medians over the requests that count, no warm-ups.

        Columns have the names of `to_pandas`, with ``launches``, ``requests`` and how many of them are ``invalid``.
        """
        import pandas as pd

        report = summarize_run(self)
        return pd.DataFrame([_row_values(row, report.distinctions[row.cell]) for row in report.rows])

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per request, with warm-ups and invalid ones, which are marked: the columns of the tidy CSV."""
        import pandas as pd

        from llmbench.analysis.evaluation import evaluate
        from llmbench.analysis.layouts import TIDY_COLUMNS
        from llmbench.render import tidy

        return pd.DataFrame(tidy.rows(evaluate(self)), columns=list(TIDY_COLUMNS))

    def plot(self) -> "Plots":
        """Return the plots of the run: a page in a notebook, text in a terminal."""
        return Plots(run=self)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plots:
    """The plots of a run."""

    run: Run

    def __repr__(self) -> str:
        """Return the plots as text."""
        from llmbench.render.terminal.plots import render_plots

        return _printed(lambda console: render_plots(summarize_run(self.run), console))

    def _repr_html_(self) -> str:
        page = html.escape(self._page())
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 600px; border: 0"></iframe>'

    def save(self, path: str | Path) -> None:
        """Write the page of plots and tables to an HTML file."""
        write_atomically(Path(path), self._page())

    def _page(self) -> str:
        from llmbench.render.html.page import page

        return page([summarize_run(self.run)])


def _printed(render: "Callable[[Console], None]") -> str:
    """What a rendering prints, as text without colours."""
    from rich.console import Console

    text = io.StringIO()
    render(Console(file=text, width=100, color_system=None))
    return text.getvalue().rstrip("\n")


def _row_values(row: Row, settings: Mapping[str, str]) -> dict[str, object]:
    """A row of the summary."""
    found: dict[str, object] = {"prompt": row.prompt.label, **settings}
    found |= {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens}
    if row.prompt.image_size is not None:
        found |= {"image_size": row.prompt.image_size, "image_tokens": row.image_tokens}
    found |= {"launches": row.launches, "requests": row.measured, "invalid": row.invalid}
    for name, summary in row.summaries.items():
        metric = row_metric(name)
        found[metric.column] = summary.median * metric.unit.scale
    return found


def measure(
    *models: RunConfig | str | os.PathLike[str],
    output_dir: str | Path = "reports",
    name: str | None = None,
    limit_s: float = _LIMIT_S,
    launcher: Launcher | None = None,
    on_event: session.OnEvent | None = None,
    **options: Any,
) -> Run:
    """Measure models in fresh processes, and return the run that was kept in *output_dir*.

    A model is the path of an IR folder or of a GGUF file, or a `RunConfig`. *options* are those of ``llmbench run``,
    with underscores: ``input_tokens=[32, 512], launches=5, load_config={"NUM_STREAMS": 1}``; a list is a sweep where
    it is one on the command line. *limit_s* is for loading and for each request. *on_event* receives each event once
    it is on the disk. A launch that fails is in the run with its failure.

    Raises:
        LlmbenchError: one of `llmbench.errors`: what cannot be measured, or could not be kept.
    """
    if not models:
        raise InputError("no model was given", hint=_EXAMPLE)
    return _with_frame(
        session.measure(
            tuple(config for model in models for config in _configurations(model, options)),
            outputs=session.Outputs(folder=Path(output_dir), name=name),
            policy=session.Policy(limits=TimeLimits(load_s=limit_s, request_s=limit_s)),
            launcher=launcher,
            on_event=on_event,
        )
    )


_EXAMPLE = 'llmbench.measure("models/pytorch/dldt/INT8", input_tokens=[32, 512], launches=5)'


def _configurations(model: Any, options: Mapping[str, Any]) -> tuple[RunConfig, ...]:
    """The configurations of a model, one for each combination of what the options list."""
    if isinstance(model, RunConfig):
        if options:
            raise InputError(
                f"{', '.join(options)}: a RunConfig has its own settings",
                hint="dataclasses.replace(config, ...) changes them; options go with the path of a model",
            )
        return (model,)
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"{model!r} is neither the path of a model nor a RunConfig", hint=_EXAMPLE)
    values = option_values(options)
    formats = values["weight_format"] or (None,)
    return tuple(config for each in formats for config in configurations(values, os.fspath(model), each))


def _with_frame(record: Record) -> Run:
    return Run(**{each.name: getattr(record, each.name) for each in dataclasses.fields(record)})


def load(path: str | Path, *, salvage: bool = False) -> Run:
    """Return the run in a run file, in a CSV of either layout, or in llm_bench's CSV or JSON.

    *salvage* skips damaged lines of a run file. Raises InputError if it cannot be read.
    """
    return _with_frame(reader.read_run_or_report(Path(path), salvage=salvage)[0])


def compare(base: Record, candidate: Record, rule: Rule | None = None) -> Comparison:
    """Compare a candidate with its base, launch against launch; *rule* has the thresholds and what may differ.

    Raises InputError if one of them is not a run.
    """
    chosen = rule or Rule()
    for side in (base, candidate):
        if not isinstance(side, Record):
            raise InputError(f"{side!r} is not a run", hint='llmbench.load("reports/base.jsonl") reads one')
    before, after = (summarize_run(side, compared_metrics(side)) for side in (base, candidate))
    return compare_reports(before, after, chosen)
