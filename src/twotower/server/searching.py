"""Search of items by id and text, and of users by id."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from twotower.core.lists import distinct_items
from twotower.server.catalogue import LiveItem
from twotower.server.state import State
from twotower.server.texts import plain

_EXACT, _BEGINS, _PHRASE, _WORDS = range(4)  # how well an item matches, the best first


def found_items(state: State, query: str, limit: int) -> tuple[int, list[int]]:
    """Return how many items match a query, and the rows of the best ``limit`` of them.

    An item matches if every word of the query is in its id or in a display column. The item with this very id
    is first, then titles that begin with the query, titles that contain it, and the others; of equal matches,
    the item with more interactions is first.
    Items put since training are before trained ones that match as well.
    """
    catalogue, query = state.items, plain(query.strip())
    words = query.split()
    late = [
        (how, catalogue.n_trained + place)
        for place, item in reversed(list(enumerate(catalogue.live)))
        if (how := _live(item, query, words)) is not None
    ]
    table = catalogue.trained.searchable
    match = pl.all_horizontal(pl.lit(True), *(pl.col("text").str.contains(w, literal=True) for w in words))
    quality = (
        pl.when(pl.col("id") == query)
        .then(_EXACT)
        .when(pl.col("title").str.starts_with(query))
        .then(_BEGINS)
        .when(pl.col("title").str.contains(query, literal=True))
        .then(_PHRASE)
        .otherwise(_WORDS)
    )
    matching = table.lazy().with_row_index("row").filter(match)
    if len(catalogue.hidden):
        matching = matching.filter(~pl.col("row").is_in(catalogue.hidden.tolist()))
    ranked = matching.select("row", "interactions", how=quality).collect()
    best = ranked.top_k(limit, by=[-pl.col("how"), "interactions", -pl.col("row").cast(pl.Int64)])
    own = list(zip(best["how"].to_list(), best["row"].to_list(), strict=True))
    gone = set(catalogue.hidden.tolist())
    late = [one for one in late if one[1] not in gone]
    merged = sorted([*late, *own], key=lambda one: one[0])  # stable: those put since training stay first
    return len(late) + ranked.height, [row for _, row in merged[:limit]]


def _live(item: LiveItem, query: str, words: list[str]) -> int | None:
    text = plain(" ".join(map(str, (item.id, *item.display.values()))))
    if not all(word in text for word in words):
        return None
    if plain(str(item.id)) == query:
        return _EXACT
    title = plain(str(next(iter(item.display.values()), None) or ""))
    return _BEGINS if title.startswith(query) else _PHRASE if query in title else _WORDS


def found_users(state: State, query: str, limit: int) -> dict[str, Any]:
    """Return the users whose id begins with a query, this very id first; see `UsersAnswer`."""
    seen, ids = state.recommender.seen, state.recommender.user_ids
    rows = np.arange(len(ids))
    if query:
        rows = ids.cast(pl.String).str.to_lowercase().str.starts_with(query.lower()).arg_true().to_numpy()
        exact = state.users.row(query)
        if exact is not None:
            rows = np.append(exact, rows[rows != exact])
    shown = [
        {"user_id": state.users.known[row], "seen": len(distinct_items(seen, None, row)[0])}
        for row in rows[:limit].tolist()
    ]
    return {"total": len(rows), "users": shown}
