"""Recipes of pipelines: what is wrong with one is said in a line that names the stage, before anything is loaded."""

import tomllib
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.files.package_data import packaged_files
from llmbench.models.pipeline import find_pipeline, pipeline_provenance, read_pipeline, running_stage
from tests import toy_pipeline

STAGE = '[[stages]]\nname = "more"\n{}\noutputs = {{ z = "y" }}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def refused(path: Path, *, trusts_code: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        find_pipeline(path, trusts_code=trusts_code)
    return caught.value.message


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        (
            'model = "double.xml"\ninputs = { x = "nothing" }',
            "stage more: input 'x' takes 'nothing', which no constant",
        ),
        ('model = "double.xml"\nstep = "write_wav"', "stage more: a stage is a model, a step, or code"),
        ('model = "double.bin"', "stage more: model 'double.bin' is neither a part, nor an .xml"),
        (
            'model = "double.xml"\nrepeat = 1000000',
            "stage more: it repeats 1000000 times; a loop ends after 1 to 10000",
        ),
        ('model = "double.xml"\nrepeat = 0', "stage more: it repeats 0 times"),
        ('model = "double.xml"\nbatch = 0', "stage more: a batch of 0"),
        ('model = "double.xml"\nover = ["rows"]', "stage more: 'rows' is not an input of it"),
        ('model = "double.xml"\nrepeat = "often"', "Expected int, got str - at stage more.repeat"),
        ('model = "double.xml"\nspeed = 2', "Object contains unknown field speed - at stage more"),
        ('model = "missing.onnx"', "stage more: "),
        ('step = "write_waf"', "stage more: step 'write_waf' is unknown; choose one of read_array, "),
        ('code = "steps"', "stage more: code is written module:function, not 'steps'"),
        ('code = "os.path:join"', "stage more: code is written module:function"),
        ('code = "elsewhere:letters"', "elsewhere.py was not found"),
    ],
)
def test_a_wrong_stage_is_named(folder: Path, stage: str, fault: str) -> None:
    """With what is wrong with it."""
    assert fault in refused(toy_pipeline.write(folder, more=STAGE.format(stage)))


def test_code_is_run_only_where_it_is_trusted(folder: Path) -> None:
    """The file is named; its hash is part of where the pipeline came from."""
    recipe = toy_pipeline.write(folder)
    assert "runs" in refused(recipe, trusts_code=False)

    before = pipeline_provenance(find_pipeline(recipe, trusts_code=True))
    (folder / "steps.py").write_text((folder / "steps.py").read_text() + "# changed\n")
    after = pipeline_provenance(find_pipeline(recipe, trusts_code=True))

    assert ["code of letters", "code of voice"] == [name for name, _ in before.companions]
    assert before.content_sha256 != after.content_sha256
    assert "toy" == before.name


def test_a_product_must_come_from_a_stage(folder: Path) -> None:
    """And have a kind, and audio its rate."""
    recipe = toy_pipeline.write(folder)
    text = recipe.read_text()
    for old, new, fault in (
        ('value = "audio"', 'value = "wave"', "'wave' is the output of no stage"),
        ('kind = "audio"', 'kind = "smell"', "it can be audio or frames"),
        (", sample_rate = 100", "", "needs its sample_rate"),
        ("product =", "# ", "[pipeline] has no product"),
    ):
        recipe.write_text(text.replace(old, new, 1))
        assert fault in refused(recipe)


def test_what_is_no_recipe_is_refused(folder: Path) -> None:
    """Not TOML, or without stages."""
    recipe = folder / "a.toml"
    recipe.write_text("[[stages")
    assert "is not TOML" in refused(recipe)
    recipe.write_text("num-iters = 3")
    assert "describes no pipeline" in refused(recipe)


RECIPES = packaged_files("model_configs", ".toml")


@pytest.mark.parametrize("name", [name for name, path in RECIPES.items() if "[[stages]]" in path.read_text()])
def test_the_recipes_that_come_with_the_package_are_right(name: str) -> None:
    """Each names the hash of every part, and has a prompt."""
    path = RECIPES[name]
    recipe = read_pipeline(path)

    assert recipe.about
    assert all(len(part.sha256) == 64 and "==" in part.packages[0] for part in recipe.parts.values())
    assert tomllib.loads(path.read_text())["prompt"]


def test_the_stage_that_runs_is_known_by_the_calls_that_ended() -> None:
    """Of one that runs over rows the number of calls is not known."""
    sovits = read_pipeline(RECIPES["tts-gpt-sovits"])
    found = [running_stage(sovits, calls) for calls in (0, 6, 55, 56, 57, 99)]
    assert ["phonemes", "text_to_semantic", "text_to_semantic", "vits", "wav", "wav"] == found

    film = read_pipeline(RECIPES["lip-sync"])
    assert ["face_detector", "face_detector or a later one"] == [
        running_stage(film, calls) for calls in (3, 4)
    ]
