"""Conversions of a tiny model of random weights: everything but proof of the weights, which needs a real model."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.convert import exporter, pipeline, verification
from llmbench.convert.request import ConvertRequest
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.files.package_data import install_command
from llmbench.models import locate
from llmbench.models.manifest import Manifest, Recipe, read_manifest
from tests import conversions, gguf_model
from tests.unit.models.test_hub import COMMIT, Hub

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def tiny() -> Path:
    """A Hugging Face folder with a Llama of two layers."""
    return conversions.tiny_model()


@pytest.fixture
def run(llmbench_process: Callable[..., Done], tmp_path: Path) -> Callable[..., Done]:
    """Runs ``llmbench convert`` into the folder ``out``; the hub it would ask is a closed port."""

    def call(model_id: Path, *arguments: str, **changes: str) -> Done:
        environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        fixed = ("convert", "--model-id", str(model_id), "--output-dir", "out")
        return llmbench_process(*fixed, *arguments, **(environment | changes))

    return call


def _manifest(folder: Path) -> Manifest:
    """The manifest that must be there."""
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight_formats": ("int3",)}, "weight format 'int3' is unknown"),
        ({"weight_formats": ("int4",), "ratio": 1.5}, "--ratio 1.5 is not a share"),
        ({"weight_formats": ("int4",), "group_size": 0}, "--group-size 0"),
        ({"weight_formats": ("int8",), "ratio": 0.5}, "for int4 weights"),
        ({"group_size": 64}, "for int4 weights"),
        ({"least_agreement": 1.5}, "--min-agreement 1.5 is not a share"),
        ({"weight_formats": ("fp16",), "is_symmetric": True}, "for int8 and int4 weights"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(options: dict[str, object], told: str) -> None:
    """Options that would have no effect are mistakes, not silence."""
    with pytest.raises(InputError, match=told):
        ConvertRequest(model_id="example/tiny", output_dir=Path("out"), **options)  # type: ignore[arg-type]


def test_several_recipes_may_share_options() -> None:
    """--ratio with fp16 and int4 is for the int4."""
    ConvertRequest(
        model_id="example/tiny", output_dir=Path("out"), weight_formats=("fp16", "int4"), ratio=0.8
    )


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base install measures; to convert takes the extra, named before anything is tried."""
    from tests.unit.models.test_sources import CONFIG, write_safetensors

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "tokenizer.json").write_text("{}")
    write_safetensors(tmp_path / "model.safetensors", {"a": [2]})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.path", [])

    with pytest.raises(MachineError, match="optimum-intel, torch, transformers, nncf") as caught:
        list(pipeline.convert(ConvertRequest(model_id=str(tmp_path), output_dir=tmp_path / "out"), print))

    assert install_command() == caught.value.hint


def test_the_place_is_judged_before_the_model(tmp_path: Path) -> None:
    """An output that cannot be is told first: it costs nothing to know."""
    (tmp_path / "file").write_text("")
    request = ConvertRequest(model_id="no/such/model", output_dir=tmp_path / "file" / "out")

    with pytest.raises(InputError, match="--output-dir"):
        list(pipeline.convert(request, print))


@pytest.mark.parametrize("arguments", [["--weight-format", "int3"], ["--weight-format", ""]])
def test_an_unknown_weight_format_lists_the_known(run: Callable[..., Done], arguments: list[str]) -> None:
    """Click's own words, exit 2."""
    done = run(Path("x"), *arguments)

    assert 2 == done.returncode
    assert "is not one of fp32, fp16, int8, int4" in done.stderr


@pytest.mark.convert
def test_a_conversion_that_is_there_is_left(run: Callable[..., Done], tiny: Path, tmp_path: Path) -> None:
    """The same again costs nothing; another source in its place is a mistake."""
    kept = conversions.converted(tiny, "fp32")["fp32"].folder
    folder = shutil.copytree(kept, tmp_path / "pytorch/dldt" / kept.name)
    there = ("--weight_format", "fp32", "--output-dir", str(tmp_path))
    before = folder.stat().st_mtime_ns
    again = run(tiny, *there)
    source = shutil.copytree(tiny, tmp_path / "source")
    (source / "generation_config.json").write_text("{}\n", encoding="utf-8")
    other = run(source, *there)

    assert 0 == again.returncode, again.stderr
    assert "FP32 was there already" in again.stdout
    assert "of next tokens" in again.stdout
    assert 2 == other.returncode
    assert "is another conversion" in other.stderr
    assert f"{source} at " in other.stderr
    assert before == folder.stat().st_mtime_ns


