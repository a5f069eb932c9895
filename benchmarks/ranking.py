"""Quality of rankings with the one default configuration: kuairec-sample, and MovieLens 100K if it is given.

    python benchmarks/ranking.py [--movielens DIR] [--seeds 42 43] [--baselines EASE iALS]

The split is 80/20 within each user, a validation part carved out of the 80; positives are watch ratios of
at least 1.5, ratings of at least 4. All items that a user has not seen are ranked. Our model has its
defaults; each baseline is tuned on validation, and all are refitted on train and validation. "ids alone" is
our model without features. Then a fifth of the items is held out, which are ranked among each other, against
the popularity of their categories. Paired 95% intervals over users, against our model with its features.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from twotower.config import Config, load_config
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.evaluation import RankingComparison
from twotower.experiment import OURS, compare_rankers, load_parts
from twotower.experiment.stages import Stages
from twotower.experiment.training import fit
from twotower.recommender import Recommender

METRICS = ("ndcg@10", "ndcg@100", "recall@20")
Means = dict[str, list[list[float]]]
"""Model -> for each seed its metrics."""


def _fitted(name: str, config: Config, parts: Parts) -> Recommender:
    stages = Stages()
    model = fit(config, parts, stages=stages, listeners=[])
    best = [record["epoch"] for record in model.history if record.get("best")]
    print(f"  {name}: {best[-1]} epochs, {stages}", flush=True)
    return model


def _bare(part: Dataset) -> Dataset:
    return replace(part, schema=part.schema.model_copy(update={"users": {}, "items": {}}))


def _without_features(parts: Parts) -> Parts:
    return Parts(_bare(parts.train).as_train(), _bare(parts.validation), _bare(parts.test))


def _show(comparison: RankingComparison, means: Means) -> None:
    print(f"  {comparison.users:,} users")
    for name, evaluation in comparison.models.items():
        line = f"  {name:20s}"
        for metric in METRICS:
            line += f"  {metric} {evaluation.metrics[metric].value:.4f}"
            if name != OURS:
                gap = comparison.differences[name][metric]
                line += f" ({gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])"
        print(line, flush=True)
        means.setdefault(name, []).append([evaluation.metrics[metric].value for metric in METRICS])


def _warm(title: str, config: Config, baselines: list[str] | None, means: Means) -> None:
    parts = load_parts(config)
    print(
        f"\n{title}, per user 80/20, seed {config.seed}: train {len(parts.train):,}, test {len(parts.test):,}"
    )
    model = _fitted(OURS, config, parts)
    beside = {"ids alone": _fitted("ids alone", config, _without_features(parts))}

    def log(line: str) -> None:
        print(f"  {line}", flush=True)

    found = compare_rankers(config, model, parts, baselines=baselines, beside=beside, log=log)
    assert isinstance(found.comparison, RankingComparison)
    _show(found.comparison, means)


def _cold(title: str, config: Config, means: Means) -> None:
    split = config.split.model_copy(update={"method": "cold_items"})
    evaluation = config.evaluation.model_copy(update={"candidates": "test_items"})
    config = config.model_copy(update={"split": split, "evaluation": evaluation})
    parts = load_parts(config)
    print(f"\n{title}, 20% of the items held out, seed {config.seed}: test {len(parts.test):,}")
    found = compare_rankers(config, _fitted(OURS, config, parts), parts, baselines=["category popularity"])
    assert isinstance(found.comparison, RankingComparison)
    _show(found.comparison, means)


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42])
    arguments.add_argument("--baselines", nargs="*", help="these alone; all by default")
    given = arguments.parse_args()
    sets = [("kuairec-sample-ranking", [])]
    if given.movielens:
        sets.append(("movielens-100k-ranking", [f"data.dir={given.movielens}"]))
    for name, settings in sets:
        title = name.removesuffix("-ranking")
        warm: Means = {}
        cold: Means = {}
        for seed in given.seeds:
            config = load_config(name, [*settings, f"seed={seed}"])
            _warm(title, config, given.baselines, warm)
            _cold(title, config, cold)
        if len(given.seeds) > 1:
            for part, means in (("per user 80/20", warm), ("cold items", cold)):
                print(f"\n{title}, {part}, mean of {len(given.seeds)} seeds")
                for model, values in means.items():
                    mean = np.mean(values, axis=0)
                    print(
                        f"  {model:20s}",
                        *(f"{m} {v:.4f}" for m, v in zip(METRICS, mean, strict=True)),
                        sep="  ",
                    )


if __name__ == "__main__":
    main()
