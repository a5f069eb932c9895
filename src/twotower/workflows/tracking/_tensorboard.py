"""TensorBoard event files. The only module that imports TensorBoard."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from twotower.errors import MissingExtraError
from twotower.workflows.tracking.tracker import Status, TrackedRun, Tracker

DEFAULT: Final = "tensorboard"
_TEXTS: Final = (".toml", ".json", ".jsonl", ".svg")


@cache
def _writer() -> Any:
    """Import the class that writes event files on first use.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError:
        raise MissingExtraError(
            "tracking with TensorBoard needs the library tensorboard, which is not installed; install it "
            "with: pip install 'twotower[tensorboard]'"
        ) from None


class TensorBoard(Tracker):
    """Runs as event files, one folder per run.

    Args:
        folder: parent folder of all runs, for ``tensorboard --logdir``. Default: ``tensorboard`` in the
            working directory.
    """

    kind: ClassVar[str] = "tensorboard"

    def __init__(self, folder: str | None = None) -> None:
        self.folder = Path(folder or DEFAULT).expanduser()
        _writer()

    def begin(
        self, path: Path, name: str, parameters: Mapping[str, str], parent: TrackedRun | None
    ) -> TrackedRun:
        """Start a run, or resume it in a new event file."""
        del path, parent  # a child run is in its parent's folder, as its name says
        return _Run(self.folder / name, parameters)


class _Run(TrackedRun):
    def __init__(self, folder: Path, parameters: Mapping[str, str]) -> None:
        self.writer = _writer()(str(folder))
        lines = "\n".join(
            f"    {key} = {value}" for key, value in parameters.items()
        )  # Markdown: preformatted
        self.writer.add_text("config", lines)
        self.writer.flush()

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step or 0)
        self.writer.flush()

    def keep(self, file: Path) -> None:
        if file.suffix in _TEXTS:
            text = "\n".join(f"    {line}" for line in file.read_text(encoding="utf-8").splitlines())
            self.writer.add_text(file.name, text)

    def end(self, status: Status) -> None:
        self.writer.add_text("status", status)
        self.writer.close()