@pytest.mark.convert
def test_an_ir_that_is_not_its_source_is_refused(tiny: Path) -> None:
    """A source that chose other tokens is another model, and a tokenizer that spells otherwise is broken."""
    folder = conversions.converted(tiny, "fp32")["fp32"].folder
    texts = [verification.PLAIN_TEXT, verification.RICH_TEXT]
    spelling = verification.Spelling(rows=[], texts=texts, has_template=True)
    ids = [[1, 2, 3, 4, 5, 6, 7, 8]] * 2
    stranger = verification.Reading(ids=ids, choices=[[0] * 8] * 2, spelling=spelling, dtype="float32")
    with pytest.raises(LaunchError, match=r"agrees with its source on .*; at least 30% are needed"):
        verification.compare_readings(stranger, folder, weight_format="int8", report=print)

    kept = verification.compare_readings(
        stranger, folder, weight_format="int8", least_agreement=0.0, report=print
    )
    assert any("kept by --min-agreement 0" in warning for warning in kept.warnings)

    assert () == verification.check_spelling(folder, spelling, report=print)
    named = verification.Spelling(rows=[], texts=texts, has_template=False, template_names=["rag"])
    (warning,) = verification.check_spelling(folder, named, report=print)
    assert "named chat templates only (rag)" in warning
    accented = verification.Spelling(rows=[[1]], texts=[texts[0], "é"], has_template=True)
    told = verification.check_spelling(folder, accented, report=print)
    assert 2 == len(told)
    assert "'é'" in told[0]
    broken = verification.Spelling(rows=[], texts=["It took 3 Ġminutes", ""], has_template=True)
    with pytest.raises(LaunchError, match="Ġminutes"):
        verification.check_spelling(folder, broken, report=print)


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (Recipe(weight_format="fp16"), ["fp16"]),
        (Recipe(weight_format="int8", is_symmetric=True), ["int8", "--sym"]),
        (
            Recipe(weight_format="int4", ratio=0.8, group_size=64, may_shrink_groups=False),
            ["int4", "--ratio", "0.8", "--group-size", "64"],
        ),
    ],
)
def test_the_exporter_is_given_the_recipe(recipe: Recipe, options: list[str]) -> None:
    """In the words of optimum-cli, and no option that would have no effect."""
    assert ["--weight-format", *options] == exporter._options(recipe)


@pytest.mark.convert
def test_a_group_size_that_does_not_fit_is_named(tiny: Path, tmp_path: Path) -> None:
    """Channels of 64 and 128 have no groups of 48; the default shrinks to what fits."""
    recipe = Recipe(weight_format="int4", ratio=1.0, group_size=48, may_shrink_groups=False)

    with pytest.raises(InputError, match="--group-size 48 does not divide the channels"):
        exporter.export(tiny, tmp_path, recipe=recipe, report=lambda _progress: None)


@pytest.mark.convert
@pytest.mark.parametrize(
    ("config", "message", "remedy"),
    [
        ({"model_type": "mamba"}, "'mamba' is exported with transformers", "pip install 'transformers"),
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "awq"}},
            "(AWQ)",
            "pip install gptqmodel",
        ),
    ],
)
def test_a_model_that_cannot_be_exported_is_not_fetched(
    run: Callable[..., Done], tmp_path: Path, *, config: dict[str, object], message: str, remedy: str
) -> None:
    """Its config.json tells it, and not a byte of the weights is requested."""
    hub = Hub()
    hub.models["example/tiny"] = {"config.json": json.dumps(config).encode(), "model.safetensors": b"weights"}

    done = run(
        Path("example/tiny"), HF_ENDPOINT=hub.address, HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="0"
    )

    hub.server.shutdown()
    hub.server.server_close()
    assert done.returncode in {2, 4}
    assert message in done.stderr
    assert remedy in done.stderr
    assert not [path for path in hub.asked if "safetensors" in path]


@pytest.mark.convert
def test_an_ir_of_a_hub_is_fetched_and_not_converted(
    run: Callable[..., Done], tiny: Path, tmp_path: Path
) -> None:
    """From a hub of our own, into the folder of its weight format; the second time no hub is needed."""
    source = conversions.converted(tiny, "fp32")["fp32"].folder
    hub = Hub()
    hub.models["example/tiny-ov"] = {
        file.name: file.read_bytes() for file in source.iterdir() if file.name != "llmbench_manifest.json"
    }
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    fetched = run(Path("example/tiny-ov"), **environment)

    assert 0 == fetched.returncode, fetched.stderr
    folder = tmp_path / "out" / "pytorch" / "dldt" / "FP32"
    manifest = _manifest(folder)
    assert ("hub", "example/tiny-ov", COMMIT) == (
        manifest.source.kind,
        manifest.source.id,
        manifest.source.revision,
    )
    assert "not measured" in str(manifest.agreement_note)
    assert manifest.timings.export_s is None
    locate.verify(locate.locate(folder))
    assert (source / "openvino_model.bin").read_bytes() == (folder / "openvino_model.bin").read_bytes()
    assert not (folder / ".cache").exists()

    hub.server.shutdown()
    hub.server.server_close()
    offline = run(Path("example/tiny-ov"), **(environment | {"HF_HUB_OFFLINE": "1"}))
    assert 0 == offline.returncode, offline.stderr
    assert "was there already" in offline.stdout


@pytest.mark.convert
def test_a_kept_conversion_is_not_made_again(tiny: Path) -> None:
    """What the tests keep in the cache is found there by the next session."""
    made = conversions.converted(tiny, "fp32")["fp32"]
    again = conversions.converted(tiny, "fp32")["fp32"]

    assert not again.is_new
    assert made.folder == again.folder


@pytest.mark.model
def test_a_gguf_in_parts_becomes_one_ir(tmp_path: Path) -> None:
    """The engine finds the parts by the first one's name; no link to them is left."""
    first = gguf_model.build(tmp_path / "m.gguf", parts=2)
    request = ConvertRequest(model_id=str(first), output_dir=tmp_path / "out")

    (converted,) = pipeline.convert(request, lambda _progress: None)

    locate.verify(locate.locate(converted.folder))
    assert not any(file.is_symlink() or file.suffix == ".gguf" for file in converted.folder.iterdir())
