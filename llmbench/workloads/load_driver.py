"""Makes the requests of a load when they are due, in an event loop, and hands over each that has ended."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from llmbench.engines.servers.base import Server
from llmbench.engines.servers.client import Completion, Connection, Usage
from llmbench.errors import LaunchError
from llmbench.schema.load import LoadWindow
from llmbench.schema.units import NS_PER_S, Nanoseconds
from llmbench.workloads.load_meter import LoadMeter
from llmbench.workloads.schedule import Due, LoadPlan

LOST_REQUESTS = 20
"""This many requests in a row that found no server, and none that did, end the launch."""

_WATCH_S = 0.1
_UNREACHED = {"refused", "reset"}


class LoadDriver:
    """The course of one load.

    *body* makes the body of a request, *ended* takes each request that has ended: whether it is part of the load only,
    the instant at which it was due, and what was seen of it. *recount* counts the tokens of one without a usage.
    """

    def __init__(
        self,
        plan: LoadPlan,
        server: Server,
        meter: LoadMeter,
        *,
        path: str,
        body: Callable[[Due], bytes],
        ended: Callable[[Due, bool, int, Completion], None],
        recount: Callable[[Connection, Completion], Awaitable[Usage | None]],
        connect: Callable[[], Connection],
    ) -> None:
        self._plan, self._server, self._meter = plan, server, meter
        self._path, self._body, self._ended, self._recount = path, body, ended, recount
        self._connect = connect
        self._requests: Iterator[Due] = plan.requests()
        self._begin_ns = self._end_ns = 0
        self._measured_begun = self._measured_ended = 0
        self._lost = 0
        self._beside: list[asyncio.Task[Any]] = []
        self._client: Connection
        self._done: asyncio.Event
        self._failure: str | None = None

    async def run(self) -> LoadWindow:
        """Make the requests of the load, and return what they had in common.

        Raises:
            LaunchError: the server ended, or is not to be reached any more.
        """
        self._client = self._connect()
        self._done = asyncio.Event()
        load = asyncio.create_task(self._open_loop() if self._plan.is_open else self._closed_loop())
        done = asyncio.create_task(self._done.wait())
        aside = (self._meter.sample(), self._meter.read_reference(), self._watch())
        self._beside = [load, done, *(asyncio.create_task(work) for work in aside)]
        try:
            await asyncio.wait({load, done}, return_when=asyncio.FIRST_COMPLETED)
            if load.done():
                load.result()
            self._check_server()
            if self._failure is not None:
                raise LaunchError(self._failure, hint=next(iter(reversed(self._server.log())), None))
            return await self._finish()
        finally:
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)
            await self._client.close()

    async def _finish(self) -> LoadWindow:
        self._end_ns = self._end_ns or time.perf_counter_ns()
        client, server, conditions = await self._meter.end(self._client)
        return LoadWindow(
            begin_ns=Nanoseconds(self._begin_ns),
            end_ns=Nanoseconds(self._end_ns),
            client=client,
            server=server,
            conditions=conditions,
            metered_s=(time.perf_counter_ns() - self._begin_ns) / NS_PER_S if self._begin_ns else None,
        )

    async def _closed_loop(self) -> None:
        slots = self._plan.config.concurrency or 1
        await asyncio.gather(*(self._slot() for _ in range(slots)))

    async def _slot(self) -> None:
        """Make one request after the other until all measured ones have ended."""
        while not self._done.is_set():
            await self._make(next(self._requests), time.perf_counter_ns())

    async def _open_loop(self) -> None:
        """Make each request when it is due, whatever became of those before it."""
        limit = asyncio.Semaphore(self._plan.config.concurrency or 1 << 30)
        under_way: set[asyncio.Task[None]] = set()
        origin_ns = time.perf_counter_ns()
        try:
            for due in self._requests:
                due_ns = await self._wait(due, origin_ns)
                if self._done.is_set():
                    return
                task = asyncio.create_task(self._make(due, due_ns, limit))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)
        finally:
            for task in under_way:
                task.cancel()

    async def _wait(self, due: Due, origin_ns: int) -> int:
        """Sleep until a request is due, and return that instant; those that bring up a trace are due at once."""
        due_ns = time.perf_counter_ns() if due.at_s is None else origin_ns + round(due.at_s * NS_PER_S)
        while (left_ns := due_ns - time.perf_counter_ns()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), left_ns / NS_PER_S)
                return due_ns
        return due_ns

    async def _make(self, due: Due, due_ns: int, limit: asyncio.Semaphore | None = None) -> None:
        """Make one request, and hand over what was seen of it."""
        is_unmeasured = self._note_begin(due, due_ns)
        body = self._body(due)
        async with limit or contextlib.nullcontext():
            seen = await self._client.complete(self._path, body)
        if seen.error is None and seen.usage is None and not sum(seen.counts):
            seen.usage = await self._recount(self._client, seen)
        self._ended(due, is_unmeasured, due_ns, seen)
        self._count(seen)
        if not is_unmeasured:
            self._measured_ended += 1
            self._check_done()

    def _note_begin(self, due: Due, due_ns: int) -> bool:
        """Return whether a request is part of the load only; note where the window begins and ends."""
        if due.number < self._plan.config.warmups:
            return True
        if not self._begin_ns:
            self._begin_ns = due_ns
            self._beside.append(asyncio.create_task(self._meter.begin(self._client)))
        if not self._end_ns and self._is_behind(due_ns):
            self._end_ns = due_ns
            self._check_done()
        if self._end_ns:
            return True
        self._measured_begun += 1
        return False

    def _is_behind(self, due_ns: int) -> bool:
        """Whether a request that is due now comes behind the last measured one."""
        if self._plan.measured is not None:
            return self._measured_begun >= self._plan.measured
        return due_ns - self._begin_ns >= (self._plan.duration_s or 0.0) * NS_PER_S

    def _check_done(self) -> None:
        measured = self._plan.measured
        is_all_begun = bool(self._end_ns) or (measured is not None and self._measured_begun >= measured)
        if is_all_begun and self._measured_ended >= self._measured_begun:
            self._done.set()

    def _count(self, seen: Completion) -> None:
        """End the load where the server is not to be reached any more."""
        self._lost = self._lost + 1 if seen.error in _UNREACHED else 0
        if seen.error is not None:
            self._check_server()
        if self._lost >= LOST_REQUESTS:
            self._fail(
                f"the server is not to be reached: {self._lost} requests in a row, the last: {seen.detail}"
            )

    async def _watch(self) -> None:
        """End the load when the server's process has ended."""
        while not self._done.is_set():
            await asyncio.sleep(_WATCH_S)
            self._check_server()

    def _check_server(self) -> None:
        how = self._server.ended()
        if how is not None:
            self._fail(f"{how} after {self._measured_ended} measured requests")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._done.set()
