"""Retrieval-augmented generation, stage by stage: embed the question, find chunks, write the prompt, generate.

The first token of the question is the sum of its stages: everything from the question's text to the first token of the
answer is inside the timed region, and what no stage covers is a remainder of its own. How well the index finds what an
exact search finds is determined once per launch for the whole set of questions, outside of every request.
"""

import dataclasses
import statistics
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from llmbench.engines.base import (
    Codec,
    Embedder,
    EngineSession,
    Generation,
    LoadedModel,
    Reranker,
)
from llmbench.engines.catalog import find_engine
from llmbench.engines.clock_check import suspicions
from llmbench.errors import InputError, LaunchError
from llmbench.models.resolve import check_context
from llmbench.retrieval import database, server
from llmbench.retrieval.collection import Collection, Hit, Searcher, hits, recall_of
from llmbench.retrieval.index import Plan, VectorIndex
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import Nanoseconds, counted
from llmbench.workloads.base import LaunchContext, Observation
from llmbench.workloads.rag.prompt import PromptWriter
from llmbench.workloads.rag.questions import RagQuestion, questions_of
from llmbench.workloads.rag.settings import RetrievalSettings, embedder_config

if TYPE_CHECKING:
    Vector = np.ndarray[Any, np.dtype[np.float32]]

SLOWED = "the planner did not use the index"
"""How the note begins of a launch whose searches compare every vector in spite of an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFindings:
    """What a set of questions found, once per launch: shares of 1, ``None`` where no right chunk is known."""

    recall: float
    right_chunk: float | None
    longest_prompt: int


class RagWorkload:
    """Retrieval-augmented generation: a request is one question."""

    settings = WorkloadSettings(kind="rag", primary_metrics=("first_token", "stage.retrieve"))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenRag":
        """Load the embedder, connect to the database, and see what the questions find there."""
        return OpenRag(config, cast("EngineSession", session), launch)

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse questions that cannot be read, and a fixed context that the model or the questions cannot have."""
        settings = RetrievalSettings.of(config)
        writer = PromptWriter(config, codec, settings.fixed_context)
        for prompt in config.prompts:
            for question in questions_of(prompt):
                writer.check(question.text)
        needed = (settings.fixed_context or 0) + config.output_tokens
        check_context(
            config,
            (needed, context_tokens),
            f"--fixed-context {settings.fixed_context} + {config.output_tokens} output tokens make {needed}",
            hint="use a smaller --fixed-context or -ic",
        )


class OpenRag:
    """The questions of one launch."""

    def __init__(self, config: RunConfig, session: EngineSession, launch: LaunchContext) -> None:
        self.config = config
        self.session = session
        self.launch = launch
        self.settings = RetrievalSettings.of(config)
        self.writer = PromptWriter(config, session, self.settings.fixed_context)
        self._questions = tuple(map(questions_of, config.prompts))
        embedder = embedder_config(self.settings.embedder, config)
        self.embedder = cast("Embedder", find_engine(embedder.engine, "text_embed").open(embedder))
        self._reranker = self._load_reranker()
        dimension = len(self.embedder.embed_query("a").vectors[0])
        address = server.address_of(self.settings.database)
        connection = database.connect(address)
        weakref.finalize(self, connection.close)
        collection = Collection.find(
            connection, address, self.settings.key(config.engine), dimension=dimension
        )
        if not collection.has(self.settings.index):
            raise InputError(
                f"collection {collection.key} has no index {self.settings.index.recipe}",
                hint="llmbench run builds it before the first launch; llmbench rag index --index builds it alone",
            )
        if collection.count() < self.settings.count:
            raise InputError(
                f"collection {collection.key} has {counted(collection.count(), 'chunk')}, fewer than "
                f"--retrieve-top-k {self.settings.count}",
                hint="retrieve fewer, or index more documents",
            )
        exact = collection.searcher(VectorIndex(), self.settings.count)
        self.searcher = collection.searcher(self.settings.index, self.settings.count)
        self.findings = tuple(self._find(questions, exact) for questions in self._questions)
        self._check_context()
        launch.note(
            f"{database.server_versions(connection)}; {counted(collection.count(), 'chunk')} in {collection.key}"
        )
        for note in plan_notes(self.searcher.explain(self.vector("a")), self.settings.index):
            launch.note(note)

    def _load_reranker(self) -> Reranker | None:
        if self.settings.reranker is None:
            return None
        config = embedder_config(self.settings.reranker, self.config, task="text_rerank")
        return cast("Reranker", find_engine(config.engine, "text_rerank").open(config))

    def reranked(self, question: str, found: tuple[Hit, ...]) -> tuple[Hit, ...]:
        """Return the chunks in the reranker's order, the best of them; all as they are where there is none."""
        if self._reranker is None:
            return found
        made = self._reranker.rerank(question, [hit.content for hit in found])
        return tuple(found[index] for index, _ in made.ranks[: self.settings.kept])

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this program times itself, in order; the engine's prefill follows."""
        return (
            ("embed", "retrieve", "prompt")
            if self._reranker is None
            else ("embed", "retrieve", "rerank", "prompt")
        )

    def vector(self, text: str) -> "Vector":
        """Return the vector of a text."""
        return np.asarray(self.embedder.embed_query(text).vectors[0], dtype=np.float32)

    def _find(self, questions: Sequence[RagQuestion], exact: Searcher) -> SearchFindings:
        """Search for all questions of a set once, outside of every request."""
        recalls, found_right, lengths = [], [], []
        for question in questions:
            vector = self.vector(question.text)
            found = hits(self.searcher.search(vector))
            recalls.append(recall_of(found, hits(exact.search(vector))))
            found = self.reranked(question.text, found)
            lengths.append(len(self.writer.write(question.text, found)))
            if question.chunk is not None:
                found_right.append(question.is_found_in(found))
        return SearchFindings(
            recall=statistics.fmean(recalls),
            right_chunk=statistics.fmean(found_right) if found_right else None,
            longest_prompt=max(lengths),
        )

    def _check_context(self) -> None:
        longest = max(found.longest_prompt for found in self.findings)
        limit = None if self.config.ignores_context_limit else self.launch.context_tokens
        if limit is not None and longest + self.config.output_tokens > limit:
            raise InputError(
                f"{longest} input + {self.config.output_tokens} output tokens are more than the model's context of "
                f"{limit}",
                hint="use a smaller --retrieve-top-k, --chunk-size or -ic, or give --fixed-context",
            )

    def prepare(self, prompt: int, iteration: int) -> "RagRequest":
        """Return the request of an iteration: the next question of the set, and the first one after the last."""
        questions = self._questions[prompt]
        return RagRequest(self, questions[iteration % len(questions)], self.findings[prompt])


