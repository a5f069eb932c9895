"""The notebook runs from its first cell to its last, and what is stored in it is what a run gives."""

from __future__ import annotations

import sys

import nbformat
import pytest

from doc_blocks import ROOT

NOTEBOOK = ROOT / "examples" / "kuairec.ipynb"
sys.path.insert(0, str(ROOT / "examples"))

# Quick, as the blocks of the pages are: a part of the sample, one epoch.
BEFORE = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "docs")!r})
import pytest
from doc_blocks import make_quick
make_quick(pytest.MonkeyPatch())
"""


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.slow
def test_the_notebook_runs_and_gives_the_kinds_of_output_that_are_stored(stored):
    from run_notebook import run

    def kinds(notebook):
        return [
            [sorted(output.get("data", {output.output_type: None})) for output in cell.outputs]
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]

    assert kinds(run(NOTEBOOK, before=BEFORE)) == kinds(stored)


def test_the_stored_notebook_was_run_in_order_and_is_small(stored):
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) - 2
    assert {output.output_type for cell in cells for output in cell.outputs} <= {
        "display_data",
        "execute_result",
        "stream",
    }
    assert NOTEBOOK.stat().st_size < 500_000
