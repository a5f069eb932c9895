"""Items and users by their vectors: the nearest ones, who has an item, and the vectors as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Ids
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.errors import yes_or_no
from twotower.recommender.catalogue_view import Allowed, free_name
from twotower.recommender.display import Filters
from twotower.recommender.histories import Rows
from twotower.recommender.parts import EntityVectors
from twotower.recommender.queries import Queries, Users
from twotower.recommender.query_encoder import EncodedItems, EncodedQueries, Items
from twotower.recommender.state import RecommenderState
from twotower.retrieval import Candidates, exact_top_k

F32 = NDArray[np.float32]


def users_of(seen: Lists, items: Rows) -> Lists:
    """Return the rows of the users who have each item, an empty list for an item of row -1.

    >>> users_of(Lists.from_groups([[5, 7], [7]]), np.array([7, -1, 5]))
    Lists([[0, 1], [], [0]])
    """
    distinct, place = np.unique(items, return_inverse=True)
    at = np.flatnonzero(np.isin(seen.values, distinct))
    which = np.searchsorted(distinct, seen.values[at])
    users = (np.searchsorted(seen.indptr, at, side="right") - 1).astype(np.int32)
    return Lists.from_arrays(which, users, len(distinct)).of(place)


def vector_table(known: EntityVectors, column: str, what: str, ids: Ids | None) -> pl.DataFrame:
    """Return ids and vectors of users or items; see `Recommender.user_vectors`."""
    check_process()
    rows = np.arange(len(known)) if ids is None else known.known_rows(ids, what)
    name = free_name("vector", (column,), f"{what}_")
    dtype = pl.Array(pl.Float32, known.vectors.shape[1])
    return pl.DataFrame({column: known.ids.gather(rows), name: pl.Series(known.vectors[rows], dtype=dtype)})


@dataclass(frozen=True, repr=False)
class VectorAnswers(RecommenderState):
    """The answers of a `Recommender` that compare vectors, and the vectors themselves."""

    def similar_items(
        self,
        items: Items,
        k: int | None = None,
        *,
        allow: Ids | None = None,
        deny: Ids | None = None,
        filters: Filters | None = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` items most similar to each item, most similar first.

        The similarity is the cosine of the item vectors without their biases: whether the same users like two
        items, however popular they are. Cold and new items are compared by their features: give all, as what
        a feature says of an item is learnt beside the others. A `TwoTowerWarning` counts those left out.

        Args:
            items: ids of known items (a bare string or number is one id), one that is repeated counts once;
                or features of new items, as a table with a row each, as a dict, or as a list of dicts.
            k: how many items each, without the item itself, 10 by default. A k above the number of other
                items is cut to it, with a `TwoTowerWarning`.
            allow: as for `recommend`.
            deny: as for `recommend`.
            filters: as for `recommend`.
            strict: as for `recommend`.

        Returns:
            Columns: item id, ``similar_`` item id, ``rank`` (from 1), ``score`` (the cosine), display columns
                of the similar item. New items without an id column have their place from 0, ``query``.

        Raises:
            ConfigError: k is not a whole number from 1.
            DataError: an item is not known; a column is not a feature, or a value not of its kind.
        """
        asked = self.query_encoder.items(items)
        k = self._items_view.length(k, others=bool((asked.rows >= 0).all()))
        allowed = self._allowed(allow, deny, filters, strict)
        top = self._nearest(asked, self.item_directions, k, allowed)
        return self._items_view.table(top, asked.names, f"similar_{self._items_view.column}", "item_")

    def similar_users(
        self,
        users: Users,
        k: int | None = None,
        *,
        allow: Ids | None = None,
        deny: Ids | None = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` known users most similar to each user, most similar first.

        The similarity is the cosine of the user vectors without their biases: whether two users like the same
        items, however much they like in all.

        Args:
            users: as for `recommend`.
            k: how many users each, without the user, 10 by default.
            allow: ids of the only users that may be given; None for all. Unknown ids are left out.
            deny: ids of users that may not be given.
            strict: whether an unknown user in ``allow`` or ``deny`` is an error.

        Returns:
            Columns: user id or ``query``, as for `recommend`, ``similar_`` user id, ``rank``, ``score`` (the
                cosine).

        Raises:
            ConfigError: k is not a whole number from 1.
            DataError: a user is not known.
        """
        asked = self._encoded(users)
        k = self._users_view.length(k, others=bool((asked.rows >= 0).all()))
        allowed = self._users_view.allowed(allow, deny, strict=strict)
        top = self._nearest(asked, self._user_directions, k, allowed)
        return self._users_view.table(top, asked.names, f"similar_{self._users_view.column}")

    def users_for(
        self,
        items: Items,
        k: int | None = None,
        *,
        exclude_seen: bool = True,
        allow: Ids | None = None,
        deny: Ids | None = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` known users of highest score for each item: whom to tell about it.

        Scores are those of `recommend`, so users with high scores for everything come first for every item.

        Args:
            items: as for `similar_items`; new items are scored by their features.
            k: how many users each, 10 by default.
            exclude_seen: leave out users who have the item in the training set.
            allow: ids of the only users that may be given; None for all. Unknown ids are left out.
            deny: ids of users that may not be given.
            strict: whether an unknown user in ``allow`` or ``deny`` is an error.

        Returns:
            Columns: item id (or ``query``, as for `similar_items`), user id, ``rank`` (from 1), ``score``.

        Raises:
            ConfigError: k is not a whole number from 1; exclude_seen is not a bool.
            DataError: an item is not known.
        """
        asked = self.query_encoder.items(items)
        k = self._users_view.length(k)
        allowed = self._users_view.allowed(allow, deny, strict=strict)
        barred = users_of(self.seen, asked.rows) if yes_or_no("exclude_seen", exclude_seen) else None
        self._tell_purpose()
        top = exact_top_k(asked.vectors, self.users.vectors, k, seen=barred, allow=allowed)
        return self._users_view.table(top, asked.names, prefix="item_")

    def _nearest(
        self, asked: EncodedItems | EncodedQueries, others: F32, k: int, allowed: Allowed | None
    ) -> Candidates:
        """Return the ``k`` rows of ``others`` of highest cosine for each, without itself."""
        known = asked.rows >= 0
        itself = Lists.from_lengths(known, asked.rows[known].astype(np.int32))
        return exact_top_k(self.directions(asked.vectors), others, k, seen=itself, allow=allowed)

    def _encoded(self, users: Users) -> EncodedQueries:
        return self.query_encoder.encode(Queries.of(users))

    def user_vectors(self, ids: Ids | None = None) -> pl.DataFrame:
        """Return user ids and their vectors, a column ``vector`` of `polars.Array` with ``dim`` float32.

        The dot product with an item's vector is the score: biases and the label's mean are within the
        vectors.

        Args:
            ids: of known users; None for all.

        Raises:
            DataError: a user is not known.
        """
        return vector_table(self.users, self.encoder.schema.user, "user", ids)

    def item_vectors(self, ids: Ids | None = None) -> pl.DataFrame:
        """Return item ids and their vectors; see `user_vectors`."""
        return vector_table(self.items, self.encoder.schema.item, "item", ids)
