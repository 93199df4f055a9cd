import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llmbench
from llmbench.analysis.comparison.rule import Verdict
from llmbench.cli.options.table import parse_options
from llmbench.errors import InputError
from llmbench.runner.configurations import option_values
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.runner.session import SessionEvent
from llmbench.schema.measurement import Measurement
from llmbench.schema.settings.base import Setting
from llmbench.schema.settings.table import SETTINGS

_CONFIG = llmbench.RunConfig(
    model="first=200ms,second=30ms,next=10ms,launch-noise=1%",
    engine="scripted",
    prompts=(llmbench.Prompt(set="mine", index=0, text="How are you?"),),
    output_tokens=8,
    iterations=2,
    launches=3,
)


def test_measure_returns_the_run_that_load_reads(tmp_path: Path) -> None:
    """A run is measured in fresh processes, kept, and the same when it is loaded."""
    seen: list[SessionEvent] = []
    run = llmbench.measure(_CONFIG, output_dir=tmp_path, name="mine", on_event=seen.append)

    assert run == llmbench.load(tmp_path / "mine.jsonl")
    assert run.is_complete
    assert len([event for event in seen if isinstance(event, Measurement)]) == 3 * 3


def test_a_slower_candidate_is_regressed(tmp_path: Path) -> None:
    """20 % on the first token, three launches a side with 1 % between launches."""
    slower = dataclasses.replace(_CONFIG, model=_CONFIG.model.replace("200ms", "240ms"))
    base, candidate = (
        llmbench.measure(config, output_dir=tmp_path, launcher=InlineLauncher())
        for config in (_CONFIG, slower)
    )

    assert Verdict.REGRESSED is llmbench.compare(base, candidate).verdict


def test_a_frame_has_a_row_a_request(tmp_path: Path) -> None:
    """Every request is a row, and it says which of them were warm-ups."""
    frame = llmbench.measure(_CONFIG, output_dir=tmp_path, launcher=InlineLauncher()).to_pandas()

    assert len(frame) == 9
    assert 3 == frame["is_warmup"].sum()
    assert [200.0, 200.0] == pytest.approx(frame["first_token_ms"][1:3].tolist(), rel=0.1)


def test_what_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    """The same errors as on the command line."""
    with pytest.raises(InputError):
        llmbench.load(tmp_path / "none.jsonl")
    with pytest.raises(AttributeError, match="no attribute 'run_everything'"):
        _ = llmbench.run_everything


_SCRIPT = "first=200ms,second=30ms,next=10ms"


def _measured(tmp_path: Path, *models: Any, **options: Any) -> llmbench.Run:
    """A run of the scripted engine, two iterations and one warm-up unless options say otherwise."""
    fixed: dict[str, Any] = {
        "launcher": InlineLauncher(),
        "engine": "scripted",
        "num_iters": 2,
        "infer_count": 4,
        "foreign_cpu_limit": 1.0,
    }
    return llmbench.measure(*(models or (_SCRIPT,)), output_dir=tmp_path, **(fixed | options))


def test_options_have_the_names_of_the_command_line(tmp_path: Path) -> None:
    """A list is what it is there; a field's own name is an option as well; a mapping is a set of properties."""
    run = _measured(tmp_path, input_tokens=[8, 32], launches=2, threads=[1, 2], iterations=1, subsequent=True)
    one = _measured(tmp_path, prompt="Why?", load_config={"NUM_STREAMS": 1}, infer_count=3)

    assert [1, 2] == [cell.threads for cell in run.cells]
    assert [8, 32] == [prompt.tokens for prompt in run.cells[0].prompts]
    assert (2, 1, True) == (run.cells[0].launches, run.cells[0].iterations, run.cells[0].is_subsequent)
    assert ({"NUM_STREAMS": 1}, 3) == (one.cells[0].properties, one.cells[0].output_tokens)


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS if not each.engines], ids=lambda each: each.name
)
def test_options_left_out_are_what_the_command_line_has(setting: Setting) -> None:
    """One table, one default: of Python's and of click's."""
    if setting.name != "model":
        assert parse_options({})[setting.name] == option_values({})[setting.name]


def test_several_models_are_a_sweep(tmp_path: Path) -> None:
    """As ``-m A -m B``."""
    run = _measured(tmp_path, _SCRIPT, "first=300ms,next=10ms")

    assert [_SCRIPT, "first=300ms,next=10ms"] == [cell.model for cell in run.cells]


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ((), {}, "no model was given"),
        ((5,), {}, "5 is neither the path of a model nor a RunConfig"),
        ((_CONFIG,), {"launches": 5}, "launches: a RunConfig has its own settings"),
        ((_SCRIPT,), {"lauches": 5}, "there is no option 'lauches'"),
        ((_SCRIPT,), {"launches": "5"}, "launches='5' is not a value of this option"),
        ((_SCRIPT,), {"input_tokens": [8, "x"]}, r"input_tokens=\[8, 'x'\] is not a value"),
        ((_SCRIPT,), {"do_sample": 1}, "do_sample=1 is not a value"),
        ((_SCRIPT,), {"num_iters": True}, "num_iters=True is not a value"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    tmp_path: Path, models: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    """Never an AttributeError from inside; it says what is right."""
    with pytest.raises(InputError, match=message) as caught:
        llmbench.measure(*models, output_dir=tmp_path, **options)

    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_comparing_a_path_says_how_to_load_it() -> None:
    """The commonest mistake."""
    with pytest.raises(InputError, match=r"'base.jsonl' is not a run") as caught:
        llmbench.compare("base.jsonl", "new.jsonl")  # type: ignore[arg-type]

    assert "llmbench.load" in str(caught.value.hint)


def test_a_run_prints_as_its_table(tmp_path: Path) -> None:
    """Its repr is one short line, however many requests it has; a notebook shows the table too."""
    run = _measured(tmp_path, input_tokens=[8, 32], num_iters=9)

    assert len(repr(run)) < 160
    assert "\n" not in repr(run)
    assert "200" in str(run)
    assert "<table" in run._repr_html_()


def test_a_summary_has_a_row_per_prompt_without_warm_ups(tmp_path: Path) -> None:
    """Medians of what counts; the warm-up is in the frame of requests only."""
    run = _measured(tmp_path, input_tokens=[8, 32], num_iters=3)
    frame = run.summary()

    assert [8, 32] == frame["input_tokens"].tolist()
    assert [200.0, 200.0] == pytest.approx(frame["first_token_ms"].tolist(), rel=0.05)
    assert [3, 3] == frame["requests"].tolist()
    assert 2 * (1 + 3) == len(run.to_pandas())


def test_plots_are_text_in_a_terminal_and_a_page_in_a_notebook(tmp_path: Path) -> None:
    """The page can be kept."""
    plots = _measured(tmp_path, input_tokens=[8, 32]).plot()
    plots.save(tmp_path / "run.html")

    assert "first" in repr(plots)
    assert plots._repr_html_().startswith("<iframe srcdoc=")
    assert (tmp_path / "run.html").read_text(encoding="utf-8").startswith("<!")


def test_the_interface_can_be_found() -> None:
    """Tab and ``help`` show it, before anything is imported."""
    code = "import llmbench, pydoc; print(*dir(llmbench)); print(pydoc.plain(pydoc.render_doc(llmbench)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"measure", "load", "compare", "Run", "RunConfig", "Prompt"} <= set(
        done.stdout.split("\n")[0].split()
    )
    assert all(f"    {name}(" in done.stdout for name in ("measure", "load", "compare"))
