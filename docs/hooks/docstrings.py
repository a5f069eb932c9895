"""Docstrings as Markdown: of Google's form and of NumPy's, which both occur."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTIONS = {
    "Args": "Arguments", "Parameters": "Arguments", "Attributes": "Attributes", "Returns": "Returns",
    "Yields": "Yields", "Raises": "Raises",
}  # fmt: skip


def rendered(value: Any) -> str:
    """Return a class's or function's docstring as Markdown."""
    doc = inspect.getdoc(value) or ""
    if inspect.isclass(value) and "__doc__" in value.__dict__ and value.__dict__["__doc__"] is None:
        doc = ""
    parts: list[str] = []
    title = ""
    lines: list[str] = []
    found: list[tuple[str, list[str]]] = []
    rest = doc.split("\n")
    at = 0
    while at < len(rest):
        line = rest[at]
        google = re.fullmatch(r"(\w+):", line)
        underlined = at + 1 < len(rest) and re.fullmatch(r"-{3,}", rest[at + 1]) is not None
        if (google and google[1] in _SECTIONS) or (underlined and line in _SECTIONS):
            found.append((title, lines))
            title, lines = _SECTIONS[google[1] if google else line], []
            at += 2 if underlined else 1
            continue
        if (
            title
            and not underlined
            and line
            and not line.startswith(" ")
            and google is None
            and _ends(rest, at, lines)
        ):
            found.append((title, lines))
            title, lines = "", []
        lines.append(line)
        at += 1
    found.append((title, lines))
    for name, body in found:
        text = _prose(body) if not name else _fields(name, body)
        if text:
            parts.append(text)
    return "\n\n".join(parts)


def _ends(rest: list[str], at: int, lines: list[str]) -> bool:
    """Say whether a line that is not indented is text after a section, and not a field of NumPy's form."""
    if not lines or lines[-1]:
        return False
    return not (at + 1 < len(rest) and rest[at + 1].startswith("    "))


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
        text = "\n".join(body)
        if re.fullmatch(r"[\w\[\], .|]+\n(    .*\n?)+", text + "\n"):  # NumPy's: the type, then what it is
            head, _, tail = text.partition("\n")
            text = f"`{head}`: {' '.join(_dedented(tail).split())}"
        return f"**{title}**\n\n{_code(_flat(text))}"
    items: list[tuple[str, list[str]]] = []
    for line in body:
        google = re.match(r"([\w*, .]+?)(?: \([^)]*\))?: (.*)", line)
        if google and not line.startswith(" "):
            items.append((google[1], [google[2]]))
        elif line and not line.startswith(" "):
            items.append((line.split(" : ")[0], []))
        elif items:
            items[-1][1].append(line.strip())
    listed = "\n".join(
        f"<dt markdown>{', '.join(f'`{one.strip()}`' for one in name.split(','))}</dt>\n"
        f"<dd markdown>{_code(' '.join(text))}</dd>"
        for name, text in items
    )
    return f'**{title}**\n\n<dl class="fields" markdown>\n{listed}\n</dl>'


def _flat(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def _dedented(text: str) -> str:
    return inspect.cleandoc("\n" + text)


def _code(text: str) -> str:
    return text.replace("``", "`").replace("<", "&lt;") if "`" not in text else text.replace("``", "`")
