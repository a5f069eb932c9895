"""Add an index to a finished run: the fastest that reaches a recall on the run's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from twotower.errors import ConfigError, nearest
from twotower.recommender.bundle import read_facts
from twotower.retrieval import INDEXES, ExactIndex, Point, Tuned, tune_index
from twotower.workflows.run import Run
from twotower.workflows.stages import Log, quiet

ASKING: Final = 500
"""Most users that an index is measured with."""
ITEMS: Final = 100
"""Default number of items per query."""


@dataclass(frozen=True, eq=False)
class Indexed:
    """An index of a run.

    Attributes:
        run: its bundle contains the index; the exact scan needs none and removes an earlier index.
        tuned: the chosen index and all measured ones.
        k: items per query.
        users: number of users it was measured with.
    """

    run: Run
    tuned: Tuned
    k: int
    users: int

    def facts(self) -> dict[str, Any]:
        """Return the record of the choice that the bundle keeps."""
        return {**asdict(self.tuned.point), "k": self.k}

    def as_dict(self) -> dict[str, Any]:
        """Return the choice and the curve for JSON."""
        curve = [asdict(point) for point in self.tuned.curve]
        return {
            "run": str(self.run.path),
            "k": self.k,
            "users": self.users,
            "chosen": asdict(self.tuned.point),
            "reason": self.tuned.reason,
            "curve": curve,
        }


def build_index(
    path: str | Path,
    *,
    recall: float = 0.98,
    kinds: Sequence[str] = (),
    k: int | None = None,
    threads: int = 1,
    told: Callable[[Point], None] | None = None,
    log: Log = quiet,
) -> Indexed:
    """Find the quickest index that reaches a recall, and save it in a run's bundle.

    Every kind is built and measured on the run's item vectors, with users of the run drawn at random. An
    existing index of the run is replaced.

    Args:
        path: of a finished run.
        recall: mean share of a user's exact top ``k`` that must be found.
        kinds: the only kinds to try, names in `INDEXES`; by default all, and the fastest is chosen, which may
            be the exact scan.
        k: items per query; 100 by default, or all if there are fewer.
        threads: for building. With more than one, HNSW is not reproducible.
        told: called with each index as soon as it is measured.
        log: called with lines on the progress.

    Raises:
        ConfigError: no finished run there; a setting is out of range; no index of these kinds reaches the
            recall.
        BundleError: the bundle can't be read or written.
        MissingExtraError: a kind needs a library that is not installed.
    """
    for kind in kinds:
        if kind not in INDEXES:
            raise ConfigError(
                f"--kind must be one of {', '.join(INDEXES)}; got {kind!r}.{nearest(kind, INDEXES)}"
            )
    if not 0 < recall <= 1:
        raise ConfigError(f"--recall must lie above 0 and be at most 1, got {recall:g}; 0.98 is a good start")
    if threads < 1:
        raise ConfigError(f"--threads must be at least 1, got {threads}")
    run = Run.finished(path)
    recommender, facts = run.recommender(index=False), read_facts(run.bundle)
    vectors, n_items = recommender.users.vectors, len(recommender.item_ids)
    k = min(ITEMS, n_items) if k is None else k
    if not 1 <= k <= n_items:
        raise ConfigError(f"-k must lie between 1 and the catalogue's {n_items:,} items, got {k}")
    rng = np.random.default_rng(run.config().seed)
    asking = np.sort(rng.choice(len(vectors), min(ASKING, len(vectors)), replace=False))
    log(f"{n_items:,} items of dim {vectors.shape[1]}, {len(asking)} users")
    tuned = tune_index(
        recommender.items.vectors,
        vectors[asking],
        k,
        recall,
        kinds or None,
        exact=not kinds,
        threads=threads,
        told=told,
    )
    found = Indexed(run, tuned, k, len(asking))
    index = None if isinstance(tuned.index, ExactIndex) else tuned.index
    replace(recommender, index=index).save(run.bundle, **{**facts, "index": found.facts()})
    return found
