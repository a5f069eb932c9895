"""The network of the usual notebook, trained row by row, with its inputs."""

from twotower.baselines.notebook.network import NotebookNetwork

__all__ = ["NotebookNetwork"]
