"""What a fit does once: it encodes each table once a phase, and fits the rule for positives once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower import workflows
from twotower.config import Config
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts, carve_validation, split
from twotower.estimator import TwoTower
from twotower.features.encoder import SideEncoder
from twotower.targets.positive import PositiveRule

N_USERS, N_ITEMS = 40, 30


def data(users: range = range(N_USERS), items: range = range(N_ITEMS)) -> Dataset:
    """Stars of users for items, whose tables have the given rows."""
    rng = np.random.default_rng(0)
    cell = rng.choice(N_USERS * N_ITEMS, 700, replace=False)
    user, item = cell // N_ITEMS, cell % N_ITEMS
    stars = 1.0 + 3.0 * (user % 3 == item % 3) + rng.random(700)
    return Dataset.of(
        pl.DataFrame({"user_id": user, "item_id": item, "stars": stars}),
        pl.DataFrame({"user_id": users, "age": [float(20 + u % 30) for u in users]}),
        pl.DataFrame({"item_id": items, "kind": [f"k{i % 3}" for i in items]}),
        schema={"label": "stars", "users": {"age": "number"}, "items": {"kind": "category"}},
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the rows encoded by column of ids, and the rules fitted."""
    found: Counter[str] = Counter()
    transform, fit = SideEncoder.transform, PositiveRule.fit.__func__  # type: ignore[attr-defined]

    def counted_transform(self: SideEncoder, table: pl.DataFrame) -> Any:
        found[self.column] += table.height
        found["encodings"] += 1
        return transform(self, table)

    def counted_fit(cls: type[PositiveRule], *given: Any) -> PositiveRule:
        found["rules"] += 1
        return fit(cls, *given)  # type: ignore[no-any-return]

    monkeypatch.setattr(SideEncoder, "transform", counted_transform)
    monkeypatch.setattr(PositiveRule, "fit", classmethod(counted_fit))
    return found


def settings(**more: Any) -> dict[str, Any]:
    return {"dim": 8, "epochs": 2, "threads": 1, **more}


@pytest.mark.parametrize("more", [{}, {"objective": "squared"}, {"objective": "softmax"}])
@pytest.mark.parametrize("refit", [True, False])
def test_a_phase_of_training_encodes_each_table_once(
    calls: Counter[str], more: dict[str, Any], refit: bool
) -> None:
    train, validation = carve_validation(data().as_train(), "random", 0.2, 1)
    estimator = TwoTower(**settings(refit=refit, positive=3.0, **more))
    estimator.fit(train, validation, progress=False)
    phases = 1 + refit
    assert calls == {
        "encodings": 2 * phases,
        "user_id": N_USERS * phases,
        "item_id": N_ITEMS * phases,
        "rules": 1,
    }


def test_a_run_fits_the_rule_once_and_encodes_nothing_beside_its_fit(
    calls: Counter[str], tmp_path: Path
) -> None:
    train, test = split(data(), "random", test=0.1, seed=1)
    parts = Parts(*carve_validation(train, "random", 0.1, 1), test)
    config = Config.model_validate(
        {
            "data": {"interactions": "none.csv"},
            "schema": data().schema.model_dump(mode="json"),
            "positive": {"threshold": 3.0},
            "model": {"dim": 8},
            "training": {"epochs": 2, "threads": 1},
        }
    )
    workflows.train(config, tmp_path / "run", parts=parts)
    assert (calls["rules"], calls["encodings"]) == (1, 4)


def test_validation_with_tables_of_its_own_is_measured_with_these(calls: Counter[str]) -> None:
    train, validation = carve_validation(data().as_train(), "random", 0.2, 1)
    items = pl.DataFrame({"item_id": range(N_ITEMS), "kind": ["k0"] * N_ITEMS})
    other = Dataset(validation.interactions, validation.users, items, validation.schema)
    estimator = TwoTower(**settings(refit=False, objective="squared"))
    ours, theirs = (estimator.fit(train, of, progress=False).history[0] for of in (validation, other))
    assert ours["train_loss"] == theirs["train_loss"]
    assert ours["validation_loss"] != theirs["validation_loss"]
    assert calls["encodings"] == 5
    assert calls["user_id"] == 2 * N_USERS


def test_a_user_without_row_and_without_positives_is_known() -> None:
    """It has interactions in the training set, so it has seen items; its vector is that of a cold user."""
    known = data(range(N_USERS - 1), range(N_ITEMS - 1))
    last = pl.col("user_id") == N_USERS - 1
    events = known.interactions.with_columns(
        stars=pl.when(last | (pl.col("item_id") == N_ITEMS - 1)).then(1.0).otherwise("stars")
    )
    train = known.with_interactions(events).as_train()
    model = TwoTower(**settings(positive=3.0, min_grade=None)).fit(train, progress=False)
    found = model.recommend([N_USERS - 1], k=N_ITEMS)
    seen = events.filter(last).get_column("item_id")
    assert set(found.get_column("item_id")) == set(range(N_ITEMS)) - set(seen)
