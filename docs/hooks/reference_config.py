"""The config's reference, made from the sections: their fields, defaults, bounds and docstrings."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from twotower.config import Config, recipes
from twotower.config.kinds import KINDS
from twotower.config.schema import Schema

_TOP = """# Config

One TOML file, read strictly: an unknown key is an error that suggests the nearest one. Every key can
also be given on the command line as `--set section.key=value`, and those of `[positive]`, `[model]`,
`[objective]` and `[training]` as keyword arguments of [`TwoTower`](python.md#twotower). `config.toml` in a
run contains all of them, with every default written out.

The word `"none"` switches off a setting that is on by default, where the text below says so.

Packaged recipes, used by name where a command takes a CONFIG: {recipes}.
"""


def config_page() -> str:
    """Return the page's Markdown."""
    known = recipes()
    parts = [_TOP.format(recipes=", ".join(f"`{name}`" for name in known))]
    docs = _field_docs(Config)
    parts.append("## At the top\n\n" + "\n".join(_fields(Config, docs, only=["seed"])))
    for name, field in Config.model_fields.items():
        kind = _model_of(field.annotation)
        if kind is None:
            continue
        title = field.alias or name
        parts.append(f"## [{title}] {{ #{title} }}")
        parts.append(_prose(_doc_of(kind, title)))
        parts.append("\n".join(_fields(kind, _field_docs(kind))))
        if kind is Schema:
            parts.append(_kinds())
    return "\n\n".join(parts) + "\n"


def _fields(kind: type[BaseModel], docs: dict[str, str], only: list[str] | None = None) -> Iterator[str]:
    schema = kind.model_json_schema()
    yield '<dl class="fields" markdown>'
    for name, value in schema["properties"].items():
        if only is not None and name not in only:
            continue
        field = kind.model_fields[name]
        default = (
            "required"
            if field.is_required()
            else f"default `{_toml(field.get_default(call_default_factory=True))}`"
        )
        facts = f'<span class="facts" markdown>{_type(value, schema)}; {default}</span>'
        yield f"<dt markdown>`{name}` {facts}</dt>"
        yield f"<dd markdown>{_prose(docs.get(name, ''), one_line=True)}</dd>"
    yield "</dl>"


def _kinds() -> str:
    rows = []
    for name, kind in zip(KINDS.names(), KINDS.classes(), strict=True):
        docs = _field_docs(kind)
        settings = "<br>".join(f"`{key}`: {_prose(docs[key], one_line=True)}" for key in kind.model_fields)
        rows.append(f"| `{name}` | {_prose(kind.described())} | {settings} |")
    listed = "\n".join(rows)
    return f"### Feature kinds\n\n| kind | what it is | settings, in a table |\n| --- | --- | --- |\n{listed}"


_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}


def _type(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "$ref" in value:
        return _type(schema["$defs"][value["$ref"].rsplit("/", 1)[-1]], schema)
    if "anyOf" in value:
        said = [_type(one, schema) for one in value["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(said))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{_toml(one)}`" for one in value.get("enum", [value.get("const")]))
    if value["type"] in ("array", "object"):
        return f"list of {_type(value['items'], schema)}" if "items" in value else "table of column = kind"
    return " ".join([_WORDS[value["type"]], *(f"{w} {value[k]:g}" for k, w in _BOUNDS.items() if k in value)])


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{}"
    return json.dumps(value)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    found = [annotation, *getattr(annotation, "__args__", ())]
    return next((one for one in found if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _field_docs(kind: type) -> dict[str, str]:
    """Return the docstring under each field of a class, from its source."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    docs: dict[str, str] = {}
    name = None
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
        elif name and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            docs[name] = inspect.cleandoc(str(statement.value.value))
            name = None
        else:
            name = None
    return docs


def _doc_of(kind: type[BaseModel], title: str) -> str:
    text = inspect.getdoc(kind) or ""
    prefix = f"``[{title}]``: "
    return (
        text[len(prefix) : len(prefix) + 1].upper() + text[len(prefix) + 1 :]
        if text.startswith(prefix)
        else text
    )


def _prose(text: str, *, one_line: bool = False) -> str:
    text = text.replace("``", "`")
    return " ".join(text.split()) if one_line else text
