"""What a report says, in the order in which it says it: everything that the page's template shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twotower.config import dump_config
from twotower.data.audit.finding import Finding, Severity
from twotower.evaluation import RankingEvaluation, RatingEvaluation
from twotower.experiment import OURS
from twotower.experiment.parts import notes_of
from twotower.report import figures, tables
from twotower.report.case import Case
from twotower.report.charts import draw
from twotower.report.doctor import PROBES
from twotower.report.facts import data_facts, model_facts
from twotower.report.history import best_epoch, epochs_of
from twotower.report.item_map import map_of
from twotower.report.people import people_of
from twotower.report.tables import Table
from twotower.report.wording import MEANINGS, bounds, interval, metric_name, number, percent, signed

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


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first."""

    name: str
    value: str
    more: str
    mood: str = ""


def content_of(case: Case, findings: tuple[Finding, ...], title: str) -> dict[str, Any]:
    """Return all that the template of the page reads."""
    return {
        "title": title,
        "kind": "a model that ranks" if case.ranks else "a model that predicts",
        "verdict": _verdict(case),
        "changed": case.data.changed,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "tiles": _tiles(case, findings),
        "findings": findings,
        "silent": [probe.looks_for for probe in PROBES if all(probe.name != of.check for of in findings)],
        "data_facts": data_facts(case),
        "model_facts": model_facts(case),
        "parts": tables.parts_table(case),
        "notes": [*notes_of(case.parts), *case.evaluation.notes],
        "accuracy": _accuracy(case),
        "curves": _curves(case),
        "calibration": _calibration(case),
        "slices": _slices(case),
        "variety": _variety(case),
        "importance": _importance(case),
        "map": map_of(case.recommender, case.parts.train.items),
        "people": () if case.lists is None else people_of(case.recommender, case.lists),
        "label": case.parts.train.schema.label,
        "meanings": _meanings(case),
        "config": dump_config(case.config),
    }


def _verdict(case: Case) -> str:
    of = case.measured
    name, score = metric_name(case.main), interval(case.score)
    if isinstance(of, RankingEvaluation):
        asked = (
            f"For {number(of.users)} users with {number(of.positives)} liked items that it had not seen, among "
            f"{number(of.items)} items"
        )
        return f"{asked}, the model reaches {name} {score}. {tables.differences_said(case)}"
    label = case.parts.test.schema.label
    return (
        f"On {number(of.rows)} interactions that it had not seen, the model predicts {label} with {name} "
        f"{score}. {tables.differences_said(case)}"
    )


def _tiles(case: Case, findings: tuple[Finding, ...]) -> list[Tile]:
    tiles = [Tile(metric_name(case.main), number(case.score.value), bounds(case.score))]
    best = case.best_baseline
    if best is not None and case.compared is not None:
        gap = case.compared.comparison.differences[best][case.main]
        better = gap.high < 0 if case.higher_is_better else gap.low > 0
        worse = gap.low > 0 if case.higher_is_better else gap.high < 0
        within = f"{signed(-gap.high)} to {signed(-gap.low)}"
        mood = "good" if better else "bad" if worse else ""
        tiles.append(Tile(f"minus {best}", signed(-gap.value), within, mood))
    else:
        tiles.append(Tile("Baselines", "none", "switched off"))
    counts = {severity: sum(of.severity is severity for of in findings) for severity in Severity}
    serious = counts[Severity.ERROR] + counts[Severity.WARNING]
    told = f"{_count(counts[Severity.ERROR], 'error')}, {_count(counts[Severity.WARNING], 'warning')}, "
    told += _count(counts[Severity.NOTE], "note")
    mood = "bad" if counts[Severity.ERROR] else "warn" if serious else "good"
    tiles.append(Tile("Doctor", "healthy" if not serious else f"{serious} to mend", told, mood))
    users = case.parts.test.interactions.get_column(case.parts.test.schema.user).n_unique()
    tiles.append(Tile("Test part", number(len(case.parts.test)), f"rows of {number(users)} users"))
    return tiles


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _accuracy(case: Case) -> dict[str, Any]:
    charts = []
    if case.compared is not None:
        models = case.compared.comparison.models
        for metric in tables.compared_metrics(case)[:2]:
            values = {name: of.metrics[metric] for name, of in models.items()}
            said = ", ".join(f"{name} {number(of.value)}" for name, of in values.items())
            way = "more is better" if case.higher_is_better else "less is better"
            charts.append(
                Figure(
                    draw(figures.beside_baselines(metric, values), f"{metric_name(metric)}: {said}"),
                    metric_name(metric),
                    f"On the same test part, with 95% intervals over users; {way}.",
                )
            )
    settings = case.compared.settings if case.compared is not None else {}
    tuned = {
        name: ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in of.items())
        for name, of in settings.items()
        if of
    }
    every = [
        tables.rating_table(part.metrics) if isinstance(part, RatingEvaluation) else tables.ranking_table(part.metrics)
        for part in (case.evaluation.rating, case.evaluation.ranking)
        if part is not None
    ]
    return {
        "table": tables.compared_table(case),
        "figures": charts,
        "left_out": dict(case.left_out),
        "tuned": tuned,
        "every": every,
        "ours": OURS,
    }


