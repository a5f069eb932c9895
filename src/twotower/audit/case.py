"""`Case`: the data that the checks examine, and statistics that several of them share.

Counts and means by user and item include every row. More expensive statistics use a sample of the training
rows, every k-th; `Case.sampled` says so in the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from twotower.audit.feature_table import FeatureTable
from twotower.audit.statistics import Codes, Floats
from twotower.config import Config
from twotower.config.schema import Schema
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.duplicates import deduplicate
from twotower.data.durations import durations
from twotower.data.splits.split import WHOLE
from twotower.data.splitting import alike
from twotower.datasets.configured import cut
from twotower.errors import TwoTowerError

SAMPLE = 500_000
"""Maximum number of rows of a set that are examined one by one."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A sample of n interactions of a set.

    Attributes:
        user: (n,) row in the users table, -1 if the user is not in it.
        item: (n,) row in the items table.
        label: (n,) labels; nan without a label role.
        time: (n,) seconds since 1970; nan where missing.
        duration: (n,) duration of the item, nan where missing.
        step: every ``step``-th row was taken.
    """

    user: Codes
    item: Codes
    label: Floats
    time: Floats
    duration: Floats
    step: int

    def of(self, side: FeatureTable) -> Codes:
        """Return the row in the users or items table, (n,)."""
        return self.user if side.role == "user" else self.item

    @property
    def sampled(self) -> str:
        """A note for the evidence, if this is a sample."""
        return f" (of every {self.step}th row)" if self.step > 1 else ""


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts and mean labels of the n users (or items) of a table, by set.

    Attributes:
        count: set -> (n,) number of interactions.
        total: set -> (n,) sum of the labels.
    """

    count: Mapping[str, Floats]
    total: Mapping[str, Floats]

    def counts(self, *parts: str) -> Floats:
        """Return the (n,) numbers of interactions in some sets; by default in all."""
        total: Floats = np.sum([self.count[part] for part in parts or self.count], axis=0)
        return total

    def means(self, *parts: str) -> Floats:
        """Return the (n,) mean labels in some sets; nan where there are no interactions."""
        count = self.counts(*parts)
        total = np.sum([self.total[part] for part in parts or self.total], axis=0)
        means: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return means


