"""Publishing to Milvus, and searching there: milvus-lite in this process against the exact scan.

    python benchmarks/publish.py rate [--items 1000000] [--dim 64] [--nlist N]
    python benchmarks/publish.py lists [--items 20000] [--users 200]

``rate``: clustered vectors with three columns are written to a file of milvus-lite as `twotower publish` does
it: items per second of wall and of CPU time, with flushing and indexing.

``lists``: the lists of a published catalogue against those of the exact scan: recall@20, the share of lists
that are the same, item by item and bit by bit, and the CPU time of a query for one user, without and with
filters, denied items and items that were seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from index import clustered
from twotower.core.lists import Lists
from twotower.recommender.display import ColumnFilters
from twotower.retrieval import exact_top_k
from twotower.retrieval.databases import Columns, Items, database_at, open_index, publish_items

VERSION = "0" * 12
K = 20


def catalogue(n: int, dim: int, n_users: int) -> tuple[Items, pl.DataFrame, Any]:
    """Return items with a text, a year and tags, their columns, and users."""
    vectors, users = clustered(n, dim, 1000, 0.4, 0.3, n_users)
    rng = np.random.default_rng(1)
    genre, year = rng.integers(20, size=n), rng.integers(1950, 2026, size=n)
    display = pl.DataFrame(
        {
            "genre": [f"genre {g}" for g in genre],
            "year": year,
            "tags": [[f"t{g % 7}", f"t{y % 5}"] for g, y in zip(genre, year, strict=True)],
        }
    )
    ids = pl.Series([f"item-{row:07d}" for row in range(n)])
    return Items(vectors, ids, Columns(display)), display, users


def rate(folder: Path, n: int, dim: int, nlist: int | None) -> None:
    """Print how fast a catalogue is published."""
    items, _, _ = catalogue(n, dim, 1)
    database = database_at(f"milvus:{folder / 'items.db'}")
    cpu = time.process_time()
    found = publish_items(database, items, VERSION, parameters={} if nlist is None else {"nlist": nlist})
    cpu = time.process_time() - cpu
    print(
        f"{n:,} items of dim {dim}, 3 columns, {found.parameters}: {found.seconds:.1f} s, "
        f"{n / found.seconds:,.0f} items/s; {cpu:.1f} CPU s, {n / cpu:,.0f} items per CPU s"
    )


def lists(folder: Path, n: int, dim: int, n_users: int) -> None:
    """Print how lists differ from the exact ones, and what a query costs."""
    items, display, users = catalogue(n, dim, n_users)
    address = f"milvus:{folder / 'items.db'}"
    publish_items(database_at(address), items, VERSION)
    index, columns = open_index(address, items.vectors, display, VERSION), ColumnFilters(display)
    rng = np.random.default_rng(2)
    best = exact_top_k(users, items.vectors, 100)
    seen = Lists.from_groups([row[rng.random(100) < 0.5] for row in best.items])  # what hurts
    deny = rng.choice(n, n // 20, replace=False)
    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("no filter", {}, {}),
        ("genre", {"genre": "genre 3"}, {}),
        ("one of three genres", {"genre": ["genre 3", "genre 5", "genre 7"]}, {}),
        ("years", {"year": {"min": 1990, "max": 1999}}, {}),
        ("tags and years", {"tags": ["t1", "t2"], "year": {"min": 2000}}, {}),
        ("seen", {}, {"seen": seen}),
        ("5% denied, seen, genre", {"genre": "genre 3"}, {"seen": seen, "deny": deny}),
    ]
    print(f"{n:,} items of dim {dim}, {n_users} users, {index.parameters()}; CPU ms for one user")
    print(f"{'':24}{'recall@20':>10}{'same lists':>12}{'scan':>8}{'milvus-lite':>13}")
    for name, filters, more in cases:
        where = columns.where(filters) if filters else None
        allow = where.rows() if where else None
        exact = exact_top_k(users, items.vectors, K, allow=allow, **more)
        found = index.search(users, K, where=where, **more)
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact.items, found.items, strict=True)])
        same = ((exact.items == found.items) & (exact.scores == found.scores)).all(axis=1).mean()
        times = []
        for remote in (False, True):
            start = time.process_time()
            for user in range(20):
                alone = {**more, **({"seen": seen.of(np.array([user]))} if "seen" in more else {})}
                one = users[user : user + 1]
                if remote:
                    index.search(one, K, where=where, **alone)
                else:
                    exact_top_k(one, items.vectors, K, allow=allow, **alone)
            times.append(1e3 * (time.process_time() - start) / 20)
        print(f"{name:24}{recall:>10.4f}{same:>12.4f}{times[0]:>8.2f}{times[1]:>13.2f}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("rate", "lists"))
    parser.add_argument("--items", type=int)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--nlist", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "rate":
            rate(Path(folder), given.items or 1_000_000, given.dim, given.nlist)
        else:
            lists(Path(folder), given.items or 20_000, given.dim, given.users)


if __name__ == "__main__":
    main()