def _curves(case: Case) -> list[Figure]:
    epochs, best = epochs_of(case.history, "train"), best_epoch(case.history)
    if not epochs:
        return []
    first = epochs[0]
    found = []
    losses = {
        field: name
        for field, name in (("train_loss", "train"), ("validation_loss", "validation"))
        if first.get(field) is not None
    }
    metrics = [
        name for name, value in first.items()
        if name.startswith("validation_") and name not in losses and value is not None
    ]
    if losses:
        last = ", ".join(f"{name} {number(epochs[-1][field])}" for field, name in losses.items())
        found.append(
            Figure(
                draw(figures.curves(epochs, losses, best), f"Loss by epoch; after the last one {last}"),
                "Loss",
                "What training makes small. Train falling while validation rises is overfitting.",
            )
        )
    if metrics:
        named = {name: metric_name(name.removeprefix("validation_")) for name in metrics[:2]}
        kept = next((record for record in epochs if record["epoch"] == best), epochs[-1])
        said = ", ".join(f"{name} {number(kept[field])}" for field, name in named.items())
        found.append(
            Figure(
                draw(figures.curves(epochs, named, best), f"Validation by epoch; of the one kept {said}"),
                "Validation",
                f"What the number of epochs was chosen by; of the one kept: {said}.",
            )
        )
    return found


def _calibration(case: Case) -> dict[str, Any] | None:
    of, label = case.calibration, case.parts.test.schema.label
    if of is None or label is None:
        return None
    cap = case.config.evaluation.cap
    capped = f" Labels and predictions above {cap:g} count as {cap:g}." if cap is not None else ""
    return {
        "lead": f"Where the prediction rises by 1, {label} rises by {interval(of.slope)}; 1 is right. On average, "
        f"labels minus predictions are {interval(of.bias, sign=True)}.{capped}",
        "figures": [
            Figure(
                draw(
                    figures.calibration(of, label),
                    f"Actual {label} by decile of the prediction: "
                    + ", ".join(f"{number(b.actual.value)} where {number(b.predicted)} was predicted" for b in of.bins),
                ),
                "Calibration",
                "Each point is a tenth of the test rows, with the 95% interval of its mean label. On the dashed "
                "line, the prediction is right on average.",
            ),
            Figure(
                draw(
                    figures.residuals(of, label),
                    "Quantiles of the residuals by decile of the prediction; medians "
                    + ", ".join(number(b.quantiles[2]) for b in of.bins),
                ),
                "Residuals",
                "Half of the rows of a decile lie in the bar, eight in ten within the line; the mark is the median.",
            ),
        ],
        "table": tables.calibration_table(of),
    }


