import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from llmbench.cli.options.types import Command, Duration, IntegerList, check_folder
from llmbench.cli.outputs import check_output
from llmbench.errors import InputError
from tests.command import RunCommand


@click.command(cls=Command)
@click.option("-ic", "--infer-count", type=int)
@click.option("-n", "--num-iters", type=int)
@click.option("-p", "--prompt")
@click.option("-pf", "--prompt-file")
@click.option("-r", "--report")
@click.option("-rj", "--report-json")
@click.option("-q", "--quiet", is_flag=True)
def _command(**options: object) -> None:
    click.echo(repr({name: value for name, value in options.items() if value}))


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(_command, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-ic", "16"], {"infer_count": 16}),
        (["-ic=16"], {"infer_count": 16}),
        (["-n=2"], {"num_iters": 2}),
        (["-n2"], {"num_iters": 2}),
        (["--num-iters=2"], {"num_iters": 2}),
        (["-p", "-icy roads", "-q"], {"prompt": "-icy roads", "quiet": True}),
        (["-p=a=b"], {"prompt": "a=b"}),
        (["-rj", "x.json", "-r", "x.csv"], {"report": "x.csv", "report_json": "x.json"}),
    ],
)
def test_values_follow_a_space_or_an_equals_sign(arguments: list[str], expected: dict[str, object]) -> None:
    """Multi-letter options take their value as people write it; a prompt may begin with a dash."""
    result = _call(*arguments)

    assert 0 == result.exit_code, result.output
    assert expected == ast.literal_eval(result.output)


@click.command(cls=Command)
@click.argument("models", nargs=-1)
@click.option("-m", "--model")
@click.option("-p", "--prompt", multiple=True)
@click.option("-pf", "--prompt-file", multiple=True, type=click.Path())
@click.option("-pi", "--prompt-index", type=IntegerList(0))
@click.option("-n", "--num-iters", type=int)
@click.option("--subsequent", is_flag=True)
def _with_lists(models: tuple[str, ...], **options: object) -> None:
    click.echo(repr({name: value for name, value in {"models": models, **options}.items() if value}))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-m m -pf a b c", {"model": "m", "prompt_file": ("a", "b", "c")}),
        ("-pf a b -m m", {"model": "m", "prompt_file": ("a", "b")}),
        ("-m m --prompt-file a b -pi 0 2", {"model": "m", "prompt_file": ("a", "b"), "prompt_index": (0, 2)}),
        ("-m m -p a b", {"model": "m", "models": ("b",), "prompt": ("a",)}),
        (
            "-m m -pf a --subsequent b",
            {"model": "m", "models": ("b",), "prompt_file": ("a",), "subsequent": True},
        ),
        ("-m m -n 2 b", {"model": "m", "models": ("b",), "num_iters": 2}),
        ("-pf a b", {"models": ("b",), "prompt_file": ("a",)}),
    ],
)
def test_files_and_numbers_may_follow_each_other(arguments: str, expected: dict[str, object]) -> None:
    """As llm_bench takes them, and a shell's ``*`` writes them; words of a prompt without quotes are no list."""
    result = CliRunner().invoke(_with_lists, arguments.split())

    assert 0 == result.exit_code, result.output
    assert expected == ast.literal_eval(result.output)


@pytest.mark.parametrize(
    ("stuck", "advice"), [("-ic16", "-ic 16"), ("-rjx.json", "-rj x.json"), ("-pfx", "-pf x")]
)
def test_nothing_sticks_to_a_multi_letter_option(stuck: str, advice: str) -> None:
    """Click would take -rjx.json for -r jx.json; here it is an error that says what to write."""
    result = _call(stuck)

    assert 2 == result.exit_code
    assert advice in result.output


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("20m", 1200.0), ("2h", 7200.0), ("1.5min", 90.0), ("250ms", 0.25), ("7", 7.0)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    """A bare number is seconds."""
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["soon", "-1s", "1 week", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else names an example."""
    with pytest.raises(click.BadParameter, match="20m"):
        Duration().convert(text, None, None)


def test_integer_lists() -> None:
    """Commas part the numbers; what is no number, or too small, is refused."""
    assert (32, 512) == IntegerList().convert("32, 512", None, None)
    for bad in ("", "a", "1,-2", "1.5"):
        with pytest.raises(click.BadParameter):
            IntegerList().convert(bad, None, None)
    with pytest.raises(click.BadParameter, match="0 is less than 1"):
        IntegerList().convert("0", None, None)


def test_an_output_that_cannot_be_written_is_found_early(tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there or takes no files, is no output file; trying leaves nothing."""
    (tmp_path / "file").write_text("")
    check_output(tmp_path / "new.csv", "-r")
    check_folder(tmp_path / "new" / "deep", "--output-dir")

    for bad in (tmp_path, tmp_path / "none" / "x.csv", Path("/proc/x.csv")):
        with pytest.raises(InputError, match="-r "):
            check_output(bad, "-r")
    assert ["file"] == [left.name for left in tmp_path.iterdir()]
    with pytest.raises(InputError, match="is not a folder"):
        check_folder(tmp_path / "file" / "reports", "--output-dir")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-ic", "4,,8"), "'4,,8' is not a list of integers"),
        (("-ic", "4,"), "'4,' is not a list of integers"),
        (("-ic", "4,8,4"), "4 is listed twice in '4,8,4'"),
        (("-bs", "1,01"), "1 is listed twice"),
        (("--weight-format", "int8,INT8"), "int8 is listed twice"),
        (("--attention", "pa,,sdpa"), "'pa,,sdpa' is not one of pa, sdpa"),
        (("--timeout", "0"), "'0' is no time at all"),
        (("--timeout", "0.0s"), "'0.0s' is no time at all"),
        (("-lc", ""), "-lc is empty"),
        (("-lc", " "), "-lc is empty"),
        (("--cb-config", ""), "--cb-config is empty"),
        (("-lc", "NUM_STREAMS=[1,1]"), "the sweep has two equal configurations"),
        (("-lc", '[{"NUM_STREAMS": 1}, {"NUM_STREAMS": 1}]'), "the sweep has two equal configurations"),
    ],
)
def test_values_that_measure_nothing_or_the_same_twice_are_refused(
    llmbench: RunCommand, options: tuple[str, ...], words: str
) -> None:
    """Exit 2, before anything runs; rows of equal configurations could not be told apart."""
    done = llmbench("run", "-m", "first=1ms", "--engine", "scripted", *options)

    assert 2 == done.returncode, done.stdout
    assert words in " ".join(done.stderr.split())


def test_no_rest_is_a_duration() -> None:
    """Zero is a value only where it means something."""
    assert 0.0 == Duration(may_be_zero=True).convert("0", None, None)
