"""What SECURITY.md promises, item by item."""

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench import store
from llmbench.run import Run as WholeRun

from .conftest import SCRIPTED, Marked, files_below, texts_below, write_run

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]
ROOT = Path(__file__).parents[2]
FAST = ("run", "-m", "first=20ms,next=10ms", *SCRIPTED, "-n", "2", "-ic", "4")

code = pytest.mark.security(1, "no code of a model's repository runs unless asked for, pinned and recorded")
formats = pytest.mark.security(2, "no pickle, eval or unsafe YAML; safetensors only; JSON lines over pipes")
places = pytest.mark.security(3, "nothing is written outside the output folder and the cache")
secrets = pytest.mark.security(4, "no secret in any output")
network = pytest.mark.security(5, "no network in run, ab, report, profile, doctor; telemetry barred")
privileges = pytest.mark.security(6, "no shell, no root needed, no change of governor or turbo")
untrusted = pytest.mark.security(
    7, "input is not trusted: capped, no duplicate keys, no NaN, nothing steers a reader"
)


# 1. code


@code
def test_code_of_a_model_is_refused_and_not_run(llmbench: Run, tmp_path: Path) -> None:
    """A folder whose configuration names its own code is refused, exit 2; the code leaves no mark."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}})
    )
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    done = llmbench("convert", "--model-id", str(folder), "--output-dir", "models")

    assert done.returncode == 2, done.stderr
    assert "--trust-remote-code" in done.stderr
    assert not (tmp_path / "was run").exists()


@code
@pytest.mark.parametrize("revision", [(), ("--revision", "main"), ("--revision", "0123abc")])
def test_code_from_a_hub_needs_a_pinned_commit(llmbench: Run, revision: tuple[str, ...]) -> None:
    """A branch moves; only the 40 digits of a commit say what will run. Exit 2, before anything is fetched."""
    done = llmbench(
        *(
            "convert",
            "--model-id",
            "example/model",
            "--output-dir",
            "models",
            "--trust-remote-code",
            *revision,
        )
    )

    assert done.returncode == 2, done.stderr
    assert "40" in done.stderr


# 2. formats


def _calls(path: Path) -> Iterator[str]:
    """The dotted names that a module calls or imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@formats
def test_nothing_that_could_run_data_is_called() -> None:
    """No eval, exec, pickle, marshal, shelve, YAML, torch.load or shell anywhere in the package."""
    forbidden = re.compile(
        r"^(eval|exec|pickle\b.*|cPickle.*|dill.*|marshal\b.*|shelve\b.*|yaml\b.*|torch\.load|joblib.*|numpy\.load|np\.load|"
        r"os\.system|os\.popen|pty\.spawn|subprocess\.getoutput)$"
    )
    found = {
        (path.name, name)
        for path in (ROOT / "llmbench").rglob("*.py")
        for name in _calls(path)
        if forbidden.match(name)
    }

    assert set() == found


