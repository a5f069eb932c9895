"""The report as a page: a template and its content. Needs the extra ``report``."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from twotower.core.colours import css
from twotower.errors import MissingExtraError
from twotower.report.charts import recoloured


def template() -> Any:
    """Return the page's template, which escapes whatever is put into it.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(
            "a report needs the package jinja2, which is not installed; install it with: "
            "pip install 'twotower[report]'"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,  # for every template, whatever its name
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticked"] = _ticked
    return environment.get_template("report.html")


def render(content: dict[str, Any]) -> str:
    """Return one HTML file that needs nothing beside it.

    Whatever comes from the user's data (captions, ids, column names) is escaped.
    """
    return str(template().render(content, style="\n".join((css(), _read("style.css"), recoloured()))))


def _ticked(text: str) -> Any:
    """Escape a text, and set what is between backticks as code."""
    from markupsafe import Markup, escape  # noqa: PLC0415  (comes with jinja2)

    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 and n < len(parts) - 1 else part
        for n, part in enumerate(parts)
    )


def _read(name: str) -> str:
    return (files("twotower.report") / "page" / name).read_text(encoding="utf-8")
