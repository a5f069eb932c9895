"""`Metric` and its kinds: the class of a metric computes it, and says everything about it.

`RatingMetric` is of predicted labels, `RankingMetric` of each user's list and the relevant items,
`ListMetric` of each list alone, `CatalogueMetric` of all lists together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from twotower.errors import DataError
from twotower.metrics.checks import FloatArray, IntArray, checked_values

if TYPE_CHECKING:
    from twotower.data.dataset import Dataset
    from twotower.metrics.top_lists import Catalogue, TopLists


class Metric(ABC):
    """A metric. Derive a class of one's own from a kind of this module.

    Register the class in `METRICS` or give it to ``evaluate``; the attributes can be those of an object, too.

    Attributes:
        name: its key in results, followed by ``@k`` where lists are cut off.
        title: what people call it, as on the terminal; the name in words by default.
        heading: as the head of a column in a report; the title by default.
        meaning: what it is, in one line.
        undefined: what has no value, in one line.
        higher_is_better: its direction; None if neither is better.
        unit: ``"label"`` (the label's own), ``"share"`` (from 0 to 1), or another one in words.
        shown: its place in short tables, from 1, the main metric of predictions or lists; 0 for full tables
            only. Tables with several cut-offs have the first two at each of them, the others at the last.
        requires: what the data must have: a role of the schema (``"timestamp"``) or a column of a table
            (``"items.genre"``). Without it, a registered metric is left out, and one given is an error.
        cut: whether lists are cut off for it; else it is measured once, of the whole lists.
        cappable: whether it is also measured with label and prediction clipped to ``evaluation.cap``.
    """

    name: str
    title: str = ""
    heading: str = ""
    meaning: str = ""
    undefined: str = ""
    higher_is_better: bool | None = None
    unit: Literal["label", "share"] | str = "share"
    shown: int = 0
    requires: tuple[str, ...] = ()
    cut: bool = True
    cappable: bool = False

    def as_named(self, name: str) -> Self:
        """Return a copy with another name."""
        named = copy(self)
        named.name = name
        return named

    @property
    def called(self) -> str:
        """The title."""
        return self.title or self.name.replace("_", " ")

    @property
    def headline(self) -> bool:
        """Whether even the shortest tables have it."""
        return 0 < self.shown <= 2

    def better(self, value: float, than: float) -> bool:
        """Whether ``value`` is strictly better; nan is never better, and nothing is without a direction."""
        return value > than if self.higher_is_better else value < than and self.higher_is_better is False

    def lacking(self, data: Dataset) -> list[str]:
        """Return what data lacks of ``requires``."""
        tables = {"users": data.users, "items": data.items, "interactions": data.interactions}
        found = []
        for one in self.requires:
            table, _, column = one.rpartition(".")
            there = column in tables[table].columns if table in tables else getattr(data.schema, one, None)
            if not there:
                found.append(one)
        return found

    def names(self, ks: Sequence[int], cap: float | None = None) -> list[str]:
        """Return its keys in results: at each cut-off, and of capped labels if ``cap`` is not None."""
        names = [f"{self.name}@{k}" for k in ks] if self.cut else [self.name]
        return names + ([f"{self.name}_capped"] if self.cappable and cap is not None else [])


@dataclass(frozen=True)
class RatedRows:
    """Rows with a predicted label.

    Attributes:
        label, prediction: (n,) in the label's units.
        user: (n,) each row's user, from 0 to ``n_users - 1``; some users may have no row.
        n_users: number of users.
    """

    label: FloatArray
    prediction: FloatArray
    user: IntArray
    n_users: int

    def by_user(self, values: Any) -> FloatArray:
        """Sum one number a row (n,) over each user's rows: (n_users,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.user, weights, minlength=self.n_users).astype(np.float64)


@dataclass(frozen=True)
class Sums:
    """Sums over users by name, each (resamples,), as `RatingMetric.value` reads them.

    Attributes:
        drawn: over the users of each resample.
        whole: over all users, (1,) each.
        of: the metric's name, which its own sums begin with.
        end: ``"_capped"`` for the capped metric, else empty.
    """

    drawn: Mapping[str, FloatArray]
    whole: Mapping[str, FloatArray]
    of: str
    end: str = ""

    def __getitem__(self, name: str) -> FloatArray:
        keys = (f"{self.of}.{name}{self.end}", f"{name}{self.end}", f"{self.of}.{name}", name)
        for key in keys:
            if key in self.drawn:
                return self.drawn[key]
        known = ", ".join(sorted(key for key in self.drawn if not key.endswith("_capped")))
        raise DataError(f"metric {self.of!r} reads the sum {name!r}, which is not there. There are {known}")

    def over_all(self) -> Sums:
        """Return the sums over all users, each once."""
        return Sums(self.whole, self.whole, self.of, self.end)


class RatingMetric(Metric):
    """A metric of predicted labels: a function of sums by user, so that it holds for any rows and users.

    These sums are there for all metrics; `sums` adds others:

    ============================ ===========================================================================
    ``rows``                     number of rows
    ``absolute``                 absolute errors
    ``squared_error``            squared errors
    ``label``, ``label_squared`` of the labels, less a number near their mean
    ``comparable``               pairs of a row of the user and any row whose labels differ
    ``concordant``               those of them that the prediction orders as the label does; ties count 1/2
    ``own_counted``              1 for a user with a comparable pair of rows, else 0
    ``own_xauc``                 the share of these pairs in the right order; 0 for a user without one
    ============================ ===========================================================================

    Attributes:
        counted: the sum that is 0 for users who have no part in it.
    """

    cut = False
    counted: str = "rows"

    def sums(self, rows: RatedRows) -> Mapping[str, FloatArray]:
        """Return sums of its own: name -> (n_users,)."""
        del rows
        return {}

    @abstractmethod
    def value(self, sums: Sums) -> FloatArray:
        """Return the metric (resamples,) from sums over the users of each resample; nan where undefined."""

    def measured(self, sums: Sums, resamples: int) -> FloatArray:
        """Return `value`, checked.

        Raises:
            DataError: it has another shape, or reads a sum that is not there.
        """
        rule = f"one number for each of the {resamples:,} resamples, or nan where it is undefined"
        return checked_values(self.name, self.value(sums), (resamples,), rule, finite=False)


class RankingMetric(Metric):
    """A metric of each user's list and relevant items, whose value is the mean over the users.

    Attributes:
        of_relevant: whether it is about relevant items, so that a user without any is not counted.
    """

    of_relevant: bool = True

    @abstractmethod
    def values(self, top: TopLists) -> FloatArray:
        """Return a value a user at each cut-off, (n_ks, n_users), or (n_users,) if it has none.

        nan is for a user who is not counted. Users without relevant items need no care if ``of_relevant``.
        """

    def measured(self, top: TopLists) -> dict[str, FloatArray]:
        """Return each user's values by the metric's names.

        Raises:
            DataError: `values` returned another shape, or an infinite value.
        """
        shape = (len(top.ks), top.n_users) if self.cut else (top.n_users,)
        each = f"each of the {top.n_users:,} users" + (f" at each cut-off, {shape}" if self.cut else "")
        rule = f"one finite number for {each}, or nan for a user who is not counted"
        try:
            given = self.values(top)
        except Exception as error:
            error.add_note(f"Raised by the metric {self.name!r}.")
            raise
        found = checked_values(self.name, given, shape, rule).reshape(-1, top.n_users)
        if self.of_relevant and not top.n_relevant.all():
            found = np.where(top.n_relevant > 0, found, np.nan)
        return dict(zip(self.names(top.ks), found, strict=True))


class ListMetric(RankingMetric):
    """The mean of a property of the items over each user's list; a user with an empty list is not counted."""

    of_relevant = False
    undefined = "an empty list: the user is not counted"

    @abstractmethod
    def of_item(self, catalogue: Catalogue) -> FloatArray:
        """Return the property of each item of the catalogue, (n_items,)."""

    def values(self, top: TopLists) -> FloatArray:
        """Return the mean over each list at each cut-off."""
        return top.means(top.catalogue.once(self.name, self.of_item))


class CatalogueMetric(Metric):
    """A metric of all lists together, by how often each item is in one; it has no interval."""

    @abstractmethod
    def value(self, exposures: IntArray, catalogue: Catalogue) -> float:
        """Return the metric from the number of lists with each item, (n_items,)."""

    def measured(self, exposures: IntArray, catalogue: Catalogue) -> float:
        """Return `value`, checked.

        Raises:
            DataError: it is not a number.
        """
        rule = "one number, or nan where it is undefined"
        return float(checked_values(self.name, self.value(exposures, catalogue), (), rule, finite=False))


def ratio(numerator: FloatArray, denominator: FloatArray | IntArray) -> FloatArray:
    """Elementwise ratio, nan where the denominator is 0 (or nan)."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
