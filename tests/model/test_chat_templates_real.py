"""Chat templates that OpenVINO GenAI cannot apply: convert warns, and run refuses, even where its reader crashes."""

import html
import re
import shutil
from pathlib import Path

import pytest

from llmbench.convert import verification
from llmbench.errors import ExitCode
from tests import conversions
from tests.conftest import RunCommand

pytestmark = [
    pytest.mark.model,
    pytest.mark.convert,
    pytest.mark.fault(50, "a chat template that its reader cannot apply, or that ends its process"),
]
UNREAD = {
    "divides by zero": ("{{ 1 / 0 }}", "SIGFPE"),
    "never ends": ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "SIGSEGV"),
    "is cut off": ("{% for message in messages %}{{ message['content'] ", "closing expression tag"),
    "refuses": ("{{ raise_exception('system role needed') }}", "system role needed"),
}


def _with_template(template: str, folder: Path) -> Path:
    """The tiny model with another template, which is in the IR of its tokenizer."""
    whole = conversions.converted(conversions.tiny_model(), "fp16")["fp16"].folder
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("llmbench*"))
    xml = folder / "openvino_tokenizer.xml"
    changed, count = re.subn(
        r'(<chat_template value=)"[^"]*"',
        lambda found: f'{found[1]}"{html.escape(template)}"',
        xml.read_text(),
    )
    assert 1 == count
    xml.write_text(changed)
    return folder


@pytest.mark.parametrize("name", ["divides by zero", "is cut off"])
def test_convert_warns_of_a_template_that_cannot_be_applied(tmp_path: Path, name: str) -> None:
    """The conversion is kept: texts without a template are measured as before."""
    template, words = UNREAD[name]
    folder = _with_template(template, tmp_path / "model")

    (warning,) = verification.check_spelling(
        folder, verification.expected_spelling(has_template=True), report=lambda _progress: None
    )

    assert warning.startswith("OpenVINO GenAI cannot apply the chat template (")
    assert words in warning


def test_convert_warns_of_a_template_that_drops_the_text(tmp_path: Path) -> None:
    """What would be measured is the same few tokens for any prompt."""
    folder = _with_template("{{ 'Hello' }}", tmp_path / "model")

    (warning,) = verification.check_spelling(
        folder, verification.expected_spelling(has_template=True), report=lambda _progress: None
    )

    assert "it leaves out what the user writes" in warning


@pytest.mark.parametrize("name", ["divides by zero", "never ends", "refuses"])
def test_run_refuses_a_template_that_cannot_be_applied(
    tmp_path: Path, llmbench_workers: RunCommand, name: str
) -> None:
    """Exit 2 with the cause and the remedy: a template is as wrong the next time."""
    template, words = UNREAD[name]
    folder = _with_template(template, tmp_path / "model")

    done = llmbench_workers("run", "-m", str(folder), "-p", "hi", "--apply-chat-template", "-ic", "2")

    assert ExitCode.USAGE == done.returncode, done.stderr
    (error, hint) = done.stderr.splitlines()[-2:]
    assert words in error
    assert "leave out --apply-chat-template" in hint
