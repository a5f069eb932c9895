"""A label that mostly measures an item column, such as the duration, rather than preference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twotower.audit.case import Case, Rows
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.audit.statistics import Floats, spearman
from twotower.targets.registry import TRANSFORMS

_STRONG = 0.35
"""Rank correlation of label and item column, over rows, from which the label mostly measures the column."""
_RATIO = 3.0
"""How many times more positives one fifth of the items may have than another fifth."""


class Duration(Check):
    """A label that follows an item column: positives defined by it are defined by the column.

    A warning if the model is trained on positives by a threshold or quantile, or on a label with two values:
    it then recommends short videos, not liked ones. Only a note if the label itself is predicted, or if
    positives are only used by metrics.
    """

    name = "duration"
    looks_for = "a label, or positives, that mostly measure an item column such as the duration"

    def run(self, case: Case) -> Iterator[Finding]:
        """Correlate the label with every numeric column of the items, and with the duration."""
        config, schema = case.config, case.schema
        if schema.label is None or len(case.labels("train")) < 1000:
            return
        if (
            config.positive.duration_rank is not None
            or TRANSFORMS.get(config.objective.label_transform).needs_duration
        ):
            return
        rows = case.sample("train")
        side = case.sides[1]
        columns = {name: np.append(x, np.nan)[rows.item] for name, x in side.quantities().items()}
        if schema.duration is not None:
            columns[schema.duration] = rows.duration
        ranks = {name: spearman(x, rows.label) for name, x in columns.items()}
        ranks = {name: rank for name, rank in ranks.items() if np.isfinite(rank)}
        if not ranks:
            return
        positive, rule = _positives(case, rows)
        name = max(ranks, key=lambda column: abs(ranks[column]))
        x = columns[name]
        some = np.isfinite(x)
        fifths = np.searchsorted(np.quantile(x[some], (0.2, 0.4, 0.6, 0.8)), x[some])
        if positive is not None:
            shares = _by(fifths, positive[some].astype(np.float64), np.mean)
            low, high = min(shares), max(shares)
            told = f"{rule}: {_listed(shares, '.1%')}"
            skewed = high > _RATIO * max(low, 1e-9) and high - low > 0.02
            strong = abs(spearman(x, positive.astype(np.float64))) >= _STRONG / 2
            if skewed and (strong or abs(ranks[name]) >= _STRONG):
                ruled = config.positive.threshold is not None or config.positive.quantile is not None
                trained_on = config.objective.implicit or not ruled
                report = self.warning if trained_on else self.note
                instead = " instead of the rule" if ruled else ""
                yield report(
                    f"label '{schema.label}' and item column '{name}'",
                    f"positives mostly depend on '{name}': a ranking learns that, and its metrics reward it",
                    f"share of positives by fifth of '{name}', low to high ({told}), over "
                    f"{int(some.sum()):,} training rows{rows.sampled}",
                    ("" if schema.duration is not None else f"name '{name}' as [schema] duration; ")
                    + "to rank items by how much they are liked compared with items of similar "
                    f"'{schema.duration or name}', set positive.duration_rank = 0.8{instead}. Metrics "
                    "with different positives can't be compared. Keep the rule if high labels are the "
                    "goal whatever their cause",
                )
                return
        if abs(ranks[name]) >= _STRONG:
            medians = _by(fifths, rows.label[some], np.median)
            yield self.note(
                f"label '{schema.label}' and item column '{name}'",
                f"the label mostly measures '{name}'",
                f"rank correlation {ranks[name]:+.2f} over {int(some.sum()):,} training "
                f"rows{rows.sampled}; median label by fifth of '{name}', low to high: "
                f"{_listed(medians, '.2f')}",
                "to learn preference, set objective.transform = 'duration_rank' or positive.duration_rank",
            )


def _positives(case: Case, rows: Rows) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]] | None, str]:
    """Return which of the n rows are positive, by a rule or by a label with two values; and the rule."""
    rule = case.config.positive
    if rule.threshold is not None:
        return rows.label >= rule.threshold, f"label >= {rule.threshold:g}"
    if rule.quantile is not None:
        return rows.label >= np.quantile(
            rows.label, rule.quantile
        ), f"label >= its {rule.quantile:g} quantile"
    values = np.unique(rows.label)
    if len(values) == 2:
        return rows.label == values[1], f"label = {values[1]:g}"
    return None, ""


def _by(fifths: np.ndarray[tuple[int], np.dtype[np.int64]], y: Floats, measure: object) -> list[float]:
    assert callable(measure)
    return [float(measure(y[fifths == place])) for place in range(5) if (fifths == place).any()]


def _listed(values: list[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
