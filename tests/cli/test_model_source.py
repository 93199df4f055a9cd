"""From a model's name to a number: hub names, Hugging Face folders, several models, and what cannot be had."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.convert import library
from llmbench.convert.output import target_folder
from llmbench.models import locate
from llmbench.models.manifest import read_manifest
from llmbench.store import reader
from tests import conversions
from tests.command import Done, RunCommand
from tests.outcome import assert_measured
from tests.unit.models.test_hub import COMMIT, Hub

SHORT = ("-n", "1", "-ic", "4", "--warmups", "2", "--input-tokens", "8", "--foreign-cpu-limit", "1")
CLOSED = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-135M-Instruct", "a/b.c-d_e"])
def test_a_hub_s_name_is_an_organisation_and_a_model(model: str) -> None:
    """As on the hub's pages."""
    assert library.is_hub_name(model)


@pytest.mark.parametrize(
    "model",
    ["gpt2", "models/mine", "here/mine", "./a/b", "../b", "/a/b", "~/b", "a/b/c", "a/b.gguf", ""],
)
def test_a_path_is_no_hub_s_name(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be a folder of this machine is never asked of a hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()

    assert not library.is_hub_name(model)


@pytest.fixture
def run(llmbench_process: Callable[..., Done], tmp_path: Path) -> Callable[..., Done]:
    """Runs ``llmbench run`` with a cache of its own."""

    def call(*arguments: str, **changes: str) -> Done:
        environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf"), **CLOSED}
        return llmbench_process("run", *arguments, *SHORT, **(environment | changes))

    return call


@pytest.mark.model
@pytest.mark.convert
def test_a_hub_s_model_is_converted_once_and_measured(run: Callable[..., Done], tmp_path: Path) -> None:
    """To int8 unless another format is wanted; the second time no hub is needed."""
    hub = Hub()
    tiny = conversions.tiny_model()
    hub.models["example/tiny"] = {file.name: file.read_bytes() for file in tiny.iterdir()}
    int8 = target_folder(tmp_path / "cache/llmbench/models/example--tiny", "int8")
    stale = int8.with_name("INT8.partial")
    stale.mkdir(parents=True)
    (stale / "openvino_model.bin").write_text("what a kill left")
    planned = run("example/tiny", "--dry-run", HF_ENDPOINT=hub.address)
    first = run("example/tiny", "--name", "first", HF_ENDPOINT=hub.address)
    hub.server.shutdown()
    hub.server.server_close()
    second = run("example/tiny", "--name", "second")

    assert 0 == planned.returncode
    assert "example/tiny would be fetched and converted first" in planned.stdout
    assert_measured(first)
    assert "example/tiny is converted once, and kept in" in first.stderr
    assert "exporting int8" in first.stderr
    assert "exporting" not in first.stdout
    assert "%|" not in first.stderr
    assert_measured(second)
    assert "converted once" not in second.stderr
    for name in ("first", "second"):
        origin = reader.read_run(tmp_path / f"reports/{name}.jsonl").provenance
        assert ("hub", "example/tiny", COMMIT) == (origin.source, origin.source_id, origin.revision)
        assert "int8" == origin.weight_format
    _check_conversion(int8)


def _check_conversion(folder: Path) -> None:
    """The IR is whole, alone in its place, and its manifest says where it is from and what was done."""
    assert [folder] == list(folder.parent.iterdir())
    model = locate.locate(folder)
    locate.check_model_files(model)
    locate.verify(model)
    assert 512 == model.context_tokens
    manifest = read_manifest(folder)
    assert manifest is not None
    assert ("hub", "example/tiny") == (manifest.source.kind, manifest.source.id)
    assert ("int8", False) == (manifest.recipe.weight_format, manifest.recipe.is_symmetric)
    assert set(manifest.files) == {file.name for file in folder.iterdir()} - {"llmbench_manifest.json"}
    timings = manifest.timings
    assert all(seconds is not None for seconds in (timings.export_s, timings.verify_s, timings.hash_s))


def test_a_model_of_another_task_is_refused_before_it_is_converted(
    llmbench: RunCommand, tmp_path: Path
) -> None:
    """Its config.json says what it is, and the hint how it is measured."""
    (tmp_path / "embedder").mkdir()
    (tmp_path / "embedder/config.json").write_text('{"architectures": ["BertModel"]}')
    done = llmbench("run", "-m", "embedder")

    assert 2 == done.returncode
    assert "embedder is a model for feature-extraction" in done.stderr
    assert "llmbench run -t text_embed -m embedder" in done.stderr
    assert "converted" not in done.stderr


@pytest.mark.convert
def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    """Another content is another conversion, under another name."""
    other = shutil.copytree(conversions.tiny_model(), tmp_path / "other")
    before = library.library_folder(str(other))
    (other / "generation_config.json").write_text("{}\n", encoding="utf-8")

    assert before != library.library_folder(str(other))


@pytest.mark.nightly
@pytest.mark.convert
def test_a_hugging_face_folder_needs_no_hub(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is converted to what is not kept; by day, a model of a hub is."""
    tiny = conversions.tiny_model()
    fp32 = conversions.converted(tiny, "fp32")["fp32"].folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = library.library_folder(str(tiny))
    shutil.copytree(fp32, target_folder(kept, "fp32"))
    done = run(str(tiny), "--weight-format", "fp32,int8", "--name", "both")

    assert_measured(done)
    assert "exporting int8" in done.stderr
    assert "exporting fp32" not in done.stderr
    cells = reader.read_run(tmp_path / "reports/both.jsonl").cells
    assert ["fp32", "int8"] == [cell.weight_format for cell in cells]
    assert [kept] == list((tmp_path / "cache/llmbench/models").iterdir())


def test_what_no_hub_can_give_ends_with_the_command_to_type(run: Callable[..., Done]) -> None:
    """One error line, one hint line; nothing is left in the reports."""
    pytest.importorskip("huggingface_hub")
    done = run("example/none", "--weight-format", "int4")

    assert 4 == done.returncode
    assert "error: the hub cannot be reached for example/none" in done.stderr
    assert (
        "hint: when online: llmbench convert --model-id example/none --output-dir models --weight-format int4"
        in done.stderr
    )
    assert 2 == len(done.stderr.splitlines())


@pytest.mark.parametrize("arguments", [("-m", "A", "-m", "B"), ("A", "B"), ("A", "-m", "B")])
def test_several_models_are_a_sweep(llmbench: RunCommand, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Each is measured and has its row, however it is given."""
    scripts = {"A": "first=5ms,next=1ms", "B": "first=9ms,next=1ms"}
    typed = [scripts.get(argument, argument) for argument in arguments]
    done = llmbench("run", *typed, "--engine", "scripted", "--name", "two", *SHORT)

    assert 0 == done.returncode, done.stderr
    assert set(scripts.values()) == {
        cell.model for cell in reader.read_run(tmp_path / "reports/two.jsonl").cells
    }
    assert all(script in done.stdout for script in scripts.values())


def test_models_of_a_recipe_are_a_sweep_too(llmbench: RunCommand, tmp_path: Path) -> None:
    """A list; one name stays one model."""
    (tmp_path / "two.toml").write_text('model = ["first=5ms", "first=9ms"]\nengine = "scripted"\n')
    (tmp_path / "one.toml").write_text('model = "first=5ms"\nengine = "scripted"\n')

    assert "launches: 2" in llmbench("run", "-c", "two.toml", "--dry-run").stdout
    assert "launches: 1" in llmbench("run", "-c", "one.toml", "--dry-run").stdout


def test_ab_of_two_folders_says_how_models_are_compared(llmbench: RunCommand, tmp_path: Path) -> None:
    """Its arguments are recipes."""
    for name in ("a b", "c"):
        (tmp_path / name).mkdir()
    done = llmbench("ab", "a b", "c")

    assert 2 == done.returncode
    assert "hint: to compare models: llmbench ab -m 'a b' -m c" in done.stderr


def test_ab_of_the_same_points_to_calibrate(llmbench: RunCommand) -> None:
    """It is measured all the same."""
    script = ("-m", "first=5ms", "--engine", "scripted", "--dry-run")

    assert "use llmbench calibrate" in llmbench("ab", *script).stderr
    assert "use llmbench calibrate" not in llmbench("ab", *script, "--seed", "1", "--seed", "2").stderr
