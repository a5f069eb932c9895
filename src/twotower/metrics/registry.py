"""`METRICS`: the metrics by name. Each is a class, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from twotower.core.registry import Registry, reference
from twotower.errors import ConfigError
from twotower.metrics.metric import Metric, RankingMetric, RatingMetric

Kind = TypeVar("Kind", bound=Metric)


def _named(part: type[Metric], name: str) -> None:
    """Make sure that results can have the name of a class."""
    own = getattr(part, "name", None)
    if not isinstance(own, str) or not own.isidentifier() or name not in (own, reference(part)):
        raise ConfigError(
            f"a metric is registered by the attribute `name` of its class, an identifier; got {name!r} for "
            f"{part.__name__}, whose name is {own!r}"
        )


METRICS: Registry[Metric] = Registry(
    "metric",
    "twotower.metrics",
    {
        "mae": "rating:MAE",
        "rmse": "rating:RMSE",
        "r2": "rating:R2",
        "xauc": "xauc:XAUC",
        "xauc_by_user": "xauc:XAUCByUser",
        "recall": "ranking:Recall",
        "ndcg": "ranking:NDCG",
        "hit_rate": "ranking:HitRate",
        "precision": "ranking:Precision",
        "map": "ranking:MAP",
        "mrr": "ranking:MRR",
        "avg_popularity_percentile": "exposure:AvgPopularityPercentile",
        "novelty": "exposure:Novelty",
        "coverage": "exposure:Coverage",
        "gini": "exposure:Gini",
    },
    _named,
)
"""What is measured, in the order of results. A metric that is registered is measured wherever its data is."""


def registered(kind: Callable[..., Kind]) -> list[Kind]:
    """Return the registered metrics of a kind."""
    return [cast("Kind", part()) for part in METRICS.classes() if issubclass(part, cast("type", kind))]


def metric_of(name: str) -> Metric | None:
    """Return the registered metric behind a name in results; None if there is none.

    >>> metric_of("ndcg@10").title, metric_of("rmse_capped").title, metric_of("mine")
    ('NDCG', 'RMSE', None)
    """
    base = name.partition("@")[0]
    every = registered(Metric)
    return next((one for one in every if base in (one.name, *one.names((), 0.0))), None)


def title_of(name: str) -> str:
    """Return a name in results as people read it.

    >>> title_of("ndcg@10"), title_of("rmse_capped"), title_of("mine")
    ('NDCG@10', 'RMSE, capped', 'mine')
    """
    found, (base, at, k) = metric_of(name), name.partition("@")
    return name if found is None else found.called + (", capped" if base != found.name else "") + at + k


def higher_is_better(metric: str, own: Mapping[str, bool | None] | None = None) -> bool | None:
    """Return a metric's direction; None if it has none.

    >>> higher_is_better("ndcg@10"), higher_is_better("rmse"), higher_is_better("gini@10")
    (True, False, None)

    Args:
        metric: its name, with its cut-off if it has one.
        own: directions of your own metrics.
    """
    if own and metric in own:
        return own[metric]
    found = metric_of(metric)
    return None if found is None else found.higher_is_better


def shown_metrics(names: Iterable[str], kind: Callable[..., Metric] = Metric) -> list[str]:
    """Return those of some names that short tables have, the main one first; capped ones in place of others.

    >>> shown_metrics(["mae", "rmse", "xauc", "mae_capped", "rmse_capped"], RatingMetric)
    ['rmse_capped', 'mae_capped', 'xauc']
    >>> shown_metrics(["recall@5", "recall@9", "ndcg@5", "ndcg@9", "map@5"])
    ['ndcg@5', 'ndcg@9', 'recall@5', 'recall@9']
    """
    known = list(names)
    found = [(name, metric_of(name)) for name in known if f"{name}_capped" not in known]
    ranked = [
        (of.shown, name) for name, of in found if isinstance(of, cast("type", kind)) and of and of.shown
    ]
    return [name for _, name in sorted(ranked, key=lambda one: one[0])]


def main_metric(names: Iterable[str]) -> str:
    """Return the main one of some names: at the first cut-off, or capped if predictions are capped.

    >>> main_metric(["mae", "rmse", "rmse_capped"]), main_metric(["recall@5", "ndcg@5", "ndcg@9"])
    ('rmse_capped', 'ndcg@5')
    """
    known = list(names)
    return [*shown_metrics(known, RankingMetric), *shown_metrics(known, RatingMetric)][0]
