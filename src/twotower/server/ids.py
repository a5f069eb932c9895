"""Ids as they come in JSON, in paths and from the store, and the rows they stand for."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from twotower.core.vocabulary import Vocabulary
from twotower.server.errors import ApiError, shown

Id = int | str


@dataclass(frozen=True, eq=False, repr=False)
class Ids(Vocabulary):
    """The ids of one side of a model.

    Attributes:
        what: "user" or "item".
    """

    what: str

    def new(self, given: Id, longest: int, where: str | None = None) -> Id:
        """Return an id that the model need not know as it writes it, or refuse one that can't be one.

        Raises:
            ApiError: it is empty, too long, or holds control characters.
        """
        name: Id = self.native(given)
        if name in self.index:
            return name
        text, at = str(name), f"{where}: " if where else ""
        if not 1 <= len(text) <= longest:
            raise ApiError(
                422, f"{at}a new {self.what}'s id must have 1 to {longest} characters, got {len(text)}", where
            )
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise ApiError(
                422, f"{at}a new {self.what}'s id must hold no control characters, got {shown(text)}", where
            )
        return name
