"""How evaluations and comparisons show themselves: short text, small tables, frames and charts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, ClassVar, Final

import polars as pl
from rich.cells import cell_len, set_cell_size

from twotower.core.charts import ACCENT, REST, Chart, intervals_chart
from twotower.core.colours import LIGHT
from twotower.errors import ConfigError, nearest
from twotower.metrics import (
    Interval,
    Metric,
    RankingMetric,
    RatingMetric,
    higher_is_better,
    metric_of,
    verdict_on,
)
from twotower.metrics.registry import main_metric, shown_metrics

_MOST = 14
"""Most lines of metrics in a text."""
_FLOAT, _TEXT = pl.Float64, pl.String


def headline(metrics: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """Return the metrics that a short text shows: all rating metrics, some ranking metrics, and your own."""
    names, mine = list(metrics), set(own)
    shown = [name for name in names if name in mine or isinstance(metric_of(name), RatingMetric)]
    lists = (name for name in shown_metrics(names, RankingMetric) if name not in mine)
    return shown + [name for name in lists if (of := metric_of(name)) is not None and of.headline]


def metrics_dict(metrics: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Return metrics for JSON: name -> ``{"value", "low", "high"}``."""
    return {name: interval.as_dict() for name, interval in metrics.items()}


def bounds(interval: Interval) -> str:
    """Return the bounds in brackets; empty if there are none."""
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return ""
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with aligned columns, indented."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def html_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> str:
    """Return a small HTML table with a title above and notes below; numbers are aligned to the right."""
    left, right = ' style="text-align:left"', ' style="text-align:right"'
    names = "".join(f"<th{right if at else left}>{escape(name)}</th>" for at, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{right if at else left}>{_coloured(cell)}</td>" for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return (
        f"<div><div><b>{escape(title)}</b></div><table><thead><tr>{names}</tr></thead>"
        f"<tbody>{body}</tbody></table>{below}</div>"
    )


def _coloured(cell: str) -> str:
    """Return a cell as HTML, a verdict in its colour."""
    colour = {"better": LIGHT["good"], "worse": LIGHT["bad"]}.get(cell)
    return escape(cell) if colour is None else f'<span style="color:{colour}">{escape(cell)}</span>'


class Shown(ABC):
    """A model's metrics: a short ``repr``, a table in notebooks, `to_frame` and `plot`."""

    metrics: Any
    slices: Any

    @abstractmethod
    def _title(self) -> str:
        """One line on what was measured."""

    def each_slice(self) -> Iterable[tuple[str, str, Any]]:
        """Group, slice and `SliceResult` of every slice."""
        return ((group, name, of) for group, members in self.slices.items() for name, of in members.items())

    def _beside(self) -> tuple[str, Mapping[str, Interval]]:
        """Name and metrics of the baseline that the model is shown with."""
        return "", {}

    def _notes(self) -> list[str]:
        return []

    def _own(self) -> Mapping[str, Metric]:
        """Your own metrics by their names in results."""
        found: Mapping[str, Metric] = getattr(self, "own", {})
        return found

    @property
    def directions(self) -> dict[str, bool | None]:
        """Of your own metrics: whether higher is better, or None for no direction."""
        return {name: metric.higher_is_better for name, metric in self._own().items()}

    def __repr__(self) -> str:
        measured = self.metrics
        names = headline(measured, self._own())[:_MOST]
        rows = [[name, f"{measured[name]:.4f}", bounds(measured[name])] for name in names]
        lines = [self._title(), *(text_table(rows) if rows else [])]
        if (more := len(measured) - len(rows)) > 0:
            lines.append(f"  {more} more in .to_frame()")
        return "\n".join([*lines, *(_cut(note) for note in self._notes()[:2])])

    def _repr_html_(self) -> str:
        other, theirs = self._beside()
        names = headline(self.metrics, self._own())
        head = ["", "value", "95% interval", *([other] if other else [])]
        rows = [
            [name, f"{self.metrics[name]:.4f}", bounds(self.metrics[name])]
            + ([f"{theirs[name]:.4f}" if name in theirs else ""] if other else [])
            for name in names
        ]
        return html_table(self._title(), head, rows, self._notes())

    def to_frame(self, *, slices: bool = False) -> pl.DataFrame:
        """Return the metrics as a frame.

        Args:
            slices: one row per slice and metric instead, with ``group``, ``slice``, ``rows`` and ``users``
                before the other columns.

        Returns:
            Columns ``metric``, ``value``, ``low``, ``high`` (null where not defined) and ``higher_is_better``
                (null where a metric has no better direction).
        """
        own = self.directions
        if not slices:
            whole = [_row(name, of, own) for name, of in self.metrics.items()]
            return pl.DataFrame(whole, schema=_COLUMNS)
        rows = [
            {"group": group, "slice": name, "rows": found.rows, "users": found.users, **_row(metric, of, own)}
            for group, name, found in self.each_slice()
            for metric, of in found.metrics.items()
        ]
        first = {"group": _TEXT, "slice": _TEXT, "rows": pl.Int64, "users": pl.Int64}
        return pl.DataFrame(rows, schema=first | _COLUMNS)

    def plot(self) -> Chart:
        """Return a chart of the metrics with their intervals, and popularity's if measured.

        Raises:
            MissingExtraError: the plotting library is not installed.
        """
        other, theirs = self._beside()
        rows = []
        for name in headline(self.metrics, self._own()):
            found = self._own().get(name) or metric_of(name)
            group = "Prediction" if isinstance(found, RatingMetric) else "Ranking"
            if found is not None and found.unit == "label":
                group = "Error of predictions, in the label's units"
            for model, of in (("model", self.metrics), (other, theirs)):
                if name in of:
                    rows.append({"group": group, "name": name, "model": model, **of[name].as_dict()})
        colours = {"model": ACCENT} | ({other: REST} if other else {})
        return intervals_chart(rows, self._title(), colours=colours)


