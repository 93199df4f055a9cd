import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.cli import run
from llmbench.cli.options import recipe
from llmbench.cli.options.table import parse_options, recipe_options
from llmbench.convert.library import is_hub_name
from llmbench.errors import ExitCode, InputError
from llmbench.runner import properties
from llmbench.runner.configurations import configurations
from llmbench.runner.properties import PropertySets

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {
    "model",
    "num_iters",
    "prompt_file",
    "load_config",
    "input_tokens",
    "strict",
    "recipe",
    "infer_count",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str) -> PropertySets:
    """The one set of properties that a text holds."""
    (found,) = properties.read_properties(text)
    return found


def refuse_properties(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        properties.read_properties(text)
    assert ExitCode.USAGE == caught.value.exit_code
    return caught.value


def refuse_run(content: str | bytes, folder: Path) -> InputError:
    (folder / "run.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        recipe.read_recipe("run.toml", known=KNOWN)
    return caught.value


def test_json_text_of_any_length_is_json_text() -> None:
    """More than 255 characters are no file name: llm_bench takes them for one."""
    long_value = "x" * 5000

    assert {"A": 1, "B": 0.5, "C": True, "D": long_value} == read(
        f' {{"A": 1, "B": 0.5, "C": true, "D": "{long_value}"}}'
    )


def test_a_file_of_properties(folder: Path) -> None:
    """A byte-order mark does no harm."""
    (folder / "mine.json").write_bytes(b'\xef\xbb\xbf{"A": "YES"}\n')

    assert {"A": "YES"} == read("mine.json")


@pytest.mark.parametrize(
    "name",
    ["ov_distributed_config.json", "ov_distributed_config", "model_configs/ov_distributed_config.json"],
)
def test_the_distributed_configuration_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the root of the repository, by its bare name too; it holds the policy and nothing else."""
    monkeypatch.chdir(ROOT)

    assert {"MODEL_DISTRIBUTION_POLICY": "TENSOR_PARALLEL"} == read(name)


def test_a_file_in_the_working_directory_comes_first(folder: Path) -> None:
    """The path as given wins over model_configs/, and a folder of that name is no file."""
    (folder / "model_configs").mkdir()
    (folder / "model_configs" / "a.json").write_text('{"A": 2}')
    (folder / "model_configs" / "b.json").write_text('{"B": 2}')
    (folder / "a.json").write_text('{"A": 1}')
    (folder / "b").mkdir()

    assert {"A": 1} == read("a.json")
    assert {"B": 2} == read("b")


def test_a_list_of_objects_holds_sets_of_properties(folder: Path) -> None:
    """Each is a set for a configuration of its own, an empty one too; a key may stand in several, not twice in one."""
    text = '[{"A": 1},\n{},\n{"A": [2, 3], "B": "x"}]'
    (folder / "sets.json").write_text(text)

    assert ({"A": 1}, {}, {"A": (2, 3), "B": "x"}) == properties.read_properties(text)
    assert properties.read_properties(text) == properties.read_properties("sets.json")
    assert "-lc:2: duplicate key 'A'" == refuse_properties('[{"A": 1},\n{"A": 1, "A": 2}]').message
    assert "-lc:3: A is null" == refuse_properties('[{"A": 1},\n{"B": 1},\n{"A": null}]').message


def test_tables_of_a_recipe_are_sets_of_properties(folder: Path) -> None:
    """Several of one name, or a list of them as an option's value; parts of the scheduler have a dot in their names."""
    (folder / "run.toml").write_text(
        'load-config = [{A = 1}, {A = 2, B = "x"}]\n'
        "[[scheduler]]\nmax_num_seqs = 4\n"
        "[[scheduler]]\n[scheduler.cache_eviction_config]\nstart_size = 64\n"
    )
    found = recipe.read_recipe("run.toml", known={*KNOWN, "cb_config"})

    assert ('[{"A": 1}, {"A": 2, "B": "x"}]',) == found["load_config"]
    assert ('[{"max_num_seqs": 4}, {"cache_eviction_config.start_size": 64}]',) == found["cb_config"]


def test_pairs() -> None:
    """JSON scalars are read as such, the rest is text; a comma that no key follows belongs to its value."""
    assert {
        "A": 2,
        "B": -0.5,
        "C": True,
        "D": "2",
        "E": "f32",
        "F": "x,y",
        "G": "",
        "H": "a=b",
        "I": "{x",
    } == (read('A=2, B=-0.5,C=true,D="2",E=f32,F=x,y,G=,H=a=b,I={x'))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('{"A": 1', "-lc:1: not JSON: Expecting ',' delimiter at column 8"),
        ('{\n"A": 1,\n"B" 2}', "-lc:3: not JSON: Expecting ':' delimiter at column 5"),
        ('{\n"A": 1,\n"B": "A",\n"A": 2}', "-lc:4: duplicate key 'A'"),
        ('{\n"A": {"B": 1}}', "-lc:2: A is an object"),
        ('{"A": [[1]]}', "-lc:1: A is a list"),
        ('{"A": null}', "-lc:1: A is null"),
        ('{"A": NaN}', "-lc:1: A is nan, which is not a finite number"),
        ('{"A": -Infinity}', "-lc:1: A is -inf, which is not a finite number"),
        ('{"A": 1e999}', "-lc:1: A is inf, which is not a finite number"),
        ('{"A": "\\ud800"}', "-lc:1: A is not valid Unicode"),
        (
            '{"A": ' + "9" * 5000 + "}",
            "-lc: not JSON that can be read: nested too deeply, or a number too long",
        ),
        (
            '{"A":' + "[" * 100_000,
            "-lc: not JSON that can be read: nested too deeply, or a number too long",
        ),
        ("A=1,A=2", "-lc: duplicate key 'A'"),
        ("A=[]", "-lc: A is an empty list"),
        ("A=[[1]]", "-lc: A is a list"),
        ("A=null", "-lc: A is null"),
        ("A=NaN", "-lc: A is nan, which is not a finite number"),
        ("=1", "-lc: expected KEY=VALUE, found '=1'"),
    ],
)
def test_a_bad_property_is_named_by_its_place(text: str, output: str) -> None:
    """The line is that of the offending key, the second one where it stands there twice."""
    assert output == refuse_properties(text).message


