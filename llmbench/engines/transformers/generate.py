"""``generate`` of the transformers library, observed from outside: optimum's models and PyTorch's go through it.

A stopping criterion is called when a token has been chosen, so its instants are those of tokens; a logits processor
sees what they were chosen from. Neither changes anything, and no loop of the library is copied.
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from llmbench.engines.base import Beat, EngineRequest, Generation
from llmbench.engines.failures import timed
from llmbench.engines.openvino.tokenizer import TokenizedSession, Tokenizer
from llmbench.engines.transformers.compile import Compiler
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds


class GenerateSession(TokenizedSession):
    """A model with transformers' ``generate``, and the tokenizer that belongs to it."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        config: RunConfig,
        *,
        read_effective: Callable[[], EffectiveSettings],
        compiler: Compiler | None = None,
    ) -> None:
        from transformers import GenerationConfig

        self._model = model
        self._compiler = compiler
        self._config = config
        self._read_effective = read_effective
        super().__init__(tokenizer)
        model.generation_config = GenerationConfig()  # what a request leaves open would be taken from here

    @functools.cached_property
    def effective(self) -> EffectiveSettings:
        """What the model uses; read once, when the time of loading has been taken."""
        return self._read_effective()

    def _generation_config(self, request: EngineRequest) -> Any:
        """How to choose tokens; without an end of text every sequence gets exactly the tokens requested."""
        from transformers import GenerationConfig

        requested = self._config
        eos_id = self._eos_id if request.stop_at_eos else None
        choice: dict[str, Any] = {"do_sample": requested.do_sample, "num_beams": requested.num_beams}
        if requested.do_sample:
            choice |= {
                "temperature": requested.temperature,
                "top_p": requested.top_p,
                "top_k": requested.top_k or 0,
            }
        return GenerationConfig(
            max_new_tokens=request.output_tokens,
            eos_token_id=eos_id,
            pad_token_id=self._eos_id or 0,
            use_cache=True,
            **choice,
        )

    def _timed(
        self, request: EngineRequest, watch: "TokenWatch", generate: Callable[[Mapping[str, Any]], Any]
    ) -> tuple[Nanoseconds, Any, Nanoseconds]:
        """Call the library with the options of a request, and a watch in it."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        options = {
            "generation_config": self._generation_config(request),
            "logits_processor": LogitsProcessorList([watch.look]),
            "stopping_criteria": StoppingCriteriaList([watch.note]),
        }
        if self._config.do_sample:
            torch.manual_seed(self._config.seed)
        with torch.inference_mode():
            return timed("generating", generate, options)

    def generate(self, request: EngineRequest) -> Generation:
        """One request; the library's own call, and two observers in it."""
        import torch

        ids, mask = map(torch.from_numpy, request.padded())
        watch, graphs = TokenWatch(request.beat), self._graphs
        start_ns, made, end_ns = self._timed(
            request, watch, lambda options: self._model.generate(ids, attention_mask=mask, **options)
        )
        return Generation(
            start_ns=start_ns,
            end_ns=end_ns,
            sequences=request.cut(
                made[:, ids.shape[1] :].tolist(),
                watch.at_ns,
                eos_id=self._eos_id,
                has_beams=self._config.num_beams > 1,
            ),
            suspicions=(*watch.doubts, *_compiled(self._graphs - graphs)),
        )

    @property
    def _graphs(self) -> int:
        return 0 if self._compiler is None else self._compiler.graphs


def _compiled(graphs: int) -> tuple[str, ...]:
    return (f"torch.compile compiled {graphs} graphs meanwhile",) if graphs else ()


class TokenWatch:
    """Notes when each token was chosen, and the highest of the logits it was chosen from."""

    def __init__(self, beat: Beat) -> None:
        self.at_ns: list[int] = []
        self._highest: list[Any] = []
        self._beat = beat

    def look(self, _ids: Any, scores: Any) -> Any:
        """A logits processor: keep the highest logit, which is NaN where one is, and change nothing."""
        self._highest.append(scores.amax())
        return scores

    def note(self, ids: Any, _scores: Any, **_options: Any) -> Any:
        """A stopping criterion that never stops: note the instant."""
        self.at_ns.append(time.perf_counter_ns())
        self._beat(len(self.at_ns), self.at_ns[-1])
        return ids.new_zeros(ids.shape[0], dtype=bool)

    @property
    def doubts(self) -> tuple[str, ...]:
        """That a token was chosen from logits that are NaN, if one was."""
        return () if all(bool(value.isfinite()) for value in self._highest) else ("non-finite logits",)
