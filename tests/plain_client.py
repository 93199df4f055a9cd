"""A client of the OpenAI protocol that shares nothing with ours: threads, http.client, time.perf_counter."""

import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator


def complete(url: str, prompt: list[int] | str, output_tokens: int) -> list[float]:
    """The seconds after the send at which each chunk with text came."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
    body = {
        "model": "m", "prompt": prompt, "max_tokens": output_tokens, "stream": True, "temperature": 0,
        "ignore_eos": True, "cache_prompt": False,
    }  # fmt: skip
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    times = []
    for line in response:
        if line.startswith(b"data: {"):
            choices = json.loads(line[6:]).get("choices")
            if choices and (choices[0].get("text") or choices[0].get("finish_reason") is None):
                times.append(time.perf_counter() - began)
    connection.close()
    return times


def closed_loop(
    url: str, requests: Iterator[tuple[list[int], int]], *, at_once: int, is_over: threading.Event
) -> list[tuple[float, list[float]]]:
    """When each request (a prompt and its output tokens) began, and its times, so many at once, until it is over."""
    results: list[tuple[float, list[float]]] = []
    lock = threading.Lock()

    def work() -> None:
        """Make one request after the other."""
        while not is_over.is_set():
            with lock:
                prompt, tokens = next(requests)
            began = time.perf_counter()
            results.append((began, complete(url, prompt, tokens)))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