def test_a_pair_whose_value_is_too_long_a_number_is_text() -> None:
    """The device refuses it by name; reading does not break on it."""
    assert {"A": "9" * 5000} == read("A=" + "9" * 5000)


def test_a_file_is_named_in_its_errors(folder: Path) -> None:
    """Path and line stand in front."""
    (folder / "mine.json").write_text('{"A": 1,\n"A": 2}')
    assert "mine.json:2: duplicate key 'A'" == refuse_properties("mine.json").message

    for content, kind in (("[1]", "a number"), ("[]", "a list"), ("[[]]", "a list"), ('"A"', "a text")):
        (folder / "mine.json").write_text(content)
        output = refuse_properties("mine.json").message
        assert output.startswith("mine.json: expected a JSON object")
        assert output.endswith(f"found {kind}")

    (folder / "mine.json").write_bytes(b'{"A":\n"\xff"}')
    assert "mine.json:2: not valid Unicode" == refuse_properties("mine.json").message


def test_a_file_beyond_the_cap_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model given by mistake is not read into memory."""
    monkeypatch.setattr(properties, "MAX_OPTION_FILE_BYTES", 8)
    (folder / "mine.json").write_text('{"A": 1}')
    assert {"A": 1} == read("mine.json")

    (folder / "mine.json").write_text('{"A": 1} ')
    assert "mine.json is larger than 8 bytes" == refuse_properties("mine.json").message


def test_a_file_that_cannot_be_read_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own reason is passed on."""
    (folder / "mine.json").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "mine.json cannot be read: Permission denied" == refuse_properties("mine.json").message


@pytest.mark.parametrize("text", ["a\0b", "x" * 5000])
def test_what_is_no_file_is_not_found(text: str, folder: Path) -> None:
    """A name the system refuses is a missing file, shortened where it is long."""
    error = refuse_properties(text)

    assert error.message.startswith("properties file ")
    assert error.message.endswith(" was not found")
    assert len(error.message) < 120
    assert "there are: accuracy, latency, ov_distributed_config" == error.hint


def test_a_missing_file_is_guessed(folder: Path) -> None:
    """Likest name first, wherever it is; otherwise all there are."""
    (folder / "model_configs").mkdir()
    (folder / "model_configs" / "latency.json").touch()
    (folder / "other.json").touch()

    assert "did you mean model_configs/latency.json?" == refuse_properties("latncy").hint
    assert "did you mean other.json?" == refuse_properties("othr.json").hint
    assert (
        "there are: accuracy, model_configs/latency.json, ov_distributed_config"
        == refuse_properties("zzz.json").hint
    )


def test_a_recipe_given_as_properties_is_recognised(folder: Path) -> None:
    """The remedy is the other option."""
    (folder / "run.toml").touch()

    assert "use -c run.toml" == refuse_properties("run.toml").hint


def test_suggests_whatever_the_case() -> None:
    """The known spelling comes back; nothing where nothing is like it."""
    assert "NUM_STREAMS" == properties.suggest("num_stream", ["NUM_STREAMS", "CACHE_DIR"])
    assert properties.suggest("zzz", ["NUM_STREAMS"]) is None
    assert properties.suggest("zzz", []) is None


def test_reads_a_recipe(folder: Path) -> None:
    """Dashes or underscores, lists as tuples, a repeatable option always as a tuple, properties as JSON text."""
    (folder / "run.toml").write_text(
        """
        model = "models/x"
        num-iters = 4
        infer_count = 16
        strict = true
        input-tokens = [32, 512]
        prompt-file = "short"
        load-config = ["latency", "A=1"]
        [properties]
        B = "é"
        C = 0.5
        """
    )

    assert {
        "model": "models/x",
        "num_iters": 4,
        "infer_count": 16,
        "strict": True,
        "input_tokens": (32, 512),
        "prompt_file": ("short",),
        "load_config": ("latency", "A=1", '{"B": "\\u00e9", "C": 0.5}'),
    } == recipe.read_recipe("run.toml", known=KNOWN)