def _slices(case: Case) -> list[dict[str, Any]]:
    found = []
    for part in (case.evaluation.rating, case.evaluation.ranking):
        if part is None:
            continue
        rated = isinstance(part, RatingEvaluation)
        if rated:
            metric = case.main
            metrics = [metric, "mae_capped" if "mae_capped" in part.metrics else "mae", "r2"]
            n_rows, n_users = part.rows, case.parts.test.interactions[case.parts.test.schema.user].n_unique()
        else:
            metric = f"ndcg@{case.k}"
            metrics = [metric, f"recall@{case.k}"]
            n_rows, n_users = part.positives, part.users
        overall = part.metrics[metric]
        caption = "Error by slice" if rated else "Ranking by slice"
        worst = _worst(part.slices, metric, higher=not rated)
        said = f"{metric_name(metric)} is {number(overall.value)} over all; {worst}"
        found.append(
            {
                "figure": Figure(
                    draw(figures.by_slice(metric, overall, part.slices, tables.SLICES), f"{caption}. {said}"),
                    caption,
                    f"{metric_name(metric)} with 95% intervals over users; the dashed line is the whole test part. "
                    f"{'Less' if rated else 'More'} is better.",
                ),
                "table": tables.slices_table(
                    caption,
                    metrics,
                    part.slices,
                    "Rows" if rated else "Liked items",
                    (n_rows, n_users, [part.metrics[name] for name in metrics]),
                ),
            }
        )
    return found


def _worst(slices: Mapping[str, Mapping[str, Any]], metric: str, *, higher: bool) -> str:
    values = {
        f"{tables.SLICES.get(group, group)}: {name}": part.metrics[metric].value
        for group, members in slices.items()
        for name, part in members.items()
        if metric in part.metrics and part.metrics[metric].value == part.metrics[metric].value
    }
    if not values:
        return "no slice was measured"
    name = (min if higher else max)(values, key=values.__getitem__)
    return f"worst in “{name}”, {number(values[name])}"


def _variety(case: Case) -> dict[str, Any] | None:
    lists = case.lists
    if lists is None:
        return None
    shown = int((lists.exposure > 0).sum())
    _, liked, given = lists.by_band
    row, share = lists.top
    name = str(lists.items[row])
    return {
        "lead": f"The first {lists.k} of {number(len(lists.users))} users hold {number(shown)} of "
        f"{number(len(lists.items))} items. The most popular tenth of the catalogue is {percent(given[-1])} of what "
        f"is given and {percent(liked[-1])} of what was liked. Two users share {percent(lists.overlap)} of their "
        f"lists on average; the item in most lists, {name}, is in {percent(share)} of them.",
        "figure": Figure(
            draw(
                figures.popularity(lists),
                f"Share of lists and of liked items by tenth of the catalogue; of the most popular tenth "
                f"{percent(given[-1])} and {percent(liked[-1])}",
            ),
            "Popularity tilt",
            "Blue above grey: the lists show more of these items than people liked of them.",
        ),
        "table": tables.variety_table(case),
    }


def _importance(case: Case) -> dict[str, Any]:
    of = case.importance
    first = of.features[:_FEATURES]
    count = sum(worth.counts for worth in of.features)
    said = ", ".join(f"{w.side[:-1]} {w.column} {number(w.loss.value)}" for w in first[:5])
    return {
        "lead": f"{count} of {len(of.features)} count: without them {metric_name(of.metric)}, {number(of.base)} over "
        f"{number(of.users)} users, gets worse beyond chance.",
        "figure": Figure(
            draw(figures.importance(first, of.metric), f"What features are worth: {said}"),
            "What features are worth",
            f"By how much {metric_name(of.metric)} gets worse when the column's values are dealt out anew among the "
            f"rows (mean of {of.repetitions} times, 95% interval over users). “id” is the learnt vector of each user "
            "or item itself. Grey: not beyond chance. Columns that say the same stand in for each other.",
        ),
        "table": tables.importance_table(of),
        "more": len(of.features) > _FEATURES,
    }


def _meanings(case: Case) -> list[tuple[str, str]]:
    names = dict.fromkeys(name.partition("@")[0] for name in case.evaluation.metrics)
    said = [(metric_name(name), MEANINGS[name]) for name in names if name in MEANINGS]
    if any(name.endswith("_capped") for name in names):
        said.append(("capped", MEANINGS["capped"]))
    said.append(("95% interval", "drawn over users: other users of the same kind would give a figure within it"))
    return said
