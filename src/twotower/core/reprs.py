"""Short texts and small tables that describe an object, for the prompt and for notebooks."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from html import escape
from itertools import islice
from typing import Any

MOST = 900
"""Most characters of a text."""
WIDTH = 80
"""Most columns of a line; a longer fact continues on the next line."""
_ITEMS, _NAMES, _FEW = 6, 8, 4  # of a container, of names, of columns with their kinds: how many are shown
_LONGEST = 50  # characters of one value or name

Facts = Mapping[str, str | None]
"""Facts about an object: name -> text; None is left out."""


def text_of(title: str, facts: Facts) -> str:
    """Return a title and its facts, one a line, as a ``__repr__``.

    >>> print(text_of("Schema", {"label": "stars", "weight": None, "user": "user_id"}))
    Schema
      label  stars
      user   user_id
    """
    shown = {name: fact for name, fact in facts.items() if fact is not None}
    width = max(map(len, shown), default=0)
    lines = [cut(title, WIDTH)]
    for name, fact in shown.items():
        room = max(WIDTH - width - 4, 20)
        wrapped = textwrap.wrap(fact, room, max_lines=2, placeholder=" …") or [""]
        lines += [f"  {head:<{width}}  {line}" for head, line in zip((name, ""), wrapped, strict=False)]
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


class ShortRepr:
    """Gives a dataclass a ``repr`` with long values shortened and arrays by their shapes."""

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        shown = ", ".join(f"{name}={shortened(value)}" for name, value in values.items())
        return cut(f"{type(self).__name__}({shown})", MOST)


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
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape != ():
        return f"<{value.dtype} {'x'.join(f'{n:,}' for n in value.shape)}>"
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


def kinds_of(columns: Mapping[str, object]) -> str | None:
    """Return feature columns with their kinds, or how many there are of each kind if they are many.

    >>> kinds_of({"age": "number", "country": "category"})
    'age (number), country (category)'
    >>> kinds_of({f"c{i}": "number" if i % 3 else "text" for i in range(30)})
    '10 text, 20 number'
    """
    if len(columns) <= _FEW:
        return ", ".join(f"{cut(name, 30)} ({kind})" for name, kind in columns.items()) or None
    return ", ".join(f"{count} {kind}" for kind, count in Counter(map(str, columns.values())).items())


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters, its end cut off if it is longer."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _flat(value: Any) -> str:
    """Return the short ``repr`` of what is in a container."""
    return cut(shortened(value), _LONGEST)


def _counted(parts: list[str], n: int) -> list[str]:
    return parts if len(parts) == n else [*parts, f"... {n:,} in all"]
