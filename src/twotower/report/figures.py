"""The charts of a report, as Vega-Lite over what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twotower.core.charts import ACCENT, REST, SECOND
from twotower.evaluation import SliceResult
from twotower.metrics import Interval
from twotower.report.calibration import QUANTILES, Calibration
from twotower.report.charts import INK, QUIET, WIDTH
from twotower.report.importance import Worth
from twotower.report.lists import BANDS, GivenLists
from twotower.report.wording import metric_name
from twotower.workflows import OURS

Chart = dict[str, Any]
Values = list[dict[str, Any]]

_ROW = 22
"""Height of a line of a chart with one line a name."""
_STEEP = 4
"""Curves that fall to less than a fourth are drawn on a logarithmic scale."""


def _fit(chart: Chart, height: int | dict[str, int]) -> Chart:
    return {"width": WIDTH, "height": height, "autosize": {"type": "fit-x", "contains": "padding"}, **chart}


def _data(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return values for a chart; a number that is not finite is left out of its row."""
    kept = [
        {k: v for k, v in row.items() if not (isinstance(v, float) and not math.isfinite(v))}
        for row in values
    ]
    return {"values": kept}


def _interval(name: str, of: Interval, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": of.value, "low": of.low, "high": of.high, **more}


def _dots(x: dict[str, Any], y: dict[str, Any], color: dict[str, Any]) -> list[Chart]:
    """Return layers of a value with its interval, one line a name."""
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": color},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
            "encoding": {"y": y, "x": {**x, "field": "value"}, "color": color},
        },
    ]


def beside_baselines(metric: str, models: Mapping[str, Interval]) -> Chart:
    """Draw one metric of our model and of baselines, each with its interval."""
    values = [_interval(name, of, ours=name == OURS) for name, of in models.items()]
    x = {"type": "quantitative", "title": metric_name(metric), "scale": {"zero": False, "nice": True}}
    x["axis"] = {"tickCount": 5}
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"grid": False}}
    color = {"condition": {"test": "datum.ours", "value": ACCENT}, "value": REST}
    return _fit({"data": _data(values), "layer": _dots(x, y, color)}, {"step": _ROW + 4})


def curves(epochs: Sequence[Mapping[str, Any]], lines: Mapping[str, str], best: int | None) -> Chart:
    """Draw fields of the epochs as lines (field -> what it is called), and mark the epoch that was kept."""
    values = [
        {"epoch": record["epoch"], "line": name, "value": record[field]}
        for field, name in lines.items()
        for record in epochs
        if record.get(field) is not None
    ]
    color = {
        "field": "line",
        "type": "nominal",
        "scale": {"domain": list(lines.values()), "range": [ACCENT, SECOND, REST][: len(lines)]},
    }
    last = max(record["epoch"] for record in epochs)
    ends = [row["value"] for row in values]
    log = min(ends) > 0 and max(ends) > _STEEP * min(ends)
    layer: list[Chart] = [
        {
            "data": _data(values),
            "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 14, "opacity": 1}},
            "encoding": {
                "x": {
                    "field": "epoch",
                    "type": "quantitative",
                    "title": "epoch",
                    "scale": {"domain": [1, max(last, 2)], "nice": False},
                    "axis": {"grid": False, "tickMinStep": 1, "tickCount": 8},
                },
                "y": {
                    "field": "value",
                    "type": "quantitative",
                    "title": None,
                    "scale": {"type": "log", "nice": False} if log else {"zero": False},
                    "axis": {"tickCount": 5},
                },
                "color": color,
            },
        }
    ]
    if best is not None:
        kept = {"x": {"datum": best, "type": "quantitative"}}
        one: Chart = {"data": {"values": [{}]}}  # a layer without data draws nothing
        right = best > (1 + last) / 2
        text = {
            "type": "text",
            "align": "right" if right else "left",
            "dx": -5 if right else 5,
            "y": -4,
            "baseline": "bottom",
            "fontSize": 11,
            "color": QUIET,
        }
        layer += [
            {**one, "mark": {"type": "rule", "strokeDash": [4, 3], "color": QUIET}, "encoding": kept},
            {**one, "mark": {**text, "text": f"kept: epoch {best}"}, "encoding": kept},
        ]
    return _fit({"layer": layer}, 190)


def calibration(of: Calibration, label: str) -> Chart:
    """Draw mean labels against mean predictions, by decile of the prediction."""
    values = [
        {"predicted": b.predicted, "value": b.actual.value, "low": b.actual.low, "high": b.actual.high}
        for b in of.bins
    ]
    ends = [v for b in of.bins for v in (b.predicted, b.actual.value, b.actual.low, b.actual.high)]
    ends = [v for v in ends if math.isfinite(v)]
    span = [min(ends), max(ends)]
    x = {
        "field": "predicted",
        "type": "quantitative",
        "title": f"predicted {label}, mean of the decile",
        "scale": {"zero": False},
    }
    y = {"type": "quantitative", "title": f"actual {label}", "scale": {"zero": False}}
    return _fit(
        {
            "layer": [
                {
                    "data": {"values": [{"at": at} for at in span]},
                    "mark": {"type": "line", "strokeDash": [4, 3], "color": QUIET, "strokeWidth": 1},
                    "encoding": {
                        "x": {"field": "at", "type": "quantitative"},
                        "y": {"field": "at", "type": "quantitative"},
                    },
                },
                {
                    "data": _data(values),
                    "mark": {"type": "rule", "color": ACCENT, "strokeWidth": 2},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "data": _data(values),
                    "mark": {"type": "point", "filled": True, "size": 60, "color": ACCENT, "opacity": 1},
                    "encoding": {"x": x, "y": {**y, "field": "value"}},
                },
            ]
        },
        250,
    )


