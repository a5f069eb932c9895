"""`Wanted`: what a request for lists asks for, in rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from twotower.config.diversity import DiversityConfig
from twotower.errors import ConfigError
from twotower.recommender.list_stages import rules_of
from twotower.retrieval.filters import Where
from twotower.server.catalogue import NO_ROWS, Rows
from twotower.server.errors import ApiError, shown
from twotower.server.queries import item_rows
from twotower.server.request_models import RecommendBody, SimilarBody
from twotower.server.settings import Limits
from twotower.server.state import State


@dataclass(frozen=True)
class Wanted:
    """What a request asks for, in rows.

    Attributes:
        k: items each.
        exclude_seen: leave out what a user has seen.
        allow: the candidates' rows; None for all.
        deny: rows that are not given.
        explain: how many reasons.
        where: filters that the candidates must meet, for an index that takes them.
        unknown: items of the body's ``allow`` and ``deny`` that are not known.
        diversity: rules for lists; None for none.
    """

    k: int
    exclude_seen: bool = True
    allow: Rows | None = None
    deny: Rows = field(default_factory=lambda: NO_ROWS)
    explain: int = 0
    unknown: int = 0
    where: Where | None = None
    diversity: DiversityConfig | None = None


def wanted(
    state: State, body: RecommendBody | SimilarBody, limits: Limits, exclude_seen: bool = False
) -> Wanted:
    """Return what a body asks for, in rows; it may leave ``exclude_seen`` open.

    Raises:
        ApiError: it asks for more than the limits allow, or names an unknown item or column.
    """
    allow = None if body.allow is None else item_rows(state, body.allow, "allow", strict=body.strict)
    unknown = len(body.allow or ()) - (0 if allow is None else len(allow))
    if body.allow and allow is not None and not len(allow):
        raise ApiError(422, f"allow: none of its items is known, for example {shown(body.allow[0])}", "allow")
    index, where = state.recommender.index, None
    if body.filters and index is not None and index.waits and isinstance(body, RecommendBody):
        where = state.items.where(body.filters, limits.filters)
    elif body.filters:
        filtered = state.items.filtered(body.filters, limits.filters)
        allow = filtered if allow is None else np.intersect1d(allow, filtered)
    deny = NO_ROWS if body.deny is None else item_rows(state, body.deny, "deny", strict=body.strict)
    unknown += len(body.deny or ()) - len(deny)
    if isinstance(body, SimilarBody):
        return Wanted(body.k, allow=allow, deny=deny, unknown=unknown)
    seen = exclude_seen if body.exclude_seen is None else body.exclude_seen
    try:
        rules = rules_of(state.recommender, body.diversity)
    except ConfigError as error:
        raise ApiError(422, str(error), "diversity.column") from None
    return Wanted(body.k, seen, allow, deny, body.explain, unknown, where, rules)
