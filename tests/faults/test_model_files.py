"""Models whose files are damaged, and what a model cannot do."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.models import integrity, locate
from llmbench.store import reader
from tests.outcome import assert_measured

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]

row_11 = pytest.mark.fault(11, ".xml truncated, empty, not an IR")
row_12 = pytest.mark.fault(12, ".bin truncated, empty, missing")
row_13 = pytest.mark.fault(13, ".bin with a flipped bit, same size: the engine runs it happily")
row_14 = pytest.mark.fault(14, "NaN weights: plausible timings")
row_16 = pytest.mark.fault(16, "tokenizer files missing")
row_20 = pytest.mark.fault(
    20, "prompt + output beyond the model's context (the engine does not mind; a GGUF's from its metadata)"
)


row_47 = pytest.mark.fault(47, "a checkpoint that is not whole, or whose files are something else")


def _assert_refused(done: subprocess.CompletedProcess[str], folder: Path, *output: str) -> None:
    """Exit 2 with one error that names what is said, and nothing was run or written."""
    assert done.returncode == 2, done.stderr
    for part in output:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(folder.glob("reports/*"))


@row_11
@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b'<?xml version="1.0"?>\n<net name="x">\n<data', "truncated at"),
        (b"GIF89a", "not an IR"),
        (None, "is missing"),
    ],
    ids=["empty", "truncated", "not an IR", "missing"],
)
def test_row_11_a_damaged_network_is_named(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path, *, content: bytes | None, why: str, known: bool
) -> None:
    """The file and its size against the manifest; without one, what can be seen of the file itself."""
    model = ir_of(known=known)
    size = (model / integrity.MODEL_XML).stat().st_size
    (model / integrity.MODEL_XML).unlink()
    if content is not None:
        (model / integrity.MODEL_XML).write_bytes(content)
    reported = f"has {len(content)} bytes; the manifest has {size}" if known and content is not None else why

    _assert_refused(llmbench("run", "-m", str(model)), tmp_path, integrity.MODEL_XML, reported)


@row_12
@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
@pytest.mark.parametrize("content", [None, b"", b"short"], ids=["missing", "empty", "truncated"])
def test_row_12_damaged_weights_are_named(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path, *, content: bytes | None, known: bool
) -> None:
    """The file, its size, and the size it should have."""
    model = ir_of(known=known)
    (model / "openvino_model.bin").unlink()
    if content is not None:
        (model / "openvino_model.bin").write_bytes(content)
    reported = "is missing" if content is None else "256"

    _assert_refused(llmbench("run", "-m", str(model)), tmp_path, "openvino_model.bin", reported)


@row_13
@pytest.mark.parametrize("name", ["openvino_model.bin", "openvino_model.xml"])
def test_row_13_a_flipped_bit_is_refused(llmbench: Run, ir_of: MakeIr, tmp_path: Path, name: str) -> None:
    """Same size, same time, other content: the SHA-256 differs, also where it was known from before."""
    model = ir_of()
    weights = model / name
    locate.verify(locate.locate(model))
    state = weights.stat()
    content = bytearray(weights.read_bytes())
    content[30] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))

    _assert_refused(
        llmbench("run", "-m", str(model)),
        tmp_path,
        f"{name} is not the file",
        "SHA-256",
        "--no-verify",
    )


_REALS = re.compile(r'element_type="f(?:16|32)" shape="[\d, ]*" offset="(\d+)" size="(\d+)"')


def _copied(model: Path, target: Path) -> Path:
    """A model's folder with links to all files but the weights, which are a copy."""
    target.mkdir()
    for file in model.iterdir():
        if file.name == "openvino_model.bin":
            shutil.copyfile(file, target / file.name)
        else:
            (target / file.name).symlink_to(file)
    return target


@row_13
@pytest.mark.model
def test_row_13_running_it_all_the_same_is_recorded(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """The engine does not notice a flipped bit; with --no-verify it is run, and every report of it has a note."""
    model = _copied(demo_ir, tmp_path / "model")
    with (model / "openvino_model.bin").open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)[0]
        file.seek(-1000, 2)
        file.write(bytes([byte ^ 1]))
    run = ("run", "-m", str(model), "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1")
    assert llmbench_workers(*run).returncode == 2
    done = llmbench_workers(*run, "--no-verify", "--name", "x", "-v")

    assert_measured(done)
    assert "the model's files were not verified" in done.stdout
    assert not reader.read_run(tmp_path / "reports/x.jsonl").cells[0].is_verified


@row_14
def test_row_14_non_finite_logits_are_invalid(llmbench: Run) -> None:
    """One request of three: exit 0 and a note, 3 with --strict; all of them: exit 5."""
    some = ("run", "-m", "first=9ms,nan@3", "--engine", "scripted", "-n", "3", "-ic", "4")
    every = ("run", "-m", "first=9ms,nan@2,nan@3", "--engine", "scripted", "-n", "2", "-ic", "4")

    done = llmbench(*some)
    assert done.returncode == 0, done.stderr
    assert "1 of 3 requests invalid, left out (non-finite logits" in done.stdout
    assert llmbench(*some, "--strict").returncode == 3
    assert llmbench(*every).returncode == 5


