"""Write a config as text, line by line, with a comment beside each value."""

from __future__ import annotations

import tomlkit

_WIDTH = 44
"""Column where comments begin, if the value is shorter."""
_LONGEST = 120
"""Longer lines have their comment above."""


class Lines:
    """A TOML text under construction.

    Args:
        title: the comment at the top.
    """

    def __init__(self, title: str) -> None:
        self._lines = [f"# {title}"]

    def section(self, name: str) -> None:
        """Begin a section."""
        self._lines += ["", f"[{name}]"]

    def comment(self, text: str) -> None:
        """Write a comment on its own line."""
        self._lines.append(f"# {_plain(text)}")

    def value(self, key: str, value: object, why: str = "") -> None:
        """Write a value, with the reason for it."""
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            value = inline
        line = tomlkit.dumps({key: value}).strip()
        beside = f"{line:<{_WIDTH}} # {_plain(why)}" if why else line
        if len(beside) > _LONGEST and why:
            self._lines += [f"# {_plain(why)}:", line]
        else:
            self._lines.append(beside)

    def text(self) -> str:
        """Return the text."""
        return "\n".join(self._lines) + "\n"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
