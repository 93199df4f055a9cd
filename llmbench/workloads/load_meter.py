"""What client, server and machine do while a load runs: sampled beside it, and compared before and after."""

import asyncio
import dataclasses
import os
import re
import time
from pathlib import Path

import msgspec
import psutil

from llmbench.engines.servers.base import ServerProcess, free_port, own_python, wait_until_ready
from llmbench.engines.servers.client import Client, Connection, Dialect
from llmbench.machine.energy import Meter
from llmbench.machine.interference import Probe
from llmbench.schema.load import ClientUse, ServerUse
from llmbench.schema.measurement import Conditions

_LAG_STEP_S = 0.05
_MEMORY_EVERY = 20
_REFERENCE_SCRIPT = "first=0ms,next=50ms"
_REFERENCE_TOKENS = 20
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+([-+0-9.eE]+)", re.MULTILINE)
_COUNTERS = 200


class Reference:
    """A stream of known instants, from a process of its own, that the client's event loop reads beside the load."""

    def __init__(self) -> None:
        port = free_port()
        command = own_python("llmbench.engines.servers.scripted", _REFERENCE_SCRIPT, str(port))
        self.server = ServerProcess(command, port)
        wait_until_ready(self.server, "/health", limit_s=60)
        self.event_delay_ns: list[int] = []
        self.send_delay_ns: list[int] = []

    async def read(self) -> None:
        """Read streams one after the other until cancelled, and note how late each event was noticed."""
        client = Client(self.server.url, request_s=60)
        dialect = Dialect(takes_ids=False)
        body = msgspec.json.encode(dialect.body("scripted", "reference", _REFERENCE_TOKENS))
        try:
            while True:
                seen = await client.complete(dialect.path, body)
                if seen.error is not None:
                    await asyncio.sleep(_LAG_STEP_S)
                    continue
                delays = [at - written for at, written in zip(seen.at_ns, seen.written_ns, strict=True)]
                self.event_delay_ns += [max(0, delay) for delay in delays]
                self.send_delay_ns.append(max(0, (seen.arrived_ns or seen.sent_ns) - seen.sent_ns))
        finally:
            await client.close()

    def clear(self) -> None:
        """Forget what was noted before the window."""
        self.event_delay_ns.clear()
        self.send_delay_ns.clear()


@dataclasses.dataclass(frozen=True, slots=True)
class _Reading:
    """CPU seconds of client and server at one instant."""

    client_s: float
    server_s: float | None


class LoadMeter:
    """Reads counters at the begin and the end of the window, and samples lags and memory in between."""

    def __init__(self, pid: int | None, reference: Reference | None, root: Path = Path("/")) -> None:
        self._root = root
        self._processes = _processes(pid)
        self._reference = reference
        self._lags_ns: list[int] = []
        self._peak_bytes = 0
        self._page = ""
        self._begin: tuple[_Reading, Probe, Meter] | None = None

    async def sample(self) -> None:
        """Note how late timers are, and the server's memory, until cancelled."""
        for number in range(1 << 62):
            due_ns = time.perf_counter_ns() + round(_LAG_STEP_S * 1e9)
            await asyncio.sleep(_LAG_STEP_S)
            self._lags_ns.append(max(0, time.perf_counter_ns() - due_ns))
            if number % _MEMORY_EVERY == 0 and self._processes:
                resident = await asyncio.to_thread(_resident, self._processes)
                self._peak_bytes = max(self._peak_bytes, resident)

    async def read_reference(self) -> None:
        """Read the reference stream until cancelled; without a network there is none."""
        if self._reference is not None:
            await self._reference.read()

    async def begin(self, client: Connection) -> None:
        """Read the counters at the begin of the window, and then the server's metrics page."""
        self._lags_ns.clear()
        if self._reference is not None:
            self._reference.clear()
        self._begin = await asyncio.to_thread(self._start)
        self._page = await client.get("/metrics") or ""

    def _start(self) -> tuple[_Reading, Probe, Meter]:
        """Read counters, outside the event loop: files of the kernel take milliseconds on a busy machine."""
        cpus = os.sched_getaffinity(0).union(*(each.cpu_affinity() for each in self._processes[:1]))
        return self._read(), Probe.start(cpus), Meter.start(self._root)

    async def end(self, client: Connection) -> tuple[ClientUse, ServerUse, Conditions | None]:
        """Return what was used since the begin of the window."""
        if self._begin is None:
            return ClientUse(cpu_s=0.0), ServerUse(), None
        before, probe, meter = self._begin
        energy_j, conditions = meter.stop(), probe.stop()
        after = self._read()
        client_s = after.client_s - before.client_s
        server_s = (
            None if before.server_s is None or after.server_s is None else after.server_s - before.server_s
        )
        used = ClientUse(
            cpu_s=client_s,
            loop_lag_ns=tuple(self._lags_ns),
            event_delay_ns=tuple(self._reference.event_delay_ns) if self._reference else (),
            send_delay_ns=tuple(self._reference.send_delay_ns) if self._reference else (),
        )
        server = ServerUse(
            cpu_s=server_s,
            peak_bytes=self._peak_bytes or None,
            energy_j=energy_j if self._processes else None,
            counters=_growth(self._page, await client.get("/metrics") or ""),
        )
        return used, server, _shared(conditions, client_s, server_s)

    def close(self) -> None:
        """End the reference stream."""
        if self._reference is not None:
            self._reference.server.stop()

    def _read(self) -> _Reading:
        return _Reading(time.process_time(), _cpu_s(self._processes) if self._processes else None)


def _processes(pid: int | None) -> list[psutil.Process]:
    """A server's process and those that it started; none where they are not known."""
    if pid is None:
        return []
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_s(processes: list[psutil.Process]) -> float | None:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return None
        total += times.user + times.system
    return total


def _resident(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += int(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return total


def _shared(conditions: Conditions, client_s: float, server_s: float | None) -> Conditions | None:
    """The machine's conditions with client and server as the worker; ``None`` where the server's part is not known."""
    if server_s is None:
        return None
    ours_s = client_s + server_s
    busy_s = conditions.interference_s + conditions.worker_s
    return dataclasses.replace(conditions, worker_s=ours_s, interference_s=max(0.0, busy_s - ours_s))


def _growth(before: str, after: str) -> dict[str, float]:
    """The counters of a metrics page that grew, by name; buckets of histograms are left out."""
    earlier, later = _totals(before), _totals(after)
    grown = {name: value - earlier.get(name, 0.0) for name, value in later.items()}
    kept = [(name, round(by, 6)) for name, by in grown.items() if by > 0]
    return dict(kept[:_COUNTERS])


def _totals(page: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for name, value in _SAMPLE.findall(page):
        if not name.endswith(("_bucket", "_created")):
            totals[name] = totals.get(name, 0.0) + float(value)
    return totals