def residuals(of: Calibration, label: str) -> Chart:
    """Draw the quantiles of the residuals, by decile of the prediction."""
    values = [
        {"bin": n + 1, **{f"q{round(100 * q)}": at for q, at in zip(QUANTILES, b.quantiles, strict=True)}}
        | {"mean": b.residual.value}
        for n, b in enumerate(of.bins)
    ]
    x = {
        "field": "bin",
        "type": "ordinal",
        "title": "decile of the prediction",
        "axis": {"labelAngle": 0, "grid": False},
    }
    y = {"type": "quantitative", "title": f"{label} − prediction"}
    layer = [
        {
            "mark": {"type": "rule", "color": ACCENT, "strokeWidth": 1.5},
            "encoding": {"x": x, "y": {**y, "field": "q10"}, "y2": {"field": "q90"}},
        },
        {
            "mark": {"type": "bar", "color": ACCENT, "size": 15},
            "encoding": {"x": x, "y": {**y, "field": "q25"}, "y2": {"field": "q75"}},
        },
        {
            "mark": {"type": "tick", "color": SECOND, "thickness": 2.5, "size": 15},
            "encoding": {"x": x, "y": {**y, "field": "q50"}},
        },
        {"mark": {"type": "rule", "color": QUIET, "strokeDash": [4, 3]}, "encoding": {"y": {"datum": 0}}},
    ]
    return _fit({"data": _data(values), "layer": layer}, 250)


def by_slice(
    metric: str, overall: Interval, slices: Mapping[str, Mapping[str, SliceResult]], names: Mapping[str, str]
) -> Chart:
    """Draw one metric of every slice, group by group, and that of the whole test set."""
    values = [
        _interval(
            names.get(name, name), part.metrics[metric], group=names.get(group, group), all=overall.value
        )
        for group, members in slices.items()
        for name, part in members.items()
        if metric in part.metrics and math.isfinite(part.metrics[metric].value)
    ]
    groups = list(dict.fromkeys(row["group"] for row in values))
    x = {
        "type": "quantitative",
        "title": metric_name(metric),
        "scale": {"zero": False},
        "axis": {"tickCount": 5},
    }
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"grid": False, "minExtent": 95},
    }
    layer = [
        {
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": QUIET},
            "encoding": {"x": {"field": "all", "type": "quantitative", "aggregate": "min"}},
        },
        *_dots(x, y, {"value": ACCENT}),
    ]
    return {
        "data": _data(values),
        "facet": {"row": {"field": "group", "type": "nominal", "sort": groups, "title": None}},
        "spec": {"width": WIDTH - 115, "height": {"step": _ROW - 3}, "layer": layer},
        "resolve": {"scale": {"y": "independent"}},
        "spacing": 10,
    }


def popularity(lists: GivenLists) -> Chart:
    """Draw which share of recommendations, and of liked items, falls to each tenth of the catalogue."""
    kinds = {"liked in the test set": lists.by_band[1], f"recommended, top {lists.k}": lists.by_band[2]}
    values = [
        {"band": band + 1, "kind": kind, "share": float(shares[band])}
        for kind, shares in kinds.items()
        for band in range(BANDS)
    ]
    encoding = {
        "x": {
            "field": "band",
            "type": "ordinal",
            "title": "tenth of the catalogue, rarest to most popular",
            "axis": {"labelAngle": 0, "grid": False},
        },
        "xOffset": {"field": "kind", "sort": list(kinds)},
        "y": {
            "field": "share",
            "type": "quantitative",
            "title": "share",
            "axis": {"format": "%", "tickCount": 5},
        },
        "color": {
            "field": "kind",
            "type": "nominal",
            "scale": {"domain": list(kinds), "range": [REST, ACCENT]},
        },
    }
    return _fit({"data": _data(values), "mark": {"type": "bar"}, "encoding": encoding}, 200)


def importance(features: Sequence[Worth], metric: str) -> Chart:
    """Draw the importance of some features."""
    values = [
        _interval(f"{worth.side[:-1]}: {worth.column}", worth.loss, counts=worth.counts) for worth in features
    ]
    axis = {"grid": False, "labelLimit": 185}
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": axis}
    color = {"condition": {"test": "datum.counts", "value": ACCENT}, "value": REST}
    x = {
        "type": "quantitative",
        "title": f"loss of {metric_name(metric)} without it",
        "axis": {"tickCount": 5},
    }
    layer = [
        {
            "mark": {"type": "bar", "height": {"band": 0.62}},
            "encoding": {"y": y, "x": {**x, "field": "value"}, "color": color},
        },
        {
            "mark": {"type": "rule", "color": INK, "strokeWidth": 1.5},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
    ]
    return _fit({"data": _data(values), "layer": layer}, {"step": _ROW})
