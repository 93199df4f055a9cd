"""What SECURITY.md promises of secrets: none is kept or said."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.store import reader

from .conftest import FAST, interfere, texts_below

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]
ROOT = Path(__file__).parents[2]

secrets = pytest.mark.security(4, "no secret in any output")


CANARY = "Canary0123456789" * 2
HUB_TOKEN = "hf_" + CANARY
_ENVIRONMENT = {
    "HF_TOKEN": HUB_TOKEN,
    "HUGGING_FACE_HUB_TOKEN": HUB_TOKEN,
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}/aws",
    "MY_PASSWORD": f"correct horse {CANARY}",
    "OPENVINO_API_KEY": CANARY,
    "OMP_PASSPHRASE": CANARY,
    "OPENVINO_PROXY": f"https://user:{CANARY}@proxy.example",
    "KMP_NOTE": f"Bearer {CANARY}",
}


def _assert_no_canary(folder: Path, *outputs: str) -> None:
    """Neither a file that was written nor anything that was printed holds the secret."""
    for path, content in texts_below(folder).items():
        assert CANARY.encode() not in content, path
    for output in outputs:
        assert CANARY not in output


@secrets
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-p", f"call it with Authorization: Bearer {CANARY}"),
        ("-p", f"clone https://me:{CANARY}@example.org/x.git"),
        ("-lc", f"SOME_KEY={CANARY},NUM_STREAMS=1"),
        ("-lc", json.dumps({"NOTE": f"token={HUB_TOKEN}"})),
        ("--name", HUB_TOKEN),
        ("-m", f"first=1ms,token={HUB_TOKEN}"),
        ("--resume", f"{HUB_TOKEN}.jsonl"),
        ("-pf", f"{HUB_TOKEN}.jsonl"),
        ("--no-such-option", HUB_TOKEN),
        ("-d", HUB_TOKEN),
    ],
    ids=lambda options: options[0] if options else "environment",
)
def test_no_secret_of_environment_or_arguments_is_written_or_printed(
    llmbench: Run, llmbench_process: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Whether the run succeeds or not, no file and no line has it; where options have none, in a real worker too."""
    call = llmbench if options else llmbench_process
    base = FAST if "--resume" not in options else ("run",)
    ran = call(*base, *options, "-r", "out.csv", "-rj", "out.json", **_ENVIRONMENT)
    outputs = [ran.stdout, ran.stderr]
    for path in tmp_path.glob("reports/*.jsonl"):
        for kind in ("csv", *(() if options else ("json", "html"))):
            done = llmbench(
                "report", kind, str(path.relative_to(tmp_path)), "-o", f"x.{kind}", **_ENVIRONMENT
            )
            outputs += [done.stdout, done.stderr]
        outputs.append(llmbench("report", "show", str(path.relative_to(tmp_path)), **_ENVIRONMENT).stdout)

    assert "Traceback" not in ran.stderr
    _assert_no_canary(tmp_path, *outputs)


@secrets
@pytest.mark.slow
def test_no_secret_of_a_recipe_or_a_models_path_is_written_or_printed(
    llmbench_workers: Run, ir_of: MakeIr, tmp_path: Path
) -> None:
    """The recipe is read and the model is found; what is printed of either is without the secret."""
    outside = tmp_path / "in"
    outside.mkdir()
    model = ir_of(name=f"in/{HUB_TOKEN}")
    (outside / "r.toml").write_text(
        f'model = "first=20ms"\nengine = "scripted"\nname = "x"\n[properties]\nNOTE = "https://u:{CANARY}@h"\n'
    )
    work = tmp_path / "work"
    work.mkdir()
    ran = llmbench_workers("run", "-c", "in/r.toml", "-n", "1", "-ic", "4", "--output-dir", str(work))
    assert ran.returncode == 0, ran.stderr
    failed = llmbench_workers("run", "-m", str(model), "-d", "GPU", "--output-dir", str(work))
    assert failed.returncode == 4
    dry = llmbench_workers("run", "-m", str(model), "--dry-run")
    assert dry.returncode == 2, dry.stderr  # its tokenizer is none
    missing = llmbench_workers("run", "-m", f"{model}/no-such")

    _assert_no_canary(
        work, *(text for done in (ran, failed, dry, missing) for text in (done.stdout, done.stderr))
    )


@secrets
def test_a_run_without_its_secret_is_not_resumed_as_if_it_were_whole(llmbench: Run, tmp_path: Path) -> None:
    """What was not kept cannot be measured again: exit 2, and what to do."""
    llmbench(*FAST, "-lc", f"NOTE={HUB_TOKEN}", "--launches", "2", "--name", "x")
    path = tmp_path / "reports/x.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    done = llmbench("run", "--resume", "reports/x.jsonl")

    assert done.returncode == 2
    assert "contained a secret, which was not recorded" in done.stderr


@secrets
def test_no_secret_in_what_a_worker_printed_before_it_died(llmbench_process: Run, tmp_path: Path) -> None:
    """The last lines of its log are kept in the run file and shown: redacted."""
    interfere(
        tmp_path / "code",
        "import pathlib\n"
        "checked = pathlib.Path(__file__).with_name('checked')\n"
        "is_launch = checked.exists()\n"
        "if 'LLMBENCH_LAUNCH' in os.environ:\n"
        "    checked.touch()\n"
        "if 'LLMBENCH_LAUNCH' in os.environ and is_launch:\n"
        "    print('cannot reach https://user:' + os.environ['CANARY'] + '@host', file=sys.stderr)\n"
        "    raise SystemExit('with ' + os.environ['HF_TOKEN'])\n",
    )
    done = llmbench_process(
        *FAST, "--name", "x", CANARY=CANARY, PYTHONPATH=str(tmp_path / "code"), **_ENVIRONMENT
    )
    (launch,) = reader.read_run(tmp_path / "reports/x.jsonl").launches

    assert done.returncode == 5
    assert launch.failure is not None
    assert any("cannot reach https://[redacted]@host" in line for line in launch.failure.log)
    _assert_no_canary(tmp_path / "reports", done.stdout, done.stderr)


@secrets
def test_no_secret_in_the_traceback_of_a_bug(llmbench_process: Run, tmp_path: Path) -> None:
    """A bug keeps its traceback and exits 70; the traceback is redacted, and steers no terminal."""
    interfere(
        tmp_path / "code",
        "import datetime\n"
        "def fail(*_a, **_k):\n"
        "    raise ZeroDivisionError('\\x1b[31m' + os.environ['HF_TOKEN'] + os.environ['CANARY'])\n"
        "import llmbench.workloads.prompts\n"
        "llmbench.workloads.prompts.given = fail\n",
    )
    done = llmbench_process(
        *FAST,
        CANARY=CANARY,
        PYTHONPATH=f"{tmp_path / 'code'}:{ROOT}",
        OPENVINO_API_KEY=CANARY,
        HF_TOKEN=HUB_TOKEN,
    )

    assert done.returncode == 70, done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "\x1b" not in done.stderr
    _assert_no_canary(tmp_path / "reports", done.stdout, done.stderr)
