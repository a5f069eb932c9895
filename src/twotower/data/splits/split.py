"""`Split`: a way to divide interactions into training, validation and test set.

Most methods are a `HoldOut`: they choose rows of one table, first for the test set, then with another stream
of the same seed for the validation set. The others read sets that the data comes with.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from twotower.config.sections import SplitConfig, SplitMethod
from twotower.data.dataset import Dataset

Rows = npt.NDArray[np.bool_]

WHOLE: Final = "interactions"
"""Name of the interactions before anything is held out."""

Read = Callable[[str | None], Dataset]
"""Reads the interactions of a file, or with None those of the config."""


class Split(SplitMethod):
    """A way to divide interactions into sets. Subclass `HoldOut` for one of your own."""

    @classmethod
    def of(cls, settings: SplitConfig) -> Self:
        """Return the method with the settings of a config."""
        del settings
        return cls()

    @abstractmethod
    def sets(self, read: Read) -> Mapping[str, Dataset]:
        """Read the data.

        Args:
            read: reads the rows of a file (a path, or another name of it), or of the config with None.

        Returns:
            `WHOLE` alone, or ``train``, ``test`` and perhaps ``validation``.
        """

    @classmethod
    @abstractmethod
    def described(cls, settings: SplitConfig) -> str:
        """Return the settings in words, for the report."""


class HoldOut(Split):
    """Chooses rows of one table to hold out.

    A method of your own is a subclass with `hold_out`. Give an object of it to `split`, or register the class
    by a name (`SPLITS.register`, or an entry point in the group ``twotower.split``) to use the name as
    ``split.method``; it is then made without arguments.
    """

    share_of: ClassVar[Literal["rows", "timed rows", "users", "items", "nothing"]] = "rows"
    """What the share is a share of."""
    rows_in_order: ClassVar[bool] = True
    """Whether the choice depends on the order of the rows, for rows of one user that differ in their time."""

    @abstractmethod
    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows to hold out.

        Args:
            data: n interactions, without duplicates.
            share: of the rows (or users, or items) to hold out, between 0 and 1.
            rng: the only source of randomness.

        Returns:
            (n,) true for the interactions to hold out.
        """

    def folds(self, data: Dataset, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64] | None:
        """Return the fold of each of n rows, (n,) from 0, for `cross_validate`; None if it makes none."""
        return None

    @classmethod
    def makes_folds(cls) -> bool:
        """Return whether it divides rows into folds."""
        return cls.folds is not HoldOut.folds

    def sets(self, read: Read) -> Mapping[str, Dataset]:
        """Read all rows; see `Split.sets`."""
        return {WHOLE: read(None)}

    @classmethod
    def described(cls, settings: SplitConfig) -> str:
        """Return the shares in words."""
        if cls.share_of == "nothing":
            return cls.name
        validation = settings.validation if settings.validation is not None else settings.test
        shares = [
            f"{name} {share:.0%}"
            for name, share in (("test", settings.test), ("validation", validation))
            if isinstance(share, float)
        ]
        return f"{cls.name}: {', '.join(shares)} of the rest"
