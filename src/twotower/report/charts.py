"""Vega-Lite to inline SVG, whose colours the page's style chooses; needs the extra ``report``.

Charts are drawn once, in the light colours of `twotower.core.colours`; the rules of `recoloured` show them in
the colours of a dark page. There is no script in a chart, and nothing is fetched.
"""

from __future__ import annotations

import re
from typing import Any, Final

from twotower.core.charts import converter
from twotower.core.colours import LIGHT

INK: Final = LIGHT["ink"]
"""Text."""
QUIET: Final = LIGHT["quiet"]
"""Labels of axes."""
LINE: Final = LIGHT["line"]
"""Grids."""
WIDTH: Final = 350
"""Of a chart, in units of which a phone has about as many pixels."""

_CONFIG: Final[dict[str, Any]] = {
    "background": None,
    "aria": False,
    "padding": 2,
    "font": "system-ui",
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelLimit": 150,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 11,
        "symbolStrokeWidth": 2,
        "offset": 16,
    },
    "header": {
        "labelColor": INK,
        "labelFontSize": 11,
        "labelFontWeight": "bold",
        "labelAnchor": "start",
        "labelOrient": "top",
        "labelPadding": 3,
        "title": None,
    },
}

_ATTRIBUTES = re.compile(r' (?:aria-[a-z]+|role|class|pointer-events|xmlns(?::xlink)?|version)="[^"]*"')
_EMPTY = re.compile(r'<path d=""[^>]*/>|<path[^>]* d=""[^>]*/>|<path d="M0,0h0v0h0Z"[^>]*/>|<g></g>|<g/>')
_SIZE = re.compile(r' width="[^"]*" height="[^"]*"')
_LONG = re.compile(r"(\d+\.\d{2})\d+")


def draw(chart: dict[str, Any], label: str) -> str:
    """Return a Vega-Lite chart as SVG that scales with its column.

    Args:
        chart: without a config; the data is in it.
        label: what it shows, for screen readers.
    """
    svg = str(converter().vegalite_to_svg({**chart, "config": _CONFIG}, allowed_base_urls=[]))
    head, rest = svg.split(">", 1)
    head = _SIZE.sub("", _ATTRIBUTES.sub("", head))
    rest = _ATTRIBUTES.sub("", rest)
    for _ in range(3):  # groups that are empty once what was in them is gone
        rest = _EMPTY.sub("", rest)
    rest = _LONG.sub(r"\1", rest)
    return f'{head} role="img" aria-label="{_escaped(label)}">{rest}'


def recoloured() -> str:
    """Return style sheet rules that replace a chart's colours by variables of `twotower.core.colours.css`."""
    names = ("ink", "quiet", "line", "accent", "second", "rest")
    return "\n".join(
        f'svg [{paint}="{LIGHT[name]}"] {{ {paint}: var(--{name}); }}'
        for name in names
        for paint in ("fill", "stroke")
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
