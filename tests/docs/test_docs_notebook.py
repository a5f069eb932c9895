"""The notebooks run from the first cell to the last, and what is stored in them is what a run gives."""

from __future__ import annotations

import ast
import re
import sys

import nbformat
import pytest

from doc_blocks import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "examples"))

# Quick, as the blocks of the pages are: a part of the sample, which lacks some tags of the whole; one epoch.
BEFORE = f"""
import sys
import warnings
warnings.filterwarnings("ignore", "1 value of new items is not known")
sys.path.insert(0, {str(ROOT / "tests" / "docs")!r})
import pytest
from doc_blocks import make_quick
make_quick(pytest.MonkeyPatch())
"""


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def stored(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
def test_a_notebook_runs_and_gives_the_kinds_of_output_that_are_stored(path, stored):
    from run_notebook import run

    def kinds(notebook):
        return [
            [sorted(output.get("data", {output.output_type: None})) for output in cell.outputs]
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]

    assert kinds(run(path, before=BEFORE)) == kinds(stored)


def test_a_stored_notebook_was_run_in_order_and_is_small(path, stored):
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) - 2
    assert {output.output_type for cell in cells for output in cell.outputs} <= {
        "display_data",
        "execute_result",
        "stream",
    }
    assert path.stat().st_size < 500_000


def test_a_notebook_defines_no_helper_and_says_nothing_of_where_it_was_run(stored):
    helpers = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in stored.cells:
        if cell.cell_type != "code":
            continue
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, helpers)]
        for output in cell.outputs:
            said = output.text if output.output_type == "stream" else "".join(map(str, output.data.values()))
            assert not re.search(r"/(?:work|home|root|tmp)/|site-packages|Warning:| object at 0x", said)


def test_own_data_is_short():
    notebook = nbformat.read(ROOT / "examples" / "own-data.ipynb", as_version=4)
    assert len(notebook.cells) <= 15
