"""The sections of a report that hold charts: what each says, shows and lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twotower.core.wording import count_of
from twotower.evaluation import RankingEvaluation, RatingEvaluation, SliceResult
from twotower.evaluation.showing import headline
from twotower.metrics.registry import shown_metrics
from twotower.report import figures, tables
from twotower.report.case import Case
from twotower.report.charts import draw
from twotower.report.history import best_epoch, by_kind, epochs_of
from twotower.report.people import called
from twotower.report.wording import interval, metric_name, number, percent
from twotower.training.registry import TRAINERS
from twotower.workflows import Comparison
from twotower.workflows.tuned_baselines import settings_said

_FEATURES = 15
"""Features in the chart; the table has all."""


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        svg: of our own drawing.
        title: above it.
        caption: below it: how to read it.
    """

    svg: str
    title: str
    caption: str


def accuracy(case: Case) -> dict[str, Any]:
    """Return our model compared with baselines, and every metric of ours."""
    charts, compared = [], case.compared
    if compared is not None:
        models = compared.comparison.models
        order = tables.by_main(case, {name: of.metrics for name, of in models.items()})
        way = "higher is better" if case.higher_is_better else "lower is better"
        for metric in tables.compared_metrics(case)[:2]:
            values = {name: models[name].metrics[metric] for name in order}
            said = ", ".join(f"{name} {number(of.value)}" for name, of in values.items())
            title = metric_name(metric)
            charts.append(
                Figure(
                    draw(figures.beside_baselines(metric, values), f"{title}: {said}"),
                    title,
                    f"On the same test set, with 95% intervals over users; {way}.",
                )
            )
    every = []
    if case.evaluation.rating is not None:
        every.append(tables.rating_table(case.evaluation.rating.metrics))
    if case.evaluation.ranking is not None:
        every.append(tables.ranking_table(case.evaluation.ranking.metrics))
    return {
        "table": tables.compared_table(case),
        "figures": charts,
        "left_out": dict(case.left_out),
        "tuned": {} if compared is None else _tuned(compared),
        "every": every,
    }


def curves(case: Case) -> list[Figure]:
    """Return the loss and the validation metrics by epoch, of each kind of towers that was kept."""
    return [
        figure for kind, history in by_kind(case.history).items() for figure in _curves(case, kind, history)
    ]


def _curves(case: Case, kind: str, history: Sequence[Mapping[str, Any]]) -> list[Figure]:
    epochs, best = epochs_of(history, "train"), best_epoch(history)
    if not epochs:
        return []
    of = f" of {kind}" if kind else ""
    known = [name for name, value in epochs[0].items() if value is not None]
    losses = {f"{part}_loss": part for part in ("train", "validation") if f"{part}_loss" in known}
    metrics = [name for name in known if name.startswith("validation_") and name not in losses]
    found = []
    if losses:
        last = ", ".join(f"{name} {number(epochs[-1][field])}" for field, name in losses.items())
        settling = not kind and TRAINERS.get(case.config.trainer).settles
        what = (
            "The first epochs adapt the regularisation of the vectors to the data, so the training loss "
            "may rise."
            if settling
            else "What training minimises."
        )
        found.append(
            Figure(
                draw(figures.curves(epochs, losses, best), f"Loss{of} by epoch; after the last one {last}"),
                f"Loss{of}",
                f"{what} A rising validation loss while the training loss falls is overfitting.",
            )
        )
    if metrics:
        named = {name: metric_name(name.removeprefix("validation_")) for name in metrics[:2]}
        kept = next((record for record in epochs if record["epoch"] == best), epochs[-1])
        said = ", ".join(f"{name} {number(kept[field])}" for field, name in named.items())
        found.append(
            Figure(
                draw(
                    figures.curves(epochs, named, best), f"Validation{of} by epoch; the kept epoch has {said}"
                ),
                f"Validation{of}",
                f"The kept epoch is the best by this; it has {said}.",
            )
        )
    return found


def calibration(case: Case) -> dict[str, Any] | None:
    """Return predicted against actual labels; None of a model that predicts none."""
    of, label = case.calibration, case.parts.test.schema.label
    if of is None or label is None:
        return None
    cap = case.config.evaluation.cap
    capped = f" Labels and predictions above {cap:g} count as {cap:g}." if cap is not None else ""
    means = ", ".join(f"{number(b.actual.value)} where {number(b.predicted)} was predicted" for b in of.bins)
    medians = ", ".join(number(b.quantiles[2]) for b in of.bins)
    return {
        "lead": f"Where the prediction rises by 1, {label} rises by {interval(of.slope)}; 1 is ideal. On "
        f"average, labels minus predictions are {interval(of.bias, sign=True)}.{capped}",
        "figures": [
            Figure(
                draw(figures.calibration(of, label), f"Actual {label} by decile of the prediction: {means}"),
                "Calibration",
                "Each point is a tenth of the test rows, with the 95% interval of its mean label. On the "
                "dashed line, the prediction is right on average.",
            ),
            Figure(
                draw(
                    figures.residuals(of, label),
                    f"Residuals by decile of the prediction; their medians are {medians}",
                ),
                "Residuals",
                "The bar holds half of the rows of a decile, the line eight in ten; the mark is the median.",
            ),
        ],
        "table": tables.calibration_table(of),
    }