@row_14
@pytest.mark.model
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--engine core -ic 2", "non-finite logits"),
        ("-ic 32", "degenerate output"),
        pytest.param("--num-beams 3 -ic 4", "non-finite scores", marks=pytest.mark.nightly),
        pytest.param("--do-sample --attention sdpa -ic 2", "NaN weights", marks=pytest.mark.nightly),
    ],
    ids=["core", "genai", "beams", "two sampled tokens"],
)
def test_row_14_nan_weights_are_noticed(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path, *, options: str, why: str
) -> None:
    """The timings of a model of NaNs are plausible; its logits show where they can be seen, its output where not.

    Its file shows them whatever is made of it, though it has the size that it should have.
    """
    model = _copied(demo_ir, tmp_path / "model")
    with (model / "openvino_model.bin").open("r+b") as file:
        for offset, size in _REALS.findall((model / integrity.MODEL_XML).read_text()):
            if int(size) > 100:  # smaller ones are parts of shapes, not of layers
                file.seek(int(offset))
                file.write(b"\xff" * int(size))  # a NaN in each format
    done = llmbench_workers(
        *("run", "-m", str(model), *options.split(), "-n", "1", "--warmups", "0", "--no-verify"),
        *("--foreign-cpu-limit", "1", "--name", "nan"),
    )

    assert done.returncode == 5, done.stdout + done.stderr
    (m,) = reader.read_run(tmp_path / "reports" / "nan.jsonl").launches[0].measurements
    assert any(found.startswith(why) for found in m.suspicions)
    assert m.suspicions[-1].startswith("NaN weights: ")


@row_16
@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
def test_row_16_all_missing_tokenizer_files_are_listed_at_once(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path, *, known: bool
) -> None:
    """Every missing file in one message."""
    model = ir_of(known=known)
    missing = ["openvino_tokenizer.xml", "openvino_tokenizer.bin", "openvino_detokenizer.xml"]
    for name in missing:
        (model / name).unlink()

    _assert_refused(llmbench("run", "-m", str(model)), tmp_path, *(f"{name} is missing" for name in missing))


@row_20
def test_row_20_a_synthetic_prompt_beyond_the_context_is_refused_before_loading(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path
) -> None:
    """The manifest's context, the input and the output are all reported; just fitting is not refused for that."""
    model = ir_of(context=100)
    run = ("run", "-m", str(model), "--dry-run")
    _assert_refused(
        llmbench(*run, "--input-tokens", "90", "-ic", "11"),
        tmp_path,
        "90 input + 11 output tokens make 101; the model's context is 100",
    )
    assert llmbench(*run, "--input-tokens", "90", "-ic", "10").returncode == 0


@row_20
def test_row_20_a_gguf_has_its_context_in_its_metadata(llmbench: Run, tmp_path: Path) -> None:
    """The same for a GGUF, whose head has the number."""
    import gguf
    import numpy as np

    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b"])
    writer.add_token_merges(["a b"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float16))
    for name in ("output_norm.weight", "blk.0.attn_q.weight"):
        writer.add_tensor(name, np.zeros((4, 4), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    done = llmbench("run", "-m", str(path), "--input-tokens", "60", "-ic", "5")
    _assert_refused(done, tmp_path, "60 input + 5 output tokens make 65; the model's context is 64")


@row_20
@pytest.mark.model
def test_row_20_a_text_beyond_the_context_is_refused_by_its_tokens(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """A text's tokens are known when the tokenizer is: nothing is measured, and the numbers are reported."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "' + "word " * 8190 + '"}\n')
    done = llmbench_workers("run", "-m", str(demo_ir), "-pf", "p.jsonl", "-ic", "8")

    assert done.returncode == 2, done.stderr
    assert "input + 8 output tokens make" in done.stderr
    assert "the model's context is 8192" in done.stderr
    assert [] == list(tmp_path.glob("reports/*"))


_LLAMA = '{"model_type": "llama"'
_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


@row_47
@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("config.json", '{"architectures": ["X"]}', "names no architecture"),
        ("config.json", _LLAMA + ', "quantization_config": ["awq"]}', "names a quant_method"),
        ("model.safetensors", _POINTER, "is a pointer of Git LFS"),
        ("model.safetensors", "", "is not a whole safetensors file"),
        ("model.safetensors.index.json", '{"weight_map": {"a": null}}', "does not map tensors"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "b.safetensors"}}', "shards that are missing"),
        ("pytorch_model.bin", "x", "can run code when read"),
        ("tf_model.h5", "x", "contains only tf_model.h5"),
    ],
)
def test_row_47_a_damaged_checkpoint_is_named(
    llmbench: Run, tmp_path: Path, *, name: str, content: str, why: str
) -> None:
    """One line with the remedy, exit 2, before a package that exports is so much as imported."""
    source = tmp_path / "source"
    source.mkdir()
    for file, text in {"config.json": _LLAMA + "}", "tokenizer.json": "{}", name: content}.items():
        (source / file).write_text(text)

    done = llmbench("convert", "--model-id", str(source), "--output-dir", str(tmp_path / "made"))

    _assert_refused(done, tmp_path, why, "hint: ")
    assert not (tmp_path / "made").exists() or not list((tmp_path / "made").rglob("*.xml"))
