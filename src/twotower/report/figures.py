"""The charts of a report, as Vega-Lite over what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twotower.core.charts import ACCENT, REST, SECOND, layer, scale_of, shown
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
_DASHED = {"strokeDash": [4, 3], "color": QUIET}
_ZERO = {"zero": False}
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
    point = {"filled": True, "size": 55, "opacity": 1}
    return [
        layer("rule", {"strokeWidth": 2}, y=y, x={**x, "field": "low"}, x2={"field": "high"}, color=color),
        layer("point", point, y=y, x={**x, "field": "value"}, color=color),
    ]


def beside_baselines(metric: str, models: Mapping[str, Interval]) -> Chart:
    """Draw one metric of our model and of baselines, each with its interval."""
    values = [_interval(name, of, ours=name == OURS) for name, of in models.items()]
    scale, axis = {"zero": False, "nice": True}, {"tickCount": 5}
    x = shown(title=metric_name(metric), scale=scale, axis=axis)
    y = shown("name", "nominal", sort=None, axis={"grid": False})
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
    colours = dict(zip(lines.values(), [ACCENT, SECOND, REST], strict=False))
    last = max(record["epoch"] for record in epochs)
    ends = [row["value"] for row in values]
    log = min(ends) > 0 and max(ends) > _STEEP * min(ends)
    ticks = {"grid": False, "tickMinStep": 1, "tickCount": 8}
    scale = {"type": "log", "nice": False} if log else _ZERO
    drawn = layer(
        "line",
        {"strokeWidth": 2, "point": {"size": 14, "opacity": 1}},
        x=shown("epoch", title="epoch", scale={"domain": [1, max(last, 2)], "nice": False}, axis=ticks),
        y=shown("value", scale=scale, axis={"tickCount": 5}),
        color={"field": "line", "type": "nominal", "scale": scale_of(colours)},
    )
    layers: list[Chart] = [{"data": _data(values), **drawn}]
    if best is not None:
        kept = {"x": {"datum": best, "type": "quantitative"}}
        one: Chart = {"data": {"values": [{}]}}  # a layer without data draws nothing
        right = best > (1 + last) / 2
        text = {"align": "right" if right else "left", "dx": -5 if right else 5, "y": -4}
        text |= {"baseline": "bottom", "fontSize": 11, "color": QUIET, "text": f"kept: epoch {best}"}
        layers += [{**one, **layer("rule", _DASHED, **kept)}, {**one, **layer("text", text, **kept)}]
    return _fit({"layer": layers}, 190)


def calibration(of: Calibration, label: str) -> Chart:
    """Draw mean labels against mean predictions, by decile of the prediction."""
    values = [
        {"predicted": b.predicted, "value": b.actual.value, "low": b.actual.low, "high": b.actual.high}
        for b in of.bins
    ]
    ends = [v for b in of.bins for v in (b.predicted, b.actual.value, b.actual.low, b.actual.high)]
    ends = [v for v in ends if math.isfinite(v)]
    diagonal = {"data": {"values": [{"at": min(ends)}, {"at": max(ends)}]}}
    at = {"field": "at", "type": "quantitative"}
    x = shown("predicted", title=f"predicted {label}, mean of the decile", scale=_ZERO)
    y = shown(title=f"actual {label}", scale=_ZERO)
    line = {"color": ACCENT, "strokeWidth": 2}
    point = {"filled": True, "size": 60, "color": ACCENT, "opacity": 1}
    bins = {"data": _data(values)}
    layers = [
        {**diagonal, **layer("line", {**_DASHED, "strokeWidth": 1}, x=at, y=at)},
        {**bins, **layer("rule", line, x=x, y={**y, "field": "low"}, y2={"field": "high"})},
        {**bins, **layer("point", point, x=x, y={**y, "field": "value"})},
    ]
    return _fit({"layer": layers}, 250)


def residuals(of: Calibration, label: str) -> Chart:
    """Draw the quantiles of the residuals, by decile of the prediction."""
    values = [
        {"bin": n + 1, **{f"q{round(100 * q)}": at for q, at in zip(QUANTILES, b.quantiles, strict=True)}}
        | {"mean": b.residual.value}
        for n, b in enumerate(of.bins)
    ]
    x = shown("bin", "ordinal", title="decile of the prediction", axis={"labelAngle": 0, "grid": False})
    y = shown(title=f"{label} − prediction")
    line, tick = {"color": ACCENT, "strokeWidth": 1.5}, {"color": SECOND, "thickness": 2.5, "size": 15}
    layers = [
        layer("rule", line, x=x, y={**y, "field": "q10"}, y2={"field": "q90"}),
        layer("bar", {"color": ACCENT, "size": 15}, x=x, y={**y, "field": "q25"}, y2={"field": "q75"}),
        layer("tick", tick, x=x, y={**y, "field": "q50"}),
        layer("rule", _DASHED, y={"datum": 0}),
    ]
    return _fit({"data": _data(values), "layer": layers}, 250)


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
    x = shown(title=metric_name(metric), scale=_ZERO, axis={"tickCount": 5})
    y = shown("name", "nominal", sort=None, axis={"grid": False, "minExtent": 95})
    whole = layer("rule", _DASHED, x={"field": "all", "type": "quantitative", "aggregate": "min"})
    layers = [whole, *_dots(x, y, {"value": ACCENT})]
    return {
        "data": _data(values),
        "facet": {"row": shown("group", "nominal", sort=groups)},
        "spec": {"width": WIDTH - 115, "height": {"step": _ROW - 3}, "layer": layers},
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
    axis, title = {"labelAngle": 0, "grid": False}, "tenth of the catalogue, rarest to most popular"
    colours = dict(zip(kinds, [REST, ACCENT], strict=True))
    bars = layer(
        "bar",
        {},
        x=shown("band", "ordinal", title=title, axis=axis),
        xOffset={"field": "kind", "sort": list(kinds)},
        y=shown("share", title="share", axis={"format": "%", "tickCount": 5}),
        color={"field": "kind", "type": "nominal", "scale": scale_of(colours)},
    )
    return _fit({"data": _data(values), **bars}, 200)


def importance(features: Sequence[Worth], metric: str) -> Chart:
    """Draw the importance of some features."""
    values = [
        _interval(f"{worth.side[:-1]}: {worth.column}", worth.loss, counts=worth.counts) for worth in features
    ]
    y = shown("name", "nominal", sort=None, axis={"grid": False, "labelLimit": 185})
    color = {"condition": {"test": "datum.counts", "value": ACCENT}, "value": REST}
    x = shown(title=f"loss of {metric_name(metric)} without it", axis={"tickCount": 5})
    bar, line = {"height": {"band": 0.62}}, {"color": INK, "strokeWidth": 1.5}
    layers = [
        layer("bar", bar, y=y, x={**x, "field": "value"}, color=color),
        layer("rule", line, y=y, x={**x, "field": "low"}, x2={"field": "high"}),
    ]
    return _fit({"data": _data(values), "layer": layers}, {"step": _ROW})
