"""`Case`: what the checks look at, and the statistics that several of them share.

Counts and means by user and item are of every row. What needs more work a row is done on a sample of the
train rows, every k-th of them; `Case.sampled` says so in the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from twotower.config import Config
from twotower.data.audit.feature_table import FeatureTable
from twotower.data.audit.statistics import Codes, Floats
from twotower.data.configured import WHOLE, cut
from twotower.data.dataset import Dataset
from twotower.data.duplicates import deduplicate
from twotower.data.durations import durations
from twotower.data.splitting import alike
from twotower.errors import TwoTowerError
from twotower.schema import Schema

SAMPLE = 500_000
"""Rows of a part that are looked at one by one, at most."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A sample of n interactions of a part.

    Attributes:
        user: (n,) row in the users table, -1 where the user is not in it.
        item: (n,) row in the items table.
        label: (n,) labels; nan without a label role.
        time: (n,) seconds since 1970; nan where missing.
        duration: (n,) duration of the item, nan where missing.
        step: every how many rows one was taken.
    """

    user: Codes
    item: Codes
    label: Floats
    time: Floats
    duration: Floats
    step: int

    def of(self, side: FeatureTable) -> Codes:
        """Return the row in a side's table, (n,)."""
        return self.user if side.role == "user" else self.item

    @property
    def sampled(self) -> str:
        """Say for the evidence that this is a sample, if it is one."""
        return f" (of every {self.step}th row)" if self.step > 1 else ""


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts and mean labels of the n users (or items) of a table, by part.

    Attributes:
        count: by part, (n,) number of interactions.
        total: by part, (n,) sum of the labels.
    """

    count: Mapping[str, Floats]
    total: Mapping[str, Floats]

    def counts(self, *parts: str) -> Floats:
        """Return the (n,) numbers of interactions in some parts; in all when none is named."""
        total: Floats = np.sum([self.count[part] for part in parts or self.count], axis=0)
        return total

    def means(self, *parts: str) -> Floats:
        """Return the (n,) mean labels in some parts; nan where there are no interactions."""
        count = self.counts(*parts)
        total = np.sum([self.total[part] for part in parts or self.total], axis=0)
        means: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return means


class Case:
    """The data of a config as it is in its files and as it is after the split.

    Args:
        config: what is to be trained.
        files: what `twotower.data.configured.read_raw` gave for it.

    Attributes:
        config: as given.
        files: as given, with ids of one dtype.
        repeats: what becomes of rows that contradict each other.
        unique: the files without copies, and without rows that contradict each other.
        parts: ``train``, ``validation`` and ``test``. Where the config's split fails they are the files.
        fault: why the split failed, or none.
    """

    def __init__(self, config: Config, files: Mapping[str, Dataset]) -> None:
        self.config = config
        self.files = dict(zip(files, alike(list(files.values())), strict=True))
        rule = config.data.repeats
        self.repeats = "max" if rule == "refuse" else rule  # what is refused is a finding
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
        """What the columns are."""
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
        """Return what to call the file of a part in a message."""
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
        """Return every label of a part, (n,); empty without a label role."""
        if self.schema.label is None:
            return np.zeros(0)
        return self.parts[part].interactions.get_column(self.schema.label).to_numpy()

    def sample(self, part: str) -> Rows:
        """Return at most `SAMPLE` rows of a part, equally spaced."""
        if part not in self._samples:
            self._samples[part] = self._take(self.parts[part])
        return self._samples[part]

    def tally(self, side: FeatureTable) -> Tally:
        """Return counts and mean labels of each row of a side's table, over every interaction."""
        if side.name not in self._tallies:
            self._tallies[side.name] = self._count(side)
        return self._tallies[side.name]

    @cached_property
    def centres(self) -> Mapping[str, Floats]:
        """By side, the (n,) mean train label of each row of its table, beyond what the other side explains.

        Labels are cut at their 0.5% and 99.5% quantiles. nan where there are no interactions, or no label.
        """
        rows = self.sample("train")
        if not np.isfinite(rows.label).any():
            return {side.name: np.full(side.table.height, np.nan) for side in self.sides}
        y = np.clip(rows.label, *np.quantile(rows.label, (0.005, 0.995)))
        y = y - y.mean()
        effects = {side.name: np.zeros(side.table.height + 1) for side in self.sides}  # the last: no such row
        counts = {side.name: np.zeros(0) for side in self.sides}
        for _ in range(3):  # alternating means; what is left after three rounds is far below the noise
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
        count, total = {}, {}
        known = side.table.select(side.ids)
        for name, part in self.parts.items():
            sums = pl.lit(0.0) if label is None else pl.col(label).sum()
            found = part.interactions.group_by(side.ids).agg(pl.len().alias("n"), sums.alias("sum"))
            placed = known.join(found, on=side.ids, how="left", maintain_order="left")
            count[name] = placed.get_column("n").fill_null(0).cast(pl.Float64).to_numpy()
            total[name] = placed.get_column("sum").fill_null(0.0).cast(pl.Float64).to_numpy()
        return Tally(count, total)
