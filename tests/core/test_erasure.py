"""Deletions of several stores."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from twotower.core.erasure import Erased, Erasures, keyed


def deleted(store: str, **users: int) -> Erasures:
    """Return a store's deletions: of each user the place of the last event then."""
    every = [Erased(n, keyed(store, user), place, 1, 0.0) for n, (user, place) in enumerate(users.items(), 1)]
    return Erasures(store, every, store)


def places(of: Erasures) -> dict[str, int]:
    users = pl.Series(["ann", "bob", "eve"])
    return dict(zip(users, of.places(users).tolist(), strict=True))


A, B, NONE = deleted("a", ann=7), deleted("b", bob=3), deleted("b")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (A, {"ann": 7, "bob": -1, "eve": -1}),
        (A.joined(B), {"ann": 0, "bob": 3, "eve": -1}),  # places are those of the later store
        (A.joined(NONE), {"ann": 0, "bob": -1, "eve": -1}),  # in which nobody was deleted
        (A.joined(NONE).joined(deleted("a", ann=7, eve=9)), {"ann": 7, "bob": -1, "eve": 9}),
        (A.joined(Erasures()), {"ann": 7, "bob": -1, "eve": -1}),
        (Erasures().joined(A), {"ann": 7, "bob": -1, "eve": -1}),
        (A.joined(B).lacking_in(A), {"ann": -1, "bob": 3, "eve": -1}),
        (A.joined(B).lacking_in(B), {"ann": 0, "bob": -1, "eve": -1}),
        (A.joined(B).lacking_in(A.joined(B)), {"ann": -1, "bob": -1, "eve": -1}),
    ],
)
def test_who_was_deleted_from_any_store_is_known(found: Erasures, expected: dict[str, Any]) -> None:
    assert places(found) == expected
    assert bool(found) == any(place >= 0 for place in expected.values())
    assert places(Erasures.of(found.state)) == expected