class Case:
    """The data of a config, raw and after the split.

    Args:
        config: the config.
        files: what `twotower.datasets.configured.read_raw` returned for it.

    Attributes:
        config: as given.
        files: as given, with ids of one dtype.
        repeats: how contradicting rows are merged.
        unique: the files without duplicates, and with contradicting rows merged.
        parts: ``train``, ``validation`` and ``test``. If the config's split fails, they are the files.
        fault: why the split failed, or None.
    """

    def __init__(self, config: Config, files: Mapping[str, Dataset]) -> None:
        self.config = config
        self.files = dict(zip(files, alike(list(files.values())), strict=True))
        rule = config.data.repeats
        self.repeats = "max" if rule == "refuse" else rule  # a refused split is a finding
        self.unique = {name: deduplicate(data, self.repeats) for name, data in self.files.items()}
        self.fault: str | None = None
        try:
            cutting = cut(config, self.unique)
            self.parts = {"train": cutting.train, "validation": cutting.validation, "test": cutting.test}
        except TwoTowerError as error:
            self.fault = str(error)
            whole = next(iter(self.unique.values()))
            self.parts = {"train": whole, "test": self.unique.get("test", whole)}
        self._samples: dict[str, Rows] = {}
        self._tallies: dict[str, Tally] = {}

    @property
    def schema(self) -> Schema:
        """The schema."""
        return next(iter(self.files.values())).schema

    @cached_property
    def sides(self) -> tuple[FeatureTable, FeatureTable]:
        """The users and the items."""
        data, schema = next(iter(self.files.values())), self.schema
        return (
            FeatureTable("users", "user", schema.user, schema.users, data.users),
            FeatureTable("items", "item", schema.item, schema.items, data.items),
        )

    def path(self, name: str) -> str:
        """Return the name of the file of a set, for messages."""
        split, data = self.config.split, self.config.data
        if split.column is not None and name not in ("users", "items"):
            return f"{name} (rows of {(data.interactions or '').rsplit('/', 1)[-1]})"
        given = {
            "train": split.train,
            "test": split.test if isinstance(split.test, str) else None,
            "validation": split.validation if isinstance(split.validation, str) else None,
            WHOLE: data.interactions,
            "users": data.users,
            "items": data.items,
        }[name]
        return name if given is None else f"{name} ({given.rsplit('/', 1)[-1]})"

    def labels(self, part: str) -> Floats:
        """Return all labels of a set, (n,); empty without a label role."""
        if self.schema.label is None:
            return np.zeros(0)
        return self.parts[part].interactions.get_column(self.schema.label).to_numpy()

    def sample(self, part: str) -> Rows:
        """Return at most `SAMPLE` rows of a set, equally spaced."""
        if part not in self._samples:
            self._samples[part] = self._take(self.parts[part])
        return self._samples[part]

    def tally(self, side: FeatureTable) -> Tally:
        """Return counts and mean labels of each row of the users or items table, over every interaction."""
        if side.name not in self._tallies:
            self._tallies[side.name] = self._count(side)
        return self._tallies[side.name]

    @cached_property
    def centres(self) -> Mapping[str, Floats]:
        """Users and items -> the (n,) mean training label of each row, beyond what the other table explains.

        Labels are clipped at their 0.5% and 99.5% quantiles. nan where there are no interactions, or no
        label.
        """
        rows = self.sample("train")
        if not np.isfinite(rows.label).any():
            return {side.name: np.full(side.table.height, np.nan) for side in self.sides}
        y = np.clip(rows.label, *np.quantile(rows.label, (0.005, 0.995)))
        y = y - y.mean()
        # the last one: no such row
        effects = {side.name: np.zeros(side.table.height + 1) for side in self.sides}
        counts = {side.name: np.zeros(0) for side in self.sides}
        for _ in range(3):  # alternating means; after three rounds the error is far below the noise
            for side, other in (self.sides, self.sides[::-1]):
                rest = y - effects[other.name][rows.of(other)]
                at = rows.of(side) % (side.table.height + 1)
                counts[side.name] = np.bincount(at, minlength=side.table.height + 1).astype(np.float64)
                sums = np.bincount(at, weights=rest, minlength=side.table.height + 1)
                effects[side.name] = sums / np.maximum(counts[side.name], 1)
        return {name: np.where(counts[name] > 0, values, np.nan)[:-1] for name, values in effects.items()}

    def _take(self, data: Dataset) -> Rows:
        step = -(-len(data) // SAMPLE)
        some = data.with_interactions(data.interactions.gather_every(step))
        schema, events = self.schema, some.interactions

        def column(name: str | None) -> Floats:
            if name is None:
                return np.full(events.height, np.nan)
            values: Floats = events.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
            return values

        length = durations(some)
        users, items = self.sides
        return Rows(
            users.rows_of(events.get_column(users.ids)),
            items.rows_of(events.get_column(items.ids)),
            column(schema.label),
            column(schema.timestamp),
            np.full(events.height, np.nan) if length is None else length,
            step,
        )

    def _count(self, side: FeatureTable) -> Tally:
        label = self.schema.label
        count: dict[str, Floats] = {}
        total: dict[str, Floats] = {}
        for name, part in self.parts.items():
            sums = pl.lit(0.0) if label is None else pl.col(label).sum()
            found = part.interactions.group_by(side.ids).agg(pl.len().alias("n"), sums.alias("sum"))
            at = Vocabulary(found.get_column(side.ids))
            for kept, column in ((count, "n"), (total, "sum")):
                values = found.get_column(column).cast(pl.Float64).to_numpy()
                kept[name] = at.take(values, side.table.get_column(side.ids), 0.0)
        return Tally(count, total)
