"""Random numbers of rows that are a part of a step's, as where its users are divided among workers.

What is drawn for some rows is drawn for all rows of the step, and the others' is thrown away. So dropout
hides the same in a step that is divided as in one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RowShare:
    """Which of a step's rows are here.

    Attributes:
        n: number of rows here.
        total: of all rows.
        at: places of these among all.
    """

    n: int
    total: int
    at: slice | torch.Tensor


_SHARES: ContextVar[Mapping[str, RowShare] | None] = ContextVar("shares", default=None)


@contextmanager
def sharing(shares: Mapping[str, RowShare]) -> Iterator[None]:
    """Draw within for rows that are a part of all: "rows" of a side, "entries" of histories, "queries"."""
    token = _SHARES.set(shares)
    try:
        yield
    finally:
        _SHARES.reset(token)


def drawn_for(n: int, of: str, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Return what ``draw`` gives for n rows, (n, ...), or for all rows of the step, of which these are some.

    Args:
        n: number of rows.
        of: what rows they are: see `sharing`.
        draw: random numbers for a number of rows, one after the other.
    """
    share = (_SHARES.get() or {}).get(of)
    if share is None or share.n != n:
        return draw(n)
    return draw(share.total)[share.at]


def seed_of(seed: int, of: str) -> int:
    """Return the seed of what is drawn for rows; one a part if it is not known which of all they are."""
    shares = _SHARES.get()
    if shares is None or of in shares:
        return seed
    first = shares["rows"].at
    return seed + (first.start if isinstance(first, slice) else 0)
