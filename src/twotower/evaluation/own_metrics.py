"""`MetricSet`: what is measured of a model: the registered metrics, and one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from twotower.data.dataset import Dataset
from twotower.errors import ConfigError
from twotower.metrics import Metric, RankingMetric, RatingMetric, TopLists, metric_of, registered

Kind = TypeVar("Kind", bound=Metric)

Function = Callable[[list[list[Any]], list[list[Any]]], Sequence[float]]
"""From each user's recommended item ids, best first, and relevant item ids, to one value per user."""

Own = Function | Metric | type[Metric]
"""A metric of one's own."""

OwnMetrics = Mapping[str, Own] | Iterable[Metric | type[Metric]] | Metric | type[Metric]
"""Metrics of one's own: by name, or one or several that have a name."""


class FunctionMetric(RankingMetric):
    """A metric that is a function of ids."""

    cut = False

    def __init__(self, name: str, function: Function) -> None:
        direction = getattr(function, "higher_is_better", None)
        self.name, self.function, self.higher_is_better = name, function, direction

    def values(self, top: TopLists) -> Any:
        """Call the function."""
        ids = top.catalogue.ids.to_list()
        recommended = [[ids[row] for row in rows if row >= 0] for rows in top.lists.tolist()]
        wanted = [[ids[row] for row in top.relevant[user].tolist()] for user in range(top.n_users)]
        return self.function(recommended, wanted)


@dataclass(frozen=True)
class MetricSet:
    """What is measured.

    Attributes:
        every: the metrics, in the order of results.
        own: those of them that were given.
    """

    every: tuple[Metric, ...]
    own: tuple[Metric, ...] = ()

    @classmethod
    def of(cls, given: OwnMetrics | None, data: Dataset, *, rating: bool, ranking: bool) -> MetricSet:
        """Return the registered metrics that some data has all columns for, and those given.

        Args:
            given: one's own metrics; one of a registered class replaces that.
            data: the test set.
            rating: whether predictions are measured.
            ranking: whether lists are measured.

        Raises:
            ConfigError: what is given is no metric, has no name of its own, or can't be measured here.
        """
        if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
            given = [given]
        named = given.items() if isinstance(given, Mapping) else [(None, one) for one in given or ()]
        own: dict[str, Metric] = {}
        for name, one in named:
            metric = _metric(name, one)
            if metric.name in own:
                raise ConfigError(f"metrics need different names, but several are named {metric.name!r}")
            if lacking := metric.lacking(data):
                raise ConfigError(
                    f"metric {metric.name!r} requires {' and '.join(lacking)}, which the test set lacks"
                )
            if isinstance(metric, RatingMetric) and not rating:
                raise ConfigError(
                    f"metric {metric.name!r} is of predicted labels, which are not measured here"
                )
            if not isinstance(metric, RatingMetric) and not ranking:
                raise ConfigError(
                    f"metric {metric.name!r} is of lists, but ranking is switched off; set ranking=True"
                )
            own[metric.name] = metric
        every = {one.name: one for one in registered(Metric) if not one.lacking(data)} | own
        return cls(tuple(every.values()), tuple(own.values()))

    @classmethod
    def only(cls, *names: str) -> MetricSet:
        """Return registered metrics by name, such as those that epochs are judged by."""
        return cls(tuple(one for one in registered(Metric) if one.name in names))

    @classmethod
    def headline(cls) -> MetricSet:
        """Return the registered metrics of lists that are always shown."""
        return cls.only(*(one.name for one in registered(RankingMetric) if one.headline))

    def of_kind(self, kind: Callable[..., Kind]) -> tuple[Kind, ...]:
        """Return the metrics of a kind."""
        return tuple(cast("Kind", one) for one in self.every if isinstance(one, cast("type", kind)))

    def results(self, *, rating: bool, ks: Sequence[int] = (), cap: float | None = None) -> dict[str, Metric]:
        """Return one's own metrics of predictions, or else of lists, by their names in results."""
        own = (one for one in self.own if isinstance(one, RatingMetric) == rating)
        return {name: one for one in own for name in one.names(ks, cap)}

    def notes(self, values: Mapping[str, NDArray[np.float64]], ks: Sequence[int]) -> list[str]:
        """Return notes on users without a value of one's own metrics of lists (n_users,)."""
        notes = []
        for one in self.own:
            name = one.names(ks)[-1]
            if isinstance(one, RankingMetric) and (missing := int(np.isnan(values[name]).sum())):
                notes.append(
                    f"metric {name!r} has no value (nan) for {missing:,} of {len(values[name]):,} users, who "
                    "are left out of it"
                )
        return notes


def _metric(name: str | None, given: Any) -> Metric:
    """Return a metric of one's own as an object with a name."""
    if isinstance(given, type) and issubclass(given, Metric):
        try:
            given = given()
        except TypeError as error:
            raise ConfigError(
                f"metric {given.__name__} can't be made: {error}; give an object of it"
            ) from None
    if isinstance(given, Metric):
        metric = given.as_named(getattr(given, "name", "") if name is None else name)
    elif name is None:
        word = "" if isinstance(given, type) else getattr(given, "__name__", "")
        hint = f"; write {{{word!r}: {word}}}" if word.isidentifier() else ""
        raise ConfigError(
            "metrics must be objects or subclasses of Metric, or functions as {name: function}; got "
            f"{given!r}{hint}"
        )
    elif not callable(given):
        raise ConfigError(
            f"metric {name!r} must be a function of (recommended, relevant) or a Metric, got {given!r}"
        )
    else:
        metric = FunctionMetric(name, given)
    known, called = (metric_of(metric.name) if isinstance(metric.name, str) else None), metric.name
    if not isinstance(called, str) or not called or (known is not None and type(known) is not type(metric)):
        raise ConfigError(f"a metric of your own needs a name of its own, got {called!r}; choose another")
    direction = metric.higher_is_better
    if not (direction is None or isinstance(direction, bool)):
        raise ConfigError(f"higher_is_better of metric {called!r} is True or False, got {direction!r}")
    return metric
