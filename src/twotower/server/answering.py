"""`Answering`: lists of one model for some users, counted, recorded and passed to the shadow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import orjson

from twotower.recommender.query_context import QueryContext
from twotower.server import ranking
from twotower.server.queries import AskedUser
from twotower.server.request_models import RecommendBody
from twotower.server.service import Service
from twotower.server.shadow import ShadowRequest
from twotower.server.state import State
from twotower.server.traffic import Traffic
from twotower.server.wanted import Wanted
from twotower.server.workers import Deadline


@dataclass
class Made:
    """Lists that were made together.

    Attributes:
        texts: of each user, as JSON.
        items: ids of each list, where a shadow is asked too; else none.
        cold, empty, degraded: numbers of lists of cold users, without items, and made without the store.
        unknown: features of which a value is unknown, with one.
    """

    texts: list[bytes] = field(default_factory=list)
    items: list[list[Any]] = field(default_factory=list)
    cold: int = 0
    empty: int = 0
    degraded: int = 0
    unknown: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answering:
    """What answers some users of a request.

    Attributes:
        service: of the request.
        run: name of the model.
        state: of the model.
        traffic: which users it was chosen for.
    """

    service: Service
    run: str
    state: State
    traffic: Traffic

    async def lists(self, asked: Sequence[AskedUser], want: Wanted, deadline: Deadline) -> Made:
        """Make the lists, here or in a thread, count them, and record who got them.

        Raises:
            ApiError: a user that is not known; the time is up.
        """
        service, state, start = self.service, self.state, time.perf_counter()
        named = {"model": state.version, "run": self.run} if service.models.several else {}

        def work() -> Made:
            made = Made()
            for one, user in ranking.lists(state, asked, want, deadline):
                made.cold += not one["known"]
                made.empty += not one["items"]
                made.degraded += not user.complete
                made.unknown = {name: values[0] for name, values in user.unknown.items()}
                made.texts.append(orjson.dumps(one | named))
                if service.shadow is not None:
                    made.items.append([item["item_id"] for item in one["items"]])
            return made

        small, tracing = ranking.is_small(state, asked, want), service.tracing
        span = nullcontext() if tracing is None else tracing.span("lists", run=self.run, users=len(asked))
        with span:
            made = work() if small else await service.workers.run(deadline, work)
        context, partial = QueryContext(state.recommender.towers), 0
        if context.read and context.columns:
            partial = sum(not set(context.columns) <= set(one.context or ()) for one in asked)
        service.metrics.listed(
            self.run,
            time.perf_counter() - start,
            lists=len(asked),
            cold=made.cold,
            empty=made.empty,
            degraded=made.degraded,
            partial=partial,
        )
        if self.traffic.split:
            for one in asked:
                if one.name is not None:
                    key = service.models.key(one.name)
                    service.exposures.saw(key, self.run, state.version, self.traffic)
        return made

    def shadow(
        self,
        request_id: str,
        users: Sequence[Any],
        want: Wanted,
        made: Made,
        body: RecommendBody | None = None,
    ) -> None:
        """Ask the shadow, if there is one, for the same lists; nobody waits for it."""
        if self.service.shadow is not None:
            self.service.shadow.offer(ShadowRequest(request_id, users, want, made.items, body))