@formats
def test_weights_that_could_run_code_are_refused(llmbench: Run, tmp_path: Path) -> None:
    """A folder with pickled weights alone is no source; they are not so much as opened."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    done = llmbench("convert", "--model-id", str(folder), "--output-dir", "models")

    assert done.returncode == 2, done.stderr
    assert "safetensors" in done.stderr
    assert not list(tmp_path.rglob("pwned"))


# 3. places


@pytest.fixture
def watched_home(tmp_path: Path) -> dict[str, str]:
    """A home, a cache and a temporary folder of their own, as environment variables."""
    folders = {
        "HOME": "home",
        "TMPDIR": "temporary",
        "XDG_CACHE_HOME": "home/cache",
        "XDG_CONFIG_HOME": "home/config",
    }
    for name in folders.values():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return {name: str(tmp_path / folder) for name, folder in folders.items()}


def _assert_untouched(tmp_path: Path) -> None:
    """Below home there is at most what llmbench remembers of hashes; below the temporary folder there is nothing."""
    allowed = {tmp_path / "home/cache/llmbench/sha256.json"}
    assert set(files_below(tmp_path / "home", tmp_path / "temporary")) <= allowed


@places
def test_run_and_report_write_where_they_are_told_and_nowhere_else(
    llmbench: Run, tmp_path: Path, watched_home: dict[str, str]
) -> None:
    """The output folder holds the run, the files asked for are there, and home and temporary folder are as before."""
    commands = (
        (*FAST, "--output-dir", "out", "--name", "x", "-r", "x.csv", "-rj", "x.json"),
        ("report", "show", "out/x.jsonl"),
        ("report", "csv", "out/x.jsonl", "-o", "y.csv"),
        ("report", "html", "out/x.jsonl", "-o", "y.html"),
        ("report", "compare", "out/x.jsonl", "out/x.jsonl", "--md", "y.md"),
        (
            *("ab", "-m", "first=1ms", "-m", "first=2ms", *SCRIPTED, "-n", "1", "-ic", "4", "--blocks", "2"),
            *("--output-dir", "out", "--name", "ab"),
        ),
        ("doctor", "--no-bandwidth"),
    )
    for command in commands:
        done = llmbench(*command, **watched_home)
        assert done.returncode in {0, 1}, done.stderr
    _assert_untouched(tmp_path)
    left = {path.relative_to(tmp_path).parts[0] for path in files_below(tmp_path)} - {"home"}
    assert {"out", "x.csv", "x.json", "y.csv", "y.html", "y.md"} == left
    assert {"x.jsonl", "ab.jsonl"} == {path.name for path in (tmp_path / "out").iterdir()}


@places
@pytest.mark.model
@pytest.mark.parametrize("engine", ["genai", "core"])
def test_a_real_engine_writes_nothing_either(
    llmbench: Run, demo_ir: Path, tmp_path: Path, *, watched_home: dict[str, str], engine: str
) -> None:
    """Loading the engine leaves no telemetry, no cache and no temporary file; the model's folder is as it was."""
    before = files_below(demo_ir)
    done = llmbench(
        *("run", "-m", str(demo_ir), "--engine", engine, "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        **watched_home,
    )

    assert done.returncode == 0, done.stderr
    assert before == files_below(demo_ir)
    _assert_untouched(tmp_path)


@places
@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "..", ".hidden", "a/../../evil", "new\nline", "x" * 300]
)
def test_a_name_does_not_lead_out_of_the_output_folder(llmbench: Run, tmp_path: Path, name: str) -> None:
    """Whatever a run is called, its file is in the output folder, or it is refused."""
    (tmp_path / "a/b").mkdir(parents=True)
    done = llmbench(*FAST, "--output-dir", "a/b", "--name", name)

    assert done.returncode in {0, 2}, done.stderr
    assert "Traceback" not in done.stderr
    assert {"b"} == {path.name for path in (tmp_path / "a").iterdir()}
    assert not Path("/evil.jsonl").exists()
    for path in (tmp_path / "a/b").iterdir():
        assert re.fullmatch(r"[^./\n][^/\n]*\.jsonl", path.name)


@places
def test_a_models_name_becomes_a_plain_part_of_a_files_name() -> None:
    """Slashes, dots at the front, control characters and secrets of a model's name stay out of the run's."""
    for name in ("..", "a/../../b", "\x1b[31m", "hf_" + "A1" * 17, "模型", "x" * 400):
        made = store.new_id(name)
        assert re.fullmatch(r"\d{8}T\d{6}Z-[A-Za-z0-9][A-Za-z0-9.-]{0,59}-[0-9a-f]{6}", made)
        assert "A1A1" not in made


