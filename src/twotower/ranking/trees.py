"""Trees by LightGBM's LambdaRank. The only module that imports the library LightGBM."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.config.ranker import RankerConfig
from twotower.core.reprs import ShortRepr
from twotower.errors import BundleError, MissingExtraError
from twotower.ranking.columns import Feature

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
_MEASURED = 10


class Examples(NamedTuple):
    """What a ranker learns from: the candidates of queries, one query after another.

    Attributes:
        values: float32 (n_pairs, n_features).
        grade: int32 (n_pairs,), 0 for what is not relevant.
        sizes: int64 (n,), candidates of each query.
    """

    values: F32
    grade: NDArray[np.int32]
    sizes: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """Return those of several, one after another."""
        values, grade, sizes = zip(*parts, strict=True)
        return cls(np.concatenate(values), np.concatenate(grade), np.concatenate(sizes))


@dataclass(frozen=True, repr=False)
class Trees(ShortRepr):
    """Trees that were trained to rank.

    Attributes:
        text: LightGBM's text form of them.
        worth: NDCG@10 on the validation set, among its candidates, after each tree.
    """

    text: str
    worth: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        examples: Examples,
        validation: Examples,
        features: Sequence[Feature],
        settings: RankerConfig,
        seed: int,
        threads: int,
    ) -> Trees:
        """Train until NDCG@10 on the validation set stops rising; the best number of trees is kept.

        Raises:
            MissingExtraError: the library is not installed.
        """
        lightgbm = _module()
        found: dict[str, Any] = {}
        names = [f"f{place}" for place in range(len(features))]  # its text form allows few characters
        codes = [name for name, one in zip(names, features, strict=True) if one.category]

        def data(of: Examples, like: Any = None) -> Any:
            return lightgbm.Dataset(
                of.values,
                of.grade,
                group=of.sizes,
                feature_name=names,
                categorical_feature=codes,
                reference=like,
                params={"verbosity": -1},
            )

        train = data(examples)
        booster = lightgbm.train(
            {
                "objective": "lambdarank",
                "metric": "ndcg",
                "eval_at": [_MEASURED],
                "num_leaves": settings.leaves,
                "learning_rate": settings.learning_rate,
                "min_data_in_leaf": settings.min_rows,
                "feature_fraction": 0.7,
                "bagging_fraction": 0.8,
                "bagging_freq": 1,
                "lambda_l2": 5.0,
                "cat_smooth": 20.0,
                "seed": seed,
                "deterministic": True,
                "force_row_wise": True,
                "num_threads": threads,
                "verbosity": -1,
            },
            train,
            num_boost_round=settings.trees,
            valid_sets=[data(validation, train)],
            valid_names=["validation"],
            callbacks=[
                lightgbm.early_stopping(settings.patience, verbose=False),
                lightgbm.record_evaluation(found),
            ],
        )
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        return cls(text, tuple(found["validation"][f"ndcg@{_MEASURED}"]))

    @staticmethod
    def check_installed() -> None:
        """Raise a `MissingExtraError` if the library is not installed."""
        _module()

    @cached_property
    def _booster(self) -> Any:
        lightgbm = _module()
        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise BundleError(f"the trees of the ranker can't be read: {error}") from None

    @property
    def n_features(self) -> int:
        """How many features they read."""
        return int(self._booster.num_feature())

    @property
    def n_trees(self) -> int:
        """How many there are."""
        return int(self._booster.num_trees())

    def scores(self, values: F32) -> F32:
        """Return the scores float32 (n_pairs,) of features float32 (n_pairs, n_features), on one core."""
        if not len(values):
            return np.empty(0, np.float32)
        found: F32 = self._booster.predict(values, num_threads=1).astype(np.float32)
        return found

    def importance(self) -> F64:
        """Return the share of each feature in what all splits gain, float64 (n_features,)."""
        gain = np.asarray(self._booster.feature_importance("gain"), np.float64)
        return gain / gain.sum() if gain.sum() > 0 else gain


def _module() -> Any:
    try:
        return importlib.import_module("lightgbm")
    except ImportError:
        raise MissingExtraError(
            "[ranker] needs the library lightgbm, which is not installed; install it with: "
            "pip install 'twotower[ranker]'"
        ) from None
