"""Ask the sources of all models at once, and wait for each no longer than a tick may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from functools import cached_property, partial

from genai_pipeline.core.errors import GenaiError, Unavailable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.threads import Workers

AT_ONCE = 16
BUDGET_S = 2.0

ResolvedRevision = str | GenaiError
"""The revision, or the error that kept it from being known."""


class Resolver:
    """Resolve what model files ask for to revisions.

    A request that does not end in time goes on, and the next tick takes its result. So a slow source is asked once,
    and not once more at every tick.

    Args:
        source: opens a source; opening does not connect.
        at_once: requests under way at once.
        budget_s: seconds that one call waits for all of them.
    """

    def __init__(self, source: Callable[[Source], Hub], at_once: int = AT_ONCE, budget_s: float = BUDGET_S) -> None:
        self._source = source
        self._at_once = at_once
        self._budget_s = budget_s
        self._asked: dict[Source, Future[str]] = {}

    @cached_property
    def _workers(self) -> Workers:
        return Workers(self._at_once, "resolve")

    def revisions(self, specs: Sequence[ModelSpec]) -> Mapping[str, ResolvedRevision]:
        """Return for each model the revision that it asks for now, or the error instead."""
        sources = list(dict.fromkeys(spec.source for spec in specs))
        for source in sources:
            if source not in self._asked:
                self._asked[source] = self._workers.submit(partial(self._ask, source))
        end = time.monotonic() + self._budget_s
        answers = {source: self._wait_for(source, end) for source in sources}
        return {spec.name: answers[spec.source] for spec in specs}

    def _ask(self, source: Source) -> str:
        return self._source(source).resolve(source.address, source.ref)

    def _wait_for(self, source: Source, end: float) -> ResolvedRevision:
        asked = self._asked[source]
        try:
            found = asked.result(max(0.0, end - time.monotonic()))
        except Late:
            if not asked.done():
                said = f"{source.title} has not answered within {self._budget_s:g} s."
                return Unavailable(said, "The next tick looks for its answer again.")
            found = Unavailable(f"{source.title} did not answer in time.", "The next tick asks it again.")
        except GenaiError as error:
            found = error
        except Exception as error:  # an error about one source must not stop the other models
            found = Unavailable(f"{source.title} could not be asked ({type(error).__name__}: {error}).", "See the log.")
        del self._asked[source]
        return found