def plan_notes(plan: Plan, index: VectorIndex) -> tuple[str, ...]:
    """Return what the planner does for a search, and a warning where it does not use the index."""
    if index.kind != "exact" and not plan.indexes:
        return (
            f"{SLOWED} {index.recipe}: {plan}; so few chunks are compared one by one, or its costs are set so",
        )
    return (f"plan: {plan}",)


class RagRequest:
    """One question."""

    def __init__(self, rag: OpenRag, question: RagQuestion, findings: SearchFindings) -> None:
        self._rag = rag
        self._question = question
        self._findings = findings
        self._instants: list[int] = []
        self._vector: Vector | None = None
        self._hits: tuple[Hit, ...] = ()
        self._generation: Generation | None = None

    def run(self) -> None:
        """Embed, retrieve, write the prompt, and generate."""
        rag, text, now = self._rag, self._question.text, time.perf_counter_ns
        instants = [now()]
        self._vector = rag.vector(text)
        instants.append(now())
        rows = rag.searcher.search(self._vector)
        instants.append(now())
        self._hits = hits(rows)
        kept = rag.reranked(text, self._hits)
        if kept is not self._hits:
            instants.append(now())
        ids = rag.writer.write(text, kept)
        instants.append(now())
        self._generation = rag.session.generate(rag.launch.request(rag.config, (ids,)))
        self._instants = instants

    def observe(self) -> Observation:
        """Read the server's own time, decode the response, and return what was observed."""
        made, vector = self._generation, self._vector
        if made is None or vector is None:
            raise LaunchError("a request that did not run was observed")
        plan = self._rag.searcher.explain(vector)
        sequences = tuple(
            dataclasses.replace(sequence, text=self._rag.session.decode(sequence.token_ids))
            for sequence in made.sequences
        )
        return Observation.of(
            made,
            start_ns=self._instants[0],
            requested_tokens=self._rag.config.output_tokens,
            sequences=sequences,
            stages=self._stages(made),
            scores=self._scores(plan),
            suspicions=self._suspicions(made, plan),
        )

    def _stages(self, made: Generation) -> tuple[Stage, ...]:
        first_ns = made.sequences[0].at_ns[0] if made.sequences[0].at_ns else made.end_ns
        spans = [
            *zip(self._rag.stages, self._instants, self._instants[1:], strict=False),
            ("prefill", made.start_ns, first_ns),
        ]
        return tuple(
            Stage(name=name, at_ns=Nanoseconds(start), duration_ns=end - start) for name, start, end in spans
        )

    def _scores(self, plan: Plan) -> dict[str, float]:
        found = self._findings
        scores = {"recall": found.recall, "retrieve_server_s": plan.server_s}
        return scores if found.right_chunk is None else scores | {"right_chunk": found.right_chunk}

    def _suspicions(self, made: Generation, plan: Plan) -> tuple[str, ...]:
        if self._hits and len(self._hits) == self._rag.searcher.count:
            return suspicions(made)
        return (
            *suspicions(made),
            f"the search returned {counted(len(self._hits), 'chunk')} of {self._rag.searcher.count}: {plan}",
        )
