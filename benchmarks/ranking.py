"""Ranking quality with the default configuration, compared with tuned baselines.

    python benchmarks/ranking.py [--data DIR] [--sets ml-100k citeulike] [--seeds 42 43] [--baselines EASE]

`kuairec-sample` is packaged; the other data sets are folders of Parquet tables in DIR, and are skipped with a
message if missing.

- With labels (kuairec-sample: a watch ratio of at least 1.5 is a positive; ml-100k: a rating of at least 4)
  and without (citeulike: every interaction is one): 80/20 within each user, validation taken from the 80.
- Sequences (amazon-beauty, amazon-games, ml-1m-sequences), without labels: each user's last item is the
  test set, the one before it the validation set.

All items that a user has not seen are ranked. Our model has default settings. Each baseline is tuned on the
validation set, with and without grades if there are labels, and the better variant is refitted on training
and validation set, like ours; the lines above each table give its input and settings. "ids alone" is our
model without features. If items have features, a fifth of the items is then held out and ranked among
themselves, against the popularity of their categories. Paired 95% intervals over users, against our model
with features.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config import Config, load_config
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.evaluation import RankingComparison
from twotower.recommender import Recommender
from twotower.workflows import OURS, Comparison, compare_rankers, load_parts
from twotower.workflows.stages import Stages
from twotower.workflows.training import fit

METRICS = ("ndcg@10", "ndcg@100", "recall@20")
Means = dict[str, list[list[float]]]
"""Model -> its metrics for each seed."""


@dataclass(frozen=True)
class Set:
    """A data set: a recipe, or tables of a folder."""

    recipe: str | None = None
    items: dict[str, str] | None = None
    timestamp: str | None = None

    def config(self, folder: Path | None, seed: int) -> Config:
        """Return the config of a data set, whose tables are in ``folder`` unless it is packaged."""
        if self.recipe is not None:
            where = [] if folder is None else [f"data.dir={folder}"]
            return load_config(self.recipe, [*where, f"seed={seed}"])
        assert folder is not None
        data = {"interactions": str(folder / "interactions.parquet")}
        schema: dict[str, Any] = {}
        split: dict[str, Any] = {"method": "per_user", "test": 0.2, "validation": 0.1}
        if self.items is not None:
            data["items"], schema["items"] = str(folder / "items.parquet"), self.items
        if self.timestamp is not None:
            schema["timestamp"], split = self.timestamp, {"method": "leave_last"}
        sections = {"data": data, "schema": schema, "split": split, "objective": {"name": "all_pairs"}}
        return Config.model_validate({"seed": seed, **sections})


SETS = {
    "kuairec-sample": Set("kuairec-sample-ranking"),
    "ml-100k": Set("movielens-100k-ranking"),
    "citeulike": Set(items={"tags": "categories"}),
    "amazon-beauty": Set(items={"attributes": "categories"}, timestamp="position"),
    "amazon-games": Set(timestamp="position"),
    "ml-1m-sequences": Set(timestamp="position"),
}
PACKAGED = "kuairec-sample"


def _log(line: str) -> None:
    print(f"  {line}", flush=True)


def _fitted(name: str, config: Config, parts: Parts) -> Recommender:
    stages = Stages()
    model = fit(config, parts, stages=stages, callbacks=[])
    best = [record["epoch"] for record in model.history if record.get("best")]
    _log(f"{name}: {best[-1]} epochs, {stages}")
    return model


def _bare(part: Dataset) -> Dataset:
    return replace(part, schema=part.schema.model_copy(update={"users": {}, "items": {}}))


def _without_features(parts: Parts) -> Parts:
    return Parts(_bare(parts.train).as_train(), _bare(parts.validation), _bare(parts.test))


def _show(found: Comparison, means: Means) -> None:
    comparison = found.comparison
    assert isinstance(comparison, RankingComparison)
    _log(f"{comparison.users:,} users")
    for name, evaluation in comparison.models.items():
        line = f"{name:20s}  {found.given.get(name, ''):16s}"
        for metric in METRICS:
            line += f"  {metric} {evaluation.metrics[metric].value:.4f}"
            if name != OURS:
                gap = comparison.ours_minus[name][metric]
                line += f" ({gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])"
        _log(line)
        means.setdefault(name, []).append([evaluation.metrics[metric].value for metric in METRICS])


def _warm(title: str, config: Config, baselines: list[str] | None, means: Means) -> None:
    parts = load_parts(config)
    rows = f"training {len(parts.train):,}, test {len(parts.test):,}"
    print(f"\n{title}, {config.split.method}, seed {config.seed}: {rows}", flush=True)
    model, beside = _fitted(OURS, config, parts), {}
    if parts.train.schema.users or parts.train.schema.items:
        beside["ids alone"] = _fitted("ids alone", config, _without_features(parts))
    _show(compare_rankers(config, model, parts, baselines=baselines, beside=beside, log=_log), means)


def _cold(title: str, config: Config, means: Means) -> None:
    split = config.split.model_copy(update={"method": "cold_items", "test": 0.2})
    evaluation = config.evaluation.model_copy(update={"candidates": "test_items"})
    config = config.model_copy(update={"split": split, "evaluation": evaluation})
    parts = load_parts(config)
    print(f"\n{title}, 20% of the items held out, seed {config.seed}: test {len(parts.test):,}", flush=True)
    model = _fitted(OURS, config, parts)
    _show(compare_rankers(config, model, parts, baselines=["category popularity"], log=_log), means)


def _found(names: Iterable[str], data: Path | None) -> dict[str, Path | None]:
    """Return the folder of each data set that exists."""
    found: dict[str, Path | None] = {}
    for name in names:
        if name == PACKAGED:
            found[name] = None
        elif data is not None and (data / name).is_dir():
            found[name] = data / name
        else:
            print(f"{name}: skipped, no folder of that name in {data or '--data (not given)'}")
    return found


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--data", type=Path, help="parent folder of the data sets")
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="only these")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42])
    arguments.add_argument("--baselines", nargs="*", help="only these; default: all")
    arguments.add_argument("--no-cold", action="store_true", help="skip held-out items")
    given = arguments.parse_args()
    for title, folder in _found(given.sets, given.data).items():
        warm: Means = {}
        cold: Means = {}
        for seed in given.seeds:
            config = SETS[title].config(folder, seed)
            _warm(title, config, given.baselines, warm)
            if (SETS[title].recipe or SETS[title].items) and not given.no_cold:
                _cold(title, config, cold)
        if len(given.seeds) > 1:
            for part, means in (("all items", warm), ("cold items", cold)):
                print(f"\n{title}, {part}, mean of {len(given.seeds)} seeds")
                for model, values in means.items():
                    mean = np.mean(values, axis=0)
                    _log(
                        f"{model:20s} "
                        + "  ".join(f"{m} {v:.4f}" for m, v in zip(METRICS, mean, strict=True))
                    )


if __name__ == "__main__":
    main()
