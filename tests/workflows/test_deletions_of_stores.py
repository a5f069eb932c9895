"""Events of two stores, in any order, with deletions in each: against a model that keeps a list of rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.config.schema import Schema
from twotower.core.erasure import Erased, Erasures, keyed
from twotower.data.dataset import Dataset
from twotower.data.later import with_later
from twotower.data.splitting import Parts
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.workflows.event_table import PLACE, EventTable

USERS, STAYS = (1, 2), 9
SCHEMA = Schema(user="user", item="item", timestamp="at")


class Row(NamedTuple):
    user: int
    item: int
    store: str
    place: int


def frame(rows: list[Row]) -> pl.DataFrame:
    columns = {"user": [row.user for row in rows], "item": [row.item for row in rows]}
    types = {"user": pl.Int64, "item": pl.Int64, "at": pl.Float64, PLACE: pl.Int64}
    at, place = [float(row.item) for row in rows], [row.place for row in rows]
    return pl.DataFrame({**columns, "at": at, PLACE: place}, schema=types)


@dataclass
class Store:
    """A store of events as a server keeps it: it deletes rows, and records whose."""

    name: str
    place: int = 0
    rows: list[Row] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, user: int, item: int) -> None:
        self.place += 1
        self.rows.append(Row(user, item, self.name, self.place))

    def delete(self, user: int) -> None:
        self.rows = [row for row in self.rows if row.user != user]
        self.gone.append(user)
        self.places.append(self.place)

    @property
    def erasures(self) -> Erasures:
        deleted = enumerate(zip(self.gone, self.places, strict=True), 1)
        users = [Erased(n, keyed(self.name, str(user)), place, 0, 0.0) for n, (user, place) in deleted]
        return Erasures(self.name, users, self.name)

    def exported(self, after: TrainedUpTo) -> EventTable:
        rows = [row for row in self.rows if row.place > after.stores.get(self.name, 0)]
        mark = TrainedUpTo({self.name: self.place}, None, {self.name: len(self.gone)})
        return EventTable(frame(rows), mark, erasures=self.erasures).without_erased("user")


def trained(base: list[Row], table: EventTable) -> set[tuple[int, int]]:
    """Return user and item of each row that a model is trained on."""
    users, items = pl.DataFrame({"user": [*USERS, STAYS]}), pl.DataFrame({"item": list(range(99))})
    of = Dataset(frame(base).drop(PLACE), users, items, SCHEMA)
    empty = replace(of, interactions=of.interactions.clear())
    own = table.without_erased("user")
    found = with_later(Parts(of.as_train(), empty, empty), own.interactions.drop(PLACE), (), own.erasures)
    return set(found.train.interactions.select("user", "item").iter_rows())


SOME = st.lists(st.sampled_from(USERS), max_size=2)
STEP = st.tuples(st.sampled_from("AB"), SOME, st.sampled_from((None, *USERS)), SOME, st.booleans())


@settings(max_examples=80)
@given(st.lists(STEP, min_size=2, max_size=7))
def test_who_was_deleted_is_nowhere_and_keeps_what_came_later(
    steps: list[tuple[str, list[int], int | None, list[int], bool]],
) -> None:
    """Each step adds events to a store, deletes a user, adds some more, and then continues the run, or
    deletes the user from it."""
    base = [Row(user, n, "", 0) for n, user in enumerate((*USERS, STAYS))]
    stores, known, mark = {name: Store(name) for name in "AB"}, None, TrainedUpTo()
    expected, read, last = list(base), {"A": 0, "B": 0}, {"A": 0, "B": 0}  # deletions and events so far
    items = count(len(base))
    for name, before, deleted, after, forgets in steps:
        store = stores[name]
        for user in before:
            store.add(user, next(items))
        if deleted is not None:
            store.delete(deleted)
        for user in after:
            store.add(user, next(items))
        if not forgets and (new := store.exported(mark).after(mark)).interactions.height:
            known = (new if known is None else known.joined(new, "user")).without_erased("user")
            mark = mark.joined(new.mark)
        elif forgets and known is not None and (pending := mark.pending(store.erasures)).users:
            nothing = EventTable(known.interactions.clear(), TrainedUpTo(), erasures=pending)
            known, mark = known.joined(nothing, "user"), mark.without(pending)
        else:
            continue
        for gone, place in list(zip(store.gone, store.places, strict=True))[read[name] :]:
            expected = [
                row for row in expected if row.user != gone or (row.store == name and row.place > place)
            ]
        read[name] = len(store.gone)
        if not forgets:
            expected += [row for row in store.rows if row.place > last[name]]
            last[name] = store.place
        assert trained(base, known) == {(row.user, row.item) for row in expected}
