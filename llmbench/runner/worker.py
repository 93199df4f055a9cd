"""The child process: one launch. It loads the model and measures what its parent requests, one request at a time.

It speaks JSON lines over two descriptors of its own; 1 and 2 belong to the engine, which prints. The parent sends
``Open``, then a ``Measure`` for each request, and closes its end when done; the next request begins only when
the next ``Measure`` has come. SIGTERM keeps its default action, which ends even a native call at once.
"""

import dataclasses
import faulthandler
import os
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from llmbench.engines import catalog
from llmbench.engines.base import Beat, Engine, LoadedModel
from llmbench.engines.failures import PagedAttentionError, engine_failures
from llmbench.engines.openvino import model_cache as compiled
from llmbench.engines.openvino import tensor_parallel
from llmbench.engines.openvino.attention_trial import with_sdpa
from llmbench.engines.openvino.device import check_effective
from llmbench.engines.openvino.model_cache import Compiled
from llmbench.errors import LaunchError, LlmbenchError, MachineError, StrictError
from llmbench.machine import covariates, environment, topology
from llmbench.machine.allocator import prove_allocator
from llmbench.machine.energy import Meter
from llmbench.machine.interference import Probe, count_stops
from llmbench.machine.memory import MemoryPhase, PeakWatch
from llmbench.machine.placement import PlacementWatch, read_pages
from llmbench.runner import pinning
from llmbench.runner.output_check import check_greedy_tokens
from llmbench.runner.protocol import (
    COMMAND_DECODER,
    AllMeasured,
    Check,
    Checked,
    Heartbeat,
    Loaded,
    Measure,
    Measured,
    Next,
    Open,
    Refused,
    Response,
    WorkerCommand,
    die_with_parent,
)
from llmbench.runner.stage_memory import stage_peaks
from llmbench.schema.attention import PAGED
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import EffectiveSettings, ModelCache, Split
from llmbench.schema.units import seconds_between
from llmbench.workloads.base import (
    LaunchContext,
    Observation,
    OpenLoad,
    OpenWorkload,
    find_workload,
    open_workload,
)


def _local_now() -> str:
    """The wall clock as llm_bench writes it: local, ISO 8601 with microseconds."""
    return _local_time(time.perf_counter_ns())


def _local_time(instant_ns: int) -> str:
    """An instant of the recent past on the wall clock, as `_local_now` writes it."""
    ago = timedelta(seconds=seconds_between(instant_ns, time.perf_counter_ns()))
    return (datetime.now().astimezone() - ago).replace(tzinfo=None).isoformat(timespec="microseconds")


