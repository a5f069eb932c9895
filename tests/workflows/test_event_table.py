"""Events of two stores in one table, and who of them was deleted."""

from __future__ import annotations

import polars as pl

from twotower.core.erasure import Erased, Erasures, keyed
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.workflows.event_table import PLACE, EventTable


def table(store: str, *events: tuple[str, int], deleted: dict[str, int] | None = None) -> EventTable:
    """Return a store's events, user and place of each, and the last place of each deleted user."""
    rows = pl.DataFrame(events, {"person": pl.String, PLACE: pl.Int64}, orient="row")
    users = enumerate((deleted or {}).items(), 1)
    every = [Erased(n, keyed(store, user), place, 1, 0.0) for n, (user, place) in users]
    last = max((place for _, place in events), default=0)
    return EventTable(rows, TrainedUpTo({store: last}), erasures=Erasures(store, every, store))


def left(*tables: EventTable) -> list[str]:
    """Return the users of the events that are left after one table was joined after another."""
    found, *later = tables
    for more in later:
        found = found.joined(more, "person").without_erased("person")
    return found.interactions["person"].to_list()


A = table("a", ("ann", 2), ("bob", 4), ("ann", 6))
B = table("b", ("ann", 1), ("eve", 2))


def test_the_same_store_deletes_what_was_before() -> None:
    assert left(A, table("a", ("eve", 8), deleted={"ann": 4})) == ["bob", "ann", "eve"]
    assert left(A, table("a", ("ann", 8), deleted={"ann": 6})) == ["bob", "ann"]


def test_another_store_deletes_all_from_before_and_its_own_up_to_then() -> None:
    assert left(A, table("b", ("ann", 5), ("bob", 9), deleted={"ann": 1, "bob": 9})) == ["ann"]


def test_numbers_of_one_store_mean_nothing_in_another() -> None:
    """The second store deletes ann at its event 1; those of the first have higher numbers, and go too."""
    assert left(A, B, table("b", deleted={"ann": 1})) == ["bob", "eve"]
    assert left(A, B, table("b", ("ann", 3), deleted={"ann": 1})) == ["bob", "eve", "ann"]


def test_who_was_deleted_from_the_first_store_stays_deleted() -> None:
    files = EventTable(A.interactions.with_columns(pl.lit(None, pl.Int64).alias(PLACE)), TrainedUpTo())
    gone = table("a", deleted={"ann": 6}).joined(B, "person")
    assert gone.interactions["person"].to_list() == ["ann", "eve"]  # ann came back in the second one
    assert files.joined(gone, "person").interactions["person"].to_list() == ["bob", "ann", "eve"]


def test_a_deletion_without_events_leaves_the_numbers_of_the_first_store() -> None:
    none = table("b", deleted={"bob": 1})
    assert left(A, none) == ["ann", "ann"]
    assert left(A, none, table("a", deleted={"ann": 4})) == ["ann"]  # came back after that