@places
def test_symbolic_links_are_not_followed(llmbench: Run, tmp_path: Path) -> None:
    """A link where a file is to be written is replaced or refused; what it leads to is as it was."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    reports = tmp_path / "reports"
    reports.mkdir()
    for link in (reports / "x.jsonl", tmp_path / "out.csv", tmp_path / "out.json"):
        link.symlink_to(precious)
    for refused in (
        (*FAST, "--name", "x"),
        (*FAST, "--name", "x", "--overwrite"),
        ("run", "--resume", "reports/x.jsonl"),
    ):
        assert llmbench(*refused).returncode == 2
    done = llmbench(*FAST, "-r", "out.csv", "-rj", "out.json")

    assert done.returncode == 0, done.stderr
    assert "mine" == precious.read_text()
    assert not (tmp_path / "out.csv").is_symlink()
    assert not (tmp_path / "out.json").is_symlink()


@places
def test_a_property_does_not_have_the_engine_write_elsewhere(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path, watched_home: dict[str, str]
) -> None:
    """CACHE_DIR outside the output folder and the cache is refused, also by way of a link; inside it is fine."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/link").symlink_to(tmp_path / "home")
    run = ("run", "-m", str(ir_of()))
    for outside in ("/var/ov", "elsewhere", "reports/../elsewhere", "reports/link"):
        done = llmbench(*run, "-lc", f"CACHE_DIR={outside}", **watched_home)
        assert done.returncode == 2, done.stderr
        assert "property CACHE_DIR leads to" in done.stderr
        assert str(tmp_path / "reports") in done.stderr
    assert llmbench(*FAST, "-lc", "CACHE_DIR=reports/cache", **watched_home).returncode == 0
    _assert_untouched(tmp_path)


@places
def test_two_users_do_not_meet_in_the_temporary_folder(llmbench: Run, tmp_path: Path) -> None:
    """No name is fixed: two runs use no name in common (Python tries a random one), and none is left behind."""
    marked = Marked(tmp_path)
    users = {}
    for user in ("one", "other"):
        folder = tmp_path / user
        folder.mkdir()
        users[folder] = marked.start(
            *FAST[:2], "first=1ms,sleep=50ms", *SCRIPTED, "-n", "20", "-ic", "4", TMPDIR=str(folder)
        )
    seen: dict[Path, set[str]] = {folder: set() for folder in users}
    while any(process.poll() is None for process in users.values()):
        for folder, names in seen.items():
            names.update(found.name for found in folder.rglob("*"))
    for process in users.values():
        process.communicate()

    assert set() == set.intersection(*seen.values())
    assert [] == [left for folder in users for left in folder.rglob("*")]


# 4. secrets

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
def test_no_secret_of_environment_or_arguments_is_written_or_said(
    llmbench: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Whether the run succeeds or not, no file and no line holds it."""
    base = FAST if "--resume" not in options else ("run",)
    ran = llmbench(*base, *options, "-r", "out.csv", "-rj", "out.json", **_ENVIRONMENT)
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
def test_no_secret_of_a_recipe_or_a_models_path_is_written_or_said(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path
) -> None:
    """The recipe is read and the model is found; what is told of either is without the secret."""
    outside = tmp_path / "in"
    outside.mkdir()
    model = ir_of(name=f"in/{HUB_TOKEN}")
    (outside / "r.toml").write_text(
        f'model = "first=20ms"\nengine = "scripted"\nname = "x"\n[properties]\nNOTE = "https://u:{CANARY}@h"\n'
    )
    work = tmp_path / "work"
    work.mkdir()
    ran = llmbench("run", "-c", "in/r.toml", "-n", "1", "-ic", "4", "--output-dir", str(work))
    assert ran.returncode == 0, ran.stderr
    failed = llmbench("run", "-m", str(model), "-d", "GPU", "--output-dir", str(work))
    assert failed.returncode == 4
    dry = llmbench("run", "-m", str(model), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    missing = llmbench("run", "-m", f"{model}/no-such")

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
    assert "held a secret, which was not kept" in done.stderr


@secrets
def test_no_secret_in_what_a_worker_said_before_it_died(llmbench: Run, tmp_path: Path) -> None:
    """The last lines of its log are kept in the run file and shown: redacted."""
    _interfere(
        tmp_path / "code",
        "if 'LLMBENCH_LAUNCH' in os.environ:\n"
        "    print('cannot reach https://user:' + os.environ['CANARY'] + '@host', file=sys.stderr)\n"
        "    raise SystemExit('with ' + os.environ['HF_TOKEN'])\n",
    )
    done = llmbench(*FAST, "--name", "x", CANARY=CANARY, PYTHONPATH=str(tmp_path / "code"), **_ENVIRONMENT)
    (launch,) = store.read(tmp_path / "reports/x.jsonl").launches

    assert done.returncode == 5
    assert launch.failure is not None
    assert any("cannot reach https://[redacted]@host" in line for line in launch.failure.log)
    _assert_no_canary(tmp_path / "reports", done.stdout, done.stderr)


@secrets
def test_no_secret_in_the_traceback_of_a_bug(llmbench: Run, tmp_path: Path) -> None:
    """A bug keeps its traceback and exits 70; the traceback is redacted, and steers no terminal."""
    _interfere(
        tmp_path / "code",
        "import datetime\n"
        "def fail(*_a, **_k):\n"
        "    raise ZeroDivisionError('\\x1b[31m' + os.environ['HF_TOKEN'] + os.environ['CANARY'])\n"
        "import llmbench.prompts\n"
        "llmbench.prompts.given = fail\n",
    )
    done = llmbench(
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


def _interfere(folder: Path, text: str) -> None:
    """Code that every interpreter runs as it starts which has the folder on its path."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import os, sys\n{text}")


