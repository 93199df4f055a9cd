import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llmbench
from llmbench.engines.catalog import check_capabilities, find_engine
from llmbench.errors import ExitCode, InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.engines import ENGINES
from llmbench.schema.settings.any_workload import COMPILER

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),))


def _refusal(**changes: object) -> InputError:
    with pytest.raises(InputError) as caught:
        check_capabilities(dataclasses.replace(CONFIG, **changes))  # type: ignore[arg-type]
    assert ExitCode.USAGE == caught.value.exit_code
    return caught.value


def test_a_plain_configuration_asks_for_little() -> None:
    """Greedy search for an exact number of tokens goes with every engine."""
    for engine in ENGINES:
        attention = ENGINES[engine].default_attention
        check_capabilities(dataclasses.replace(CONFIG, engine=engine, attention=attention))


@pytest.mark.parametrize(
    ("changes", "output", "advice"),
    [
        ({"attention": "sdpa", "num_beams": 4}, "GenAI's SDPA has no beam search (--num-beams)", "pa"),
        (
            {"properties": {COMPILER: "inductor"}},
            "GenAI's paged attention has no torch.compile (--torch-compile)",
            "--engine torch",
        ),
        ({"engine": "core"}, "the core engine has no paged attention (--attention pa)", "--attention pa"),
        (
            {"engine": "core", "attention": "sdpa", "do_sample": True, "is_streamed": True},
            "the core engine has no sampling (--do-sample) and streaming (--streaming)",
            "--engine genai --attention sdpa",
        ),
    ],
)
def test_a_lack_is_told_with_who_can(changes: dict[str, object], output: str, advice: str) -> None:
    """Every capability that is lacking is named with its option, and the engines that have all of them."""
    error = _refusal(**changes)

    assert output == error.message
    assert advice in str(error.hint)
    assert "scripted" not in str(error.hint)


def test_an_engine_of_text_measures_what_loads_its_models() -> None:
    """Retrieval generates with each of them; an engine with other models names those that do."""
    text = [name for name, info in ENGINES.items() if "text" in info.workloads and not info.is_simulated]
    assert {name: ENGINES[name].factory for name in text} == {
        name: ENGINES[name].factory_of("rag") for name in text
    }

    with pytest.raises(InputError, match="the likelihood engine does not do rag") as caught:
        find_engine("likelihood", "rag")
    assert f"use --engine {' or '.join(text)}" == caught.value.hint


@pytest.mark.parametrize("guess", [{"draft_model": "d"}, {"max_ngram_size": 3}])
@pytest.mark.parametrize("other", [{"num_beams": 2}, {"do_sample": True}, {"batch_size": 2}])
def test_guessing_ahead_goes_with_one_greedy_sequence_only(
    guess: dict[str, object], other: dict[str, object]
) -> None:
    """With beams the engine refuses, with sampling and batches its account of the steps is wrong."""
    assert "do not go together" in _refusal(**guess, **other).message


def test_what_no_engine_does_together_is_told_with_the_reason() -> None:
    """Two capabilities of one engine may still exclude each other."""
    error = _refusal(num_beams=4, is_streamed=True)

    assert "--num-beams and --streaming do not go together" in error.message
    assert "no token of a beam search is final before its end" in error.message


_TOY_ROW = """
ENGINES["toy"] = EngineInfo(
    title="the toy engine",
    factory="toy:ToyEngine",
    models=frozenset({ModelKind.SCRIPT}),
    capabilities={"sdpa": frozenset()},
)
"""
_TOY_MODULE = """
from llmbench.engines.catalog import check_capabilities, find_engine
from llmbench.engines.scripted import Script, ScriptedSession

class ToyEngine:
    def check(self, config):
        check_capabilities(config)

    def open_tokenizer(self, config):
        return None

    def open(self, config):
        return ScriptedSession(Script(first=0.02, next=0.005), config)
"""


@pytest.mark.slow
def test_a_new_engine_touches_two_files(tmp_path: Path) -> None:
    """A row in the table and a module: options, help, checks, the worker and the report know the engine then."""
    package = shutil.copytree(Path(llmbench.__file__).parent, tmp_path / "llmbench")
    with (package / "schema" / "engines.py").open("a", encoding="utf-8") as table:
        table.write(_TOY_ROW)
    (package / "engines" / "toy.py").write_text(_TOY_MODULE, encoding="utf-8")

    def type_(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmbench", "run", "-m", "anything", "--engine", "toy", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
        return subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    measured = type_("-p", "hello", "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1")
    refused = type_("-p", "hello", "-bs", "2")

    assert 0 == measured.returncode, measured.stderr
    assert "20.0" in measured.stdout, measured.stdout
    assert 2 == refused.returncode
    assert "the toy engine has no batches (-bs)" in refused.stderr
    assert "toy" in type_("--help-all").stdout
