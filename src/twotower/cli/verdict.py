"""The verdict on the last screen: whether the model beats the best baseline, and by how much.

A difference is always our model minus the baseline: if lower is better, a negative difference is an
improvement. The word after it says which is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twotower.cli.screen import Table, Verdict
from twotower.core.wording import count_of
from twotower.metrics import RankingMetric, higher_is_better, verdict_on
from twotower.metrics.registry import main_metric, shown_metrics, title_of

Found = Mapping[str, float | None]
"""A metric in the results: value, low and high."""

_BIG = 1e9
_SHOWN = 3
"""How many metrics the table has."""


@dataclass(frozen=True)
class Beside:
    """Our model and one baseline, on the same test set.

    Attributes:
        name: of the baseline.
        ours, theirs: metric -> value and interval.
        difference: metric -> ours minus theirs, with the interval of that difference.
    """

    name: str
    ours: Mapping[str, Found]
    theirs: Mapping[str, Found]
    difference: Mapping[str, Found]


def best_of(comparison: Mapping[str, Any]) -> Beside | None:
    """Return our model beside the best baseline of a comparison, by the main metric; None if none."""
    ours = comparison["models"][comparison["against"]]["metrics"]
    metric = main_metric(ours)
    values = {
        name: model["metrics"][metric]["value"]
        for name, model in comparison["models"].items()
        if name != comparison["against"] and model["metrics"][metric]["value"] is not None
    }
    if not values:
        return None
    name = (max if higher_is_better(metric) else min)(values, key=values.__getitem__)
    theirs = comparison["models"][name]["metrics"]
    return Beside(name, ours, theirs, comparison["ours_minus"][name])


def of_evaluation(report: Mapping[str, Any], kind: str) -> Beside | None:
    """Return our model beside the only baseline that training measures; None if it was not measured.

    Args:
        report: as `Evaluation.as_dict`.
        kind: ``"rating"`` for biases, ``"ranking"`` for popularity.
    """
    found = report.get("biases" if kind == "rating" else "popularity")
    if not found or not report.get(kind):
        return None
    return Beside(
        "biases" if kind == "rating" else "popularity", report[kind], found["metrics"], found["difference"]
    )


def judged(beside: Beside) -> Verdict:
    """Say in a sentence whether our model beats a baseline."""
    metric = main_metric(beside.difference)
    way = way_of(metric, beside.difference[metric])
    begins = {
        "better": f"Beats {beside.name}:",
        "worse": f"Loses to {beside.name}:",
        "same": f"Just as good as {beside.name}:",
        "unclear": f"Not clearly better or worse than {beside.name}:",
    }[way]
    ours, theirs, difference = cells(metric, beside)
    ends = "" if higher_is_better(metric) else " (lower is better)"
    if way == "unclear" and beside.difference[metric]["low"] is not None:
        ends += "; the interval contains 0"
    return Verdict(f"{begins} {title_of(metric)} {ours} vs {theirs}, {difference}{ends}.", way)


def way_of(metric: str, difference: Found) -> str:
    """Return what a difference, ours minus theirs, says of ours; see `verdict_on`."""
    return verdict_on(**difference, higher_is_better=bool(higher_is_better(metric)))


def table_of(beside: Beside, ours: str = "ours") -> Table:
    """Return three metrics of our model beside a baseline's."""
    rows = []
    for metric in short_metrics(beside.difference):
        way = way_of(metric, beside.difference[metric])
        rows.append((title_of(metric), *cells(metric, beside), way))
    return Table(("metric", ours, beside.name, "difference [95% interval]", ""), tuple(rows))


def table_alone(metrics: Mapping[str, Found]) -> Table:
    """Return three metrics of a model without a baseline."""
    rows = []
    for metric in short_metrics(metrics):
        found = metrics[metric]
        digits = _digits([found["value"]], found, difference=False)
        rows.append((title_of(metric), _number(found["value"], digits), _bounds(found, digits)))
    return Table(("metric", "ours", "95% interval"), tuple(rows))


def cells(metric: str, beside: Beside) -> tuple[str, str, str]:
    """Return ours, theirs and the difference with its interval, with enough digits for the difference."""
    ours, theirs = beside.ours[metric]["value"], beside.theirs[metric]["value"]
    difference = beside.difference[metric]
    digits = _digits([ours, theirs], difference, difference=True)
    shown = _number(difference["value"], digits, "+")
    return (
        _number(ours, digits),
        _number(theirs, digits),
        f"{shown} {_bounds(difference, digits, '+')}".strip(),
    )


def notes_said(notes: int, where: str) -> str:
    """Say how many notes on the data there are, and where to read them; empty if none."""
    return f"{count_of(notes, 'note')} on the data: {where}." if notes else ""


def short_metrics(metrics: Iterable[str]) -> list[str]:
    """Return three different metrics, the main one first; of lists, the second one at later cut-offs."""
    names = list(metrics)
    ranked = shown_metrics(names, RankingMetric)
    if not ranked:
        return shown_metrics(names)[:_SHOWN]
    first, *others = dict.fromkeys(name.partition("@")[0] for name in ranked)
    ks = [name.partition("@")[2] for name in ranked if name.startswith(f"{first}@")]
    wanted = [ranked[0], *(f"{name}@{k}" for name in others[:1] for k in (ks[len(ks) // 2], ks[-1]))]
    wanted += [f"{name}@{ks[-1]}" for name in (first, *others[1:])]
    return [name for name in dict.fromkeys(wanted) if name in names][:_SHOWN]


def _digits(values: list[float | None], found: Found, *, difference: bool) -> int:
    """Return enough decimals for two digits of the interval's width, and to show its side of 0."""
    greatest = max((abs(value) for value in values if value is not None), default=0.0)
    usual = 3 if greatest < 10 else 2 if greatest < 1000 else 0
    low, high = found["low"], found["high"]
    steps = [found["value"]] if low is None or high is None else [high - low]
    needed = max((_decimals(step, 2) for step in steps if step), default=0)
    if difference and low is not None and high is not None and low * high > 0:
        needed = max(needed, _decimals(min(abs(low), abs(high)), 1))
    return max(usual, min(needed, 6))


def _decimals(step: float, digits: int) -> int:
    return digits - 1 - math.floor(math.log10(abs(step)))


def _number(value: float | None, digits: int, sign: str = "") -> str:
    if value is None:
        return "undefined"
    if abs(value) >= _BIG:
        return format(value, f"{sign}.3e")
    shown = format(value, f"{sign},.{digits}f")
    return shown.replace("-", "+" if sign else "") if float(shown.replace(",", "")) == 0 else shown


def _bounds(found: Found, digits: int, sign: str = "") -> str:
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return ""
    return f"[{_number(low, digits, sign)}, {_number(high, digits, sign)}]"
