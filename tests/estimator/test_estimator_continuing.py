"""Training further from a finished model, for each way of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError
from twotower.estimator import TwoTower
from twotower.estimator.continuing import Chosen, continued
from twotower.estimator.earlier import earlier_of
from twotower.training.choice import Choice

N_USERS, N_ITEMS, NEW_USER, NEW_ITEM = 30, 24, "new", 999


def data(*, later: bool = False) -> TrainPart:
    """Users and items of three groups; later also a new user, a new item and a new value of a feature."""
    rng = np.random.default_rng(0)
    cell = rng.choice(N_USERS * N_ITEMS, 240, replace=False)
    user, item = cell // N_ITEMS, cell % N_ITEMS
    same = user % 3 == item % 3
    events = pl.DataFrame(
        {
            "user_id": [f"u{one}" for one in user],
            "item_id": item,
            "stars": np.clip(2.0 + 2.0 * same + rng.normal(0, 0.3, 240), 0, 5),
            "at": 1e9 + np.arange(240.0),
        }
    )
    if later:
        rows = [(NEW_USER, item, 5.0, 2e9 + item) for item in (0, 3, 6, 9)]
        rows += [(f"u{user}", NEW_ITEM, 5.0, 3e9) for user in (0, 3, 6, 9, 12)]
        events = pl.concat([events, pl.DataFrame(rows, schema=events.schema, orient="row")])
    items = [*range(N_ITEMS), *([NEW_ITEM] if later else [])]
    kinds = [f"k{one % 3}" if one != NEW_ITEM else "never seen" for one in items]
    table = pl.DataFrame({"item_id": items, "kind": kinds})
    users = pl.DataFrame({"user_id": [f"u{one}" for one in range(N_USERS)]})
    schema: dict[str, Any] = {"label": "stars", "timestamp": "at", "items": {"kind": "category"}}
    return Dataset.of(events, users, table, schema=schema).as_train()


WAYS: dict[str, dict[str, Any]] = {
    "als": {"kind": "linear", "dim": 8, "regularisation": 0.3},
    "variational": {"kind": "linear", "dim": 8, "objective": "squared"},
    "ease": {"kind": "item_item", "dim": 8, "regularisation": 0.3, "popularity": 0.0},
    "sequences": {"kind": "sequence", "dim": 8, "pooling": ("decay",)},
    "gradients": {"kind": "linear", "dim": 8, "objective": "softmax"},
    "layers": {"kind": "mlp", "dim": 8, "hidden": (4,)},
}


def more(estimator: TwoTower, model: Any, **chosen: Any) -> Any:
    each = {one.kind: Chosen(**({"choice": None, "epochs": 3} | chosen)) for one in earlier_of(model)}
    return continued(estimator.settings, model, data(later=True), each)


@pytest.mark.parametrize("way", WAYS)
def test_a_continued_model_knows_the_new_and_remembers_the_old(way):
    estimator = TwoTower(**WAYS[way], epochs=1 if way == "ease" else 6, threads=1)
    old = estimator.fit(data())
    new = more(estimator, old)
    assert NEW_USER in new.user_ids.to_list()
    assert new.items.warm[new.items.index[NEW_ITEM]]
    assert len(new.seen.values) == len(data(later=True))
    (last,) = new.history[-1:]
    assert last["phase"] == "continued"
    known = data().interactions.head(60)
    before, after = (np.asarray(one.score(known)[:, -1].to_numpy()) for one in (old, new))
    assert np.corrcoef(before, after)[0, 1] > 0.8
    if new.model.users.reads_history:
        return
    row = new.users.index[NEW_USER]
    typical = new.users.vectors[new.users.warm].mean(axis=0)
    own, other = (np.linalg.norm(new.users.vectors[at] - typical) for at in (row, new.users.index["u0"]))
    assert own > 0.05 * other  # it has learned of this user


def test_weights_go_to_the_same_ids_whatever_else_is_known():
    estimator = TwoTower(kind="mlp", dim=8, hidden=(4,), epochs=2, threads=1)
    old = estimator.fit(data())
    (earlier,) = earlier_of(old)
    encoder = old.encoder.on(data(later=True))
    from twotower.towers import TwoTowerModel

    n = [len(side.warm_ids) for side in (encoder.users, encoder.items)]
    assert n == [N_USERS + 1, N_ITEMS + 1]
    towers = TwoTowerModel(encoder.user_shape, encoder.item_shape, *n, old.model.config, seed=5)
    earlier.load_into(towers, encoder)
    row = encoder.users.warm_ids.to_list().index("u7")
    was = old.encoder.users.warm_ids.to_list().index("u7")
    assert (towers.users.ids.weight[row] == old.model.users.ids.weight[was]).all()
    assert (towers.users.ids.weight[encoder.users.warm_ids.to_list().index(NEW_USER)] == 0).all()

    wide = old.model.config.model_copy(update={"dim": 10})

    with pytest.raises(ConfigError, match="same sizes"):
        earlier.load_into(TwoTowerModel(encoder.user_shape, encoder.item_shape, *n, wide, seed=5), encoder)


def test_a_sum_of_kinds_is_continued_part_by_part():
    from twotower.estimator.joining import joined

    each = {
        name: TwoTower(**WAYS[name], epochs=1 if name == "ease" else 3, threads=1) for name in ("als", "ease")
    }
    done = {one.model.kind: one.fit(data()) for one in each.values()}
    auto = TwoTower(candidates=("linear", "item_item"), threads=1, regularisation=0.3)
    old = joined(done, {"linear": 1.0, "item_item": 0.5}, auto.settings)
    assert [one.weight for one in earlier_of(old)] == [1.0, 0.5]
    chosen = {
        "linear": Chosen(Choice(8, 0.3, 0.0, ""), 3),
        "item_item": Chosen(Choice(8, 0.3, 0.0, ""), 1),
    }
    new = continued(auto.settings, old, data(later=True), chosen)
    assert [one.weight for one in earlier_of(new)] == [1.0, 0.5]
    assert NEW_USER in new.user_ids.to_list()
    with pytest.raises(ConfigError, match="must be known"):
        continued(auto.settings, old, data(later=True), {"linear": chosen["linear"]})
