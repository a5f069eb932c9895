"""The named parts of a trained model: what it knows, what it has seen, and what it was trained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config import ObjectiveConfig
from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.recommender.side import Side
from twotower.targets.positive import PositiveRule
from twotower.towers.fold_in import FoldInSettings


@dataclass(frozen=True, repr=False)
class Catalogue(ShortRepr):
    """The users and items that a model knows, and what is shown of the items.

    Attributes:
        users: every user of the users table and of the training set.
        items: every item of the items table and of the training set.
        display: one row an item, in the order of ``items``: id and display columns.
        item_duration: float64 (items,), nan where not known; None without a duration in the items table.
    """

    users: Side
    items: Side
    display: pl.DataFrame
    item_duration: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(ShortRepr):
    """The training set, user by user.

    Attributes:
        items: the item rows of each user.
        labels: float32, the label of each entry of ``items``; None without labels.
    """

    items: Lists
    labels: NDArray[np.float32] | None


@dataclass(frozen=True, repr=False)
class Training(ShortRepr):
    """What a model was trained for, and how it went.

    Attributes:
        positive: which interactions count as positives.
        objective: what was minimised.
        fold_in: what folding in needs to know of the training.
        epochs: one record an epoch.
        exclude_seen: whether recommendations leave out a user's items of the training set by default.
    """

    positive: PositiveRule
    objective: ObjectiveConfig
    fold_in: FoldInSettings
    epochs: list[dict[str, Any]]
    exclude_seen: bool = True
