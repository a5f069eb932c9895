"""Print the findings of an audit: errors first, each with its evidence and fix."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from twotower.core.wording import count_of

if TYPE_CHECKING:
    from twotower.audit import Audit

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
_WIDEST = 100
"""Most columns of a paragraph; longer lines are hard to read."""


def print_findings(audit: Audit) -> None:
    """Print an audit to stdout: one paragraph per finding, then the counts."""
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    console = Console(file=sys.stdout, width=width, highlight=False)
    for finding in audit.findings:
        head = Text.assemble(
            (finding.severity.value, _STYLES[finding.severity.value]), f": {finding.what} ({finding.check})"
        )
        console.print(head)
        for name, text in (("where", finding.where), ("evidence", finding.evidence), ("fix", finding.fix)):
            lines = textwrap.wrap(
                f"{name}: {_plain(text)}", width, initial_indent="  ", subsequent_indent="  "
            )
            for line in lines:
                console.print(Text(line), soft_wrap=True)
    counts = audit.as_dict()["counts"]
    summary = ", ".join(count_of(n, name) for name, n in counts.items())
    rows = ", ".join(f"{name} {n:,}" for name, n in audit.rows.items())
    console.print(Text(f"{summary}; rows: {rows}; {sum(audit.seconds.values()):.1f} s"))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
