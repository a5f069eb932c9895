"""`compare`: models and tuned baselines on the same split, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from twotower.baselines import BASELINES, RANKING_BASELINES
from twotower.config import Config, EvaluationConfig
from twotower.core.registry import Registry
from twotower.core.warn import warn
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart, check_train
from twotower.data.splitting import Parts, carve_validation
from twotower.errors import ConfigError, nearest
from twotower.estimator import TwoTower, carving_of, validated
from twotower.evaluation.own_metrics import MetricSet, OwnMetrics
from twotower.recommender import Recommender
from twotower.training.progress_bars import line_writer
from twotower.workflows.comparing import OURS, Comparison, compare_predictors, compare_rankers


def compare(
    train: TrainPart,
    test: Dataset,
    model: TwoTower | Recommender | None = None,
    *,
    validation: Dataset | None = None,
    others: Mapping[str, TwoTower | Recommender] | None = None,
    baselines: Iterable[str] | None = None,
    progress: bool | Literal["auto"] = "auto",
    exclude_seen: bool = True,
    candidates: Literal["all", "test_items", "test_pairs"] = "all",
    ks: Sequence[int] = (10, 20, 100),
    cap: float | None = None,
    metrics: OwnMetrics | None = None,
    resamples: int = 1000,
) -> Comparison:
    """Train a model and every baseline on one training set, and compare them on one test set.

    A model that ranks is compared by its rankings with tuned ranking baselines (popularity, item kNN,
    RP3beta, EASE, iALS, BPR; with times also recent popularity and next-item counts); one that predicts a
    label by its predictions with rating baselines. Baselines choose their settings on the validation set, as
    the model chooses its epochs. Intervals of differences are paired: all models are measured on the same
    resampled users.

    Args:
        train: the training set.
        test: the test set.
        model: the model: an estimator, which is trained here, or a model trained on ``train``;
            ``TwoTower()`` by default.
        validation: what epochs and the baselines' settings are chosen on; without it a tenth of the training
            rows, drawn at random.
        others: more models by name, estimators or trained.
        baselines: names of the baselines; all by default. ``()`` for none.
        progress: as for `TwoTower.fit`; also one line per baseline.
        exclude_seen: whether users are not recommended what they have in the training set.
        candidates: which items are ranked for a user: ``"all"``, ``"test_items"`` (those with test rows) or
            ``"test_pairs"`` (those that the user has test rows with).
        ks: where ranked lists are cut off.
        cap: also report rating metrics with labels and predictions capped here.
        metrics: your own metrics, as for `Recommender.evaluate`: of lists for models that rank, else of
            predictions.
        resamples: bootstrap resamples of the users.

    Raises:
        TrainPartError: train is not a `TrainPart`.
        ConfigError: an unknown baseline, or a setting out of range.
        DataError: there are no positives to rank, or no label to predict.
    """
    check_train(train, "a model")
    model = TwoTower() if model is None else model
    named = {OURS: model, **(others or {})}
    if others is not None and OURS in others:
        raise ConfigError(
            f"others can't use the name {OURS!r}, which is reserved for the model; choose another"
        )
    _check_alike(named)
    objective = model.objective
    known: Registry[Any] = RANKING_BASELINES if objective.implicit else BASELINES
    chosen = list(known) if baselines is None else [_known(name, known, objective.name) for name in baselines]
    settings = {"candidates": candidates, "exclude_seen": exclude_seen, "ks": ks, "cap": cap}
    estimator = model if isinstance(model, TwoTower) else TwoTower()
    config = Config.model_construct(
        seed=estimator.seed,
        objective=objective,
        training=estimator.training,
        evaluation=validated(EvaluationConfig, "evaluation", settings | {"resamples": resamples}),
    )
    if validation is None:
        train, validation = carve_validation(train, carving_of(estimator.model, train), 0.1, estimator.seed)
    MetricSet.of(metrics, test, rating=not objective.implicit, ranking=objective.implicit)  # before training
    parts, write = Parts(train, validation, test), line_writer(progress)
    fitted: dict[str, Recommender] = {}
    for name, one in named.items():
        if isinstance(one, Recommender):
            _tell_of_test_pairs(name, one, parts)
            fitted[name] = one
        else:
            write(f"training {name}")
            fitted[name] = one.fit(train, validation, progress=progress, exclude_seen=exclude_seen)
    ours = fitted.pop(OURS)
    run = compare_rankers if objective.implicit else compare_predictors
    return run(config, ours, parts, baselines=chosen, beside=fitted, metrics=metrics, log=write)


def _tell_of_test_pairs(name: str, model: Recommender, parts: Parts) -> None:
    """Warn if a trained model has learned from test rows: it is then measured on what it was told."""
    schema = model.encoder.schema
    columns = [schema.user, schema.item]
    if columns != [parts.test.schema.user, parts.test.schema.item]:
        return  # measuring it says what is wrong
    pairs = [
        of.select(pl.col(columns).cast(pl.String)).unique()
        for of in (part.interactions for part in (parts.test, parts.train, parts.validation))
    ]
    fresh = pairs[0].join(pl.concat(pairs[1:]), on=columns, how="anti")
    learned = model.histories.pairs().select(pl.col(columns).cast(pl.String))
    known = fresh.join(learned, on=columns, how="semi").height
    if known:
        warn(
            f"{name} was trained on {known:,} of the {count_of(fresh.height, 'user-item pair')} that only "
            "the test set has, so its results are not comparable; train it on the training set of this split"
        )


def _check_alike(models: Mapping[str, TwoTower | Recommender]) -> None:
    """Make sure that models can be compared with each other."""
    for name, model in models.items():
        if not isinstance(model, TwoTower | Recommender):
            raise ConfigError(
                f"models are TwoTower estimators or trained Recommenders, got {type(model).__name__} for "
                f"{name!r}; pass further models as others={{'name': model}}"
            )
    ours = models[OURS].objective
    for name, model in models.items():
        if model.objective.implicit != ours.implicit:
            raise ConfigError(
                "a model that ranks can't be compared with one that predicts a label; "
                f"{OURS!r} has objective {ours.name!r}, {name!r} has {model.objective.name!r}"
            )


def _known(name: str, known: Iterable[str], objective: str) -> str:
    """Return a baseline's canonical name."""
    plain = {_plain(one): one for one in known}
    if _plain(name) not in plain:
        raise ConfigError(
            f"baselines of objective {objective!r} are {', '.join(plain.values())}; got {name!r}."
            f"{nearest(name, plain.values())}"
        )
    return plain[_plain(name)]


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