def slices(case: Case) -> list[dict[str, Any]]:
    """Return error and ranking quality by slice, of what was measured."""
    found = []
    rating, ranking = case.evaluation.rating, case.evaluation.ranking
    if rating is not None:
        users = case.parts.test.interactions.get_column(case.parts.test.schema.user).n_unique()
        found.append(
            _slices("Error by slice", rating, shown_metrics(rating.metrics), "Rows", rating.rows, users)
        )
    if ranking is not None:
        metrics = [name for name in headline(ranking.metrics) if name.endswith(f"@{case.k}")]
        found.append(
            _slices("Ranking by slice", ranking, metrics, "Liked items", ranking.positives, ranking.users)
        )
    return found


def variety(case: Case) -> dict[str, Any] | None:
    """Return how popular and how alike the lists are; None without lists."""
    lists = case.lists
    if lists is None:
        return None
    shown = int((lists.exposure > 0).sum())
    _, liked, given = lists.by_band
    row, share = lists.top
    tops = f"{percent(given[-1])} of the recommendations and {percent(liked[-1])} of the liked items"
    return {
        "lead": f"The top {lists.k} of {count_of(len(lists.users), 'user')} contain {number(shown)} of "
        f"{count_of(len(lists.items), 'item')}. The most popular tenth of the catalogue is {tops}. Two "
        f"users share {percent(lists.overlap)} of their lists on average. The item in most lists, "
        f"{called(case.recommender, lists.items[row])}, is in {percent(share)} of them.",
        "figure": Figure(
            draw(figures.popularity(lists), f"By tenth of the catalogue; the most popular tenth is {tops}"),
            "Popularity tilt",
            "Where the bar of the recommendations is the taller one, lists have more of these items "
            "than people "
            "liked.",
        ),
        "table": tables.variety_table(case),
    }


def importance(case: Case) -> dict[str, Any]:
    """Return the importance of the features."""
    of = case.importance
    first, name = of.features[:_FEATURES], metric_name(of.metric)
    count = sum(worth.counts for worth in of.features)
    verb, them = ("matters", "it") if count == 1 else ("matter", "them")
    said = ", ".join(f"{worth.side[:-1]} {worth.column} {number(worth.loss.value)}" for worth in first[:5])
    return {
        "lead": f"{count} of {count_of(len(of.features), 'feature')} {verb}: without {them}, {name} "
        f"({number(of.base)} over {count_of(of.users, 'user')}) gets worse by more than chance.",
        "figure": Figure(
            draw(figures.importance(first, of.metric), f"Feature importance: {said}"),
            "Feature importance",
            f"By how much {name} gets worse when the column's values are shuffled among the rows (mean of "
            f"{of.repetitions} shuffles, 95% interval over users). “id” is the learned vector of each "
            "user or "
            "item. Grey: may be chance. Columns with the same information can replace each other, and then "
            "each looks unimportant.",
        ),
        "table": tables.importance_table(of, _FEATURES),
        "every": tables.importance_table(of) if len(of.features) > _FEATURES else None,
        "ranker": None if case.recommender.ranker is None else tables.ranker_table(case.recommender.ranker),
    }


def _slices(
    caption: str,
    part: RatingEvaluation | RankingEvaluation,
    metrics: list[str],
    rows_are: str,
    rows: int,
    users: int,
) -> dict[str, Any]:
    first, ranked = metrics[0], isinstance(part, RankingEvaluation)
    overall, worst = part.metrics[first], _worst(part.slices, first, higher=ranked)
    said = f"{metric_name(first)} is {number(overall.value)} over all; {worst}"
    whole = (rows, users, part.metrics)
    return {
        "figure": Figure(
            draw(figures.by_slice(first, overall, part.slices, tables.SLICES), f"{caption}. {said}"),
            caption,
            f"With 95% intervals of {metric_name(first)} over users; the dashed line is the whole test set. "
            f"{'Higher' if ranked else 'Lower'} is better.",
        ),
        "table": tables.slices_table(f"{caption}, in figures", [first], part.slices, rows_are, whole),
        "every": tables.slices_table(f"{caption}, more metrics", metrics, part.slices, rows_are, whole),
    }


def _worst(groups: Mapping[str, Mapping[str, SliceResult]], metric: str, *, higher: bool) -> str:
    values = {
        f"{tables.SLICES.get(group, group)}: {tables.SLICES.get(name, name)}": part.metrics[metric].value
        for group, members in groups.items()
        for name, part in members.items()
        if metric in part.metrics and math.isfinite(part.metrics[metric].value)
    }
    if not values:
        return "no slice was measured"
    name = (min if higher else max)(values, key=values.__getitem__)
    return f"worst in “{name}”, {number(values[name])}"


def _tuned(compared: Comparison) -> dict[str, str]:
    """Return the settings of each baseline that were best on the validation set, in words."""
    found = {}
    for name, choice in compared.choices.items():
        settings = settings_said(choice.baseline.settings())
        by = ", ".join(f"{number(worth)} with {given}" for given, worth in choice.worth.items())
        found[name] = (f"{settings}; " if settings else "") + f"NDCG@100 {by}"
    return found
