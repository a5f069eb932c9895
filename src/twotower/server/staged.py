"""Lists after the second stage and the rules, with the items that were added since training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twotower.core.lists import Lists
from twotower.ranking.asked import Asked
from twotower.ranking.known import Known
from twotower.ranking.known import Rows as Long
from twotower.ranking.list_rules import Facts, GivenUp
from twotower.recommender.list_stages import facts_of, needs_pool, stages_of, through, values_in
from twotower.recommender.second_stage import asked_of, nothing_asked
from twotower.retrieval import Candidates
from twotower.server.catalogue import F32
from twotower.server.queries import EncodedUser
from twotower.server.state import State
from twotower.server.wanted import Wanted


def found_for(
    state: State, users: Sequence[EncodedUser], vectors: F32, barred: Lists, want: Wanted
) -> tuple[Candidates, GivenUp | None]:
    """Return the list of each user, as `Recommender.recommend` makes it, and which rules were given up.

    Args:
        state: to answer from.
        users: encoded.
        vectors: of these, float32 (n, dim).
        barred: rows that each user is never given.
        want: what is asked for; its rules are those that count.
    """
    model, rules, items = state.recommender, want.diversity, state.items
    if model.ranker is None and rules is None:
        return items.search(vectors, want.k, barred, want.allow, want.where), None

    def facts(rows: Long) -> Facts:
        trained = items.trained_rows[rows]
        known = facts_of(model, rules, np.maximum(trained, 0))
        values, directions = list(known.values), known.directions.copy()
        late = np.flatnonzero(rows >= items.n_trained)
        for place in late.tolist() if items.directions is not None else ():
            live = int(rows[place]) - items.n_trained
            if rules is not None and rules.column is not None:
                values[place] = values_in(items.live[live].display.get(rules.column))
            directions[place] = items.directions[live]  # type: ignore[index]
        return Facts(values, known.new | (trained < 0), directions)

    stages, given_up = stages_of(model, rules, want.k, facts)
    found = items.search(
        vectors, max(stage.candidates(want.k) for stage in stages), barred, want.allow, want.where
    )
    pool = items.pool(barred, want.allow, want.where if needs_pool(model) else None)
    asked = nothing_asked(vectors)
    if model.ranker is not None:
        parts = [_asked(model.ranker.known, user, pool.rows) for user in users]
        asked = parts[0] if len(parts) == 1 else Asked.joined(parts)
    return through(stages, asked, found, pool).first(want.k), given_up[0] if given_up else None


def _asked(known: Known, user: EncodedUser, rows: Long | None) -> Asked:
    query = user.asked
    if rows is not None and len(query.items.values):
        query = replace(query, items=Lists(query.items.indptr, rows[query.items.values]))
    return asked_of(known, query, user.vector[None])
