"""``llmbench run --images`` with the scripted engine, and what is refused of models whose networks are empty."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from llmbench import api
from tests import pictures
from tests.command import RunCommand

SCRIPT = "first=100ms,next=5ms,vision=1ms"
"""A vision encoder of 1 ms for 1,000 pixels, and 100 ms of everything else before the first token."""

CONSTANT = '<layer id="7" type="Const"><data element_type="f32" shape="1" offset="0" size="4"/></layer>'
RESULT = '<layer id="8" type="Result" output_names="logits"><input><port id="0"/></input></layer>'
STATE = '<layer id="9" type="ReadValue"><data variable_id="k"/></layer>'


def vision_ir(folder: Path, **config: object) -> Path:
    """*folder*, holding the files of a vision-language model whose networks compute nothing."""
    folder.mkdir()
    names = ("language_model", "text_embeddings_model", "vision_embeddings_model", "tokenizer", "detokenizer")
    for name in names:
        layers = CONSTANT + (RESULT + STATE if name == "language_model" else "")
        given = '<layer id="0" name="x" type="Parameter"><output><port id="0" names="x"/></output></layer>'
        (folder / f"openvino_{name}.xml").write_text(f"<net><layers>{given}{layers}</layers></net>")
        (folder / f"openvino_{name}.bin").write_bytes(bytes(4))
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"} | config))
    return folder


def run(llmbench: RunCommand, folder: Path, script: str, name: str, *options: str) -> str:
    pictures.picture(folder / "a.png", 400, 300)
    done = llmbench(
        *("run", script, "--engine", "scripted", "--images", "a.png", "-p", "What is it?"),
        *("-ic", "4", "-n", "3", "--name", name, "--foreign-cpu-limit", "1", *options),
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_each_size_is_a_row_with_its_stages(llmbench: RunCommand, tmp_path: Path) -> None:
    """400 x 300 and 200 x 150 pixels are 120 and 30 ms of vision encoder: 54.5 and 23.1 % of the first token."""
    found = run(llmbench, tmp_path, SCRIPT, "a", "-t", "visual_text_gen", "--image-size", "400,200")

    lines = [line.split() for line in found.splitlines() if "vision encoder  " in line]
    assert [["120.0", "54.5"], ["30.00", "23.1"]] == [line[-2:] for line in lines]
    assert ["P0", "400x300", "600", "603", "4", "220.0", "5.00", "5.00", "200.0"] in [
        line.split() for line in found.splitlines()
    ]
    assert "in first call" in found
    assert any(
        line.split()[1:4] == ["image", "decoding", "clock"] and line.endswith("outside")
        for line in found.splitlines()
    )


def test_pandas_reads_sizes_tokens_and_stages(llmbench: RunCommand, tmp_path: Path) -> None:
    """A row a request; 60,000 and 30,000 pixels are 300 and 150 tokens of an image."""
    run(llmbench, tmp_path, SCRIPT, "a", "--image-size", "300x200,200x150")

    frame = pd.read_csv(io.StringIO(llmbench("report", "csv", "a").stdout))
    stages = pd.read_csv(io.StringIO(llmbench("report", "csv", "a", "--stages").stdout))

    assert {"300x200": 300, "200x150": 150} == dict(
        zip(frame["image_size"], frame["image_tokens"], strict=True)
    )
    assert (frame["image_decoding_ms"] > 0).all()
    assert (frame["first_token_ms"] > 100).all()
    assert {"tokenization", "vision_encoder", "text_embedding", "prefill", "unexplained"} == set(
        stages["stage"]
    )


@pytest.mark.slow
def test_a_slower_vision_encoder_is_named_by_compare(llmbench: RunCommand, tmp_path: Path) -> None:
    """Twice its time: the first token and the time per token decide, and the sentence has the stage that moved."""
    slow = SCRIPT.replace("vision=1ms", "vision=2ms")
    for script, name in ((SCRIPT, "base"), (slow, "candidate")):
        run(llmbench, tmp_path, f"{script},launch-noise=0.2%", name, "--launches", "5")

    done = llmbench("report", "compare", "base", "candidate", "--html", "page.html")

    assert "The slower stage is vision encoder +100 % (120.0 ms in P0 400x300)" in " ".join(
        done.stdout.split()
    )
    page = (tmp_path / "page.html").read_text()
    assert "stages of the first token" in page
    assert "vision encoder" in page


def test_a_run_is_measured_again_by_the_command_it_prints(llmbench: RunCommand, tmp_path: Path) -> None:
    """Images and sizes come from the run file, which holds their paths."""
    run(llmbench, tmp_path, SCRIPT, "a", "--image-size", "100,200")

    done = llmbench(
        *("run", SCRIPT, "--engine", "scripted", "-pf", "reports/a.jsonl", "-ic", "4", "-n", "1"),
        *("--name", "b", "--foreign-cpu-limit", "1"),
    )

    assert not done.returncode, done.stderr
    assert "P1 200x150" in done.stdout


def test_python_measures_images_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of the command line, and a frame with sizes, tokens and stages."""
    monkeypatch.setenv("LLMBENCH_LAUNCHER", "inline")
    path = pictures.picture(tmp_path / "a.png", 400, 300)

    run = api.measure(
        SCRIPT, engine="scripted", images=path, image_size=["400", "200"], infer_count=4, output_dir=tmp_path
    )

    frame = run.summary()
    assert "visual_text_gen" == run.cells[0].task
    assert ["400x300", "200x150"] == list(frame["image_size"])
    assert [600, 150] == list(frame["image_tokens"])
    assert [120.0, 30.0] == list(frame["stage.vision_encoder_ms"].round(3))


