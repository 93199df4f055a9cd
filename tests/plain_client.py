"""A client of the OpenAI protocol that shares nothing with ours: threads, http.client, time.perf_counter."""

import http.client
import json
import threading
import time
import urllib.parse


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


def closed_loop(url: str, prompts: list[list[int]], output_tokens: int, at_once: int) -> list[list[float]]:
    """The times of every request, so many at once; the first round of each thread is left out."""
    left, results = list(prompts), []
    lock = threading.Lock()

    def work() -> None:
        is_first = True
        while True:
            with lock:
                if not left:
                    return
                prompt = left.pop()
            times = complete(url, prompt, output_tokens)
            if not is_first:
                results.append(times)
            is_first = False

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
