"""`Traffic`: which of several models answers which user."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twotower.errors import ConfigError, nearest


@dataclass(frozen=True)
class Traffic:
    """Shares of the users, by a stable hash.

    A user stays with a model for as long as the salt and the shares are the same, on every server and after
    every restart. If a share grows, only users of models that lose some move.

    Attributes:
        shares: percent of the users by name of the model, at least one above 0; they sum to 100.
        salt: changes who gets which model; take another one for another experiment.

    Raises:
        ConfigError: the shares are not percentages, or don't sum to 100.
    """

    shares: Mapping[str, float]
    salt: str = ""

    def __post_init__(self) -> None:
        given = ", ".join(f"{name} {share:g}" for name, share in self.shares.items())
        if not all(0.0 <= share <= 100.0 for share in self.shares.values()):
            raise ConfigError(f"shares must be percentages from 0 to 100, got {given}")
        if not math.isclose(math.fsum(self.shares.values()), 100.0, abs_tol=1e-6):
            raise ConfigError(f"shares must sum to 100, got {given}")

    @classmethod
    def of(cls, shares: Mapping[str, float], names: Sequence[str], salt: str) -> Traffic:
        """Build from the shares of some models; the others get 0.

        Raises:
            ConfigError: a model is unknown, or a share is out of range.
        """
        for name in shares:
            if name not in names:
                raise ConfigError(
                    f"there is no model {name!r}; there are {', '.join(names)}.{nearest(name, names)}"
                )
        return cls({name: float(shares.get(name, 0.0)) for name in names}, salt)

    def model_of(self, user: str) -> str:
        """Return the name of the model that answers a user.

        The hash is SHA-256 of salt and user, its first 8 bytes as a part of 1: the first model has the lowest
        part, as large as its share, and so on.
        """
        digest = hashlib.sha256(f"{self.salt}:{user}".encode("utf-8", "surrogateescape")).digest()
        place, end, last = int.from_bytes(digest[:8], "big") / 2**64 * 100.0, 0.0, ""
        for name, share in self.shares.items():
            if share > 0.0:
                end, last = end + share, name
                if place < end:
                    return name
        return last  # the sum is a rounding below 100

    @property
    def largest(self) -> str:
        """The model with the largest share, which answers who has no id; the first one of several."""
        return max(self.shares, key=lambda name: self.shares[name])

    @property
    def split(self) -> bool:
        """Whether more than one model answers."""
        return sum(share > 0.0 for share in self.shares.values()) > 1

    def text(self) -> str:
        """Return the same text for the same shares and salt."""
        return json.dumps({"salt": self.salt, "shares": dict(self.shares)})
