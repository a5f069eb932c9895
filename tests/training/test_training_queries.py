"""What towers that read histories are given in training: never the target, nor what came with it or later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError
from twotower.estimator import TwoTower
from twotower.towers import History, LinearTower, SideArrays, Tower
from twotower.towers.registry import TOWERS
from twotower.training.queries import TrainQueries, history_before, in_order

Seen = list[tuple[int, tuple[int, ...], tuple[float, ...], tuple[float, ...]]]
"""Rows that a tower was given: the user's warm row, then the items, grades and times of its history."""


class MemoryConfig(ModelConfig):
    """``memory``: a linear model of the items that a user had."""

    kind: Literal["memory"] = "memory"


class MemoryTower(LinearTower):
    """Adds the mean of a row an item to a user's vector, and keeps what it was given to read."""

    Config: ClassVar[type[ModelConfig]] = MemoryConfig
    reads_history = True
    seen: ClassVar[Seen] = []
    """What was read in training."""

    def __init__(
        self, shape: EncodedShape, n_ids: int, config: ModelConfig, generator: torch.Generator, n_items: int
    ) -> None:
        super().__init__(shape, n_ids, config, generator)
        self.memory = nn.EmbeddingBag(n_items + 1, self.width)  # row 0 for cold items
        torch.nn.init.normal_(self.memory.weight, std=0.1, generator=generator)

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: ModelConfig,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        return cls(*users, config, generator, items[1]), LinearTower(*items, config, generator)

    def forward(self, side: SideArrays) -> torch.Tensor:
        vector, past = super().forward(side), side.history
        if past is None:
            return vector
        if self.training:
            self.seen.extend(rows_of(side.warm.numpy() - 1, past))
        added: torch.Tensor = self.memory(past.catalogue.warm[past.items], past.indptr[:-1])
        return vector + added


def rows_of(users: np.ndarray, past: History) -> Seen:
    ends = past.indptr.tolist()
    assert len(users) == len(ends) - 1
    columns = [column.tolist() for column in (past.catalogue.warm[past.items] - 1, past.grades, past.times)]
    return [
        (int(user), *(tuple(column[first:last]) for column in columns))  # type: ignore[misc]
        for user, first, last in zip(users.tolist(), ends[:-1], ends[1:], strict=True)
    ]


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    MemoryTower.seen.clear()
    with TOWERS.temporarily(memory=MemoryTower):
        yield


def rows(*events: tuple[int, int, float | None, float]) -> TrainPart:
    """Return events of user, item, time and label."""
    table = pl.DataFrame(list(events), schema=["user_id", "item_id", "time", "stars"], orient="row")
    return Dataset.of(table, schema={"label": "stars", "timestamp": "time"}).as_train()


def fitted(train: TrainPart, **more: Any) -> Any:
    settings = {"kind": "memory", "dim": 8, "epochs": 2, "threads": 1, "refit": False, "objective": "squared"}
    return TwoTower(**{**settings, **more}).fit(train, train, progress=False, exclude_seen=False)


PLANTED = 9
"""The item that is every user's target; its row is 2."""


@pytest.mark.parametrize("objective", ["squared", "softmax", "all_pairs", "bpr"])
@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_a_target_planted_in_its_own_history_is_never_seen(objective: str, batch_size: Any) -> None:
    """The target is there at the same time (twice), later, and at no time; before it only item 7 and 8."""
    train = rows(
        *(
            event
            for user in range(6)
            for event in (
                (user, PLANTED, 300.0, 5.0),
                (user, PLANTED, 300.0, 4.0),
                (user, 8, 200.0, 2.0),
                (user, PLANTED, None, 3.0),
                (user, 7, 100.0, 1.0),
                (user, 7, 200.0, 1.5),
            )
        )
    )
    fitted(train, objective=objective, batch_size=batch_size)
    before = {
        (),  # at 100, and without a time
        ((0, 100.0),),  # at 200: not item 8, and not the item 7 of the same time
        ((0, 100.0), (1, 200.0), (0, 200.0)),  # at 300
    }
    found = {(user, tuple(zip(items, times, strict=True))) for user, items, _, times in MemoryTower.seen}
    assert found == {(user, past) for user in range(6) for past in before}


