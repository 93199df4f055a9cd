"""Requests to a server under load: many in flight at once, each timed from the instant at which it was due."""

import asyncio
import dataclasses
import itertools
import queue
import sys
import threading
from functools import partial
from typing import cast

import msgspec

from llmbench.engines.base import LoadedModel
from llmbench.engines.servers.client import (
    Completion,
    Connection,
    Dialect,
    ServerTimings,
    Usage,
    token_events,
)
from llmbench.engines.servers.session import LoadTarget
from llmbench.errors import LaunchError
from llmbench.schema.config import RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Finish, Sequence, Stage, StageSource
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import Nanoseconds, ns_from_ms
from llmbench.workloads.base import Completed, LaunchContext, Observation, Workload
from llmbench.workloads.load_driver import LoadDriver
from llmbench.workloads.load_meter import LoadMeter, Reference
from llmbench.workloads.schedule import Due, LoadPlan
from llmbench.workloads.text import Windows, corpus

SEND, QUEUE, PREFILL = "send_delay", "queue", "prefill"
"""Stages of a request until its first token: due until sent, and what the server itself reports."""

NETWORK, QUEUE_AND_NETWORK, RESPONSE = "network", "queue_and_network", "first_response"
"""The rest of them: without what the server reports, be it queue and prefill, prefill, or nothing."""

_PREPARED = 1024
"""Requests whose bodies are made before the load begins."""
_SWITCH_S = 5e-4
"""How long a thread may keep the interpreter: the one that writes results must not delay the one that reads tokens."""
_UNCOUNTED = "the server reports no usage and no tokenizer is at hand, so its tokens cannot be counted"


class ServingWorkload(Workload):
    """A server under load."""

    settings = WorkloadSettings(
        kind="serving",
        parameters={
            "endpoint": "completions",
            "timeout_s": 0.0,
            "burstiness": 1.0,
            "trace": "",
            "duration_s": 0.0,
            "goodput": "",
            "input_distribution": "",
            "output_distribution": "",
            "shared_prefix": 0,
        },
        primary_metrics=("output_throughput", "first_token"),
    )

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenServing":
        """Find what the server understands, and make the requests ready."""
        return OpenServing(config, cast("LoadTarget", session), launch)


class Bodies:
    """The bodies of requests: prompts of exact lengths, none of which begins like another."""

    def __init__(self, session: LoadTarget, dialect: Dialect, plan: LoadPlan, shared_prefix: int) -> None:
        self._session, self._dialect, self._plan = session, dialect, plan
        self._shared = shared_prefix
        text = corpus()
        words = tuple(range(len(text.split())))
        ids = session.encode(text, chat=False) if session.can_encode else words
        self._windows = Windows(ids, seed=plan.config.seed, bos_id=session.bos_id)
        self._words = text.split()
        self._made: dict[int, bytes] = {}

    def of(self, due: Due) -> bytes:
        """Return the body of a request."""
        found = self._made.pop(due.number, None)
        return self._make(due) if found is None else found

    def prepare(self, requests: list[Due]) -> None:
        """Make these bodies now."""
        self._made = {due.number: self._make(due) for due in requests}

    def _make(self, due: Due) -> bytes:
        prompt = self._prompt(due)
        return msgspec.json.encode(self._dialect.body(self._session.model, prompt, due.output_tokens))

    def _prompt(self, due: Due) -> str | tuple[int, ...]:
        longest = self._plan.longest
        shared = self._windows.ids(longest, 0)[: min(self._shared, due.input_tokens - 1)]
        own = self._windows.ids(longest, due.number + 1)[: due.input_tokens - len(shared)]
        ids = (*shared, *own)
        if self._dialect.takes_ids:
            return ids
        return (
            self._session.decode(ids) if self._session.can_encode else " ".join(self._words[i] for i in ids)
        )


