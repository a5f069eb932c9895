"""Docstrings, which have Google's form, as Markdown."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTIONS = {"Args": "Arguments"} | {name: name for name in ("Attributes", "Returns", "Yields", "Raises")}


def rendered(value: Any) -> str:
    """Return a class's or function's docstring as Markdown."""
    doc = inspect.getdoc(value) or ""
    if inspect.isclass(value) and "__doc__" in value.__dict__ and value.__dict__["__doc__"] is None:
        doc = ""
    title, found = "", [("", list[str]())]
    for line in doc.split("\n"):
        section = re.fullmatch(r"(\w+):", line)
        if section and section[1] in _SECTIONS:
            title = _SECTIONS[section[1]]
            found.append((title, []))
            continue
        if title and line and not line.startswith(" "):  # text after a section
            title = ""
            found.append((title, []))
        found[-1][1].append(line)
    texts = (_fields(name, body) if name else _prose(body) for name, body in found)
    return "\n\n".join(text for text in texts if text)


def _prose(lines: list[str]) -> str:
    blocks: list[str] = []
    for block in "\n".join(lines).strip("\n").split("\n\n"):
        if block.lstrip().startswith(">>>"):
            blocks.append(f"```pycon\n{_dedented(block)}\n```")
        elif re.match(r" *={3,}", block) or block.startswith("    "):
            blocks.append(f"```text\n{_dedented(block)}\n```")
        elif block.strip():
            blocks.append(_code(block))
    # blocks of code with blank lines between them are one
    joined = "\n\n".join(blocks)
    return joined.replace("\n```\n\n```text\n", "\n\n").replace("\n```\n\n```pycon\n", "\n\n")


def _fields(title: str, lines: list[str]) -> str:
    body = _dedented("\n".join(lines).strip("\n")).split("\n")
    if not any(body):
        return ""
    if title in ("Returns", "Yields"):
        return f"**{title}**\n\n{_code(_flat(body))}"
    items: list[tuple[str, list[str]]] = []
    for line in body:
        field = re.match(r"([\w*, .]+?)(?: \([^)]*\))?: (.*)", line)
        if field and not line.startswith(" "):
            items.append((field[1], [field[2]]))
        elif items:
            items[-1][1].append(line.strip())
    listed = "\n".join(
        f"<dt markdown>{', '.join(f'`{one.strip()}`' for one in name.split(','))}</dt>\n"
        f"<dd markdown>{_code(' '.join(text))}</dd>"
        for name, text in items
    )
    return f'**{title}**\n\n<dl class="fields" markdown>\n{listed}\n</dl>'


def _flat(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)


def _dedented(text: str) -> str:
    return inspect.cleandoc("\n" + text)


def _code(text: str) -> str:
    return text.replace("``", "`").replace("<", "&lt;") if "`" not in text else text.replace("``", "`")