# 5. network

_GUARD = """
def watch(event, arguments, mark={mark!r}):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        family = getattr(arguments[0], "family", None)
        if family is None or int(family) in (2, 10):
            with open(mark, "a") as file:
                file.write(event + repr(arguments[1:]) + chr(10))
sys.addaudithook(watch)
"""
_COMMANDS = (
    (*FAST, "--name", "x"),
    ("report", "show", "reports/x.jsonl"),
    ("report", "html", "reports/x.jsonl", "-o", "x.html"),
    ("report", "compare", "reports/x.jsonl", "reports/x.jsonl"),
    ("ab", "-m", "first=1ms", "-m", "first=2ms", *SCRIPTED, "-n", "1", "-ic", "4", "--blocks", "2"),
    ("doctor", "--no-bandwidth"),
)


def _no_network() -> list[str]:
    """The words that start a command in a network of its own, which has no way out; none where that cannot be."""
    prefix = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    is_possible = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    return prefix if is_possible else []


def _run_cut_off(folder: Path, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The command without a network, every attempt to use one noted in the file ``attempts``."""
    code_folder = folder / "code"
    if not code_folder.exists():
        _interfere(code_folder, _GUARD.format(mark=str(folder / "attempts")))
    return subprocess.run(
        [*_no_network(), sys.executable, "-m", "llmbench", *command],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{code_folder}", "HF_TOKEN": HUB_TOKEN, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


@network
def test_no_command_that_measures_or_shows_uses_the_network(tmp_path: Path) -> None:
    """All work where there is no network at all, and none of them so much as looks for one."""
    for command in _COMMANDS:
        done = _run_cut_off(tmp_path, command)
        assert done.returncode in {0, 1}, done.stderr
    assert not (tmp_path / "attempts").exists()


@network
def test_the_guard_of_these_tests_sees_an_attempt(tmp_path: Path) -> None:
    """A guard that sees nothing proves nothing: convert of a hub's model does look for the hub."""
    done = _run_cut_off(tmp_path, ("convert", "--model-id", "example/model", "--output-dir", "models"))

    assert done.returncode == 4, done.stderr
    pytest.importorskip("huggingface_hub")
    assert (tmp_path / "attempts").exists()


@network
@pytest.mark.model
def test_no_engine_uses_the_network(demo_ir: Path, tmp_path: Path) -> None:
    """With a real model, with each engine of run, and with profile."""
    for command in (
        ("run", "-m", str(demo_ir), "--engine", "genai", "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        ("run", "-m", str(demo_ir), "--engine", "core", "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        ("profile", "-m", str(demo_ir), "--input-tokens", "16"),
    ):
        done = _run_cut_off(tmp_path, command)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "attempts").exists()


@network
def test_workers_are_told_to_stay_offline(llmbench: Run, tmp_path: Path) -> None:
    """Offline variables are set whatever the user's are, and telemetry of the engine cannot be imported."""
    _interfere(
        tmp_path / "code",
        "if 'LLMBENCH_LAUNCH' in os.environ:\n"
        f"    with open({str(tmp_path / 'seen')!r}, 'w') as file:\n"
        "        file.write(' '.join(os.environ.get(n, '-') for n in "
        "('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_HUB_DISABLE_TELEMETRY')))\n",
    )
    llmbench(*FAST, PYTHONPATH=str(tmp_path / "code"), HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    program = (
        "from llmbench.engines.device import import_openvino; import_openvino(); import openvino_telemetry"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert "1 1 1" == (tmp_path / "seen").read_text()
    assert "import of openvino_telemetry halted" in done.stderr


# 6. privileges


@privileges
def test_no_process_is_started_by_way_of_a_shell() -> None:
    """No call in the package says shell=True."""
    found = [
        path.name
        for path in (ROOT / "llmbench").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]

    assert [] == found


_SYSFS_GUARD = """
def watch(event, arguments, mark={mark!r}):
    if event == "open" and str(arguments[0]).startswith(("/sys", "/proc/sys")) and arguments[2] & 3:
        os.close(os.open(mark, os.O_CREAT))
sys.addaudithook(watch)
"""


@privileges
def test_a_user_without_rights_can_measure_and_changes_no_setting(tmp_path: Path) -> None:
    """As nobody, without any capability: a run and doctor work, and no file of the kernel is opened to be written."""
    _interfere(tmp_path / "code", _SYSFS_GUARD.format(mark=str(tmp_path / "written")))
    nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    for command in (FAST, ("doctor", "--no-bandwidth")):
        done = subprocess.run(
            [*nobody, sys.executable, "-m", "llmbench", *command],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "written").exists()


# 7. untrusted input

_HOSTILE = "\x1b]0;title\x07\x1b[31m\r\u202e<script>alert(1)</script>|`[x](http://y)\n=1+1"


@pytest.fixture
def hostile_run(story_of: Callable[..., WholeRun], tmp_path: Path) -> Path:
    """A run file in which whatever is text would steer a terminal, a browser or a spreadsheet."""
    write_run(story_of(), tmp_path / "x.jsonl")
    lines = []
    for line in (tmp_path / "x.jsonl").read_text().splitlines():
        event = json.loads(line)
        if "cells" in event:
            event["environment"]["cpu_model"] = event["environment"]["kernel"] = _HOSTILE
            event["provenance"] |= dict.fromkeys(("source_id", "revision", "weight_format", "path"), _HOSTILE)
            event["id"] = _HOSTILE
            for cell in event["cells"]:
                cell["model"] = _HOSTILE
                cell["properties"] = {_HOSTILE: _HOSTILE}
                for prompt in cell["prompts"]:
                    prompt["set"] = _HOSTILE
        if "in_force" in event:
            event["in_force"]["notes"] = [_HOSTILE]
            event["in_force"]["properties"] = {_HOSTILE: _HOSTILE}
        if "sequences" in event:
            event["suspicions"] = [_HOSTILE] if event["iteration"] == 1 else []
            event["sequences"][0]["text"] = _HOSTILE
        lines.append(json.dumps(event))
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "x.jsonl"


@untrusted
def test_nothing_in_a_run_file_steers_a_terminal(llmbench: Run, hostile_run: Path) -> None:
    """Control and direction characters are shown as what they are, by show and by compare."""
    assert hostile_run.exists()
    for command in (("report", "show", "x.jsonl"), ("report", "compare", "x.jsonl", "x.jsonl")):
        done = llmbench(*command)
        assert "Traceback" not in done.stderr, done.stderr
        assert not set("\x1b\x07\r\u202e") & set(done.stdout + done.stderr)
        assert "\\x1b" in done.stdout


@untrusted
def test_nothing_in_an_argument_or_a_file_name_steers_a_terminal(llmbench: Run, tmp_path: Path) -> None:
    """Errors quote what was given, harmlessly."""
    name = "x\x1b[31m\x07\u202e"
    (tmp_path / f"{name}.jsonl").write_text(f'{{"prompt": 7, "{name}": 1}}\n{{"{name}')
    for command in (
        ("report", "show", f"{name}.jsonl"),
        ("run", "-m", name, *SCRIPTED),
        ("run", "-m", name),
        ("run", "-m", "first=1ms", *SCRIPTED, "-pf", f"{name}.jsonl"),
        ("run", "-m", "first=1ms", *SCRIPTED, "-lc", f"{{{name}"),
        ("run", "--resume", f"{name}.jsonl"),
        ("run", f"--{name}"),
        (name,),
        ("convert", "--model-id", name, "--output-dir", "models"),
    ):
        done = llmbench(*command)
        assert done.returncode in {2, 4}, done.stderr
        assert not set("\x1b\x07\u202e") & set(done.stdout + done.stderr), command


@untrusted
def test_nothing_in_a_run_file_runs_in_a_browser_or_breaks_a_report(
    llmbench: Run, hostile_run: Path, tmp_path: Path
) -> None:
    """HTML, Markdown and JUnit hold the text as text."""
    assert hostile_run.exists()
    html = llmbench("report", "html", "x.jsonl", "-o", "x.html")
    assert html.returncode == 0, html.stderr
    compare = (
        "report",
        "compare",
        "x.jsonl",
        "x.jsonl",
        "--md",
        "x.md",
        "--junit",
        "x.xml",
        "--json",
        "x.json",
    )
    assert "Traceback" not in llmbench(*compare).stderr
    page = (tmp_path / "x.html").read_text()
    assert "<script>alert(1)" not in page
    assert "alert(1)</script>" not in page
    markdown = (tmp_path / "x.md").read_text()
    assert "<script>" not in markdown
    assert "](http://y)" not in markdown.replace("\\]", "")
    assert ET.parse(tmp_path / "x.xml").getroot().tag.startswith("testsuite")  # noqa: S314  it is our own
    json.loads((tmp_path / "x.json").read_text())


@untrusted
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.jsonl", b'{"prompt": "a", "prompt": "b"}', "'prompt' twice"),
        ("p.jsonl", b'{"prompt": NaN}', "no NaN"),
        ("c.json", b'{"A": 1, "A": 2}', "second time"),
        ("c.json", b'{"A": NaN}', "finite"),
        ("r.toml", b"seed = nan\n", "finite"),
        ("r.toml", b"seed = 1\nseed = 2\n", "r.toml:2"),
    ],
)
def test_doubled_keys_and_numbers_that_are_none_are_refused(
    llmbench: Run, tmp_path: Path, *, name: str, content: bytes, said: str
) -> None:
    """Two readers could read them differently, so neither is read: exit 2."""
    (tmp_path / name).write_bytes(content)
    option = {"p.jsonl": "-pf", "c.json": "-lc", "r.toml": "-c"}[name]
    done = llmbench(*FAST, option, name)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr


@untrusted
def test_a_key_that_stands_twice_in_a_run_file_is_damage(llmbench: Run, tmp_path: Path) -> None:
    """In the header and in a measurement."""
    llmbench(*FAST, "--name", "x")
    path = tmp_path / "reports/x.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for number, key in ((1, '"version":'), (3, '"start_ns":')):
        changed = list(lines)
        changed[number - 1] = changed[number - 1].replace(key, f"{key}1,{key}", 1)
        path.write_text("".join(changed))
        done = llmbench("report", "show", "reports/x.jsonl")
        assert done.returncode == 2
        assert f"x.jsonl:{number}: damaged line: a key stands twice" in done.stderr


_LARGE = (
    ("p.jsonl", ("-pf", "p.jsonl"), 65 << 20),
    ("c.json", ("-lc", "c.json"), 2 << 20),
    ("r.toml", ("-c", "r.toml"), 2 << 20),
)


@untrusted
@pytest.mark.parametrize(("name", "options", "size"), _LARGE)
def test_files_that_are_too_large_are_not_read_into_memory(
    llmbench: Run, tmp_path: Path, *, name: str, options: tuple[str, ...], size: int
) -> None:
    """A file beyond its cap is refused: exit 2 with the cap, though it would go on for a TiB."""
    with (tmp_path / name).open("wb") as file:
        file.write(b"{" * size)
        file.truncate(1 << 40)
    done = llmbench(*FAST, *options)

    assert done.returncode == 2, done.stderr
    assert "larger than" in done.stderr


@untrusted
def test_a_run_file_of_one_endless_line_is_refused(llmbench: Run, tmp_path: Path) -> None:
    """Read up to the cap of a line, and no further."""
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"event": "run started", ')
        file.truncate(1 << 40)
    done = llmbench("report", "show", "x.jsonl")

    assert done.returncode == 2, done.stderr
    assert "a line of more than 256 MiB" in done.stderr
    with contextlib.suppress(OSError):
        path.unlink()