class ShownComparison(ABC):
    """Several models' metrics: a short ``repr``, a table in notebooks, `to_frame` and `plot`."""

    counted: ClassVar[str]
    """The attribute that says of how many rows or users."""

    against: str
    models: Mapping[str, Any]
    differences: Mapping[str, Mapping[str, Interval]]

    @abstractmethod
    def _title(self) -> str:
        """One line on what was measured."""

    def _main(self) -> str:
        """The metric that a short text shows."""
        measured: Sequence[str] = list(self.models[self.against].metrics)
        return main_metric(name for name in measured if not name.endswith("_capped"))

    def _directions(self) -> Mapping[str, bool | None]:
        """Directions of your own metrics."""
        found: Mapping[str, bool | None] = self.models[self.against].directions
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"rows" or "users", "against", "models", "differences", "ours_minus"}`` for JSON."""
        return {
            self.counted: getattr(self, self.counted),
            "against": self.against,
            "models": {name: model.as_dict() for name, model in self.models.items()},
            "differences": {name: metrics_dict(of) for name, of in self.differences.items()},
            "ours_minus": {name: metrics_dict(of) for name, of in self.ours_minus.items()},
        }

    @property
    def ours_minus(self) -> dict[str, dict[str, Interval]]:
        """Return model -> metric -> ``against`` minus model, with the interval of that difference.

        These are printed and reported: above 0 if ``against`` is higher. `differences` have the opposite
        sign.
        """
        return {
            name: {metric: self._lead(name, metric) for metric in of} for name, of in self.differences.items()
        }

    def _lead(self, model: str, metric: str) -> Interval:
        """Return ``against`` minus a model, with the interval of that difference."""
        found = self.differences[model][metric]
        return Interval(0.0 - found.value, 0.0 - found.high, 0.0 - found.low)  # not -x: no "-0.0000"

    def _ranked(self, metric: str) -> list[str]:
        """Return the models, best first."""
        way = 1 if higher_is_better(metric, self._directions()) is False else -1
        return sorted(self.models, key=lambda name: way * _last(self.models[name].metrics[metric], way))

    def _verdict(self, model: str, metric: str) -> str:
        """Say how ``against`` compares with a model: better, worse, the same, or unclear."""
        lead, higher = self._lead(model, metric), higher_is_better(metric, self._directions())
        if higher is None:
            return ""
        return verdict_on(lead.value, lead.low, lead.high, higher_is_better=higher)

    def _rows(self, metric: str) -> list[list[str]]:
        rows = []
        for name in self._ranked(metric):
            value = self.models[name].metrics[metric]
            lead = ["", "", ""]
            if name != self.against:
                of = self._lead(name, metric)
                lead = [f"{of:+.4f}", _signed(of), self._verdict(name, metric)]
            rows.append([name, f"{value:.4f}", *lead])
        return rows

    def _head(self, metric: str) -> list[str]:
        return ["", metric, f"{self.against} minus it", "95% interval", f"{self.against} is"]

    def __repr__(self) -> str:
        metric = self._main()
        rows = self._rows(metric)
        return "\n".join([self._title(), *text_table([self._head(metric), *rows[:8]])])

    def _repr_html_(self) -> str:
        metric = self._main()
        return html_table(self._title(), self._head(metric), self._rows(metric))

    def to_frame(self) -> pl.DataFrame:
        """Return every metric of every model, and how it differs from that of ``against``.

        Returns:
            Columns ``model``, ``metric``, ``value``, ``low``, ``high``, ``higher_is_better``, and of models
                other than ``against``: ``difference`` (``against`` minus the model, on the same resampled
                users), ``difference_low``, ``difference_high`` and ``verdict`` (``against`` is
                ``"better"``, ``"worse"``, ``"same"`` where all users have the same value or, where the
                interval contains 0, ``"unclear"``).
        """
        rows = []
        for name, model in self.models.items():
            for metric, value in model.metrics.items():
                row = {"model": name, **_row(metric, value, self._directions())}
                if name != self.against:
                    lead = self._lead(name, metric).as_dict()
                    row |= {
                        "difference": lead["value"],
                        "difference_low": lead["low"],
                        "difference_high": lead["high"],
                        "verdict": self._verdict(name, metric) or None,
                    }
                rows.append(row)
        return pl.DataFrame(rows, schema={"model": _TEXT, **_COLUMNS, **_DIFFERENCES})

    def plot(self, metric: str | None = None) -> Chart:
        """Return a chart of one metric of all models with its intervals, best first.

        Args:
            metric: its name; the one that the ``repr`` shows by default.

        Raises:
            ConfigError: no such metric was measured.
            MissingExtraError: the plotting library is not installed.
        """
        metric = self._main() if metric is None else metric
        known = self.models[self.against].metrics
        if metric not in known:
            raise ConfigError(
                f"metric must be one of those measured ({', '.join(known)}); got {metric!r}."
                f"{nearest(metric, known)}"
            )
        rows = [
            {
                "group": metric,
                "name": name,
                "model": "ours" if name == self.against else "others",
                **self.models[name].metrics[metric].as_dict(),
            }
            for name in self._ranked(metric)
        ]
        return intervals_chart(rows, self._title(), colours={"ours": ACCENT, "others": REST}, sort=True)


_COLUMNS: Final[dict[str, Any]] = {
    "metric": _TEXT,
    "value": _FLOAT,
    "low": _FLOAT,
    "high": _FLOAT,
    "higher_is_better": pl.Boolean,
}
_DIFFERENCES: Final[dict[str, Any]] = {
    "difference": _FLOAT,
    "difference_low": _FLOAT,
    "difference_high": _FLOAT,
    "verdict": _TEXT,
}


def _row(metric: str, of: Interval, own: Mapping[str, bool | None]) -> dict[str, Any]:
    return {"metric": metric, **of.as_dict(), "higher_is_better": higher_is_better(metric, own)}


def _signed(of: Interval) -> str:
    return "" if math.isnan(of.low) else f"[{of.low:+.4f}, {of.high:+.4f}]"


def _last(value: float, way: int) -> float:
    """Return a value for sorting; nan comes last."""
    return way * math.inf if math.isnan(value) else float(value)


def _cut(note: str) -> str:
    return note if len(note) <= 150 else f"{note[:149]}…"
