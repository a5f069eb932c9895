"""`StoredEvents`: one set of interactions as memory-mapped columns, grouped by user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.columns import digest, mapped
from twotower.core.wording import count_of
from twotower.data.dataset import TrainPart
from twotower.data.grouped import GroupedEvents
from twotower.data.store.layout import LAYOUT, SIGN
from twotower.data.store.transposing import transposed
from twotower.data.store.writing import write_events
from twotower.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class StoredEvents(GroupedEvents):
    """Interactions on disk, grouped by user; within a user by time (unknown times last), and interactions of
    one time in the order of the files.

    Columns are memory-mapped: they take memory only while they are read.

    Attributes:
        folder: with the files of the store.
        users, items: ids that have interactions, ascending.
        columns: each in the smallest type with all values: labels, weights and durations as float32, else
            float64; times as uint32 of whole seconds, else float64.
    """

    folder: Path

    @classmethod
    def of(cls, train: TrainPart, folder: Path) -> StoredEvents:
        """Write the interactions of a training set that is in memory to a new folder, and open it."""
        write_events(train, folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> StoredEvents:
        """Open a store.

        Args:
            folder: of the store.
            verify: whether to check the hash of each file, which reads the whole store once; False where it
                was written or checked by this program just now.

        Raises:
            DataError: it is not a whole store: a file is missing, damaged, or was never finished.
        """
        try:
            manifest = json.loads((folder / SIGN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(folder, f"{SIGN} can't be read ({type(error).__name__})") from None
        if not isinstance(manifest, dict) or manifest.get("layout") != LAYOUT:
            raise _damaged(folder, f"its layout is not {LAYOUT}")
        try:
            for name, told in manifest["files"].items():
                size = (folder / name).stat().st_size
                if size != told["bytes"]:
                    raise _damaged(folder, f"{name} has {size:,} bytes instead of {told['bytes']:,}")
                if verify and digest(folder / name) != told["sha256"]:
                    raise _damaged(folder, f"{name} does not have the contents that were written")
            columns = {role: mapped(folder / f"{role}.npy") for role in manifest["columns"]}
            users, items = (pl.read_parquet(folder / f"{side}.parquet")["id"] for side in ("users", "items"))
            indptr, item = mapped(folder / "indptr.npy"), mapped(folder / "item.npy")
            found = cls(users, items, indptr, item, columns, folder)
            known = {role: str(column.dtype) for role, column in columns.items()}
            if known != manifest["columns"] or found._sizes() != manifest["sizes"]:
                raise _damaged(folder, "its columns are not those of its manifest")
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
            raise _damaged(
                folder, str(error).splitlines()[0] if str(error) else type(error).__name__
            ) from None
        return found

    def __repr__(self) -> str:
        of = f"{count_of(len(self.users), 'user')} with {count_of(len(self.items), 'item')}"
        return f"StoredEvents: {count_of(len(self), 'interaction')} of {of} in {self.folder}"

    def _sizes(self) -> dict[str, int]:
        sizes = {"rows": len(self), "users": len(self.users), "items": len(self.items)}
        if len(self.indptr) != sizes["users"] + 1 or int(self.indptr[-1]) != sizes["rows"]:
            raise ValueError("indptr.npy does not fit the users and rows")
        return sizes

    @property
    def space(self) -> Path:
        """A folder in which columns may be written for a while."""
        return self.folder.parent

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file."""
        manifest = json.loads((self.folder / SIGN).read_text(encoding="utf-8"))
        return {name: told["sha256"] for name, told in manifest["files"].items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the columns on disk, without the transpose."""
        return self.indptr.nbytes + self.item.nbytes + sum(column.nbytes for column in self.columns.values())

    @cached_property
    def transpose(self) -> Transpose:
        """The interactions by item; built beside the store when it is first asked for."""
        return Transpose.of(self)


@dataclass(frozen=True, eq=False)
class Transpose:
    """The interactions of a store grouped by item, users in ascending order.

    Attributes:
        indptr: int64 (n_items + 1,): item ``r`` has the entries ``indptr[r]:indptr[r + 1]``.
        user: int32 (n,), the user row of each entry.
        place: int64 or uint32 (n,), where each entry is in the columns of the store.
    """

    indptr: NDArray[np.int64]
    user: NDArray[np.int32]
    place: NDArray[Any]

    @classmethod
    def of(cls, events: StoredEvents) -> Transpose:
        """Return the transpose of a store, built once and kept beside it."""
        return cls(*transposed(events.indptr, events.item, len(events.items), events.folder / "transpose"))


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"a store of interactions must be whole, and {folder} is not: {why}. Delete the folder; the store is "
        "built again from the tables"
    )
