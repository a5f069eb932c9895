"""Off-policy evaluation of a run: what its model would have earned on rows that another policy logged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.wording import count_of
from twotower.errors import ConfigError, DataError, TwoTowerWarning, nearest
from twotower.evaluation.off_policy import Logged, OffPolicyEvaluation, check_rewards, evaluate_off_policy
from twotower.evaluation.policies import ListPolicy, Policy
from twotower.evaluation.reward_model import RewardModel, folds_of
from twotower.recommender import Queries, Query, Recommender
from twotower.workflows.batch import read_pairs

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]

REWARD, PROPENSITY = "reward", "propensity"
_CELLS = 1 << 22
"""Scores of users and items that are held at once."""


@dataclass(frozen=True)
class LoggedEvaluation:
    """An off-policy evaluation, and what of the log could not count.

    Attributes:
        found: the estimates.
        policy: how the model's scores became a policy.
        unknown_users: rows whose user the model doesn't know; they are taken as new users of whom nothing is
            known.
        unknown_items: rows whose item the model doesn't know; our policy would not show it.
        seen: rows whose item the user has in the training set, which our policy leaves out.
    """

    found: OffPolicyEvaluation
    policy: str
    unknown_users: int
    unknown_items: int
    seen: int

    @property
    def notes(self) -> list[str]:
        """What was filled in, and what makes the estimates unreliable."""
        said = []
        if self.unknown_users:
            said.append(
                f"{count_of(self.unknown_users, 'row')} of users unknown to the model: taken as new users"
            )
        if self.unknown_items:
            said.append(
                f"{count_of(self.unknown_items, 'row')} of items unknown to the model, which it never shows"
            )
        if self.seen:
            said.append(
                f"{count_of(self.seen, 'row')} of items that the user has in the training set, which our "
                "policy leaves out (--include-seen changes that)"
            )
        return [*said, *self.found.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        counts = {name: getattr(self, name) for name in ("unknown_users", "unknown_items", "seen")}
        return {"policy": self.policy, **self.found.as_dict(), **counts, "notes": self.notes}


def evaluate_logged(
    recommender: Recommender,
    table: str | Path | pl.DataFrame,
    policy: Policy,
    *,
    clip: float | None = None,
    exclude_seen: bool | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> LoggedEvaluation:
    """Estimate what a model would earn, from rows that another policy logged.

    Rewards for the doubly robust estimate are predicted from the model's score and a part of each item,
    fitted on the rows of other users.

    Args:
        recommender: a trained model.
        table: a row for each item shown: the id columns of the run's data, ``reward``, ``propensity``.
        policy: how scores become probabilities.
        clip: as for `evaluate_off_policy`.
        exclude_seen: whether our policy leaves out what a user has in the training set; None for the model's
            own setting.
        resamples: as for `evaluate_off_policy`.
        seed: of the resampling, and of the groups of users.

    Raises:
        ConfigError: an argument is out of range; a softmax of a model with a second stage or rules for lists.
        DataError: a column is missing or has a value out of range.
    """
    frame = read_pairs(recommender, table) if not isinstance(table, pl.DataFrame) else table
    schema = recommender.encoder.schema
    needed = (schema.user, schema.item, REWARD, PROPENSITY)
    for column in needed:
        if column not in frame.columns:
            raise DataError(
                f"logged rows need the columns {', '.join(needed)}; there are {', '.join(frame.columns)}."
                f"{nearest(column, frame.columns)}"
            )
        if frame.get_column(column).null_count():
            raise DataError(f"the column {column!r} of logged rows must have no empty value; drop these rows")
    reward, propensity = (_numbers(frame, name) for name in (REWARD, PROPENSITY))
    check_rewards(reward)
    ids = frame.get_column(schema.user)
    users = ids.unique(maintain_order=True)
    codes = pl.DataFrame({"id": ids}).join(
        pl.DataFrame({"id": users, "code": np.arange(len(users))}), on="id", how="left", maintain_order="left"
    )
    user = codes.get_column("code").to_numpy()
    item = recommender.items.rows(frame.get_column(schema.item))
    excludes = recommender.exclude_seen if exclude_seen is None else exclude_seen
    staged = recommender.ranker is not None or recommender.diversity is not None
    if staged and not isinstance(policy, ListPolicy):
        raise ConfigError(
            "this model ranks its lists again, by [ranker] or [diversity], which a softmax of its scores "
            "would leave out; use -k, one item of the list, and leave out --temperature"
        )
    scored = _Scores(recommender, users, excludes)
    fold = folds_of(len(users), seed)
    score = scored.of_pairs(user, item)
    models = [
        RewardModel.fit(score[other], item[other], reward[other], len(recommender.items))
        for other in (fold[user] != at for at in range(int(fold.max()) + 1))
    ]
    probability, expected = np.zeros(len(frame)), np.zeros(len(users))
    seen = np.zeros(len(frame), dtype=bool)
    order = np.argsort(user, kind="stable")
    for start, scores in scored.blocks():
        within = slice(start, start + len(scores))
        first, last = np.searchsorted(user[order], [within.start, within.stop])
        rows = order[first:last]
        rows = rows[item[rows] >= 0]
        shown = policy.probabilities(
            scored.ranks(start, len(scores), policy.k)
            if staged and isinstance(policy, ListPolicy)
            else scores
        )
        at = (user[rows] - start, item[rows])
        probability[rows], seen[rows] = shown[at], np.isneginf(scores[at])
        for number, model in enumerate(models):
            own = np.flatnonzero(fold[within] == number)
            expected[start + own] = model.expected(shown[own], scores[own])
    predicted = np.empty(len(frame))
    for number, model in enumerate(models):
        own = fold[user] == number
        predicted[own] = model.predict(score[own], item[own])
    found = evaluate_off_policy(
        Logged(user, reward, propensity, np.minimum(probability, 1.0), predicted, expected[user]),
        clip=clip,
        resamples=resamples,
        seed=seed,
    )
    new = int((scored.rows < 0)[user].sum())
    return LoggedEvaluation(found, str(policy), new, int((item < 0).sum()), int(seen.sum()))


def _numbers(frame: pl.DataFrame, name: str) -> F64:
    column = frame.get_column(name)
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise DataError(f"the column {name!r} of logged rows must hold numbers, got {column.dtype}")
    return column.cast(pl.Float64).to_numpy()


class _Scores:
    """The scores of some users, a block at a time.

    Attributes:
        rows: of the users in the model (n_users,), -1 for new ones.
    """

    def __init__(self, recommender: Recommender, users: pl.Series, exclude_seen: bool) -> None:
        self._recommender, self._users, self._excludes = recommender, users, exclude_seen
        self._items = recommender.items.vectors
        self.rows = recommender.users.rows(users)
        known = self.rows >= 0
        self._vectors = np.empty((len(users), self._items.shape[1]), dtype=np.float32)
        self._vectors[~known] = 0.0
        self._seen = None
        if known.any():
            asked = recommender.query_encoder.encode(Queries.of(users.filter(pl.Series(known))))
            self._vectors[known] = asked.vectors
            self._seen = asked.seen if exclude_seen else None
        if not known.all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TwoTowerWarning)  # `unknown_users` counts them
                self._vectors[~known] = recommender.encode_queries(Query(features={}))
        self._place = np.cumsum(known) - 1  # of each known user among the known

    def of_pairs(self, user: Rows, item: Rows) -> F64:
        """Return the scores (n,) of pairs; of an item that the model doesn't know 0, the mean of nothing."""
        found, at = np.zeros(len(user)), np.flatnonzero(item >= 0)
        for start in range(0, len(at), 1 << 16):
            some = at[start : start + (1 << 16)]
            found[some] = np.einsum("nd,nd->n", self._vectors[user[some]], self._items[item[some]])
        return found

    def blocks(self) -> Iterator[tuple[int, F64]]:
        """Yield the first user of each block, and its scores (n, n_items), -inf for what is no candidate."""
        size = max(1, _CELLS // max(len(self._items), 1))
        for start in range(0, len(self.rows), size):
            scores = (self._vectors[start : start + size] @ self._items.T).astype(np.float64)
            if self._seen is not None:
                known = np.flatnonzero(self.rows[start : start + size] >= 0)
                taken = self._seen.of(self._place[start + known])
                scores[known[taken.owners()], taken.values] = -np.inf
            yield start, scores

    def ranks(self, start: int, n: int, k: int) -> F64:
        """Return minus the rank of each item in the lists of some users (n, n_items), -inf for the others.

        The lists are those that the model recommends, after its second stage and rules.
        """
        found = np.full((n, len(self._items)), -np.inf)
        known = self.rows[start : start + n] >= 0
        schema = self._recommender.encoder.schema
        ids = self._users.slice(start, n)
        for places, asked in ((known, ids.filter(pl.Series(known))), (~known, Query(features={}))):
            if not places.any():
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TwoTowerWarning)
                lists = self._recommender.recommend(asked, k, exclude_seen=self._excludes)
            item = self._recommender.items.rows(lists.get_column(schema.item))
            rank = lists.get_column("rank").to_numpy()
            if isinstance(asked, Query):
                found[np.ix_(np.flatnonzero(places), item)] = -rank
            else:
                of = {name: place for place, name in zip(np.flatnonzero(places), asked, strict=True)}
                user = np.array([of[name] for name in lists.get_column(schema.user).to_list()])
                found[user, item] = -rank
        return found
