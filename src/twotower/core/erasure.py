"""Records of users that were deleted: keyed hashes of their ids."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Erased:
    """A record that a user was deleted, without the id.

    Attributes:
        number: rises from deletion to deletion.
        digest: keyed hash of the id, see `keyed`.
        place: of the last event of anyone at that moment.
        events: how many events the user had.
        time: when, seconds since 1970.
    """

    number: int
    digest: str
    place: int
    events: int
    time: float


@dataclass(frozen=True, slots=True)
class Erasures:
    """Users that were deleted.

    Attributes:
        key: of the hashes, made with the store.
        users: a record each, in the order of deletion.
        store: name of the store's data.
        others: those of other stores, whose events a run has too.
    """

    key: str = ""
    users: Sequence[Erased] = ()
    store: str = ""
    others: tuple[Erasures, ...] = ()

    @property
    def last(self) -> int:
        """The number of the last deletion; 0 without any."""
        return max((one.number for one in self.users), default=0)

    def after(self, number: int) -> Erasures:
        """Return those with a higher number."""
        return Erasures(self.key, [one for one in self.users if one.number > number], self.store)

    def places(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return for each of n ids the place of the last event at its deletion, int64 (n,); -1 if it was not
        deleted, 0 if it was from another store."""
        found = dict.fromkeys(ids.unique().to_list(), -1)
        for erasures in (*self.others, self):
            last = {one.digest: one.place if erasures is self else 0 for one in erasures.users}
            for one in found if last else ():
                found[one] = last.get(keyed(erasures.key, str(one)), found[one])
        return np.array([found[one] for one in ids.to_list()], dtype=np.int64)

    def lacking_in(self, known: Erasures) -> Erasures:
        """Return the deletions that `known` lacks."""
        had = {(of.store, one.number) for of in known._each() for one in of.users}
        left = [
            replace(of, users=[one for one in of.users if (of.store, one.number) not in had])
            for of in self._each()
        ]
        return replace(left[-1], others=tuple(left[:-1]))

    def joined(self, later: Erasures) -> Erasures:
        """Return the deletions of both; the places are those of the later one's store."""
        if not later.store:
            return self
        found: dict[str, Erasures] = {}
        for of in (*self._each(), *later._each()):
            before = found.get(of.store, of)
            users = {one.number: one for one in (*before.users, *of.users)}
            found[of.store] = Erasures(of.key, list(users.values()), of.store)
        last = found.pop(later.store)
        return replace(last, others=tuple(of for of in found.values() if of.users))

    def _each(self) -> tuple[Erasures, ...]:
        return (*self.others, replace(self, others=()))

    def __bool__(self) -> bool:
        """Whether anybody was deleted."""
        return any(of.users for of in (self, *self.others))

    @property
    def state(self) -> dict[str, Any]:
        """The records as JSON values."""
        users, others = [asdict(one) for one in self.users], [one.state for one in self.others]
        return {"key": self.key, "store": self.store, "users": users, "others": others}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Return the records that `state` gave."""
        users = [Erased(**one) for one in state["users"]]
        others = tuple(cls.of(one) for one in state.get("others", ()))
        return cls(state["key"], users, state["store"], others)


def keyed(key: str, user: str) -> str:
    """Return the hash of a user's id: without the key nobody can tell whose it is."""
    return hmac.new(key.encode(), user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def new_key() -> str:
    """Return a key for the hashes of ids."""
    return secrets.token_hex(32)
