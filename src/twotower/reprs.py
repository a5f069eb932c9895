"""Short texts and small tables that describe an object, for the prompt and for notebooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

MOST = 900
"""Characters of a text at most."""
_ITEMS, _NAMES = 6, 8  # of a container and of a list of names: how many are shown
_LONGEST = 50  # characters of one value or name

Facts = Mapping[str, str | None]
"""What there is to say of an object: the name of each fact and its text; None is left out."""


def text_of(title: str, facts: Facts) -> str:
    """Return a title and its facts, one a line, as a ``__repr__``.

    >>> print(text_of("Schema", {"label": "stars", "weight": None, "user": "user_id"}))
    Schema
      label  stars
      user   user_id
    """
    shown = {name: fact for name, fact in facts.items() if fact is not None}
    width = max(map(len, shown), default=0)
    lines = [title, *(f"  {name:<{width}}  {cut(fact, 110 - width)}" for name, fact in shown.items())]
    return cut("\n".join(lines), MOST)


def html_of(title: str, facts: Facts) -> str:
    """Return a title and its facts as a table, for a ``_repr_html_``."""
    rows = "".join(
        f'<tr><th style="text-align:left;font-weight:500;opacity:.7;vertical-align:top">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(cut(fact, 200))}</td></tr>'
        for name, fact in facts.items()
        if fact is not None
    )
    return f"<div><strong>{escape(cut(title, 200))}</strong><table>{rows}</table></div>"


def shortened(value: Any) -> str:
    """Return the ``repr`` of a value, with containers and texts cut to what fits in a line.

    >>> shortened(list(range(100))), shortened("x" * 100)[-5:]
    ('[0, 1, 2, 3, 4, 5, ... 100 in all]', "xxx…'")
    """
    if isinstance(value, str):
        return repr(cut(value, _LONGEST))
    if isinstance(value, Mapping):
        parts = [f"{shortened(name)}: {_flat(of)}" for name, of in islice(value.items(), _ITEMS)]
        return "{" + ", ".join(_counted(parts, len(value))) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_counted([_flat(one) for one in islice(value, _ITEMS)], len(value))) + "]"
    return cut(repr(value), _LONGEST)


def named(names: Iterable[str]) -> str | None:
    """Return names with commas, some of them if they are many; None if there are none.

    >>> named(["title", "year"]), named(f"c{i}" for i in range(20))
    ('title, year', 'c0, c1, c2, c3, c4, c5, c6, c7, ... 20 in all')
    """
    each = list(names)
    return ", ".join(_counted([cut(name, _LONGEST) for name in each[:_NAMES]], len(each))) or None


def kinds_of(columns: Mapping[str, str]) -> str | None:
    """Return how many feature columns there are of each kind, and their names if they are few.

    >>> kinds_of({"age": "number", "country": "category", "city": "category"})
    '1 number (age), 2 category (country, city)'
    """
    parts = []
    for kind, count in Counter(str(kind) for kind in columns.values()).items():
        own = [name for name, of in columns.items() if str(of) == kind]
        few = f" ({', '.join(cut(name, 30) for name in own)})" if count <= 3 else ""
        parts.append(f"{count} {kind}{few}")
    return ", ".join(parts) or None


def cut(text: str, longest: int) -> str:
    """Return a text that is at most so long, its end left out if need be."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _flat(value: Any) -> str:
    """Return the short ``repr`` of what is in a container."""
    return cut(shortened(value), _LONGEST)


def _counted(parts: list[str], n: int) -> list[str]:
    return parts if len(parts) == n else [*parts, f"... {n:,} in all"]
