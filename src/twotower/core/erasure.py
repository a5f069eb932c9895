"""Records of users that were deleted: keyed hashes of their ids."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """

    key: str = ""
    users: Sequence[Erased] = ()
    store: str = ""

    @property
    def last(self) -> int:
        """The number of the last deletion; 0 without any."""
        return max((one.number for one in self.users), default=0)

    def after(self, number: int) -> Erasures:
        """Return those with a higher number."""
        return Erasures(self.key, [one for one in self.users if one.number > number], self.store)

    def places(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return for each of n ids the place of the last event at its deletion, int64 (n,); -1 if it was not
        deleted."""
        if not self.users:
            return np.full(len(ids), -1)
        last = {one.digest: one.place for one in self.users}
        distinct = ids.unique().to_list()
        found = {one: last.get(keyed(self.key, str(one)), -1) for one in distinct}
        return np.array([found[one] for one in ids.to_list()], dtype=np.int64)

    @property
    def state(self) -> dict[str, Any]:
        """The records as JSON values."""
        return {"key": self.key, "store": self.store, "users": [asdict(one) for one in self.users]}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Return the records that `state` gave."""
        return cls(state["key"], [Erased(**one) for one in state["users"]], state["store"])


def keyed(key: str, user: str) -> str:
    """Return the hash of a user's id: without the key nobody can tell whose it is."""
    return hmac.new(key.encode(), user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def new_key() -> str:
    """Return a key for the hashes of ids."""
    return secrets.token_hex(32)
