"""Models of a hub, against a hub of our own on this machine; no other is ever asked."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.convert
COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_" + "canary" * 5
XML = '<net><data element_type="u8" shape="4" offset="0" size="4" /></net>'


class Hub:
    """A hub that knows some models, and notes what it was asked and with which token."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.refusal: int | None = None
        self.asked: list[str] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._kind())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def response(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        self.asked.append(path)
        if self.refusal is not None:
            return self.refusal, {}, b"{}"
        parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, revision = "/".join(parts[2:4]), (parts[5:] or ["main"])[0]
            if name not in self.models:
                return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
            if revision not in {"main", COMMIT}:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            siblings = [{"rfilename": file} for file in self.models[name]]
            return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
        content = self.models.get("/".join(parts[:2]), {}).get(parts[-1])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"ETag": f'"{hash(content)}"', "X-Repo-Commit": COMMIT}, content

    def _kind(self) -> type[http.server.BaseHTTPRequestHandler]:
        hub = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = hub.response(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_values: object) -> None:
                """Print nothing."""

        return Answer


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that holds no model yet."""
    hub = Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture
def convert(hub: Hub, llmbench_process: Callable, tmp_path: Path) -> Callable:
    """Runs ``llmbench convert`` against that hub, with an empty cache and a secret token."""

    def call(*arguments: str, **changes: str) -> object:
        environment = {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": TOKEN,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "0",
        }
        return llmbench_process("convert", "--output-dir", "out", *arguments, **(environment | changes))

    return call


def _reported(done: object, code: int) -> str:
    """The one error line of a command that ended with *code*, after a look for the token."""
    assert code == done.returncode, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert 1 == len(lines)
    assert "Traceback" not in done.stderr
    return lines[0]


def test_an_unknown_or_private_model_is_one_line(convert: Callable) -> None:
    """The hub says 401 for both; the message says so, and how to log in."""
    done = convert("--model-id", "example/missing")

    assert "the hub refuses example/missing" in _reported(done, 4)
    assert "hf auth login" in done.stderr


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_one_line(status: int, hub: Hub, convert: Callable) -> None:
    """Whatever the hub answers, nothing of the library's traceback is shown."""
    hub.refusal = status

    assert "example/tiny" in _reported(convert("--model-id", "example/tiny"), 4)


def test_a_hub_out_of_reach_is_one_line(convert: Callable) -> None:
    """No server there, or offline by the user's own wish."""
    for changes in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = convert("--model-id", "example/tiny", **changes)
        assert "the hub cannot be reached for example/tiny" in _reported(done, 4)


def test_an_unknown_revision_is_a_mistake_of_the_command(hub: Hub, convert: Callable) -> None:
    """The model is there, the revision is not."""
    hub.models["example/tiny"] = {"config.json": b"{}", "model.safetensors": b""}

    done = convert("--model-id", "example/tiny", "--revision", "v9")

    assert "example/tiny has no such revision" in _reported(done, 2)


@pytest.mark.parametrize(
    ("files", "reported"),
    [
        (("config.json", "pytorch_model.bin"), "contains no safetensors"),
        (("tiny.Q4_0.gguf", "README.md"), r"contains GGUF files: tiny.Q4_0.gguf"),
    ],
)
def test_a_model_without_safetensors_is_not_fetched(
    files: tuple[str, ...], reported: str, hub: Hub, convert: Callable
) -> None:
    """Its list of files is enough to know."""
    hub.models["example/tiny"] = dict.fromkeys(files, b"")

    assert reported in _reported(convert("--model-id", "example/tiny"), 2)
    assert not any("resolve" in path for path in hub.asked)


def test_code_of_a_model_is_not_fetched(hub: Hub, convert: Callable) -> None:
    """auto_map without the flag is refused, and the Python files never came."""
    config = {"model_type": "llama", "auto_map": {"AutoModel": "modeling.M"}}
    hub.models["example/tiny"] = {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "modeling.py": b"raise SystemExit",
        "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
        "pytorch_model.bin": b"pickle",
    }

    assert "auto_map" in _reported(convert("--model-id", "example/tiny"), 2)
    assert not any(path.endswith((".py", ".bin")) for path in hub.asked)


def test_an_ir_of_a_hub_is_fetched_whole_or_refused(hub: Hub, convert: Callable, tmp_path: Path) -> None:
    """An IR without its tokenizer is told by what it lacks, and nothing is left."""
    hub.models["example/tiny-ov"] = {
        "openvino_model.xml": XML.encode(),
        "openvino_model.bin": bytes(4),
        "config.json": b"{}",
    }

    reported = _reported(convert("--model-id", "example/tiny-ov"), 5)

    assert "openvino_tokenizer.xml is missing" in reported
    assert [] == list((tmp_path / "out").rglob("*"))


def test_a_weight_format_cannot_be_asked_of_an_ir(hub: Hub, convert: Callable) -> None:
    """It has the one that it has, told from the network file alone."""
    hub.models["example/tiny-ov"] = {"openvino_model.xml": XML.encode(), "openvino_model.bin": bytes(4)}

    reported = _reported(convert("--model-id", "example/tiny-ov", "--weight-format", "fp16"), 2)

    assert "example/tiny-ov is an IR already, in int8" in reported
    assert not any(path.endswith(".bin") for path in hub.asked)


def test_fetching_reports_its_share(hub: Hub, tmp_path: Path) -> None:
    """Bytes of all files together, rising to one, and nothing printed by the client."""
    code = f"""
import sys
from pathlib import Path
from llmbench.models import hub
model = hub.HubModel(id="example/tiny", reference="main", revision={COMMIT!r}, files=("a.txt", "b.txt"))
print(sorted(file.name for file in hub.download(model, report=lambda p: print(p.share)).iterdir()))
"""
    hub.models["example/tiny"] = {"a.txt": bytes(30_000), "b.txt": bytes(10_000), "c.txt": bytes(5)}
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )

    *shares, files = done.stdout.splitlines()
    assert sorted(map(float, shares)) == [float(share) for share in shares]
    assert "1.0" == shares[-1]
    assert "['a.txt', 'b.txt']" == files
    assert "%|" not in done.stderr