def test_history_follows_a_stage(llmbench: RunCommand, tmp_path: Path) -> None:
    """Runs with the same image and question are one line of it."""
    for number, script in enumerate((SCRIPT, SCRIPT.replace("vision=1ms", "vision=2ms"))):
        run(llmbench, tmp_path, script, f"r{number}")

    done = llmbench("report", "history", "--metric", "stage.vision_encoder")

    assert not done.returncode, done.stderr
    assert "120.0" in done.stdout
    assert "240.0" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "is a vision-language model, and no image was given"),
        (("--images", "gone.png"), "there is no image at gone.png"),
        (("--images", "empty"), "empty contains no image"),
        (("--images", "cut.png"), "cut.png cannot be decoded"),
        (("--images", "moving.gif"), "moving.gif is animated (3 frames)"),
        (("--images", "huge.png"), "huge.png has more than 89478485 pixels"),
        (("--images", "a.png", "--image-size", "big"), "--image-size big is not understood"),
        (
            ("--images", "a.png", "--engine", "core"),
            "the core engine has no vision-language models (--images)",
        ),
        (("--images", "a.png", "-bs", "2"), "a request with images has one sequence"),
        (("--images", "a.png", "--num-beams", "2"), "are measured without beam search"),
    ],
)
def test_what_cannot_be_asked_about_is_refused_in_one_line(
    options: tuple[str, ...], message: str, llmbench: RunCommand, tmp_path: Path
) -> None:
    """With exit code 2, before the model is loaded."""
    model = vision_ir(tmp_path / "vlm")
    (tmp_path / "empty").mkdir()
    pictures.picture(tmp_path / "a.png")
    pictures.truncated(tmp_path / "cut.png")
    pictures.animation(tmp_path / "moving.gif")
    pictures.bomb(tmp_path / "huge.png")

    done = llmbench("run", "-m", str(model), *options)

    assert 2 == done.returncode, done.stderr
    first, *rest = done.stderr.strip().splitlines()
    assert message in first
    assert all(line.startswith(("hint:", "  ")) for line in rest)


def test_a_language_model_takes_no_image(llmbench: RunCommand, tmp_path: Path) -> None:
    """Refused before it is loaded."""
    model = vision_ir(tmp_path / "lm")
    for end in ("xml", "bin"):
        (model / f"openvino_language_model.{end}").rename(model / f"openvino_model.{end}")
        (model / f"openvino_vision_embeddings_model.{end}").unlink()
    pictures.picture(tmp_path / "a.png")

    done = llmbench("run", "-m", str(model), "--images", "a.png")

    assert 2 == done.returncode
    assert "is a language model and takes no image" in done.stderr


def test_vision_needs_a_warm_up(llmbench: RunCommand, tmp_path: Path) -> None:
    """The first request of each size compiles for it, and must not count."""
    pictures.picture(tmp_path / "a.png")

    done = llmbench("run", SCRIPT, "--engine", "scripted", "--images", "a.png", "--warmups", "0")

    assert 2 == done.returncode
    assert "the first request of each image size compiles the model" in done.stderr
