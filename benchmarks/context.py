"""Whether what is known of a request and of the day helps sequence towers, on the validation set.

    python benchmarks/context.py --data DIR [--splits leave_last temporal] [--seeds 42 43]

MovieLens-100k (`DIR/ml-100k`), ratings of at least 4 as positives without labels: the one set at hand with
real times. Each variant is trained with the defaults on the training set, without a refit, and measured on
the validation set: the last item of each user but one, or the latest tenth of the rest. Printed are NDCG@10
and NDCG@100, and the paired difference from the plain model with its 95% interval over users.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

import twotower as tt
from twotower.baselines.recent_popularity import RecentPopularity
from twotower.config import load_config
from twotower.data.dataset import Dataset
from twotower.datasets.configured import read_raw
from twotower.evaluation import RankingTask
from twotower.metrics import mean_differences

METRICS = ("ndcg@10", "ndcg@100")
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "hour and weekday": {"context": {"timestamp": "calendar"}},
    "recent counts": {"recent_days": (1, 7, 30)},
    "recent counts, age": {"recent_days": (1, 7, 30), "item_age": "released"},
}
"""What is added to the schema."""


def positives(data: Path) -> Dataset:
    """Return the positives of MovieLens-100k, without labels."""
    whole = read_raw(load_config("movielens-100k-ranking", [f"data.dir={data}/ml-100k"]))["interactions"]
    label = whole.schema.label
    assert label is not None
    kept = whole.with_interactions(whole.interactions.filter(pl.col(label) >= 4).drop(label))
    released = ((pl.col("release_year") - 1970) * 365.25 * 86_400).alias("released")
    schema = tt.Schema.parse(
        {**kept.schema.model_dump(), "label": None, "items": {**kept.schema.items, "released": "timestamp"}}
    )
    return replace(kept, items=kept.items.with_columns(released), schema=schema)


def extended(data: Dataset, added: Mapping[str, Any]) -> Dataset:
    """Return a dataset whose schema names more."""
    return replace(data, schema=tt.Schema.parse({**data.schema.model_dump(), **added}))


def main() -> None:
    """Print the table of each split and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", default=["leave_last", "temporal"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    given = parser.parse_args()
    whole = positives(given.data)
    for split in given.splits:
        learned, _ = tt.split(whole, split)
        train, validation = tt.split(learned, split)
        task = RankingTask.prepare(validation, train, ks=(10, 100))
        print(f"\nml-100k, {split}: training {len(train):,}, {len(task.users):,} users in validation")
        for days in (7, 14, 30, 60):
            found = task.values(RecentPopularity(days=days).fit(train)).users
            shown = "  ".join(f"{metric} {found[metric].mean():.4f}" for metric in METRICS)
            print(f"  popularity of {days} days      {shown}", flush=True)
        for seed in given.seeds:
            values = {}
            for name, added in VARIANTS.items():
                parts = [extended(part, added) for part in (train, validation)]
                start = time.process_time()
                model = tt.TwoTower(kind="sequence", refit=False, seed=seed).fit(
                    parts[0].as_train(), parts[1], progress=False
                )
                seconds = time.process_time() - start
                own = RankingTask.prepare(parts[1], parts[0], ks=(10, 100)).values(model).users
                values[name] = {metric: own[metric] for metric in METRICS}
                shown = "  ".join(f"{metric} {own[metric].mean():.4f}" for metric in METRICS)
                print(f"  seed {seed}  {name:18s} {shown}  {seconds:.0f} CPU s", flush=True)
            for name, of in mean_differences(values, "plain").items():
                said = ", ".join(
                    f"{metric} {of[metric].value:+.4f} [{of[metric].low:+.4f}, {of[metric].high:+.4f}]"
                    for metric in METRICS
                )
                print(f"  {name} - plain: {said}", flush=True)


if __name__ == "__main__":
    main()
