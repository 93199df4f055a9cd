"""What ``/metrics`` of our server shows, in the text format of Prometheus; it stands alone with that package."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llmbench.engines.servers.request import Backend, ServedRequest

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ServerMeters:
    """Counters, histograms of waits, and gauges of a backend."""

    def __init__(self, backend: Backend) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter(
            "llmbench_requests", "Requests that ended, by outcome.", ["outcome"], registry=self._registry
        )
        self._input = self._counter("prompt_tokens", "Input tokens of accepted requests.")
        self._output = self._counter("generation_tokens", "Output tokens.")
        self._queue_s = self._histogram("queue", "From the arrival of a request until it is taken up.")
        self._first_s = self._histogram("time_to_first_token", "From the arrival to the first token.")
        for name, text, read in (
            ("requests_running", "Requests that are computed.", lambda: backend.requests[0]),
            ("requests_waiting", "Requests that wait.", lambda: backend.requests[1]),
            ("kv_cache_usage_ratio", "Share of the KV cache that is used.", lambda: backend.cache_usage),
        ):
            Gauge(f"llmbench_{name}", text, registry=self._registry).set_function(read)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"llmbench_{name}", text, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"llmbench_{name}_seconds", text, registry=self._registry, buckets=_BUCKETS_S)

    def refuse(self) -> None:
        """Count a request that was not accepted."""
        self._ended.labels("refused").inc()

    def end(self, request: ServedRequest) -> None:
        """Count a request that has ended."""
        self._ended.labels(request.outcome).inc()
        self._input.inc(request.input_tokens)
        self._output.inc(request.output_tokens)
        if request.first is not None:
            self._queue_s.observe((request.first.started_ns - request.arrived_ns) / 1e9)
            self._first_s.observe((request.first.at_ns - request.arrived_ns) / 1e9)

    def page(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)