class OpenLaunch:
    """A loaded model, and the requests made of it; energy is read from the files below *root*."""

    def __init__(self, command: Open, beat: Beat, root: Path = Path("/")) -> None:
        self._root = root
        self.config = command.config
        self.index = command.launch
        self._topology = topology.read_topology()
        pinned = pinning.read_pinning(self._topology)
        pinning.check_pinning(command.binding, pinned)
        engine = catalog.find_engine(self.config.engine, command.workload.kind)
        split = _split(self.config, must_split=command.must_split)
        cache = Compiled.look(self.config.properties)
        loaded = _load(engine, self.config, is_strict=command.must_split)
        self.config, self.session = loaded.config, loaded.session
        model_cache = cache.state(self.session.effective.properties)
        changes = check_effective(self.config, self.session.effective)
        if model_cache is ModelCache.REFUSED:
            changes = (*changes, compiled.REFUSED)
        changes = (*changes, *check_greedy_tokens(self.config, self.session, is_strict=command.must_split))
        effective = dataclasses.replace(
            _with_request(self.session.effective, command.config, loaded.fallback),
            notes=(*self.session.effective.notes, *changes),
            split=split,
        )
        if self.config.allocator is not None:
            used = prove_allocator(self.config.allocator)
            effective = dataclasses.replace(effective, notes=(*effective.notes, used))
        self._threads = _engine_threads(effective)
        pinning.check_threads(self.config, self._topology, self._threads)
        is_simulated = self.config.engine_info.is_simulated
        pages, notes = {} if is_simulated else read_pages(), list[str]()
        self._work: OpenWorkload | OpenLoad = open_workload(
            command.workload,
            self.config,
            self.session,
            LaunchContext(
                index=self.index,
                beat=beat,
                context_tokens=command.context_tokens,
                note=notes.append,
                folder=Path(command.folder),
            ),
        )
        self.loaded = Loaded(
            load_s=loaded.seconds,
            memory=loaded.memory,
            effective=dataclasses.replace(effective, notes=(*effective.notes, *notes)),
            pinned=dataclasses.replace(pinned, pages=pages),
            versions=environment.versions(),
            model_cache=model_cache,
        )
        self._settings = {} if is_simulated else {**Probe.start().settings, **shared_settings(command)}
        self._has_stages = command.workload.kind != "text" and not is_simulated

    def _is_last(self, command: Measure) -> bool:
        last = (self.config.iterations_per_launch - 1, len(self.config.prompts) - 1)
        return (command.iteration, command.prompt) == last

    def next(self) -> Measured | AllMeasured:
        """Return the next request of a load that has ended, or what all had in common; its workload makes them."""
        load = cast("OpenLoad", self._work)
        found = load.next()
        if found is None:
            return AllMeasured(window=load.finish())
        observed = found.observation
        return Measured(
            measurement=Measurement(
                launch=self.index,
                iteration=found.number,
                prompt=found.prompt,
                is_warmup=found.is_unmeasured,
                started_at=_local_time(observed.start_ns),
                ended_at=_local_time(observed.end_ns),
                **_fields(observed),
            )
        )

    def measure(self, command: Measure) -> Measurement:
        """Measure one request, and what else happened on the machine meanwhile; a simulated engine has none."""
        request = cast("OpenWorkload", self._work).prepare(command.prompt, command.iteration)
        started_at = _local_now()
        is_real = not self.config.engine_info.is_simulated
        watch = PlacementWatch.start(self._topology, engine_threads=self._threads) if is_real else None
        phase = MemoryPhase.start()
        is_watched = self._has_stages and command.is_warmup and not command.iteration
        peaks = PeakWatch() if is_watched else None
        meter = Meter.start(self._root) if is_real else None
        probe = Probe.start() if is_real else None
        request.run()
        conditions = probe.stop(expected=self._settings) if probe else None
        energy_j = meter.stop() if meter else None
        highest = peaks.stop() if peaks else 0
        memory = phase.stop()
        placed = watch.stop(with_pages=self._is_last(command)) if watch else None
        ended_at = _local_now()
        observed = request.observe()
        if peaks is not None:
            memory = dataclasses.replace(
                memory, peak_bytes=max(highest, memory.peak_bytes), stages=stage_peaks(peaks, observed)
            )
        fields = _fields(observed)
        simulated = fields.pop("conditions")
        return Measurement(
            launch=self.index,
            iteration=command.iteration,
            prompt=command.prompt,
            is_warmup=command.is_warmup,
            started_at=started_at,
            ended_at=ended_at,
            conditions=simulated or conditions,
            memory=memory,
            placement=placed,
            energy_j=energy_j,
            **fields,
        )


