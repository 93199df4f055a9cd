"""The wheel alone is enough: built from the source distribution, installed beside nothing, run in an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
_ROOT = Path(__file__).parents[2]
_SOURCES = ("llmbench", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel; what it needs is that of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in _SOURCES:
        path = _ROOT / name
        skipped = shutil.ignore_patterns("__pycache__")
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=skipped)
        else:
            shutil.copy(path, source)
    _python("-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), folder=source)
    [wheel] = (folder / "dist").glob("*.whl")
    assert len(list((folder / "dist").glob("*.tar.gz"))) == 1
    target = folder / "site"
    _python(
        "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), folder=folder
    )
    return target


def _python(*arguments: str, folder: Path, codes: tuple[int, ...] = (0,), **changes: str) -> str:
    """What a Python of this environment prints, in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "COLUMNS": "100", **changes},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode in codes, done.stderr
    return done.stdout


def test_the_demo_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    """Its prompts and its page come with it; on a busy machine its rows are marked, and the codes say so."""
    where = _python("-c", "import llmbench; print(llmbench.__file__)", folder=tmp_path, PYTHONPATH=str(site))
    shown = _python(
        "-m", "llmbench", "demo", "-n", "1", "--quiet", codes=(0, 5), folder=tmp_path, PYTHONPATH=str(site)
    )
    _python(
        "-m",
        "llmbench",
        "report",
        "html",
        "-o",
        "run.html",
        codes=(0, 2, 5),
        folder=tmp_path,
        PYTHONPATH=str(site),
    )

    assert Path(where.strip()).is_relative_to(site)
    assert "P2" in shown
    assert (tmp_path / "run.html").stat().st_size > 0


def test_the_walk_finds_its_files_in_the_wheel(site: Path, tmp_path: Path, demo_ir: Path) -> None:
    """The properties and prompts of the README, under the names of a clone; and every recipe."""
    options = ("-lc", "ov_distributed_config.json", "-pf", "prompts/llama-2-7b-chat_l.jsonl", "--dry-run")
    command = ("-m", "llmbench", "run", "-m", str(demo_ir), *options)
    recipe = ("-m", "llmbench", "run", "-m", str(demo_ir), "-c", "smollm2-135m", "--dry-run")

    assert "nothing was run" in _python(*command, folder=tmp_path, PYTHONPATH=str(site))
    assert "nothing was run" in _python(*recipe, folder=tmp_path, PYTHONPATH=str(site))
