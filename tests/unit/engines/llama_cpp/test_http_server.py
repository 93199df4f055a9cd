"""llama.cpp's server as a process that a load starts."""

import contextlib
import http.client
import json
from pathlib import Path

import psutil
import pytest

from llmbench.engines.llama_cpp.server import llama_cpp_command
from llmbench.engines.servers.base import ready_path, start_server, wait_until_ready
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from tests import gguf_model
from tests.waiting import is_gone, wait_until


def config(model: Path, **changes: object) -> RunConfig:
    """Twelve tokens in, eight out."""
    prompts = (Prompt(set="synthetic", index=0, tokens=12),)
    return RunConfig(model=str(model), prompts=prompts, output_tokens=8, server="llama.cpp", **changes)  # type: ignore[arg-type]


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_it_listens_on_loopback_counts_tokens_and_ends(tmp_path: Path) -> None:
    """A fresh process that is ready with the model, has exact lengths by ids, and is gone when it is stopped."""
    pytest.importorskip("xllamacpp")
    settings = config(gguf_model.build(tmp_path / "tiny.gguf"), concurrency=2, threads=1)
    server = start_server(settings)
    wait_until_ready(server, ready_path(settings), limit_s=60)
    process = psutil.Process(server.pid)
    body = json.dumps({"prompt": [65, 66, 67], "max_tokens": 8, "ignore_eos": True})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", _port(server.url), timeout=60)) as found:
        found.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        usage = json.load(found.getresponse())["usage"]
    server.stop()

    assert "http://127.0.0.1" in server.url
    assert (3, 8) == (usage["prompt_tokens"], usage["completion_tokens"])
    wait_until(lambda: is_gone(process), "the end of the server")


def test_what_it_cannot_serve_is_refused_before_it_is_started(tmp_path: Path) -> None:
    """A property of OpenVINO's, or a file that is no GGUF."""
    model = gguf_model.build(tmp_path / "tiny.gguf")
    (tmp_path / "other").write_bytes(b"no model")

    with pytest.raises(InputError, match=r"llama\.cpp has no property 'NUM_STREAMS'"):
        llama_cpp_command(config(model, properties={"NUM_STREAMS": 1}), 1)
    with pytest.raises(InputError, match="neither a folder nor a GGUF file"):
        llama_cpp_command(config(tmp_path / "other"), 1)
