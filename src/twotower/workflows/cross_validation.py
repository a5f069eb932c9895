"""`cross_validate`: a model trained and measured on each of several folds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from twotower.data.dataset import Dataset
from twotower.data.duplicates import deduplicate
from twotower.data.splits import SPLITS, HoldOut
from twotower.data.splitting import method_of
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.evaluation import Evaluation
from twotower.evaluation.own_metrics import OwnMetrics
from twotower.evaluation.showing import bounds, headline, html_table, text_table
from twotower.metrics import Interval, higher_is_better
from twotower.training.progress_bars import line_writer

_LEVEL = 0.95


@dataclass(frozen=True, repr=False)
class CrossValidation:
    """The evaluations of a model on every fold. Made by `cross_validate`.

    Attributes:
        evaluations: one per fold.
        metrics: name -> mean over the folds, with its interval.
    """

    evaluations: tuple[Evaluation, ...]
    metrics: Mapping[str, Interval]

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> CrossValidation:
        """Average every metric over the folds that have it."""
        names = dict.fromkeys(name for one in evaluations for name in one.metrics)
        return cls(tuple(evaluations), {name: _mean(_values(evaluations, name)) for name in names})

    def to_frame(self) -> pl.DataFrame:
        """Return every metric as a frame.

        Returns:
            Columns ``metric``, ``mean``, ``low``, ``high``, ``std`` (over the folds), ``higher_is_better``,
                and ``fold_1``, ``fold_2``, ... with each fold's value.
        """
        rows = []
        for name, mean in self.metrics.items():
            values = _values(self.evaluations, name)
            of = mean.as_dict()
            rows.append(
                {"metric": name, "mean": of["value"], "low": of["low"], "high": of["high"]}
                | {"std": _finite(_deviation(values)), "higher_is_better": self._direction(name)}
                | {f"fold_{at}": _finite(value) for at, value in enumerate(values, 1)}
            )
        return pl.DataFrame(rows, infer_schema_length=None)

    def __repr__(self) -> str:
        return "\n".join([self._title(), *text_table(self._rows())])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        return html_table(self._title(), head, rows)

    def _title(self) -> str:
        rows = sum(one.rows for one in self.evaluations)
        return f"{len(self.evaluations)}-fold cross-validation on {rows:,} rows"

    def _rows(self) -> list[list[str]]:
        rows = [["", "mean", "95% interval", "std"]]
        for name in headline(self.metrics, self._directions())[:12]:
            mean, values = self.metrics[name], _values(self.evaluations, name)
            rows.append([name, f"{mean:.4f}", bounds(mean), f"{_deviation(values):.4f}"])
        return rows

    def _directions(self) -> Mapping[str, bool | None]:
        return self.evaluations[0].directions

    def _direction(self, name: str) -> bool | None:
        return higher_is_better(name, self._directions())


def cross_validate(
    model: TwoTower,
    data: Dataset,
    folds: int = 5,
    method: str | HoldOut = "random",
    *,
    seed: int = 42,
    exclude_seen: bool = True,
    ranking: bool = True,
    metrics: OwnMetrics | None = None,
    ks: Sequence[int] = (10, 20, 100),
    cap: float | None = None,
    resamples: int = 200,
    progress: bool | Literal["auto"] = "auto",
) -> CrossValidation:
    """Train and measure a model on every fold: each row is in the test set of exactly one fold.

    Copies of rows are dropped first, as by `split`. Each fold's validation set is carved out of its training
    rows, so no test row is used for early stopping.

    The folds share most of their training rows and are not independent, so the spread over the folds
    understates the uncertainty. The intervals widen it by the correction of Nadeau and Bengio (2003):
    ``mean ± t * sd * sqrt(1 / k + 1 / (k - 1))``, t with k - 1 degrees of freedom. They are approximate. To
    compare two models, use one split and `compare`.

    Args:
        model: the settings; it is not changed.
        data: all rows.
        folds: number of folds, 2 or more.
        method: a split method that makes folds: ``"random"`` assigns all rows to the folds at random;
            ``"per_user"`` does so for the rows of each user, so that they are spread evenly;
            ``"cold_items"`` and ``"cold_users"`` assign the items or users, each with all its rows. Or an
            object of a class of your own.
        seed: of the folds.
        exclude_seen: as for `TwoTower.fit`.
        ranking: as for `Recommender.evaluate`, like the following.
        metrics: your own metrics.
        ks: where ranked lists are cut off.
        cap: also report rating metrics with labels and predictions capped here.
        resamples: bootstrap resamples of the users, for each fold's own intervals.
        progress: as for `TwoTower.fit`; also one line per fold.

    Raises:
        ConfigError: a setting out of range, or a method that makes no folds.
        DataError: fewer rows (or users, or items) than folds, or a fold that can't be trained on or measured.
    """
    if not isinstance(model, TwoTower):
        raise ConfigError(f"cross_validate takes a TwoTower that is not trained, got {type(model).__name__}")
    if not isinstance(folds, Integral) or isinstance(folds, bool) or folds < 2:
        raise ConfigError(f"folds must be a whole number, 2 or more, got {folds!r}")
    known = [one for one in SPLITS if issubclass(kind := SPLITS[one], HoldOut) and kind.makes_folds()]
    splitter = method_of(method, known)
    write, evaluations, notes = line_writer(progress), [], dict[str, list[str]]()
    for at, (train, test) in enumerate(_folds(deduplicate(data), folds, splitter, seed), 1):
        write(f"fold {at} of {folds}")
        try:
            fitted = model.fit(train.as_train(), progress=progress, exclude_seen=exclude_seen)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TwoTowerWarning)  # logged once, below
                found = fitted.evaluate(
                    test, ranking=ranking, metrics=metrics, ks=ks, cap=cap, resamples=resamples, seed=seed
                )
        except DataError as error:
            raise DataError(f"fold {at} of {folds}: {error}") from error
        evaluations.append(found)
        for note in found.notes:
            notes.setdefault(note, []).append(str(at))
    for note, of in notes.items():
        noun = "fold" if len(of) == 1 else "folds"
        warnings.warn(f"{noun} {', '.join(of)} of {folds}: {note}", TwoTowerWarning, stacklevel=2)
    return CrossValidation.of(evaluations)


def _folds(data: Dataset, folds: int, method: HoldOut, seed: int) -> Iterator[tuple[Dataset, Dataset]]:
    """Yield the training rows and the test rows of every fold."""
    fold = method.folds(data, folds, np.random.default_rng(seed))
    if fold is None:
        raise ConfigError(f"split method {method.name!r} makes no folds; give its class a method folds")
    few = folds - len(np.unique(fold))
    if few > 0:
        what = "rows" if method.share_of not in ("users", "items") else method.share_of
        raise DataError(
            f"{folds:,} folds need at least {folds:,} {what}, got {folds - few:,}; use fewer folds"
        )
    for at in range(folds):
        inside = pl.Series(fold == at)
        yield (
            data.with_interactions(data.interactions.filter(~inside)),
            data.with_interactions(data.interactions.filter(inside)),
        )


def _values(evaluations: Sequence[Evaluation], name: str) -> list[float]:
    return [float(one.metrics[name]) if name in one.metrics else math.nan for one in evaluations]


def _defined(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array([value for value in values if math.isfinite(value)], dtype=np.float64)


def _deviation(values: Sequence[float]) -> float:
    defined = _defined(values)
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan


def _mean(values: Sequence[float]) -> Interval:
    """Return the mean over folds with its interval, corrected for the training rows that folds share."""
    defined = _defined(values)
    k = len(defined)
    mean = float(defined.mean()) if k else math.nan
    if k < 2:
        return Interval(mean, math.nan, math.nan)
    t = float(stats.t.ppf((1 + _LEVEL) / 2, k - 1))
    half = t * _deviation(values) * math.sqrt(1 / k + 1 / (k - 1))
    return Interval(mean, mean - half, mean + half)


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
