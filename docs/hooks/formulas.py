"""Formulas as MathML, made when the site is built, so that no script and no network is needed to see them.

``$...$`` within a line, ``$$`` on lines of its own around a formula that stands alone.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

_BLOCK = re.compile(r"^(?P<indent> *)\$\$\n(?P<formula>.+?)\n *\$\$$", re.MULTILINE | re.DOTALL)
_INLINE = r"(?<![\\$\w])\$(?=[^\s$])([^$\n]+?)(?<=\S)\$(?![\w$])"


class _Blocks(Preprocessor):
    """Takes formulas that stand alone out of the text; runs once fenced code is out of it."""

    def run(self, lines: list[str]) -> list[str]:
        def made(found: re.Match[str]) -> str:
            formula = convert(found["formula"].strip(), display="block")
            return found["indent"] + self.md.htmlStash.store(f'<div class="formula">{formula}</div>')

        return _BLOCK.sub(made, "\n".join(lines)).split("\n")


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> Any:  # type: ignore[override]
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


class Formulas(Extension):
    """The Markdown extension."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register both."""
        md.preprocessors.register(_Blocks(md), "formula_blocks", 24)  # fenced code is at 25
        md.inlinePatterns.register(_Inline(_INLINE, md), "formula", 185)  # code in backticks is at 190
