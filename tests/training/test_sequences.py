"""Sequence towers in training: which positions they see, in which batches, among which sampled items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
import torch

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.estimator import TwoTower
from twotower.estimator.setup import prepare
from twotower.features import EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Softmax
from twotower.objectives.softmax import SoftmaxConfig
from twotower.recommender import Query
from twotower.targets.positive import PositiveRule
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.registry import TOWERS
from twotower.towers.sequence import SequenceConfig, SequenceUsers
from twotower.training import TrainingTask
from twotower.training.queries import TrainQueries, in_order
from twotower.training.sequences import Sequences, SequencesConfig
from twotower.training.user_batches import UserBatch, UserBatches

CPU = torch.device("cpu")
PLANTED = 9
"""The item that is every user's target; its row is 2."""


class Watched(SequenceUsers):
    """Keeps what each query may read."""

    seen: ClassVar[set[tuple[int, tuple[tuple[int, float], ...]]]] = set()

    def positions(self, side: SideArrays, row: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        past = side.history
        assert past is not None
        if self.training:
            for who, last in zip(row.tolist(), at.tolist(), strict=True):
                first = int(past.indptr[who])
                assert last == -1 or first <= last < int(past.indptr[who + 1])
                own = slice(first, last + 1) if last >= 0 else slice(0, 0)
                read = zip(past.items[own].tolist(), past.times[own].tolist(), strict=True)
                self.seen.add((int(side.warm[who]) - 1, tuple(read)))
        return super().positions(side, row, at)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    Watched.seen.clear()
    with TOWERS.temporarily(watched=Watched):
        yield


def rows(*events: tuple[int, int, float | None, float]) -> TrainPart:
    """Return events of user, item, time and label."""
    table = pl.DataFrame(list(events), schema=["user_id", "item_id", "time", "stars"], orient="row")
    return Dataset.of(table, schema={"label": "stars", "timestamp": "time"}).as_train()


AT_300 = ((0, 100.0), (1, 200.0), (0, 200.0))
"""What the target at 300 may see, by row of the item."""


@pytest.mark.parametrize("objective", ["softmax", "bpr"])
@pytest.mark.parametrize("batch_size", [1, 12, "auto"])
@pytest.mark.parametrize(
    ("longest", "before"),
    [
        (200, {(), ((0, 100.0),), AT_300}),  # without a time and at 100; at 200, not each other; at 300
        (3, {(), ((0, 100.0),), AT_300}),
        (2, {(), AT_300[1:]}),  # what was before 200 is not read, and so the targets at 200 are not learnt
        (1, {(), AT_300[2:]}),
    ],
)
def test_a_target_planted_in_its_own_history_is_never_seen(
    objective: str, batch_size: Any, longest: int, before: Any
) -> None:
    """The target is there at the same time (twice), later, and at no time."""
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
    settings = {"kind": "watched", "dim": 8, "epochs": 1, "threads": 1, "refit": False}
    model = TwoTower(objective=objective, batch_size=batch_size, max_history=longest, **settings)
    model.fit(train, train, progress=False, exclude_seen=False)
    assert Watched.seen == {(user, past) for user in range(6) for past in before}


N_USERS, N_ITEMS = 40, 60


def task(n_users: int = N_USERS) -> tuple[TrainingTask, np.ndarray, np.ndarray, np.ndarray]:
    """Return a task of random events with ties, whose labels are their numbers, and its events."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(n_users), rng.integers(1, 12, n_users))
    item = np.minimum(rng.geometric(0.08, len(user)) - 1, N_ITEMS - 1)
    time = np.where(rng.random(len(user)) < 0.1, np.nan, rng.integers(0, 9, len(user)).astype(float))
    users, items = (
        SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), {}), CPU) for n in (n_users, N_ITEMS)
    )
    past = in_order(user, item, np.ones(len(user)), time, n_users)
    queries, query = TrainQueries.of(user, time, past, items)
    numbers = np.arange(len(user), dtype=np.float32)
    pairs = Pairs.from_arrays(query, item, numbers, numbers + 0.5, n_users=len(queries.user))
    config = SequenceConfig(dim=8, dropout=0.0, ensemble_size=1)
    model = TwoTowerModel(users.shape, items.shape, n_users, N_ITEMS, config, seed=0)
    made = TrainingTask(model, users, items, pairs, Softmax(), SoftmaxConfig(), 0.0, 0, queries)
    return made, user, item, time


def events_of(batch: UserBatch) -> list[int]:
    return batch.pairs.label.astype(int).tolist()


@pytest.mark.parametrize("longest", [1, 3, 100])
@pytest.mark.parametrize("sampled", [5, N_ITEMS])
def test_each_kept_pair_is_in_one_batch_of_an_epoch_with_its_position(longest: int, sampled: int) -> None:
    made, user, item, time = task()
    batches = UserBatches(made, 30, sampled, longest)
    last_time = np.array([np.nanmax(np.append(time[user == one], -np.inf)) for one in range(N_USERS)])
    kept = set()
    for event, (who, at) in enumerate(zip(user, time, strict=True)):
        before = np.sort(time[(user == who) & (time < at)])
        read = (time[(user == who) & (time < last_time[who])] >= 0).sum()
        if not len(before) or len(before) > read - longest:  # its last entry is among those read
            kept.add(event)
    found: Counter[int] = Counter()
    for batch in batches.epoch(1):
        past, owners = batch.users.history, batch.pairs.lists.owners()
        assert past is not None
        assert past.indptr.diff().max() <= longest
        items = np.arange(N_ITEMS) if batch.items is None else batch.items
        assert (batch.items is None) == (sampled == N_ITEMS)
        for place, event in enumerate(events_of(batch)):
            query = owners[place]
            who, last = int(batch.users.warm[batch.row[query]]) - 1, int(batch.at[query])
            assert who == user[event]
            assert items[batch.pairs.item[place]] == item[event]
            assert batch.pairs.weight is not None
            assert batch.pairs.weight[place] == event + 0.5
            read = past.times[past.indptr[batch.row[query]] : last + 1].numpy() if last >= 0 else np.empty(0)
            wanted = np.sort(time[(user == who) & (time < time[event])])[-longest:]
            assert (wanted[len(wanted) - len(read) :] == read).all()
            assert (len(read) > 0) == (len(wanted) > 0)
            if longest == 100:
                assert len(read) == len(wanted)
        found.update(events_of(batch))
    assert found == Counter(kept)
    assert (len(kept) == len(user)) == (longest == 100)
    assert batches.n == len(kept)


def test_pairs_of_one_time_share_a_position() -> None:
    made, user, _, time = task()
    queries: dict[int, tuple[int, int]] = {}
    for number, batch in enumerate(UserBatches(made, 30, 5, 100).epoch(1)):
        for event, query in zip(events_of(batch), batch.pairs.lists.owners(), strict=True):
            queries[event] = number, int(query)
    together = 0
    for one in range(len(user)):
        for other in range(one):
            same = user[one] == user[other] and str(time[one]) == str(time[other])
            together += same
            assert same == (queries[one] == queries[other])
    assert together > 20


def test_epochs_differ_and_come_back() -> None:
    batches = UserBatches(task()[0], 30, 5, 100)

    def drawn(epoch: int) -> list[tuple[list[int], list[int]]]:
        return [(events_of(batch), batch.items.tolist()) for batch in batches.epoch(epoch)]  # type: ignore[union-attr]

    assert len(drawn(1)) > 3
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_expected_count_of_an_item_is_what_is_counted() -> None:
    """Over many epochs, with items that a user has several times."""
    batches = UserBatches(task(500)[0], 150, 10, 100)
    assert batches.log_q is not None
    counted, steps = np.zeros(N_ITEMS), 0
    for epoch in range(1, 151):
        for batch in batches.epoch(epoch):
            assert batch.items is not None
            assert batch.step.log_q is not None
            np.testing.assert_array_equal(batch.step.log_q, batches.log_q[batch.items])
            counted[batch.items] += 1
            steps += 1
    expected = np.exp(batches.log_q)
    noise = np.sqrt(expected * (1.0 - expected) / steps)
    assert (np.abs(counted / steps - expected) < 5 * noise + 0.02).all()
    assert expected.max() > 2 * expected.min()


def test_the_rate_rises_then_falls_over_all_epochs() -> None:
    made = task()[0]
    trainer = Sequences(made, SequencesConfig(batch_size=10, epochs=10, learning_rate=0.01))
    steps = trainer.batches.steps
    assert 20 < steps < 30
    rates = [trainer.rate(epoch) for epoch in range(1, 11)]
    assert rates[0] == pytest.approx(0.01 / 50)
    assert rates[1] < rates[2] == max(rates)
    for epoch in range(3, 11):
        risen = min(((epoch - 1) * steps + 1) / 50, 1.0)
        assert rates[epoch - 1] == pytest.approx(0.01 * risen * (1 - 0.98 * (epoch - 1) / 10))


@pytest.mark.parametrize(("described", "highest"), [(True, 0.002), (False, 0.001)])
def test_the_rate_is_lower_without_features_of_items(described: bool, highest: float) -> None:
    events = pl.DataFrame({"user_id": [0, 0, 1, 1], "item_id": [0, 1, 1, 2], "t": [1.0, 2.0, 1.0, 2.0]})
    items = pl.DataFrame({"item_id": [0, 1, 2], "genre": ["a", "b", "a"]}) if described else None
    genre = {"items": {"genre": "category"}} if described else {}
    train = Dataset.of(events, items=items, schema={"timestamp": "t", **genre}).as_train()
    settings = TwoTower(kind="sequence", dim=8, epochs=100).settings
    made = prepare(settings, train, PositiveRule.fit(train, PositiveConfig()), CPU)
    assert max(made.trainer.rate(epoch) for epoch in range(1, 101)) == pytest.approx(highest * 0.52, rel=0.05)


@pytest.mark.parametrize("large", [0, 1000])
def test_features_learn_at_a_multiple_of_the_rate_however_many_values(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twotower.towers.tower.LARGE_TABLE", large)  # above it, gradients are sparse
    events = pl.DataFrame({"user_id": [0, 0, 1, 1], "item_id": [0, 1, 1, 2], "t": [1.0, 2.0, 1.0, 2.0]})
    items = pl.DataFrame({"item_id": [0, 1, 2], "genre": ["a", "b", "a"]})
    schema = {"timestamp": "t", "items": {"genre": "category"}}
    train = Dataset.of(events, items=items, schema=schema).as_train()
    settings = TwoTower(kind="sequence", dim=8).settings
    trainer = prepare(settings, train, PositiveRule.fit(train, PositiveConfig()), CPU).trainer
    assert isinstance(trainer, Sequences)
    groups = [*trainer.adam.param_groups, *trainer.rows.param_groups]
    times = {id(one): group["times"] for group in groups for one in group["params"]}
    items_tower: Any = trainer.task.model.items
    assert times[id(items_tower.table)] == 5.0
    assert times[id(items_tower.ids.weight)] == 1.0


def test_a_trained_model_knows_what_comes_next() -> None:
    """Users walk round a circle of items: the next one can be told from the last one alone."""
    rng = np.random.default_rng(0)
    events = [
        (user, (start + step) % 30, float(step), 1.0)
        for user, start in enumerate(rng.integers(0, 30, 150))
        for step in range(8)
    ]
    model = TwoTower(
        kind="sequence", dim=32, seed=1, threads=1, refit=False, batch_size=100, learning_rate=0.005
    )
    fitted = model.fit(rows(*events), progress=False, exclude_seen=False)
    table = fitted.recommend([Query(history=[4, 5, 6]), Query(history=[20, 21])], k=1)
    assert table.get_column("item_id").to_list() == [7, 22]
