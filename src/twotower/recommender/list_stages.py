"""From encoded queries to lists: search, then the second stage and the rules of lists if there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from twotower.config.diversity import DiversityConfig
from twotower.config.explained import explain
from twotower.core.lists import Lists
from twotower.core.warn import warn
from twotower.errors import ConfigError, nearest
from twotower.evaluation.ranker import RankRequest
from twotower.ranking.asked import Asked
from twotower.ranking.known import Rows
from twotower.ranking.list_rules import Facts, GivenUp, ListRules
from twotower.ranking.pool import Pool
from twotower.ranking.stage import Stage
from twotower.recommender.catalogue_view import Allowed
from twotower.recommender.query_encoder import EncodedQueries
from twotower.recommender.second_stage import asked_of, encoded_request, nothing_asked
from twotower.recommender.state import RecommenderState
from twotower.retrieval import Candidates, exact_top_k
from twotower.retrieval.filters import Where, candidate_rows

Diversity = DiversityConfig | Mapping[str, Any] | Literal[False] | None
"""Rules for lists: settings as in ``[diversity]``; None for those of the model, False for none."""


def found_for(
    model: RecommenderState,
    asked: EncodedQueries,
    k: int,
    seen: Lists | None,
    allowed: Allowed | None,
    diversity: Diversity = None,
    where: Where | None = None,
) -> Candidates:
    """Return lists of length k; a `TwoTowerWarning` says which rules were given up.

    Args:
        model: what answers.
        asked: the queries.
        k: at least 1.
        seen: item rows that each query is not given.
        allowed: item rows, or a mask, of all that may be given; None for all.
        diversity: rules for the lists.
        where: conditions on display columns, for an index that takes them.

    Raises:
        ConfigError: a rule is not valid, or there is no such column.
    """
    rules = rules_of(model, diversity)
    if model.ranker is None and rules is None:
        return model.search(asked.vectors, k, seen=seen, allow=allowed, where=where)
    stages, given_up = stages_of(model, rules, k, lambda rows: facts_of(model, rules, rows))
    n = max(stage.candidates(k) for stage in stages)
    found = model.search(asked.vectors, n, seen=seen, allow=allowed, where=where)
    if where is not None and needs_pool(model):
        allowed = where.among(candidate_rows(allowed, None, len(model.items)))
    pool = Pool(len(model.items), None, seen, allowed)
    top = through(stages, read_by(model, asked), found, pool).first(k)
    said = "" if rules is None else given_up[0].says(rules)
    if said:
        warn(said)
    return top


def stages_of(
    model: RecommenderState, rules: DiversityConfig | None, k: int, facts: Callable[[Rows], Facts]
) -> tuple[list[Stage], list[GivenUp]]:
    """Return what candidates go through, and a list that gets what the rules give up."""
    given_up: list[GivenUp] = []
    stages: list[Stage] = [] if model.ranker is None else [model.ranker]
    if rules is not None:
        stages.append(ListRules(rules, facts, k, given_up))
    return stages, given_up


def through(stages: Sequence[Stage], asked: Asked, found: Candidates, pool: Pool) -> Candidates:
    """Return candidates after all stages, one after another; see `Stage.apply`."""
    for stage in stages:
        found = stage.apply(asked, found, pool)
    return found


def needs_pool(model: RecommenderState) -> bool:
    """Return whether candidates are found that did not pass the filters of the search."""
    return model.ranker is not None and bool(model.ranker.settings.sources)


def read_by(model: RecommenderState, asked: EncodedQueries) -> Asked:
    """Return queries as the stages of a model read them."""
    if model.ranker is None:
        return nothing_asked(asked.vectors)
    return asked_of(model.ranker.known, asked.asked, asked.vectors)


def rules_of(model: RecommenderState, given: Diversity) -> DiversityConfig | None:
    """Return the rules that are asked for, or those of the model.

    Raises:
        ConfigError: a setting is not valid, or its column is not a display column.
    """
    if given is None or given is False:
        return model.diversity if given is None else None
    try:
        rules = given if isinstance(given, DiversityConfig) else DiversityConfig.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(explain(error, "diversity", DiversityConfig.model_fields)) from None
    check_column(rules, model.display.columns[1:])
    return rules


def check_column(rules: DiversityConfig | None, columns: Sequence[str]) -> None:
    """Make sure that the column of a rule is a display column.

    Raises:
        ConfigError: it is not.
    """
    if rules is not None and rules.column is not None and rules.column not in columns:
        raise ConfigError(
            f"diversity.column must be a display column ({', '.join(columns) or 'there are none'}), got "
            f"{rules.column!r}.{nearest(rules.column, columns)} Name it in schema.display"
        )


def facts_of(model: RecommenderState, rules: DiversityConfig | None, rows: Rows) -> Facts:
    """Return what the rules need to know of items of the model."""
    assert rules is not None
    values: Sequence[Sequence[Any]] = [()] * len(rows)
    if rules.column is not None:
        values = [values_in(one) for one in model.display.get_column(rules.column).gather(rows).to_list()]
    return Facts(values, model.item_counts[rows] < rules.new_below, model.item_directions[rows])


def values_in(cell: Any) -> list[Any]:
    """Return the values of a display column's cell: one, those of a list, or none where it is missing."""
    if isinstance(cell, list):
        return [one for one in cell if one is not None]
    return [] if cell is None else [cell]


def ranked_request(model: RecommenderState, request: RankRequest, k: int) -> NDArray[np.int32]:
    """Return the lists of a request, as rows of its items; see `Ranker.rank`."""
    if model.ranker is None and model.diversity is None:
        user, U = model.query_encoder.placed("users", request.users, request.tables, request.context)
        item, V = model.query_encoder.placed("items", request.items, request.tables)
        return exact_top_k(U[user], V[item], k, seen=request.barred).items

    def facts(places: Rows) -> Facts:  # an item that the model doesn't know is new, and like no other
        own = pool.rows_of(places)
        known = facts_of(model, model.diversity, np.maximum(own, 0))
        strange = own < 0
        values = [() if new else one for new, one in zip(strange, known.values, strict=True)]
        return Facts(values, known.new | strange, np.where(strange[:, None], 0, known.directions))

    stages, _ = stages_of(model, model.diversity, k, facts)
    asked, found, pool = candidates_of(model, request, max(stage.candidates(k) for stage in stages))
    return through(stages, read_by(model, asked), found, pool).first(k).items


def encoded(
    model: RecommenderState, request: RankRequest
) -> tuple[EncodedQueries, NDArray[np.float32], Pool]:
    """Return the encoded users of a request, the vectors of its items, and the pool of these."""
    asked = encoded_request(model.query_encoder, request)
    item, V = model.query_encoder.placed("items", request.items, request.tables)
    rows = np.where(item < len(model.items), item, -1)
    return asked, V[item], Pool(len(model.items), rows, request.barred)


def candidates_of(
    model: RecommenderState, request: RankRequest, n: int
) -> tuple[EncodedQueries, Candidates, Pool]:
    """Return what the towers alone find for users: the second stage ranks these.

    Returns:
        The encoded users, the ``n`` items of highest score each, and the pool whose places these are.
    """
    asked, V, pool = encoded(model, request)
    return asked, exact_top_k(asked.vectors, V, n, seen=pool.barred), pool
