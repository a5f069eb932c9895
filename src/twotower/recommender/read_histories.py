"""`ReadHistories`: vectors from histories by a forward pass of the user tower."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.kernels.pairs import Pairs
from twotower.recommender.histories import F32, F64, Histories, Reasons, Rows
from twotower.recommender.parts import Interactions
from twotower.recommender.row_queries import RowQueries
from twotower.targets.target import history_grades
from twotower.towers import History, SideArrays

_PREPARED = 1 << 25
"""Numbers of the items' vectors up to which what the user tower reads of each item is kept."""
_AT_ONCE = 250_000
"""Entries of histories that a forward pass reads for explanations, so that memory does not grow with them."""


@dataclass(frozen=True, repr=False)
class ReadHistories(Histories):
    """What a user did in the training set and since is read by the user tower, in the order of time.

    Of one time, what is of the training set comes first, then what queries bring, each in the order given.
    What a query brings without a time comes after all that has one. A query that is asked at a time reads
    what was strictly before.
    """

    @cached_property
    def items(self) -> SideArrays:
        """The encoded items that histories consist of."""
        arrays = self.catalogue.items.arrays
        assert arrays is not None
        return arrays

    @cached_property
    def prepared(self) -> tuple[torch.Tensor, ...] | None:
        """What the user tower reads of each item, made once; None for a large catalogue."""
        model = self.towers.model
        if self.items.rows * model.dim > _PREPARED:
            return None
        with torch.no_grad():
            return model.users.prepared(self.items)

    @cached_property
    def item_vectors(self) -> F32:
        """Vectors of the same items, float32 (n, dim)."""
        return self.catalogue.items.vectors

    def values(self, rows: Rows, labels: F64 | None, duration: F64 | None = None) -> F64:
        """Return what interactions count in a history, 1 for items without a label; see `history_grades`."""
        if labels is not None and not np.isfinite(labels).any():
            labels = None
        if labels is not None:
            self._check_labelled()
        rule, objective = self.training.positive, self.training.objective
        return history_grades(rule, objective, labels, self._durations(rows, duration), len(rows))

    def vectors(self, asked: RowQueries) -> F32:
        """Read the histories of all queries in one pass, but of those whose vectors are known."""
        vectors = self.catalogue.users.vectors[asked.rows]
        if not asked.known.all():
            vectors[~asked.known] = self.typical
        if asked.at is None and not len(asked.values) and asked.features is None and asked.context is None:
            return vectors
        past, as_trained = self.past(asked)
        fresh = np.flatnonzero(asked.has_features | asked.in_context | ~as_trained)
        if len(fresh):
            past = past if len(fresh) == len(asked) else _of(past, fresh)
            vectors[fresh] = self._read(self._arrays(asked, fresh), past)
        return vectors

    def past(self, asked: RowQueries) -> tuple[Pairs, NDArray[np.bool_]]:
        """Return the history of each query, and whether it is that of the training set alone, bool (n,)."""
        seen, trained, n = self.interactions.items, self.interactions, len(asked)
        assert trained.grades is not None
        users = np.flatnonzero(asked.known)
        lists = Lists(seen.indptr, self._places).of(asked.rows[users])
        owner, place = users[lists.owners()], lists.values
        times = np.zeros(len(place)) if trained.times is None else trained.times[place]
        brought = np.isfinite(asked.values)
        by = asked.items.owners()[brought]
        own, untimed = self._times(asked, by, brought)
        counts = np.append(np.isfinite(times), np.ones(len(by), np.bool_))
        owner, times = np.append(owner, by), np.append(times, own)
        late = np.append(np.zeros(len(place), np.bool_), untimed)
        before = counts
        if asked.at is not None and trained.times is not None:
            before = counts & (late | ~(times >= asked.at[owner]))  # now is nan
        changed = counts & ~before
        changed[len(place) :] = before[len(place) :]
        as_trained = np.bincount(owner[changed], minlength=n) == 0
        order = np.lexsort((late, times, owner))
        order = order[before[order]]
        item = np.append(seen.values[place], asked.items.values[brought])[order]
        grade = np.append(trained.grades[place], asked.values[brought])[order]
        indptr = Lists.from_lengths(np.bincount(owner[order], minlength=n), item).indptr
        past = Pairs(indptr, item.astype(np.int32), grade.astype(np.float32), None, times[order])
        return past, as_trained

    def reasons(self, vector: F32, asked: RowQueries) -> Reasons:
        """Divide scores into the effects of leaving each item out, however often it is there.

        Of a tower that is linear in the history the effects add up, and the base is the score without a
        history. Of another one the base has also what the items do together. Items that the tower does not
        read, as too much came after them, are none.
        """
        past, _ = self.past(asked)
        read = past.item[-self.towers.model.users.max_history :]
        items = np.unique(read)
        effects = np.empty((len(items), len(vector)))
        if len(items):
            arrays = self._arrays(asked, np.zeros(1, np.int64))
            whole = self._read(arrays, past)
            for part in np.array_split(np.arange(len(items)), -(-len(items) * len(past) // _AT_ONCE)):
                kept = past.item != items[part, None]  # (items left out, entries)
                at = Lists.from_lengths(kept.sum(axis=1), np.nonzero(kept)[1])
                without = _entries(past, at)
                row = torch.zeros(len(part), dtype=torch.int64, device=arrays.warm.device)
                effects[part] = whole - self._read(arrays.take(row), without)

        def split(rows: Rows) -> tuple[F64, F64]:
            vectors = self.item_vectors[rows].astype(np.float64)
            parts = vectors @ effects.T
            return vectors @ vector - parts.sum(axis=1), parts

        return Reasons(items.astype(np.int64), split)

    def with_items(self, vectors: F32, duration: F64, arrays: SideArrays | None) -> Self:
        """Return histories that may have further items."""
        assert arrays is not None
        other = replace(self, catalogue=self._longer(duration))
        other.__dict__["items"] = SideArrays.joined([self.items, arrays])
        other.__dict__["item_vectors"] = np.concatenate([self.item_vectors, vectors])
        other.__dict__["typical"] = self.typical
        if self.prepared is not None:
            with torch.no_grad():
                own = self.towers.model.users.prepared(arrays)
            assert own is not None
            other.__dict__["prepared"] = tuple(map(torch.cat, zip(self.prepared, own, strict=True)))
        return other

    @cached_property
    def typical(self) -> F32:
        """The mean of the trained users' vectors, float32 (dim,)."""
        users = self.catalogue.users
        mean: F32 = users.vectors[users.warm].mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    @cached_property
    def _places(self) -> Rows:
        """Where each entry of the interactions is."""
        return np.arange(len(self.interactions.items.values))

    @cached_property
    def _latest(self) -> float:
        """The last time of the training set."""
        times = self.interactions.times
        return 0.0 if times is None or not np.isfinite(times).any() else float(np.nanmax(times))

    def _times(
        self, asked: RowQueries, by: Rows, brought: NDArray[np.bool_]
    ) -> tuple[F64, NDArray[np.bool_]]:
        """Return the times of what queries bring, and which of them were not said.

        Those are when the query is asked, which for now is the end of the training set, or of what the query
        brings, if that is later.
        """
        if self.interactions.times is None:
            return np.zeros(len(by)), np.ones(len(by), np.bool_)
        times = np.full(len(by), np.nan) if asked.times is None else asked.times[brought]
        untimed = np.isnan(times)
        if untimed.any():
            now = np.full(len(asked), self._latest)
            np.maximum.at(now, by[~untimed], times[~untimed])
            if asked.at is not None:
                now = np.where(np.isnan(asked.at), now, asked.at)
            times = np.where(untimed, now[by], times)
        return times, untimed

    def _arrays(self, asked: RowQueries, places: Rows) -> SideArrays:
        """Return what the user tower reads of some queries, but for their histories."""
        arrays, context = self._features(asked, places), asked.context
        if context is None:
            return arrays
        return replace(arrays, context=context.take(torch.from_numpy(places).to(context.warm.device)))

    def _features(self, asked: RowQueries, places: Rows) -> SideArrays:
        users, rows = self.catalogue.users.arrays, asked.rows[places]
        assert users is not None
        device = users.warm.device
        known = rows >= 0
        if known.all():
            return users.take(torch.from_numpy(rows).to(device))
        nobody = self.towers.nobody
        sources = [users, nobody] if asked.features is None else [users, nobody, asked.features]
        at = np.full(len(asked), users.rows)  # nobody's row
        at[asked.known] = asked.rows[asked.known]
        at[asked.described] = users.rows + 1 + np.arange(len(asked.described))
        parts, order = [], []
        first = 0
        for source in sources:
            own = np.flatnonzero((at[places] >= first) & (at[places] < first + source.rows))
            parts.append(source.take(torch.from_numpy(at[places][own] - first).to(device)))
            order.append(own)
            first += source.rows
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(device)
        return SideArrays.joined(parts).take(back)

    def _read(self, arrays: SideArrays, past: Pairs) -> F32:
        return self.towers.vectors(
            replace(arrays, history=History.of(past, self.items, self.prepared)), "users"
        )


def past_of(interactions: Interactions) -> Pairs:
    """Return the histories of the training set's users: what has a time, if times are needed."""
    assert interactions.grades is not None
    seen, times = interactions.items, interactions.times
    times = np.zeros(len(seen.values)) if times is None else times
    kept = np.isfinite(times)
    items = seen.where(kept)
    return Pairs(items.indptr, items.values, interactions.grades[kept], None, times[kept])


def _of(past: Pairs, rows: Rows) -> Pairs:
    """Return the histories of some rows."""
    return _entries(past, Lists(past.indptr, np.arange(len(past))).of(rows))


def _entries(past: Pairs, at: Lists) -> Pairs:
    """Return histories that consist of entries of others, which ``at`` has the places of."""
    assert past.time is not None
    places = at.values
    return Pairs(at.indptr, past.item[places], past.label[places], None, past.time[places])
