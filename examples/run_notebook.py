"""Run a notebook from its first cell to its last, and store what its cells give.

    python examples/run_notebook.py [examples/kuairec.ipynb]

What differs from run to run (times, the version of the interpreter) is not kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path, before: str = "") -> nbformat.NotebookNode:
    """Return the notebook with its outputs.

    Args:
        path: of the notebook.
        before: code to run first, in a cell that is not kept.
    """
    notebook = nbformat.read(path, as_version=4)
    if before:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    where = {"metadata": {"path": str(path.parent)}}
    quiet = ["--IPKernelApp.log_level=ERROR"]
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
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "kuairec.ipynb")
    nbformat.write(run(target), target)