def test_of_one_item_again_and_again_a_target_sees_the_earlier_times_alone() -> None:
    train = rows(
        *((user, PLANTED + user, 100.0 * time, 1.0 + time) for user in range(3) for time in range(4))
    )
    fitted(train)
    for user, items, _, times in MemoryTower.seen:
        assert items == (user,) * len(times)
        assert times == tuple(100.0 * time for time in range(len(times)))
    assert {len(times) for *_, times in MemoryTower.seen} == {0, 1, 2, 3}


def test_the_trained_model_reads_everything_that_a_user_did() -> None:
    train = rows(
        *((user, user % 2 + time, float(time), 1.0 + time) for user in range(4) for time in range(3))
    )
    model = fitted(train, positive=2.0, min_grade=None, objective="all_pairs", trainer="gradients")
    tower = model.model.users
    with torch.no_grad():
        without = LinearTower.forward(tower, SideArrays.pack(model.encoder.users.transform(train.users), CPU))
    own = [[0, 1, 2], [1, 2, 3]]
    known = [
        [1 + model.encoder.items.rows(pl.Series([item]))[0] for item in own[user % 2]] for user in range(4)
    ]
    with torch.no_grad():
        bags = [torch.tensor([one]) for one in known]
        read = without + torch.cat([tower.memory(bag) for bag in bags])
        expected = model.model.vectors_of(read, "users").numpy()
    np.testing.assert_allclose(model.catalogue.users.vectors, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "grades"),
    [
        ({"objective": "squared"}, 0.0),
        ({"objective": "softmax"}, 0.2),
        ({"objective": "softmax", "positive": 2.0, "min_grade": 0.5}, 0.5),
        ({"objective": "softmax", "positive": 2.0, "min_grade": None}, (0.0, 1.0, 1.0)),
        ({"objective": "all_pairs", "positive": 2.0, "trainer": "gradients"}, 0.2),
    ],
)
def test_a_history_says_what_each_interaction_counts(settings: Any, grades: Any) -> None:
    """By the rank of the labels 1, 2 and 3, from a floor, where it is used; a dislike is not a like."""
    train = rows(*((user, 7 + time, float(time), 1.0 + time) for user in range(4) for time in range(4)))
    model = fitted(train, **settings)
    (longest,) = {found for _, _, found, times in MemoryTower.seen if len(times) == 3}
    if isinstance(grades, float):
        ranks = model.training.positive.grades(np.array([1.0, 2.0, 3.0]), None)
        assert 0.0 < ranks[0] < ranks[1] < ranks[2] < 1.0
        grades = grades + (1.0 - grades) * ranks
    np.testing.assert_allclose(longest, grades, atol=1e-6)


def test_without_a_timestamp_there_is_no_history() -> None:
    train = Dataset.of(
        pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "y": [1.0, 2.0]}), schema={"label": "y"}
    )
    with pytest.raises(ConfigError, match=r"schema\.timestamp"):
        fitted(train.as_train())


CPU = torch.device("cpu")
EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-1, 4), st.sampled_from([np.nan, 1.0, 2.0, 2.0, 3.5])),
    max_size=30,
)


@given(EVENTS, EVENTS)
def test_histories_are_what_was_strictly_before(events: Any, targets: Any) -> None:
    """Against a plain loop, with ties, missing times, repeated and unknown items."""
    user, item, time = (np.array(column) for column in zip(*events, strict=True)) if events else ([],) * 3
    user, item, time = np.array(user, int), np.array(item, int), np.array(time, float)
    label = np.arange(len(user), dtype=float)
    past = in_order(user, item, label, time, 4)
    asked, _, when = zip(*targets, strict=True) if targets else ((), (), ())
    queries, query = TrainQueries.of(np.array(asked, int), np.array(when, float), past, None)  # type: ignore[arg-type]
    found = history_before(past, queries.user, queries.time)
    timed = np.flatnonzero(~np.isnan(time)).tolist()
    ordered = sorted(timed, key=lambda row: time[row])
    for (who, _, at), row in zip(targets, query, strict=True):
        wanted = [one for one in ordered if user[one] == who and item[one] >= 0 and time[one] < at]
        part = found.lists.span(row)
        assert found.label[part].tolist() == wanted
        assert found.item[part].tolist() == item[wanted].tolist()
    assert (np.diff(queries.user) >= 0).all()
    assert len(set(query.tolist())) == len(queries.user) == len({(who, str(at)) for who, _, at in targets})
