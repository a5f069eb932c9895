"""`explain`: faults that pydantic found in a config, in the words of a TOML file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ValidationError

from twotower.errors import nearest

EXPLAINED: Final = "explained"
"""Type of a fault whose message is already complete."""


def explain(error: ValidationError, section: str, keys: Iterable[str], values: Iterable[str] = ()) -> str:
    """Return one line per fault of a pydantic error: where, the value received, and the nearest valid key or
    value."""
    lines = []
    words: dict[tuple[int | str, ...], str] = {}  # of a setting that is a word or a number: the words
    for fault in error.errors():
        if fault["type"] == EXPLAINED:
            lines.append(fault["msg"])
            continue
        *inside, last = fault["loc"] or ("",)
        if str(last).startswith("literal["):
            words[tuple(inside)] = str(last).removeprefix("literal[").removesuffix("]")
            continue
        word = words.get(tuple(inside))
        loc = [str(part) for part in (fault["loc"] if word is None else inside)]
        where = ".".join([section, *loc]).lstrip(".")
        given = fault["input"]
        if fault["type"] == "extra_forbidden":
            hint = nearest(loc[-1], keys)
            lines.append(f"unknown key '{where}'.{hint or ' Valid: ' + ', '.join(keys) + '.'}")
        elif fault["type"] in ("enum", "literal_error"):
            expected = str(fault.get("ctx", {}).get("expected", ""))
            options = [o.strip().strip("'") for o in expected.replace(" or ", ", ").split(",")] or list(
                values
            )
            lines.append(
                f"'{where}' must be one of {', '.join(options)}; got {given!r}.{nearest(str(given), options)}"
            )
        else:
            shown = "" if isinstance(given, dict | BaseModel) else f", got {_as_toml(given)}"
            rule = _RULES.get(fault["type"])
            if rule is None:
                message = fault["msg"].removeprefix("Value error, ")
                shown = shown and f" ({shown.removeprefix(', ')})"
                lines.append(f"'{where}': {message}{shown}.")
            else:
                bounds = {
                    name: f"{bound:g}" if isinstance(bound, float) else bound
                    for name, bound in fault.get("ctx", {}).items()
                }
                said = rule.format(**bounds)
                said = said if word is None else said.replace("must be ", f"must be {word} or ")
                lines.append(f"'{where}' {said}{shown}.")
    return "\n".join(lines)


_RULES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section with keys",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "too_short": "must be a list of {min_length} or more",
    "tuple_type": "must be a list in square brackets",
}
"""pydantic's most frequent errors, in the words of a TOML file."""


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