class OpenServing:
    """The load of one launch: an event loop in a thread of its own makes the requests."""

    def __init__(self, config: RunConfig, session: LoadTarget, launch: LaunchContext) -> None:
        parameters = launch.parameters
        self._session, self._launch = session, launch
        self._plan = LoadPlan.read(config, parameters)
        self._dialect = _without_exact_length(config, session.find_dialect(str(parameters["endpoint"])))
        self._bodies = Bodies(session, self._dialect, self._plan, int(parameters["shared_prefix"]))
        expected = config.warmups + (self._plan.measured or _PREPARED) + 2 * (config.concurrency or 1)
        self._bodies.prepare(list(itertools.islice(self._plan.requests(), min(expected, _PREPARED))))
        self._meter = LoadMeter(session.server.pid, Reference() if session.has_network else None)
        self._queue: queue.SimpleQueue[Completed | Exception | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._window: LoadWindow | None = None
        self._driver = LoadDriver(
            self._plan,
            session.server,
            self._meter,
            path=self._dialect.path,
            body=self._bodies.of,
            ended=self._take,
            recount=self._recount,
            connect=partial(session.connect, float(parameters["timeout_s"]) or None),
        )

    def next(self) -> Completed | None:
        """Return the next request that has ended; see `OpenLoad`."""
        if self._thread is None:
            sys.setswitchinterval(_SWITCH_S)
            self._thread = threading.Thread(target=self._run, name="load", daemon=True)
            self._thread.start()
        found = self._queue.get()
        if isinstance(found, Exception):
            self._close()
            raise found
        return found

    def finish(self) -> LoadWindow:
        """End the server and the reference stream; return what the requests had in common."""
        if self._window is None:
            raise LaunchError("a load that did not run was finished")
        self._close()
        return self._window

    def _close(self) -> None:
        self._meter.close()
        self._session.close()

    def _run(self) -> None:
        """Make the load; what goes wrong is raised where its results are fetched."""
        try:
            self._window = asyncio.run(self._driver.run())
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  the boundary of the thread
            self._queue.put(error)

    def _take(self, due: Due, is_unmeasured: bool, due_ns: int, seen: Completion) -> None:  # noqa: FBT001
        self._launch.beat(len(seen.at_ns), seen.end_ns)
        observation = self._observe(due, due_ns, seen)
        self._queue.put(
            Completed(number=due.number, prompt=0, is_unmeasured=is_unmeasured, observation=observation)
        )

    def _observe(self, due: Due, due_ns: int, seen: Completion) -> Observation:
        """What was seen of a request, from the instant at which it was due."""
        total = _tokens(seen)
        events, is_exact = token_events(seen, total)
        counts = tuple(count for _, count in events)
        sequence = Sequence(
            input_tokens=seen.usage.prompt_tokens
            if seen.usage and seen.usage.prompt_tokens
            else due.input_tokens,
            at_ns=tuple(Nanoseconds(at) for at, _ in events),
            counts=counts if set(counts) != {1} else (),
            finish=Finish.STOP if seen.finish == "stop" else Finish.LENGTH,
        )
        is_free = seen.finish == "stop" or total is None
        suspicions = (seen.detail,) if seen.error else () if total is not None else (_UNCOUNTED,)
        return Observation(
            start_ns=due_ns,
            end_ns=max(seen.end_ns, due_ns),
            sent_ns=seen.sent_ns,
            requested_tokens=sequence.output_tokens if is_free else due.output_tokens,
            sequences=(sequence,),
            stages=_stages(due_ns, seen),
            has_token_times=is_exact,
            error=seen.error,
            suspicions=suspicions,
        )

    async def _recount(self, client: Connection, seen: Completion) -> Usage | None:
        count = await self._session.count(client, seen.text)
        return None if count is None else Usage(completion_tokens=count)


def _without_exact_length(config: RunConfig, dialect: Dialect) -> Dialect:
    """The dialect without the fields that keep a text from ending by itself, where it may."""
    if not config.stop_at_eos:
        return dialect
    extras = {
        name: value for name, value in dialect.extras.items() if name not in {"ignore_eos", "min_tokens"}
    }
    return dataclasses.replace(dialect, extras=extras)


def _tokens(seen: Completion) -> int | None:
    """The output tokens of a request as the server counts them; ``None`` where it does not."""
    usage = seen.usage.completion_tokens if seen.usage else 0
    return usage or sum(seen.counts) or None


def _stages(due_ns: int, seen: Completion) -> tuple[Stage, ...]:
    """The parts of the wait for the first token; none where it did not come."""
    if not seen.at_ns:
        return ()
    send = Stage(name=SEND, at_ns=Nanoseconds(due_ns), duration_ns=seen.sent_ns - due_ns)
    wait_ns = seen.at_ns[0] - seen.sent_ns
    timings = seen.timings or ServerTimings()
    known = {QUEUE: timings.queue_ms, PREFILL: timings.prompt_ms}
    reported = {name: ms for name, ms in known.items() if ms is not None}
    rest = NETWORK if QUEUE in reported else QUEUE_AND_NETWORK if reported else RESPONSE
    stages = []
    for name, ms in reported.items():
        duration_ns = min(wait_ns, ns_from_ms(ms))
        wait_ns -= duration_ns
        stages.append(Stage(name=name, duration_ns=duration_ns, source=StageSource.ENGINE))
    return (send, *stages, Stage(name=rest, at_ns=Nanoseconds(seen.sent_ns), duration_ns=wait_ns))
