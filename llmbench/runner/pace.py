"""How much longer a run under way will take: the loads and the requests still to come, at the pace so far.

It stands alone because it holds state while a run goes on; `forecast` judges a run that has not begun.
"""

import statistics
from collections.abc import Sequence

from llmbench.runner.plan import PlannedLaunch, plan_requests
from llmbench.schema.config import RunConfig


class Pace:
    """What loading and requests took so far, and what is still to come; instants are seconds of one clock.

    A prompt's requests take what they took on average in the same configuration, else in any, else what any request
    took. Loads are those of the launches so far, so that later ones are counted from the first on.
    """

    def __init__(self, configurations: Sequence[RunConfig], planned: Sequence[PlannedLaunch]) -> None:
        self._requests = [[request.prompt for request in plan_requests(cell)] for cell in configurations]
        self._launches = [launch.cell for launch in planned]
        self._cooldown_s = 0.0
        self._loads: list[float] = []
        self._used: dict[tuple[int, int], list[float]] = {}
        self._since = 0.0
        self._cell = 0
        self._left: list[int] = []
        self._is_loading = False

    def begin_launch(self, cell: int, at: float, *, cooldown_s: float = 0.0) -> None:
        """Note that a launch of a configuration begins to load, after a rest of *cooldown_s* seconds."""
        self._cooldown_s = cooldown_s
        self._launches = self._launches[1:]
        self._is_loading = True
        self._cell, self._since, self._left = cell, at, list(self._requests[cell])

    def loaded(self, at: float) -> None:
        """Note that its model is loaded, and the first request begins."""
        self._is_loading = False
        self._loads.append(at - self._since)
        self._since = at

    def measured(self, at: float) -> None:
        """Note that the request under way has ended, and the next begins; those behind the planned ones are no news."""
        if not self._left:
            return
        prompt = self._left.pop(0)
        self._used.setdefault((self._cell, prompt), []).append(at - self._since)
        self._since = at

    def left_s(self, at: float) -> float | None:
        """Return the seconds still to go; ``None`` before anything was measured."""
        if not self._used:
            return None
        requests = [(self._cell, prompt) for prompt in self._left]
        requests += [(cell, prompt) for cell in self._launches for prompt in self._requests[cell]]
        load_s = statistics.fmean(self._loads)
        total = sum(map(self._request_s, requests)) + (load_s + self._cooldown_s) * len(self._launches)
        if self._is_loading:
            return total + max(load_s - (at - self._since), 0.0)
        return max(total - (min(at - self._since, self._request_s(requests[0])) if self._left else 0.0), 0.0)

    def _request_s(self, request: tuple[int, int]) -> float:
        same_prompt = [used for (_, prompt), used in self._used.items() if prompt == request[1]]
        groups = [self._used[request]] if request in self._used else same_prompt or self._used.values()
        return statistics.fmean(seconds for used in groups for seconds in used)
