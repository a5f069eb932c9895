"""Grades of candidates, and features of those that a ranker learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.durations import durations
from twotower.evaluation.ranker import RankRequest
from twotower.evaluation.ranking_task import RankingTask
from twotower.ranking.groups.registry import matrix_of
from twotower.ranking.known import Batch
from twotower.ranking.trees import Examples
from twotower.retrieval import Candidates
from twotower.targets.positive import PositiveRule

STEPS = 4
"""The highest grade of a label."""
Found = Callable[[RankRequest], tuple[Batch, Candidates]]
"""Returns the candidates of queries, as rows of the request's items, and the same with what is known."""


def grades_of(held: Dataset, rule: PositiveRule, kind: str) -> NDArray[np.int32]:
    """Return the grade of each held-out interaction, int32 (n,).

    Args:
        held: the interactions.
        rule: which are positives, and the order of labels.
        kind: ``positives``: 1 for positives, else 0. ``labels``: the rank of the label, from 0 to `STEPS`.
    """
    if kind == "positives":
        return rule.positive(held).astype(np.int32)
    return np.rint(STEPS * rule.grades(held.labels(), durations(held))).astype(np.int32)


def examples_of(task: RankingTask, held: Dataset, rule: PositiveRule, kind: str, found: Found) -> Examples:
    """Return the candidates of a task's queries with their grades; lists of one grade teach nothing, and are
    left out.

    Args:
        task: whose queries are asked.
        held: the held-out interactions, positives or not.
        rule: for positives.
        kind: of the grades, see `grades_of`.
        found: finds candidates.
    """
    users, items = Vocabulary(task.users), Vocabulary(task.items)
    pairs = held.interactions.select(user=held.schema.user, item=held.schema.item)
    user, item = (
        users.rows(pairs["user"].cast(task.users.dtype)),
        items.rows(pairs["item"].cast(task.items.dtype)),
    )
    key, grade = user * len(items) + item, grades_of(held, rule, kind)
    inside = (user >= 0) & (item >= 0)
    key, grade = key[inside], grade[inside]
    order = np.lexsort((-grade, key))  # of a pair that is there twice, the highest
    key, first = np.unique(key[order], return_index=True)
    grade = grade[order][first]
    parts = []
    for start, request in task.requests():
        batch, candidates = found(request)
        query, _, own, _ = candidates.flat()
        asked = (query + start) * len(items) + own.astype(np.int64)
        place = np.minimum(np.searchsorted(key, asked), max(len(key) - 1, 0))
        graded = (
            np.where(key[place] == asked, grade[place], 0).astype(np.int32)
            if len(key)
            else np.zeros(len(asked), np.int32)
        )
        sizes = np.diff(batch.indptr)
        values = matrix_of(batch)
        lowest = np.minimum.reduceat(np.append(graded, 0), batch.indptr[:-1])
        highest = np.maximum.reduceat(np.append(graded, 0), batch.indptr[:-1])
        useful = (sizes > 1) & (highest > lowest)
        kept = useful[batch.owner]
        parts.append(Examples(values[kept], graded[kept], sizes[useful]))
    return Examples.joined(parts)