def test_the_properties_of_a_recipe_read_back(folder: Path) -> None:
    """What a table becomes is what -lc takes."""
    (folder / "run.toml").write_text('[properties]\nA = "x,B=1"\nC = true\n')

    sources = recipe.read_recipe("run.toml", known=KNOWN)["load_config"]

    assert isinstance(sources, tuple)
    assert [{"A": "x,B=1", "C": True}] == [read(str(source)) for source in sources]


@pytest.mark.parametrize(
    ("content", "output", "hint"),
    [
        ("\nnum-iterz = 1", "run.toml:2: there is no option 'num-iterz'", "did you mean num-iters?"),
        ("recipe = 'x'", "run.toml:1: there is no option 'recipe'", None),
        ("[propertys]\nA=1", "run.toml:1: there is no option 'propertys'", "did you mean properties?"),
        (
            "zzz = 1",
            "run.toml:1: there is no option 'zzz'",
            (
                "there are infer-count, input-tokens, load-config, model, num-iters, prompt-file, strict, "
                "[properties] and [scheduler]"
            ),
        ),
        ("num-iters = 1\nnum_iters = 2", "run.toml:2: duplicate key 'num_iters'", None),
        ("num-iters = 1\nnum-iters = 2", "run.toml:2: not TOML: Cannot overwrite a value", None),
        ("num-iters = 1\n= 2", "run.toml:2: not TOML: Invalid statement", None),
        ("num-iters = {a = 1}", "run.toml:1: num_iters is an object", None),
        ("load-config = ['A=1', {B = 2}]", "run.toml:1: load_config is an object", None),
        ("\n[[properties]]\nA = 1\n[[properties]]\nB = [[1]]", "run.toml:5: B is a list", None),
        ("num-iters = nan", "run.toml:1: num_iters is nan, which is not a finite number", None),
        ("num-iters = [[1]]", "run.toml:1: num_iters is a list", None),
        ("num-iters = 2026-01-01", "run.toml:1: num_iters is a date", None),
        ("properties = 1", "run.toml:1: expected a table, found a number", None),
        ("properties = 'A=1'", "run.toml:1: expected a table, found a text", None),
        ("\n[properties]\nA = inf", "run.toml:3: A is inf, which is not a finite number", None),
        ("[properties]\nA = [[1]]", "run.toml:2: A is a list", None),
        (b"\n\nmodel = '\xff'", "run.toml:3: not valid Unicode", None),
        (
            "a = " + "[" * 100_000,
            "run.toml: not TOML that can be read: nested too deeply, or a number too long",
            None,
        ),
    ],
)
def test_a_bad_recipe_is_named_by_line(
    content: str | bytes, output: str, hint: str | None, folder: Path
) -> None:
    """Every refusal says where, what, and what to do."""
    error = refuse_run(content, folder)

    assert output == error.message
    assert error.hint
    assert hint is None or hint == error.hint


def test_a_recipe_is_found_in_model_configs(folder: Path) -> None:
    """By its bare name; one that is missing is guessed."""
    (folder / "model_configs").mkdir()
    (folder / "model_configs" / "mine.toml").write_text("num-iters = 3")

    assert {"num_iters": 3} == recipe.read_recipe("mine", known=KNOWN)
    with pytest.raises(InputError, match="recipe 'nine' was not found") as caught:
        recipe.read_recipe("nine", known=KNOWN)
    assert "did you mean model_configs/mine.toml?" == caught.value.hint


@pytest.mark.parametrize("path", sorted((ROOT / "model_configs").glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_are_of_options_that_run_has(path: Path) -> None:
    """Each names its model, or is the pipeline that is measured, and has no option that does not exist."""
    known = {param.name for param in run.command.params if param.name}

    options = recipe.read_recipe(path, known=known)

    if options.get("engine") == "pipeline":
        assert str(path.resolve()) == options["model"]
    else:
        assert is_hub_name(str(options["model"]))


def test_there_is_a_recipe_for_each_family_and_one_of_a_sweep() -> None:
    """The sweep's cells are all combinations of its formats, threads and sets of properties."""
    names = {path.stem for path in (ROOT / "model_configs").glob("*.toml")}
    options = parse_options(recipe_options(ROOT / "model_configs" / "smollm2-135m-sweep.toml"))

    for family in ("llama", "qwen", "phi", "mistral", "gemma", "smollm2"):
        assert any(name.startswith(family) for name in names), family
    assert ("int8", "int4") == options["weight_format"]
    assert [(1, {}), (1, {"KV_CACHE_PRECISION": "f16"}), (2, {}), (2, {"KV_CACHE_PRECISION": "f16"})] == [
        (cell.threads, cell.properties) for cell in configurations(options, "ir")
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "model_configs").glob("*.json")), ids=lambda path: path.stem)
def test_our_properties_can_be_read(path: Path) -> None:
    """What a plain JSON reader finds is what -lc finds."""
    assert json.loads(path.read_text()) == read(str(path))
