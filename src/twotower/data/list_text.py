"""Lists written in one field: in any brackets, quoted or not, or parts with a separator."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

SEPARATORS: Final = ("|", ";", ",", "/", "\n", "\t", "、", "，", "；", "•")
"""Separators of a list, in the order in which they are tried."""
_LOOKED_AT = 20_000
"""Maximum number of distinct values that are used as evidence for a separator."""
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_CALL = re.compile(r"(?:np\.)?(?:array|set|frozenset|list|tuple)\((.*?)(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_OPENING = re.compile(r"[ubrUBR]?([\"'])")
_AFTER = re.compile(r"\s*(?:,|:|$|\.\.\.)|\s+[ubrUBR]?[\"'\d]")
"""Characters that can follow the quote at the end of a part."""
_ENTITY = re.compile(r"&#?\w+;")
_NONE = ("None", "null", "nan", "NaN", "<NA>")
"""Words that mean "no value", unquoted, in a list or instead of one."""


def find_separator(values: pl.Series, *, declared: bool = False) -> str | None:
    """Return the separator of a column of lists such as ``Action, Comedy``; None if it is not one.

    The whole column is the evidence: most parts must recur in other values, at other positions or alone. So
    ``Portland, Oregon`` and ``King, Stephen`` are not split. Values in brackets are ignored.

    Args:
        values: n strings; null and empty ones are ignored.
        declared: whether the column is known to contain lists; less evidence is then enough.

    >>> find_separator(pl.Series(["Action, Comedy", "Comedy, Drama", "Action", "Drama, Action"]))
    ', '
    """
    cells = plain_cells(values)
    for separator in SEPARATORS:
        having = [cell for cell in cells if separator in cell]
        if not having or (separator == ";" and any(_ENTITY.search(cell) for cell in having[:1000])):
            continue
        certain = declared and separator in "|;"
        if certain or _are_lists(cells, separator, declared):
            spaced = separator + " "
            exact = separator in ",;" and all(c.count(spaced) == c.count(separator) for c in having)
            return spaced if exact else separator
    return " " if _are_codes_and_blanks(cells, declared) else None


def combinations(tags: Iterable[str]) -> tuple[str, float] | None:
    """Return a separator, and the share of distinct tags that are combinations of others, if most are."""
    distinct = list(dict.fromkeys(tag for tag in tags if tag))[:_LOOKED_AT]
    for separator in (*SEPARATORS, " & ", " "):
        whole = [_parts(tag, separator) for tag in distinct]
        if separator == " " and not all(_NUMBER.fullmatch(p) for parts in whole for p in parts):
            continue
        counts = Counter(part for parts in whole for part in set(parts))
        made = sum(len(parts) > 1 and all(counts[part] > 1 for part in parts) for parts in whole)
        if made > 0.5 * len(distinct):
            return separator, made / len(distinct)
    return None


def plain_cells(values: pl.Series) -> list[str]:
    """Return the distinct values that are not empty and not in brackets, with spaces stripped."""
    cells = values.drop_nulls().cast(pl.String).str.strip_chars().unique(maintain_order=True)
    style = styles(cells)
    return [cell for cell in cells.head(_LOOKED_AT) if cell and not bracketed(cell, style)]


def styles(values: pl.Series) -> str:
    """Return the opening brackets that mark lists in a column of stripped strings.

    ``[`` always; ``(`` and ``{`` only if most non-empty values are in them: "(500) Days" is a tag.
    """
    filled = values.drop_nulls()
    filled = filled.filter(filled != "")
    most = [
        opening
        for opening in "({"
        if len(filled)
        and 2 * (filled.str.starts_with(opening) & filled.str.ends_with(_CLOSING[opening])).sum()
        > len(filled)
    ]
    return "[" + "".join(most)


def bracketed(text: str, style: str = "[") -> bool:
    """Return whether a stripped string is a list in brackets of some styles, or printed as
    ``array([...])``."""
    if text[:1] in style:
        return text[:1] == "[" or text.endswith(_CLOSING[text[:1]])
    return _CALL.fullmatch(text) is not None


def missing(values: pl.Series) -> pl.Series:
    """Return which of n stripped strings are ``null``, ``None``, ...; none if the column has no list in
    brackets."""
    if not values.str.starts_with("[").any():
        return pl.repeat(False, len(values), eager=True)
    return values.is_in(_NONE).fill_null(False)


def split_cell(text: str, separator: str | None, style: str = "[") -> list[str]:
    """Return the parts of one stripped string.

    Args:
        text: in brackets (``[1 2]``, ``['a' 'b']``, ``{"a", "b"}``, ``(a, b)``) or not.
        separator: between the parts of a text without brackets; None if it is one part.
        style: the opening brackets that mark lists.

    Raises:
        ValueError: a bracket is not closed, the list has nested lists or records, or numpy has abbreviated
            it.
    """
    if not bracketed(text, style):
        return _parts(text, separator) if separator else [text]
    called = _CALL.fullmatch(text)
    inner = (called[1] if called else text).strip()
    if inner[:1] in _CLOSING and (not called or inner):
        if not inner.endswith(_CLOSING[inner[:1]]):
            raise ValueError("the bracket is not closed")
        if inner.startswith("[") and inner[1:].lstrip().startswith("{"):
            return _names(inner)
        inner = inner[1:-1].strip()
    if not inner:
        return []
    if separator is not None and separator.strip() and separator.strip() not in ",|" and separator in inner:
        return [part.strip("\"' ") for part in _parts(inner, separator)]
    return _inside(inner)


def _inside(inner: str) -> list[str]:
    if re.search(r"(^|[\s,])\.\.\.($|[\s,])", inner):
        raise ValueError(
            "numpy has abbreviated this one ('...'): write complete lists, with json.dumps(list)"
        )
    if re.search(r"(^|,|\s)[ubrUBR]?[\"']", inner):
        return _quoted(inner)
    if "[" in inner or "{" in inner:
        raise ValueError("this one contains lists")
    if "," in inner:
        parts = inner.split(",")
    else:
        parts = inner.split()
        if not all(_NUMBER.fullmatch(part) for part in parts):
            parts = re.split(r"[;|\n]", inner)
    return [part.strip() for part in parts if part.strip() and part.strip() not in _NONE]


def _quoted(inner: str) -> list[str]:
    """Read ``"a, b", 'c'``, ``'a' 'b'`` and ``a, "b c"``; a quote within a word (``rock'n'roll``) is text."""
    found, at = [], 0
    while at < len(inner):
        if inner[at] in ", \t\r\n":
            at += 1
            continue
        start = _OPENING.match(inner, at)
        if start is None:
            end = inner.find(",", at)
            end = len(inner) if end < 0 else end
            word = inner[at:end].strip()
            if word[:1] in ("[", "{", "("):
                raise ValueError("this one contains lists")
            if word not in _NONE:
                found.append(word)
            at = end
            continue
        quote = start[1]
        end = _closing_quote(inner, start.end(), quote)
        found.append(_unescaped(inner[start.end() : end], quote))
        at = end + 1
        if inner[at:].lstrip().startswith(":"):
            raise ValueError("this one contains a record")
    return [part for part in found if part]


def _closing_quote(inner: str, at: int, quote: str) -> int:
    """Return where a quoted part ends: at a quote before a comma, before a space and another quote, or at the
    end."""
    while True:
        end = inner.find(quote, at)
        if end < 0:
            return len(inner)
        slashes = end
        while slashes and inner[slashes - 1] == "\\":
            slashes -= 1
        escaped = (end - slashes) % 2 == 1
        if not escaped and _AFTER.match(inner, end + 1):
            return end
        at = end + (2 if not escaped and inner.startswith(quote, end + 1) else 1)


def _unescaped(body: str, quote: str) -> str:
    body = body.replace(quote * 2, quote)
    if "\\" not in body:
        return body
    try:
        return str(json.loads(f'"{body}"'))
    except ValueError:
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return str(ast.literal_eval(f"{quote}{body}{quote}"))
    except (ValueError, SyntaxError):
        return body


def _names(text: str) -> list[str]:
    """Read the names of records, as in ``[{"id": 16, "name": "Animation"}]``."""
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise ValueError("this one contains lists") from None
    if not all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in found):
        raise ValueError("this one contains records without a name")
    return [part["name"] for part in found]


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _are_lists(cells: Sequence[str], separator: str, declared: bool) -> bool:
    """Weigh the evidence of a separator over distinct cells; see `find_separator`."""
    whole = [_parts(cell, separator) for cell in cells]
    split = [parts for parts in whole if len(parts) > 1]
    if not split or (not declared and len(split) < max(2, 0.02 * len(cells))):
        return False
    if (
        all(_NUMBER.fullmatch(part) for parts in whole for part in parts)
        and not declared
        and separator == ","
    ):
        return False  # numbers with decimal commas or grouped thousands
    counts = Counter(part for parts in whole for part in set(parts))
    if not declared and len(counts) > len(cells):
        return False
    first = Counter(parts[0] for parts in split)
    rest = Counter(part for parts in split for part in parts[1:])
    alone = {parts[0] for parts in whole if len(parts) == 1}

    def recurring(parts: Counter[str]) -> float:
        return sum(n for part, n in parts.items() if counts[part] > 1) / max(parts.total(), 1)

    both = first + rest
    anywhere = sum(n for part, n in both.items() if part in alone or (part in first and part in rest))
    movable = anywhere / both.total()
    if declared:
        return recurring(both) > 0.5 and movable >= 0.2
    return min(recurring(first), recurring(rest)) >= 0.6 and movable >= 0.3


def _are_codes_and_blanks(cells: Sequence[str], declared: bool) -> bool:
    """Return whether the cells are whole numbers, or words with a ``#``, separated by spaces."""
    whole = [cell.split() for cell in cells]
    if not any(len(parts) > 1 for parts in whole):
        return False
    codes = all(re.fullmatch(r"\d+|#\S+", part) for parts in whole for part in parts)
    return codes and (declared or _are_lists(cells, " ", declared=False))
