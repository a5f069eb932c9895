"""Data sets recognised by their files: KuaiRec, and MovieLens as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twotower.datasets import kuairec, movielens


@dataclass(frozen=True)
class Layout:
    """A known data set.

    Attributes:
        source: its name in ``[data] source``.
        title: its name.
        place: the folder or zip with its files.
        matrices: for KuaiRec, which of the two matrices are there.
    """

    source: str
    title: str
    place: Path
    matrices: tuple[str, ...] = ()


def known_layout(paths: Sequence[Path]) -> Layout | None:
    """Return the data set of a folder, a zip or some of its files; None if it is not a known one."""
    places = {path if path.is_dir() or path.suffix == ".zip" else path.parent for path in paths}
    if len(places) != 1:
        return None
    place = places.pop()
    named = {path.name for path in paths if path.is_file() and path.suffix != ".zip"}
    files = kuairec.files_of(place)
    matrices = tuple(name for name in kuairec.MATRICES.values() if files.find(name))
    ours = {*matrices, "user_features.csv", "item_daily_features.csv", "item_categories.csv"}
    ours |= {"social_network.csv", "kuairec_caption_category.csv"}
    if "big_matrix.csv" in matrices and files.find("user_features.csv") and named <= ours:
        return Layout("kuairec", "KuaiRec 2.0", place, matrices)
    layout = movielens.layout_of(place)
    if layout is not None and named <= set(movielens.LAYOUTS[layout]):
        return Layout("movielens", f"MovieLens in the layout of its {_PUBLISHED[layout]}", place)
    return None


_PUBLISHED = {"100k": "100K set", "1m": "1M set", "csv": "later CSV sets"}
