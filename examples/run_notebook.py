"""Run notebooks from the first cell to the last, and store the outputs of their cells.

    python examples/run_notebook.py [examples/kuairec.ipynb ...]

Without names all notebooks of this folder are run, each in a temporary folder. Execution times and the
interpreter's version are not stored.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path, before: str = "") -> nbformat.NotebookNode:
    """Return the notebook with its outputs.

    Args:
        path: of the notebook.
        before: code to run first, in a cell that is removed afterwards.
    """
    notebook = nbformat.read(path, as_version=4)
    if before:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    quiet = ["--IPKernelApp.log_level=ERROR"]
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, resources=where, extra_arguments=quiet).execute()
    if before:
        del notebook.cells[0]
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        for output in cell.outputs:
            output.pop("execution_count", None)
            if output.output_type == "execute_result":
                output["execution_count"] = number
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


if __name__ == "__main__":
    for target in map(Path, sys.argv[1:]) if len(sys.argv) > 1 else Path(__file__).parent.glob("*.ipynb"):
        nbformat.write(run(target), target)