def _fields(observed: Observation) -> dict[str, Any]:
    return {each.name: getattr(observed, each.name) for each in dataclasses.fields(observed)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _LoadedModel:
    """A model, what loading it took, and the configuration that it was loaded with.

    *fallback* is why that is not paged attention, which is the default; ``None`` where nothing was replaced.
    """

    session: LoadedModel
    config: RunConfig
    seconds: float
    memory: Memory
    fallback: str | None = None


def _load(engine: Engine, config: RunConfig, *, is_strict: bool) -> _LoadedModel:
    """Load a model, with SDPA where it cannot have paged attention and none was requested."""
    phase = MemoryPhase.start()
    start_ns = time.perf_counter_ns()
    try:
        session = engine.open(config)
    except PagedAttentionError as error:
        if config.is_attention_fixed:
            raise
        if is_strict:
            raise StrictError(error.message, hint=error.hint) from error
        cause = error
    else:
        seconds = seconds_between(start_ns, time.perf_counter_ns())
        return _LoadedModel(session=session, config=config, seconds=seconds, memory=phase.stop())
    loaded = _load(engine, with_sdpa(config, cause), is_strict=is_strict)
    return dataclasses.replace(loaded, fallback=cause.message)


def _with_request(effective: EffectiveSettings, config: RunConfig, fallback: str | None) -> EffectiveSettings:
    """Return effective settings with how their attention was requested, and why it is not what was to be used.

    Raises:
        MachineError: the engine loaded another attention than was requested, and did not say so.
    """
    proof = effective.attention_proof
    if proof is None:
        return effective
    is_paged = config.attention == "pa" and "pa" in config.engine_info.capabilities
    if is_paged and effective.attention not in (None, PAGED) and fallback is None:
        fallback = f"the engine loaded {effective.attention} and gave no reason"
        if config.is_attention_fixed:
            raise MachineError(f"--attention pa: {fallback}", hint="use --attention sdpa")
    request = f"--attention {config.attention}" if config.is_attention_fixed else "default"
    return dataclasses.replace(
        effective, attention_proof=dataclasses.replace(proof, request=request, fallback=fallback)
    )


def shared_settings(command: Open) -> dict[str, str]:
    """Return the settings of the run's begin that a launch has too: not the CPUs where it is bound to some."""
    own = {covariates.THREADS, *([covariates.CPUS_ALLOWED] if command.binding.cpus else ())}
    return {name: value for name, value in command.settings.items() if name not in own}


def _engine_threads(effective: EffectiveSettings) -> int | None:
    """Return how many threads the engine reports; ``None`` where it reports none."""
    count = effective.properties.get("INFERENCE_NUM_THREADS", "")
    return int(count) if count.isdecimal() and int(count) else None


def _split(config: RunConfig, *, must_split: bool) -> Split | None:
    """What tensor parallelism does here, ``None`` where it is not requested; refused where it does nothing and must."""
    if not config.is_tensor_parallel or config.engine_info.is_simulated:
        return None
    split = tensor_parallel.probe_split(config.properties)
    if must_split and not split.is_effective:
        raise MachineError(
            f"tensor parallelism was requested, but the engine splits nothing ({split.without} threads without the "
            f"policy, {split.with_policy} with it)",
            hint="leave out --strict to measure all the same; the rows are marked as ineffective then",
        )
    return split


def _check(command: Check) -> None:
    """Refuse configurations by their options, then by what the tokenizer makes of their texts."""
    for load in command.loads:
        config, kind = load.config, load.workload.kind
        engine = catalog.find_engine(config.engine, kind)
        engine.check(config)
        if config.stop_at_eos or any(prompt.text is not None for prompt in config.prompts):
            codec = engine.open_tokenizer(config)
            if codec is not None:
                find_workload(kind).check(config, codec, load.context_tokens)


class WorkerService:
    """What a worker does for its launcher, command by command."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._launch: OpenLaunch | None = None

    def respond(self, command: WorkerCommand) -> Response:
        """Do what a command says; raises LlmbenchError where it is refused or an engine package fails."""
        match command:
            case Open():
                with engine_failures("loading"):
                    self._launch = OpenLaunch(command, self._beat)
                return self._launch.loaded
            case Check():
                with engine_failures("checking the options"):
                    _check(command)
                return Checked()
            case Measure():
                with engine_failures("generating"):
                    return Measured(measurement=self._loaded().measure(command))
            case Next():
                return self._loaded().next()

    def _loaded(self) -> OpenLaunch:
        if self._launch is None:
            raise LaunchError("no model is loaded")
        return self._launch


def main() -> None:
    """Serve one launch: ``python -m llmbench.runner.worker COMMANDS_FD REPLIES_FD HEARTBEAT_FD PARENT_PID``."""
    commands_fd, replies_fd, heartbeat_fd, parent = (int(argument) for argument in sys.argv[1:5])
    die_with_parent(parent)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    faulthandler.enable(all_threads=False)  # a crash leaves its stack in the log
    count_stops()
    service = WorkerService(Heartbeat(heartbeat_fd).beat)
    with os.fdopen(commands_fd, "rb") as commands, os.fdopen(replies_fd, "wb") as replies:
        try:
            for line in commands:
                _send(replies, service.respond(COMMAND_DECODER.decode(line)))
        except LlmbenchError as error:
            _send(replies, Refused.because(error))
    sys.stdout.flush()
    os._exit(0)  # the engine's own tear-down may hang or crash, and nothing is left to lose


def _send(replies: IO[bytes], reply: Response | Refused) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


if __name__ == "__main__":
    main()
