"""``llmbench config``: the recipe it writes can be read, as it is and with its comments removed."""

import re
from pathlib import Path

from llmbench.cli.config import recipe_template
from llmbench.cli.options.table import OPTIONS, parse_options, recipe_options
from tests.command import RunCommand


def test_a_new_recipe_runs_as_it_is(llmbench: RunCommand, tmp_path: Path) -> None:
    """Once its model is there; it is not overwritten."""
    done = llmbench("config", "init")
    again = llmbench("config", "init")
    options = parse_options(recipe_options(tmp_path / "run.toml"))

    assert 0 == done.returncode, done.stderr
    assert "models" == options["model"]
    assert (32, 512) == options["input_tokens"]
    assert 5 == options["launches"]
    assert 2 == again.returncode
    assert "error: run.toml exists" in again.stderr


def test_a_recipe_explains_every_option_of_run(tmp_path: Path) -> None:
    """Each is its own line, which is TOML without its comment sign."""
    text = recipe_template("x.toml")
    whole = tmp_path / "whole.toml"
    whole.write_text(re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")

    assert set(recipe_options(whole)) >= {"threads", "draft_model", "lora", "sockets", "temperature"}
    for name in set(OPTIONS) - {"recipe", "framework", "optimum", "dry_run", "resume", "salvage"}:
        assert re.search(rf"^(# )?{name.replace('_', '-')} = ", text, re.MULTILINE), name


def test_what_the_package_holds_is_listed_and_found(llmbench: RunCommand) -> None:
    """Every name works in an empty folder."""
    lines = [line.split() for line in llmbench("config", "list").stdout.splitlines()]

    assert ["-lc", "ov_distributed_config"] in lines
    assert ["-pf", "llama-2-7b-chat_l"] in lines
    assert ["-c", "smollm2-135m"] in lines
    for option, name in lines:
        model = () if option == "-c" else ("-m", "first=1ms,next=1ms", "--engine", "scripted")
        done = llmbench("run", *model, option, name, "--dry-run")
        assert "not found" not in done.stderr
