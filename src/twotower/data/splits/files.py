"""Read the sets from files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from twotower.config.sections import SplitConfig
from twotower.data.dataset import Dataset
from twotower.data.splits.split import Read, Split


class Files(Split):
    """The training, test and perhaps validation set are separate files.

    Args:
        train, test, validation: their paths; validation may be None.
    """

    name = "files"
    summary = "what the files contain"
    sources = ("tables", "kuairec")
    reads_files = True

    def __init__(self, train: str, test: str, validation: str | None = None) -> None:
        self.train, self.test, self.validation = train, test, validation

    @classmethod
    def check(cls, settings: SplitConfig) -> None:
        """Make sure that the paths are there."""
        if settings.train is None or not isinstance(settings.test, str):
            raise ValueError("method 'files' needs the paths split.train and split.test")

    @classmethod
    def of(cls, settings: SplitConfig) -> Self:
        """Return the method with the paths of a config."""
        given = settings.validation
        return cls(settings.train or "", str(settings.test), given if isinstance(given, str) else None)

    def sets(self, read: Read) -> Mapping[str, Dataset]:
        """Read the files, the training file first."""
        files = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: read(file) for name, file in files.items() if file is not None}

    @classmethod
    def described(cls, settings: SplitConfig) -> str:
        """Return the paths."""
        return (
            f"files: train {settings.train}, validation {settings.validation or 'carved'}, "
            f"test {settings.test}"
        )
