"""What the second stage reads of a model and of encoded queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import rows_of_ids
from twotower.data.dataset import Dataset
from twotower.data.durations import durations
from twotower.evaluation.ranker import RankRequest
from twotower.ranking.asked import Asked
from twotower.ranking.columns import columns_of, table_of, values_of
from twotower.ranking.known import Known, Member
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.past import Past
from twotower.recommender.queries import Features, Queries
from twotower.recommender.query_context import QueryContext
from twotower.recommender.query_encoder import EncodedQueries, QueryEncoder
from twotower.recommender.row_queries import RowQueries
from twotower.recommender.state import RecommenderState
from twotower.targets.target import history_grades
from twotower.towers.auto import AutoConfig, widths_of

F32 = NDArray[np.float32]


def known_of(model: RecommenderState, train: Dataset, sources: Sequence[str] = ()) -> Known:
    """Return what the second stage knows of a model.

    Args:
        model: trained on ``train``.
        train: its training set, with times if the schema has them; nothing else is known.
        sources: names of further sources of candidates.
    """
    schema, towers, users, items = train.schema, model.towers, model.users, model.items
    events, objective = train.interactions, model.objective
    label = train.labels() if train.labelled else None
    past = Past.of(
        users.rows(events.get_column(schema.user)),
        items.rows(events.get_column(schema.item)),
        history_grades(model.positive, objective, label, durations(train), len(train)),
        None if schema.timestamp is None else train.times(),
        len(users),
        len(items),
    )
    encoded = {
        which: towers.arrays_of(
            Features(np.arange(len(ids)), rows_of_ids(table, column, ids), checked=True), which
        )
        for which, table, column, ids in (
            ("users", train.users, schema.user, users.ids),
            ("items", train.items, schema.item, items.ids),
        )
    }
    context = towers.encoder.user_shape.context if QueryContext(towers).read else None
    return Known(
        past,
        items.vectors,
        model.item_directions,
        members_of(model),
        tuple(columns_of(encoded["users"].shape)),
        tuple(columns_of(encoded["items"].shape)),
        tuple(columns_of(context)),
        table_of(encoded["users"]),
        table_of(encoded["items"]),
        values_of(encoded["items"]),
        Neighbours.together(past),
        Neighbours.following(past) if np.isfinite(past.end) else None,
        tuple(sources),
    )


def members_of(model: RecommenderState) -> tuple[Member, ...]:
    """Return the models that a sum of several consists of; none of one."""
    config = model.model.config
    if not isinstance(config, AutoConfig) or len(config.parts) < 2:
        return ()
    ends = np.append(0, np.cumsum(widths_of(config.parts))).tolist()
    kinds = [part.model["kind"] for part in config.parts]
    return tuple(Member(*of) for of in zip(kinds, ends[:-1], ends[1:], strict=True))


def asked_of(known: Known, query: RowQueries, vectors: F32) -> Asked:
    """Return queries as the second stage reads them."""
    features = np.full((len(query), len(known.user_columns)), np.nan, np.float32)
    features[query.known] = known.users[query.rows[query.known]]
    if query.features is not None:
        features[query.described] = table_of(query.features)
    context = np.full((len(query), len(known.context_columns)), np.nan, np.float32)
    if query.context is not None:
        context[query.in_context] = table_of(query.context)[query.in_context]
    return Asked(query.rows, vectors, features, context, query.items, query.values, query.times, query.at)


def encoded_request(encoder: QueryEncoder, request: RankRequest) -> EncodedQueries:
    """Encode the users of a request, those that the model doesn't know by their features in its tables."""
    schema, ids = request.tables.schema, request.users
    unknown = encoder.histories.catalogue.users.rows(ids) < 0
    features: tuple[Features, ...] = ()
    if unknown.any():
        table = rows_of_ids(request.tables.users, schema.user, ids.filter(pl.Series(unknown)))
        features = (Features(np.flatnonzero(unknown), table, checked=True),)
    context: tuple[Features, ...] = ()
    if request.context is not None and QueryContext(encoder.towers).read:
        context = (Features(np.arange(len(ids)), request.context, checked=True),)
    return encoder.encode(Queries(len(ids), ids, features=features, context=context))


def nothing_asked(vectors: F32) -> Asked:
    """Return queries as stages read them that look at candidates alone."""
    n = len(vectors)
    nothing = np.empty((n, 0), np.float32)
    return Asked(np.full(n, -1), vectors, nothing, nothing, Lists.empty(n))
