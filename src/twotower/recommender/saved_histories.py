"""What a bundle has of models whose user tower reads histories: encoded users and items, grades and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from twotower.core.blocks import Bag, Codes
from twotower.core.tensors import Arrays, exactly, finite
from twotower.features import Encoder, SideEncoder
from twotower.recommender.parts import Catalogue, Interactions
from twotower.towers import SideArrays, Tower

PREFIX = "read."
"""How the names of these arrays begin."""


def saved_histories(catalogue: Catalogue, interactions: Interactions) -> Arrays:
    """Return the arrays of a model, none if its towers read no histories."""
    if interactions.grades is None:
        return {}
    found: Arrays = {"read.grade": interactions.grades}
    if interactions.times is not None:
        found["read.time"] = interactions.times
    for which, side in (("users", catalogue.users), ("items", catalogue.items)):
        assert side.arrays is not None
        tensors = {"dense": side.arrays.dense, "codes": side.arrays.codes}
        for number, bag in enumerate(side.arrays.bags):
            tensors |= dict(zip(_bag(number), bag, strict=True))
        found |= {f"{PREFIX}{which}.{name}": tensor.cpu().numpy() for name, tensor in tensors.items()}
    return found


def check_histories(
    arrays: Arrays, tower: Tower, encoder: Encoder, n_seen: int, rows: Mapping[str, int]
) -> None:
    """Check arrays of `saved_histories`.

    Args:
        arrays: as saved.
        tower: of the users.
        encoder: of the model.
        n_seen: number of interactions of the training set.
        rows: number of "users" and of "items".

    Raises:
        ValueError: one is missing or not of its form, or a value is out of range.
    """
    if not tower.reads_history:
        exactly(arrays, {})
        return
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {"read.grade": ("float32", (n_seen,))}
    if tower.ordered:
        shapes["read.time"] = ("float64", (n_seen,))
    for which, n in rows.items():
        forms = getattr(encoder, which).shape.forms.values()
        shapes[f"{PREFIX}{which}.dense"] = ("float32", (n, getattr(encoder, which).shape.n_dense))
        shapes[f"{PREFIX}{which}.codes"] = ("int64", (n, sum(form.kind is Codes for form in forms)))
        for number in range(sum(form.kind is Bag for form in forms)):
            indptr, codes = (f"{PREFIX}{which}.{name}" for name in _bag(number))
            shapes[indptr] = ("int64", (n + 1,))
            shapes[codes] = ("int64", arrays[codes].shape if codes in arrays else (0,))
    exactly(arrays, shapes)
    finite("what interactions count", arrays["read.grade"])
    for which in rows:
        _check_side(which, getattr(encoder, which), arrays)


def _check_side(which: str, encoder: SideEncoder, arrays: Arrays) -> None:
    own = {name.removeprefix(f"{PREFIX}{which}."): array for name, array in arrays.items()}
    finite(f"the numbers of {which}", own["dense"])
    bags = 0
    for place, (name, (first, last)) in enumerate(encoder.shape.ranges.items()):
        if encoder.shape.forms[name].kind is Codes:
            codes = own["codes"][:, place]
        else:
            pointers, entries = _bag(bags)
            indptr, codes = own[pointers], own[entries]
            bags += 1
            if codes.ndim != 1 or indptr[0] != 0 or indptr[-1] != len(codes) or (np.diff(indptr) < 1).any():
                raise ValueError(f"the pointers of {name!r} must rise from 0 to the number of its entries")
        if len(codes) and (codes.min() < first or codes.max() >= last):
            raise ValueError(f"a code of {name!r} is outside of its {last - first} rows")


def check_order(interactions: Interactions) -> None:
    """Check that the times of each user ascend, and that those without one are last.

    Raises:
        ValueError: they are not.
    """
    times, seen = interactions.times, interactions.items
    if times is None:
        return
    key = np.where(np.isnan(times), np.inf, times)
    falls = key[1:] < key[:-1]
    starts = seen.indptr[1:-1]
    falls[starts[(starts > 0) & (starts < len(times))] - 1] = False  # from one user to the next
    if np.isinf(times).any() or falls.any():
        raise ValueError("the times of each user's interactions must ascend, those without one last")


def restored_histories(
    arrays: Arrays, encoder: Encoder, catalogue: Catalogue, interactions: Interactions
) -> tuple[Catalogue, Interactions]:
    """Return the parts with what `saved_histories` gave, after `check_histories`."""
    if not arrays:
        return catalogue, interactions
    found = replace(interactions, grades=arrays["read.grade"], times=arrays.get("read.time"))
    check_order(found)
    return (
        replace(
            catalogue,
            users=replace(catalogue.users, arrays=_side(arrays, "users", encoder.users, catalogue.users.ids)),
            items=replace(catalogue.items, arrays=_side(arrays, "items", encoder.items, catalogue.items.ids)),
        ),
        found,
    )


def _side(arrays: Arrays, which: str, encoder: SideEncoder, ids: pl.Series) -> SideArrays:
    own = {
        name.removeprefix(f"{PREFIX}{which}."): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(f"{PREFIX}{which}.")
    }
    n_bags = sum(form.kind is Bag for form in encoder.shape.forms.values())
    pointers = [_bag(number) for number in range(n_bags)]
    return SideArrays(
        torch.from_numpy(encoder.rows(ids) + 1),
        own["dense"],
        own["codes"],
        tuple((own[indptr], own[codes]) for indptr, codes in pointers),
        encoder.shape,
    )


def _bag(number: int) -> tuple[str, str]:
    return f"list_{number}.indptr", f"list_{number}.codes"
