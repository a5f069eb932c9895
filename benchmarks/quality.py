"""Quality on real data with the default configuration: kuairec-sample, and MovieLens 100K if given.

    python benchmarks/quality.py [--movielens DIR] [--seeds 42]

Random 90/10 (a validation set is taken from the 90) and 20% of the items held out. Paired 95% intervals over
users, against our model. Every baseline chooses its settings on the validation set and is refitted on
training and validation set, like ours; so are the matrix factorisations of scikit-surprise, over the grid
below. The last line compares our RMSE with the better of these. With held-out items there is also an oracle:
each item's mean over the test set plus the user's training bias. No model can be expected to beat it.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from typing import Any

import numpy as np

from twotower import TwoTower
from twotower.baselines import BASELINES
from twotower.baselines.biases import Biases
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import Parts, split_three
from twotower.datasets.loading import load
from twotower.datasets.movielens import read_movielens
from twotower.evaluation import compare_ratings

FACTORS, EPOCHS, RATES, STRENGTHS = (50, 100), (40, 60, 80), (0.01,), (0.08, 0.1, 0.12)


def _surprise(parts: Parts, everything: TrainPart, plus: bool) -> np.ndarray[Any, Any]:
    from surprise import SVD, Reader, SVDpp  # noqa: PLC0415
    from surprise import Dataset as Ratings  # noqa: PLC0415

    schema = parts.train.schema
    target = schema.label
    assert target is not None
    columns = [schema.user, schema.item, target]

    def fit(data: Dataset, **settings: Any) -> Any:
        label = data.interactions[target].to_numpy()
        reader = Reader(rating_scale=(float(label.min()), float(label.max())))
        frame = data.interactions.select(columns).to_pandas()
        made = (SVDpp if plus else SVD)(random_state=0, **settings)
        return made.fit(Ratings.load_from_df(frame, reader).build_full_trainset())

    def predict(model: Any, data: Dataset) -> np.ndarray[Any, Any]:
        rows = data.interactions.select(columns[:2]).iter_rows()
        return np.array([model.predict(user, item).est for user, item in rows])

    def loss(settings: dict[str, Any]) -> float:
        error = predict(fit(parts.train, **settings), parts.validation)
        return float(np.mean((error - parts.validation.interactions[target].to_numpy()) ** 2))

    # SVD++ takes a minute or more per fit: a smaller grid
    grid = product((20,), (20, 30), (0.007,), (0.1,)) if plus else product(FACTORS, EPOCHS, RATES, STRENGTHS)
    candidates = [{"n_factors": f, "n_epochs": e, "lr_all": r, "reg_all": s} for f, e, r, s in grid]
    best = min(candidates, key=loss)
    print(f"  {'SVD++' if plus else 'SVD'} chose {best}", flush=True)
    return predict(fit(everything, **best), parts.test)


def _oracle(everything: TrainPart, test: Dataset, cap: float | None) -> np.ndarray[Any, Any]:
    """Return each item's mean test label plus the users' biases, which are fitted on the training set."""
    schema = test.schema
    biases = Biases().fit(everything, cap=cap)
    bias = Vocabulary(biases.users).take(biases.solution.user, test.interactions[schema.user], 0.0)
    assert schema.label is not None
    label = test.interactions[schema.label].to_numpy().astype(float)
    label = label if cap is None else np.minimum(label, cap)
    item = test.interactions[schema.item].rank("dense").to_numpy() - 1
    mean = np.bincount(item, label - bias) / np.bincount(item)
    return np.asarray(mean[item] + bias)


def _table(title: str, parts: Parts, cap: float | None, peers: bool, seed: int) -> None:
    sizes = f"training {len(parts.train):,}, validation {len(parts.validation):,}, test {len(parts.test):,}"
    print(f"\n{title}: {sizes}")
    label: dict[str, Any] = {"transform": "cap", "cap": cap} if cap is not None else {}
    start = time.perf_counter()
    model = TwoTower(objective="squared", seed=seed, **label).fit(parts.train, parts.validation)
    print(f"  two-tower fitted in {time.perf_counter() - start:.1f} s", flush=True)
    everything = parts.train.joined(parts.validation)
    predictions = {"two-tower": model.predict(parts.test)}
    for name, kind in zip(BASELINES, BASELINES.classes(), strict=True):
        fitted = kind().fit(parts.train, parts.validation, cap=cap, seed=seed).refit(everything)
        predictions[name] = fitted.predict(parts.test)
    if peers:
        predictions["SVD"] = _surprise(parts, everything, plus=False)
        predictions["SVD++"] = _surprise(parts, everything, plus=True)
    item = parts.test.schema.item
    if not set(everything.interactions[item]) & set(parts.test.interactions[item]):
        predictions["(oracle)"] = _oracle(everything, parts.test, cap)
    found = compare_ratings(predictions, parts.test, parts.train, against="two-tower", cap=cap)
    ending = "_capped" if cap is not None else ""
    for name, evaluation in found.models.items():
        line = f"  {name:10s}"
        for metric in ("rmse", "r2", "mae"):
            value = evaluation.metrics[metric + ending]
            line += f"  {metric} {value.value:.4f}"
            if name != "two-tower":
                gap = found.ours_minus[name][metric + ending]
                line += f" ({gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])"
        print(line)
    if peers:
        ours, peer = (
            min(found.models[name].metrics["rmse"].value for name in names)
            for names in (["two-tower"], ["SVD", "SVD++"])
        )
        print(f"  two-tower against the better of SVD and SVD++: RMSE {100 * (ours / peer - 1):+.2f}%")


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--movielens", help="folder of MovieLens 100K, raw files or Parquet tables")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42])
    given = arguments.parse_args()
    for seed in given.seeds:
        sets: list[tuple[str, Dataset, float | None, bool]] = [
            ("kuairec-sample", load("kuairec-sample"), 5.0, False)
        ]
        if given.movielens:
            sets.append(("movielens-100k", read_movielens(given.movielens), None, True))
        for name, data, cap, peers in sets:
            _table(
                f"{name}, random, seed {seed}", split_three(data, "random", 0.1, 0.1, seed), cap, peers, seed
            )
            cold = split_three(data, "cold_items", 0.2, 0.1, seed)
            _table(f"{name}, cold items, seed {seed}", cold, cap, False, seed)


if __name__ == "__main__":
    main()
