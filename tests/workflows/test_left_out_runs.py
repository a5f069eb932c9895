"""Runs whose bundle leaves out the users' vectors: what is measured is what is saved."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from twotower import workflows
from twotower.config import load_config
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.workflows.continuing import continue_run
from twotower.workflows.event_table import EventTable, columns_of
from twotower.workflows.reading import load_parts


@pytest.mark.parametrize("objective", ["all_pairs", "squared"])
def test_metrics_of_a_run_are_those_of_its_bundle(objective: str, folder: Path) -> None:
    given = ["user_vectors=false", "schema.users={}", "model={kind='linear', dim=4}", "training={epochs=2}"]
    config = load_config(folder / "config.toml", [*given, f"objective={{name='{objective}'}}"])
    run = workflows.train(config, folder / objective).run
    again = workflows.evaluate(run.path)
    for kind in ("rating", "ranking"):
        assert again[kind] == run.metrics()[kind]
    new = load_parts(config).test.interactions.select(columns_of(config.schema_)).head(4)
    new = new.with_columns(at=new["at"] + 1e6, store_place=pl.Series(range(1, 5)))
    more = continue_run(run.path, EventTable(new, TrainedUpTo({"store": 4})), folder / f"{objective}-2")
    again = workflows.evaluate(more.run.path)
    assert again["ranking"] == more.metrics["ranking"]
    assert not more.run.recommender().training.user_vectors
