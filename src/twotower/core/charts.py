"""`Chart`: a Vega-Lite chart that notebooks show and that can be saved; needs the extra ``report``.

Charts are drawn here, by vl-convert: nothing is fetched, no JavaScript runs, and a saved notebook keeps them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from twotower.core.colours import LIGHT
from twotower.errors import ConfigError, MissingExtraError

ACCENT: Final = LIGHT["accent"]
"""Our model."""
SECOND: Final = LIGHT["second"]
"""What it is compared with."""
REST: Final = LIGHT["rest"]
"""Everything else."""
WIDTH: Final = 360
"""Of the plot in pixels."""
_STEP: Final = 18
"""Height of a row in pixels."""

_CONFIG: Final[Mapping[str, Any]] = {
    "background": "white",
    "view": {"stroke": None},
    "axis": {
        "gridColor": LIGHT["line"],
        "domainColor": LIGHT["line"],
        "tickColor": LIGHT["line"],
        "labelLimit": 220,
    },
    "legend": {"orient": "top", "title": None},
    "header": {"labelAnchor": "start", "labelOrient": "top", "labelFontWeight": "bold", "title": None},
}
_FORMATS: Final = (".svg", ".png", ".html", ".json")


def converter() -> Any:
    """Return the library that draws.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module("vl_convert")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "charts need the package vl-convert-python, which is not installed; install it with: "
            "pip install 'twotower[report]'"
        ) from None


class Chart:
    """A chart. A notebook shows it; `save` writes it to a file; ``spec`` is its Vega-Lite specification.

    Raises:
        MissingExtraError: vl-convert-python, which draws it, is not installed.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec, "config": _CONFIG}
        self._converter = converter()

    def __repr__(self) -> str:
        return (
            f"Chart: {self.spec.get('title', 'untitled')} (show it in a notebook, or chart.save('chart.svg'))"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        del include, exclude
        return {"image/svg+xml": self.to_svg(), "text/plain": repr(self)}

    def to_svg(self) -> str:
        """Return the chart as SVG."""
        return str(self._converter.vegalite_to_svg(self.spec, allowed_base_urls=[]))

    def save(self, path: str | Path) -> None:
        """Write the chart as SVG, PNG, HTML or Vega-Lite JSON, by the name's ending.

        Raises:
            ConfigError: another ending.
        """
        path = Path(path).expanduser()
        match path.suffix.lower():
            case ".svg":
                path.write_text(self.to_svg(), encoding="utf-8")
            case ".png":
                path.write_bytes(self._converter.vegalite_to_png(self.spec, scale=2, allowed_base_urls=[]))
            case ".html":
                path.write_text(self._converter.vegalite_to_html(self.spec, bundle=True), encoding="utf-8")
            case ".json":
                path.write_text(json.dumps(self.spec, indent=2), encoding="utf-8")
            case other:
                raise ConfigError(f"a chart is saved as {', '.join(_FORMATS)}; got {other or str(path)!r}")


def intervals_chart(
    rows: Sequence[Mapping[str, Any]], title: str, *, colours: Mapping[str, str], sort: bool = False
) -> Chart:
    """Return dots with intervals, one row per name.

    Args:
        rows: ``group`` (a panel of its own), ``name``, ``model`` (the colour), ``value``, ``low``, ``high``.
        title: of the chart.
        colours: of each model, in the order of the legend.
        sort: whether rows are sorted by value, not kept as given.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    order = {"field": "value", "order": "descending"} if sort else names
    legend: dict[str, str] | None = None if len(colours) == 1 or sort else {}
    colour = {"field": "model", "type": "nominal", "scale": scale_of(colours), "legend": legend}
    encoding = {"y": shown("name", "nominal", sort=order), "color": colour}
    x = shown(title=None, scale={"zero": False, "nice": True})
    point = {"filled": True, "size": 50, "opacity": 1}
    layers = [
        layer("rule", {"strokeWidth": 2}, **encoding, x={**x, "field": "low"}, x2={"field": "high"}),
        layer("point", point, **encoding, x={**x, "field": "value"}),
    ]
    return _panels(rows, title, {"step": _STEP}, layers, ("x", "y"))


def lines_chart(rows: Sequence[Mapping[str, Any]], title: str, colours: Mapping[str, str]) -> Chart:
    """Return lines over epochs, one panel per quantity.

    Args:
        rows: ``group`` (a panel of its own), ``epoch``, ``value``, ``phase`` (the colour) and ``best``.
        title: of the chart.
        colours: of each phase, in the order of the legend.
    """
    last = max((row["epoch"] for row in rows), default=1)
    steps = {"values": list(range(0, last + 1, max(1, round(last / 8)))), "format": "d"}
    encoding = {
        "x": shown("epoch", title="epoch", axis=steps, scale={"domain": [0, last], "nice": False}),
        "y": shown("value", title=None, scale={"zero": False}),
        "color": {"field": "phase", "type": "nominal", "scale": scale_of(colours)},
    }
    best = layer("point", {"size": 120, "strokeWidth": 2, "filled": False}, **encoding)
    lines = layer("line", {"point": {"size": 18}}, **encoding)
    return _panels(rows, title, 120, [lines, {"transform": [{"filter": "datum.best"}], **best}], ("y",))


def shown(field: str | None = None, kind: str = "quantitative", **more: Any) -> dict[str, Any]:
    """Return how a field is shown, without a title unless one is given; None for a field that layers name."""
    named = {} if field is None else {"field": field}
    return {**named, "type": kind, "title": None, **more}


def layer(mark: str, style: Mapping[str, Any], **encoding: Any) -> dict[str, Any]:
    """Return a layer of a chart: marks of one kind and style, by channel (``x``, ``color``, ...)."""
    return {"mark": {"type": mark, **style}, "encoding": encoding}


def scale_of(colours: Mapping[str, str]) -> dict[str, list[str]]:
    """Return a scale of named colours."""
    return {"domain": list(colours), "range": list(colours.values())}


def _panels(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    height: int | dict[str, int],
    layers: Sequence[Mapping[str, Any]],
    own: Sequence[str],
) -> Chart:
    """Return a panel for each group, with axes of its own."""
    return Chart(
        {
            "title": title,
            "data": {"values": [_finite(row) for row in rows]},
            "facet": {"row": shown("group", "nominal", sort=None)},
            "spec": {"width": WIDTH, "height": height, "layer": list(layers)},
            "resolve": {"scale": dict.fromkeys(own, "independent")},
        }
    )


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, which has no nan: None in its place."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
