"""The colours of the page, the report and the documentation, in one place.

Text on ``paper`` and ``sheet`` has a contrast of at least 4.5:1 (WCAG AA), dots on ``sheet`` at least 3:1.
The colours of categories can be told apart with red-green colour blindness.
"""

from __future__ import annotations

from typing import Final

LIGHT: Final = {
    "paper": "#f5f7f7",
    "sheet": "#ffffff",
    "ink": "#182122",
    "quiet": "#556467",
    "line": "#dfe5e6",
    "accent": "#1d6b70",
    "on-accent": "#ffffff",
    "soft": "#e5f1f1",
    "second": "#b25c0f",
    "rest": "#859295",
    "good": "#17763a",
    "bad": "#b3261e",
    "warn": "#855700",
    "good-soft": "#e6f4ea",
    "bad-soft": "#fdeceb",
    "warn-soft": "#fcf2dc",
    "c0": "#1d6b70",
    "c1": "#ca7b18",
    "c2": "#6a17c3",
    "c3": "#dc7468",
    "c4": "#23497d",
    "c5": "#947ecc",
    "c6": "#964315",
    "c7": "#712a28",
    "co": "#859295",
}
DARK: Final = {
    "paper": "#0f1415",
    "sheet": "#171d1f",
    "ink": "#e8eeee",
    "quiet": "#9cabad",
    "line": "#2b3537",
    "accent": "#7cc4c8",
    "on-accent": "#0c2426",
    "soft": "#14343a",
    "second": "#f0a35e",
    "rest": "#77868a",
    "good": "#6fd58f",
    "bad": "#ff9a90",
    "warn": "#f0c35a",
    "good-soft": "#12291b",
    "bad-soft": "#381c1b",
    "warn-soft": "#30270f",
    "c0": "#7cc4c8",
    "c1": "#c87729",
    "c2": "#bb53e3",
    "c3": "#c7e4c6",
    "c4": "#468aa8",
    "c5": "#9ed775",
    "c6": "#a67d55",
    "c7": "#b6abf6",
    "co": "#77868a",
}
CATEGORIES: Final = sum(name[0] == "c" and name[1:].isdigit() for name in LIGHT)
"""Categories that have a colour of their own; all others share ``co``."""


def css() -> str:
    """Return style sheet rules that set the colours as variables, ``--ink`` and so on.

    A page is dark if the reader's system is, unless ``data-theme`` of its root says ``light`` or ``dark``. It
    is printed in the light colours.
    """
    light, dark = ("".join(f" --{name}: {value};" for name, value in of.items()) for of in (LIGHT, DARK))
    return (
        f":root {{{light} color-scheme: light; }}\n"
        "@media screen and (prefers-color-scheme: dark) {\n"
        f'  :root:not([data-theme="light"]) {{{dark} color-scheme: dark; }}\n'
        "}\n"
        f'@media screen {{ :root[data-theme="dark"] {{{dark} color-scheme: dark; }} }}\n'
    )
