"""The tables of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from twotower.data.dataset import Dataset
from twotower.evaluation import SliceResult
from twotower.metrics import CatalogueMetric, Interval, ListMetric, registered, verdict_on
from twotower.metrics.registry import shown_metrics
from twotower.ranking.second_stage import SecondStage
from twotower.report.calibration import Calibration
from twotower.report.case import Case
from twotower.report.importance import Importance
from twotower.report.wording import bounds, interval, metric_name, number, percent, signed
from twotower.workflows import OURS

SLICES = {
    "user": "Users",
    "user_activity": "User activity",
    "item": "Items",
    "item_popularity": "Item popularity",
    "item_duration": "Item duration",
    "head": "most popular",
    "tail": "rarest",
    "q1": "shortest quarter",
    "q2": "second quarter",
    "q3": "third quarter",
    "q4": "longest quarter",
}
"""What groups of slices, and slices, are called."""

_COLUMNS = 5


@dataclass(frozen=True)
class Cell:
    """A measured number with the bounds of its interval below it."""

    value: str
    within: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its head.

    Attributes:
        caption: what it shows.
        head: of the columns.
        rows: one cell a column.
        strong: heads of the rows that stand out.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    strong: tuple[str, ...] = ()


def cell(of: Interval, *, sign: bool = False) -> Cell:
    """Return a measured number as a cell."""
    return Cell((signed if sign else number)(of.value), bounds(of, sign=sign))


def parts_table(case: Case) -> Table:
    """Return how large the training, validation and test sets are."""
    rows = []
    rule, schema = case.recommender.positive, case.parts.train.schema
    head = ["Set", "Interactions", "Users", "Items"]
    if rule.selects:
        head.append("Positives")
    if schema.label is not None:
        head.append(f"{schema.label}, mean (sd)")
    parts: dict[str, Dataset] = {
        "training": case.parts.train,
        "validation": case.parts.validation,
        "test": case.parts.test,
    }
    for name, part in parts.items():
        events = part.interactions
        cells = [name, number(events.height)]
        cells += [number(events.get_column(column).n_unique()) for column in (schema.user, schema.item)]
        if rule.selects:
            liked = int(rule.positive(part).sum())
            cells.append(f"{number(liked)} ({percent(liked / max(events.height, 1))})")
        if schema.label is not None:
            label = events.get_column(schema.label).cast(pl.Float64).to_numpy()
            cells.append(f"{number(float(label.mean()))} ({number(float(label.std()))})")
        rows.append(tuple(Cell(text) for text in cells))
    return Table("Training, validation and test set", tuple(head), tuple(rows))


def compared_table(case: Case) -> Table:
    """Return our model and every baseline by the metrics that matter, the best first."""
    models: Mapping[str, Mapping[str, Interval]] = {OURS: case.measured.metrics}
    gaps: Mapping[str, Mapping[str, Interval]] = {}
    given: Mapping[str, str] = {}
    if case.compared is not None:
        comparison, given = case.compared.comparison, case.compared.given
        models = {name: of.metrics for name, of in comparison.models.items()}
        gaps = comparison.ours_minus
    wanted = compared_metrics(case)
    order = by_main(case, models)
    head = ["Model", *(["Trained on"] if given else []), *(metric_name(name) for name in wanted)]
    if gaps:
        head.append(f"{metric_name(case.main)}, ours minus this")
    rows = []
    for name in order:
        cells = [Cell(name), *([Cell(given.get(name, ""))] if given else [])]
        cells += [cell(models[name][metric]) for metric in wanted]
        if gaps:
            cells.append(cell(gaps[name][case.main], sign=True) if name in gaps else Cell(""))
        rows.append(tuple(cells))
    return Table("Models on the same test set", tuple(head), tuple(rows), strong=(OURS,))


def by_main(case: Case, models: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """Return the names of models, the best by `Case.main` first."""
    sign = -1 if case.higher_is_better else 1
    values = {name: sign * metrics[case.main].value for name, metrics in models.items()}
    return sorted(models, key=lambda name: values[name] if math.isfinite(values[name]) else math.inf)


def compared_metrics(case: Case) -> list[str]:
    """Return the metrics that models are compared by, `Case.main` first."""
    known = list(case.measured.metrics)
    if not case.ranks:
        capped = [name for name in shown_metrics(known)[:2] if name.endswith("_capped")]
        plain = shown_metrics(name for name in known if not name.endswith("_capped"))
        return [*capped, *plain][:_COLUMNS]
    names = dict.fromkeys(name.partition("@")[0] for name in shown_metrics(known))
    wanted = [f"{name}@{case.k}" for name in names]
    wanted[2:2] = [f"{list(names)[1]}@{max(case.config.evaluation.ks)}"]
    return list(dict.fromkeys(wanted[:_COLUMNS]))


def rating_table(metrics: Mapping[str, Interval]) -> Table:
    """Return every metric of the predicted labels."""
    rows = tuple(
        (Cell(metric_name(name)), Cell(number(of.value), bounds(of))) for name, of in metrics.items()
    )
    return Table("Predicted labels, all metrics", ("Metric", "Value"), rows)


def ranking_table(metrics: Mapping[str, Interval]) -> Table:
    """Return every metric of the ranking, a column for each cut-off."""
    ks = list(dict.fromkeys(name.partition("@")[2] for name in metrics if "@" in name))
    found: dict[str, dict[str, Cell]] = {}  # one of whole lists is in the last column
    for name, of in metrics.items():
        found.setdefault(name.partition("@")[0], {})[name.partition("@")[2] or ks[-1]] = cell(of)
    rows = tuple((Cell(metric_name(name)), *(of.get(k, Cell("")) for k in ks)) for name, of in found.items())
    return Table("Ranked catalogue, all metrics", ("Metric", *(f"top {k}" for k in ks)), rows)


def slices_table(
    caption: str,
    metrics: Sequence[str],
    slices: Mapping[str, Mapping[str, SliceResult]],
    rows_are: str,
    whole: tuple[int, int, Mapping[str, Interval]],
) -> Table:
    """Return some metrics of every slice, and of the whole test set above them."""
    n_rows, n_users, of_all = whole
    rows: list[tuple[Cell, ...]] = [
        (
            Cell("whole test set"),
            Cell(number(n_rows)),
            Cell(number(n_users)),
            *(cell(of_all[metric]) for metric in metrics),
        )
    ]
    for group, members in slices.items():
        for name, part in members.items():
            within = ""
            if part.bounds is not None:
                low, high = part.bounds
                within = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            values = [
                cell(part.metrics[metric]) if metric in part.metrics else Cell("–") for metric in metrics
            ]
            head = Cell(f"{SLICES.get(group, group)}: {SLICES.get(name, name)}", within)
            rows.append((head, Cell(number(part.rows)), Cell(number(part.users)), *values))
    head_row = ("Slice", rows_are, "Users", *(metric_name(name) for name in metrics))
    return Table(caption, head_row, tuple(rows), strong=("whole test set",))


def calibration_table(of: Calibration) -> Table:
    """Return the deciles of the predictions."""
    rows = tuple(
        (
            Cell(str(n + 1), f"{number(b.low)} to {number(b.high)}"),
            Cell(number(b.rows)),
            Cell(number(b.predicted)),
            cell(b.actual),
            cell(b.residual, sign=True),
            Cell(number(b.rmse)),
        )
        for n, b in enumerate(of.bins)
    )
    head = ("Decile", "Rows", "Predicted", "Actual", "Actual − predicted", "RMSE")
    return Table("Deciles of the predictions", head, rows)


def importance_table(of: Importance, most: int | None = None) -> Table:
    """Return the importance of all features, or of the first ``most``."""
    rows = tuple(
        (
            Cell(f"{worth.side[:-1]}: {worth.column}"),
            cell(worth.loss, sign=True),
            Cell(percent(worth.moved, 1)),
        )
        for worth in of.features[:most]
    )
    head = ("Feature", f"{metric_name(of.metric)} lost", "Vectors move by")
    return Table("All features" if most is None else "The first in figures", head, rows)


def ranker_table(ranker: SecondStage) -> Table:
    """Return the feature importance of the second stage."""
    rows = tuple(
        (Cell(name), Cell(percent(share, 1))) for name, share in ranker.importance().items() if share > 0
    )
    return Table(
        f"Feature importance of the second stage ({ranker.trees.n_trees} trees)", ("Feature", "Gain"), rows
    )


def variety_table(case: Case) -> Table:
    """Return coverage and popularity of the lists, and those of ranking baselines if there are any."""
    ranking = case.evaluation.ranking
    assert ranking is not None  # the caller has lists
    models: Mapping[str, Mapping[str, Interval]] = {OURS: ranking.metrics}
    if case.ranks and case.compared is not None:
        models = {name: of.metrics for name, of in case.compared.comparison.models.items()}
    of_lists = (one for one in registered(ListMetric) if one.shown)
    wanted = [f"{one.name}@{case.k}" for one in (*registered(CatalogueMetric), *of_lists)]
    rows = tuple(
        (Cell(name), *(cell(metrics[metric]) for metric in wanted)) for name, metrics in models.items()
    )
    head = ("Model", *(metric_name(name) for name in wanted))
    return Table("Variety of the lists", head, rows, strong=(OURS,))


def differences_said(case: Case) -> str:
    """Return a sentence that compares our model with the best baseline; empty without one."""
    best = case.best_baseline
    if best is None or case.compared is None:
        return ""
    comparison = case.compared.comparison
    theirs = comparison.models[best].metrics[case.main].value
    gap = comparison.ours_minus[best][case.main]
    verdict = verdict_on(gap.value, gap.low, gap.high, higher_is_better=case.higher_is_better)
    share = abs(gap.value / theirs) if theirs else math.nan
    way = "better" if (gap.value > 0) == case.higher_is_better else "worse"
    certain = "is more than chance" if verdict in ("better", "worse") else "may be chance"
    return (
        f"That is {percent(share, 1)} {way} than the best baseline here, {best} with {number(theirs)}, "
        f"trained on {case.compared.given[best]} (ours on {case.compared.given[OURS]}); the difference of "
        f"{interval(gap, sign=True)} {certain}.{_not_compared(case)}"
    )


def _not_compared(case: Case) -> str:
    """Return a sentence that names the baselines left out; empty if none is."""
    if not case.left_out:
        return ""
    return f" Not compared: {', '.join(case.left_out)}."
