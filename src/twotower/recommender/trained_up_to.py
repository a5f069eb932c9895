"""`TrainedUpTo`: which events a model was trained on, so that a server does not count them again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from twotower.core.erasure import Erasures
from twotower.errors import BundleError

FACT: Final = "trained_up_to"
"""Key of a bundle's manifest, and of the metadata of an exported table of events."""


@dataclass(frozen=True)
class TrainedUpTo:
    """What a training set has of event stores, and how late its interactions are.

    A store numbers its events as they are kept, and never gives a number twice. So the number says what was
    exported, whatever times clients sent and however late they sent them.

    Attributes:
        stores: name of a store's data -> number of the last event that the training set may have.
        time: of the last interaction, seconds since 1970; None without times.
        erased: name of a store's data -> number of the last user deleted there whom it no longer has.
    """

    stores: Mapping[str, int] = field(default_factory=dict)
    time: float | None = None
    erased: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Any]:
        """The mark as JSON values."""
        return {"stores": dict(self.stores), "time": self.time, "erased": dict(self.erased)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Return the mark among the facts of a bundle; an empty one if it has none, as earlier bundles.

        Raises:
            BundleError: it is not one.
        """
        given = facts.get(FACT)
        if given is None:
            return cls()
        try:
            moment, stores, erased = given["time"], given["stores"], given["erased"]
            numbers = [*stores.values(), *erased.values()]
            right = all(type(number) is int and number >= 0 for number in numbers)
            if moment is not None:
                moment = float(moment)
                right = right and math.isfinite(moment)
        except (KeyError, TypeError, ValueError, AttributeError):
            right = False
        if not right:
            raise BundleError(
                f"{FACT!r} must have the last event of each store and a time, got {given!r:.80}"
            )
        return cls(dict(stores), moment, dict(erased))

    def joined(self, other: TrainedUpTo) -> TrainedUpTo:
        """Return the mark of both training sets together."""
        times = [one.time for one in (self, other) if one.time is not None]
        stores, erased = (
            {name: max(own.get(name, 0), more.get(name, 0)) for name in {**own, **more}}
            for own, more in ((self.stores, other.stores), (self.erased, other.erased))
        )
        return TrainedUpTo(stores, max(times, default=None), erased)

    def pending(self, erasures: Erasures) -> Erasures:
        """Return the deletions since, of users whom the model may still have."""
        return erasures.after(self.erased.get(erasures.store, 0))

    def without(self, erasures: Erasures) -> TrainedUpTo:
        """Return the mark of the model once these deleted users are out of it."""
        return self.joined(TrainedUpTo(erased={erasures.store: erasures.last}))

    def may_have(self, store: str, number: int, time: float) -> bool:
        """Return whether the training set may have an event.

        Args:
            store: name of the store's data.
            number: of the event there.
            time: of the event, seconds since 1970.
        """
        if store in self.stores:
            return number <= self.stores[store]
        return self.time is not None and time <= self.time
