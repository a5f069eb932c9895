"""`AutoFit`: trains several kinds of towers, and keeps what is best on validation, alone or added up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.config import ModelConfig, TrainingConfig
from twotower.config.parts import parts_of
from twotower.config.schema import Schema
from twotower.config.sections import Section
from twotower.core.atomic import write_text
from twotower.core.warn import warn
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.store import StoredTrain
from twotower.errors import ConfigError
from twotower.estimator.finishing import finish
from twotower.estimator.fitting import LEAST_JUDGED, Fit, Refit, check_place
from twotower.estimator.joining import joined
from twotower.estimator.on_disk import candidates_on_disk
from twotower.estimator.settings import Settings, validated
from twotower.estimator.setup import TrainingSetup, context_of
from twotower.evaluation.ranker import VectorRanker
from twotower.evaluation.validator import RankingValidator, are_cold, some_users
from twotower.features import Encoder
from twotower.metrics.bootstrap import user_draws
from twotower.recommender import Recommender
from twotower.recommender.parts import Kinds
from twotower.targets.positive import PositiveRule
from twotower.towers.auto import AutoConfig
from twotower.towers.registry import TOWERS
from twotower.training import Callback, CallbackList, Checkpoint, Record
from twotower.training.checkpoint import FILE as CHECKPOINT

F32 = NDArray[np.float32]
WEIGHTS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 6.0)
"""What the scores of a further part are multiplied by, once both have the same standard deviation."""
RESAMPLES, JUDGED = 400, 10_000
"""Bootstrap resamples that decide whether a difference is real, and the most users that are ranked for."""
CHOICE = "choice.json"
"""What was chosen, in the folder of checkpoints."""
_SCORED = 400
"""Users and items whose scores say how widely a model's scores spread."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained kind of towers.

    Attributes:
        setup: the trained towers.
        earlier: what training them again needs to know.
        model: finished on the training set.
        spread: standard deviation of its scores.
    """

    setup: TrainingSetup
    earlier: dict[str, Any]
    model: Recommender
    spread: float


@dataclass(frozen=True)
class Judged:
    """Kinds with the weights of their scores, and what they are worth.

    Attributes:
        weights: name -> weight; the first one's is 1.
        totals: (n_users,) the validation metric of each user.
    """

    weights: Mapping[str, float]
    totals: NDArray[np.float64]


class _OfKind(Callback):
    """Adds the kind of towers to the records of epochs."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def on_epoch_end(self, record: Record) -> None:
        """Add it, before others read the record."""
        record["kind"] = self._kind


@dataclass(frozen=True)
class AutoFit:
    """One training of a `TwoTower` of kind "auto".

    Attributes:
        fit: settings, device, checkpoints and callbacks.
    """

    fit: Fit

    def run(self, train: TrainPart, validation: Dataset, rule: PositiveRule) -> Recommender:
        """Train all candidates, choose on ``validation``, then refit what was chosen on both if set to."""
        mark, fits = self.fit.mark(train, validation), self.fits(train)
        for one in fits.values():
            check_place(one.engine, one.settings)
        judges = rule.select(validation).interactions.get_column(train.schema.user).n_unique()
        if len(fits) > 1 and judges < LEAST_JUDGED:
            fits = dict([next(iter(fits.items()))])
            self.fit.callbacks.on_choice(
                line=f"kind {next(iter(fits))}: the validation set has positives of {judges} users, and a "
                f"choice among kinds of towers needs {LEAST_JUDGED}"
            )
        if len(fits) == 1:
            ((name, only),) = fits.items()
            _say_unread(train.schema, [name], "as towers of kind {} are trained alone")
            return replace(only, checkpoints=self.fit.checkpoints).run(train, validation, rule)
        self._clear(fits)
        weights, earlier, kinds = self._before(mark)
        refit = self.fit.settings.training.refit
        found: dict[str, Candidate] = {}
        encoder: Encoder | None = None
        for name in [one for one in weights if not refit] if weights else fits:
            found[name] = self._candidate(fits[name], train, validation, rule, encoder)
            encoder = found[name].setup.encoder
        if kinds is None:
            kinds = self._chosen(found, train, validation, rule)
            self.fit.callbacks.on_choice(line=str(kinds))
            weights = {name: weight / found[name].spread for name, weight in kinds.weights.items()}
            earlier = {name: found[name].earlier for name in weights}
            self._keep(mark, weights, earlier, kinds)
        if self.fit.chosen is not None:
            own = {name: (fits[name], earlier[name]) for name in weights}
            self.fit.chosen(Refit(own, weights, self.fit.settings))
        setups = {name: found[name].setup for name in weights if name in found}
        data, seen = train, train.joined(validation) if self.fit.carved else train
        records: list[Record] = [record for name in weights for record in earlier[name]["history"]]
        if refit:
            data = seen = train.joined(validation)
            setups, records = self._again(
                data, validation, train, rule, {name: (fits[name], earlier[name]) for name in weights}
            )
        done = {
            name: finish(setup, data, rule, records, self.fit.exclude_seen, seen=seen)
            for name, setup in setups.items()
        }
        _say_unread(train.schema, list(done), "as validation found towers of kind {} better")
        whole = next(iter(done.values())) if len(done) == 1 else joined(done, weights, self.fit.settings)
        return replace(whole, training=replace(whole.training, epochs=records, kinds=kinds))

    def _again(
        self,
        everything: TrainPart,
        validation: Dataset,
        train: TrainPart,
        rule: PositiveRule,
        fits: Mapping[str, tuple[Fit, dict[str, Any]]],
    ) -> tuple[dict[str, TrainingSetup], list[Record]]:
        """Train what was chosen on both sets; return the towers, and the records of all."""
        setups: dict[str, TrainingSetup] = {}
        encoder, records = None, []
        for name, (fit, known) in fits.items():
            found = Checkpoint.read(fit.checkpoints) if fit.checkpoints is not None and fit.resume else None
            resume = found is not None and found.meta["phase"] == "refit"
            fit.callbacks.on_kind(kind=name)
            setups[name], history = fit.again(
                everything, rule, fit.mark(train, validation), known, resume=resume, encoder=encoder
            )
            encoder = setups[name].encoder
            records += history
        return setups, records

    def _before(self, mark: str) -> tuple[dict[str, float], dict[str, dict[str, Any]], Kinds | None]:
        """Return what was chosen before a break: weights, what training again needs to know, the choice."""
        place = self._place
        if place is None or not self.fit.resume or not place.exists():
            return {}, {}, None
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["mark"] != mark:
            return {}, {}, None
        return kept["weights"], kept["earlier"], Kinds(**kept["kinds"])

    def _keep(
        self, mark: str, weights: dict[str, float], earlier: dict[str, dict[str, Any]], kinds: Kinds
    ) -> None:
        if self._place is not None:
            kept = {"mark": mark, "weights": weights, "earlier": earlier, "kinds": asdict(kinds)}
            write_text(self._place, json.dumps(kept))

    @property
    def _place(self) -> Path | None:
        return None if self.fit.checkpoints is None else self.fit.checkpoints / CHOICE

    def _names(self, train: TrainPart) -> list[str]:
        """Return the candidates that suit the data, the simplest first."""
        model = self.fit.settings.model
        assert isinstance(model, AutoConfig)
        if model.parts:
            raise ConfigError("model.parts is set by training; leave it out, and give model.candidates")
        times = train.schema.timestamp is not None
        names = []
        for name in model.candidates:
            kind = TOWERS.get(name)  # an error of its own if there is none
            if kind.Config is AutoConfig:
                raise ConfigError("model.candidates must be kinds that can be trained, got 'auto'")
            if times or not (kind.reads_history and kind.ordered):
                names.append(name)
        if not names:
            raise ConfigError(
                f"model.candidates {', '.join(model.candidates)} all need the time of each interaction; set "
                "schema.timestamp to its column, or add 'linear'"
            )
        if isinstance(train, StoredTrain):
            names, said = candidates_on_disk(names, len(train))
            if said:
                self.fit.callbacks.on_choice(line=said)
        return names

    def _candidate(
        self,
        fit: Fit,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
        encoder: Encoder | None,
    ) -> Candidate:
        fit.callbacks.on_kind(kind=fit.settings.model.kind)
        kept = Checkpoint.read(fit.checkpoints) if fit.checkpoints is not None and fit.resume else None
        choice = None if kept is None else kept.meta["earlier"].get("choice")
        setup, earlier = fit.first(train, validation, rule, fit.mark(train, validation), encoder, choice)
        model = finish(setup, train, rule, earlier["history"], fit.exclude_seen)
        return Candidate(setup, earlier, model, _spread(model))

    def fits(self, train: TrainPart) -> dict[str, Fit]:
        """Return the training of each kind; one that can't learn by the objective is left out.

        Kinds that sample learn by an objective of their own where that of the others is none for them. What
        the items of a history count is the same for all, since they may be read by one model.

        Raises:
            ConfigError: none can; or none reads what was set of the objective.
        """
        made: dict[str, Fit] = {}
        whole, faults, read = self.fit.settings.objective, [], False
        objective = whole.model_dump()
        grade = {"min_grade": objective["min_grade"]} if "min_grade" in objective else {}
        weighed = _weighed(train)
        for name in self._names(train):
            # settings of the objective that a kind does not read are for the others
            own = [grade] if TOWERS.get(name).Config.samples else []
            for given in (objective, {"name": objective["name"], **grade}, *own):
                try:
                    fit = self._fit(name, given)
                except ConfigError as error:
                    faults.append(error)
                    continue
                if weighed and not fit.trainer.weighs:
                    faults.append(ConfigError(f"towers of kind {name!r} can't weigh interactions"))
                    self.fit.callbacks.on_choice(line=f"{name} is left out: it can't weigh interactions")
                    break
                made[name], read = fit, read or given is objective
                break
        changed = any(
            objective[name] != field.default
            for name, field in type(whole).model_fields.items()
            if name not in ("name", *grade)
        )
        if not made or (changed and not read):
            raise faults[0]
        return made

    def _clear(self, fits: Mapping[str, Fit]) -> None:
        """Remove what an earlier training left where checkpoints go, unless this one goes on from it."""
        if self._place is None or self.fit.resume:
            return
        self._place.unlink(missing_ok=True)
        for fit in fits.values():
            assert fit.checkpoints is not None
            (fit.checkpoints / CHECKPOINT).unlink(missing_ok=True)

    def _fit(self, name: str, objective: dict[str, Any]) -> Fit:
        """Return the training of one kind, with its own defaults, and checkpoints in a folder of its own."""
        given, folder = self.fit.settings, self.fit.checkpoints
        common = _changed(given.training, TrainingConfig, "trainer")
        model = {"kind": name, **_changed(given.model, ModelConfig, "kind")}
        sections = {"model": model, "objective": objective, "training": common}
        parts = parts_of(sections, validated)
        settings = Settings(given.positive, parts.model, parts.objective, parts.training, given.seed)
        told = CallbackList([_OfKind(name), *self.fit.callbacks.callbacks], self.fit.callbacks.advice)
        kept = None if folder is None else folder / name
        return replace(self.fit, settings=settings, checkpoints=kept, callbacks=told)

    def _chosen(
        self, found: Mapping[str, Candidate], train: TrainPart, validation: Dataset, rule: PositiveRule
    ) -> Kinds:
        """Return the kinds that are kept, and the weights of their scores.

        The first kinds that are solved in closed form cost about the same: the best of them is taken. After
        that one kind takes the place of a simpler one, and one more is added, only where that is better by
        more than the 95% interval of the difference.
        """
        names = list(found)
        judged = some_users(rule.select(validation), JUDGED, self.fit.settings.seed)
        validator = RankingValidator.of(
            judged,
            train,
            PositiveRule(),
            candidates="test_items" if are_cold(judged, train) else "all",
            exclude_seen=self.fit.exclude_seen,
        )
        task = validator.task
        U: dict[str, F32] = {}
        V: dict[str, F32] = {}
        for name, one in found.items():
            for vectors, which, ids in ((U, "users", task.users), (V, "items", task.items)):
                rows, known = one.model.query_encoder.placed(which, ids, validation, task.context)
                vectors[name] = known[rows]

        def judge(weights: Mapping[str, float]) -> Judged:
            scaled = [U[name] * np.float32(w / found[name].spread) for name, w in weights.items()]
            one = VectorRanker(
                np.concatenate(scaled, axis=1),
                np.concatenate([V[name] for name in weights], axis=1),
                task.users,
            )
            return Judged(weights, validator.totals(one))

        draws = np.concatenate(list(user_draws(len(validator.counts), RESAMPLES, self.fit.settings.seed)))

        def better(one: Judged, than: Judged) -> bool:
            return validator.loss(than.totals, one.totals, draws).high < 0.0

        each = {name: judge({name: 1.0}) for name in names}
        solved = list(takewhile(lambda name: found[name].setup.trainer.solves, names)) or names[:1]
        best = max((each[name] for name in solved), key=lambda one: validator.value(one.totals))
        for name in names[len(solved) :]:
            if better(each[name], best):
                best = each[name]
        grown = True
        while grown:
            grown = False
            for name in (one for one in names if one not in best.weights):
                if not any(found[one].model.model.users.reads_history for one in (name, *best.weights)):
                    continue  # what is joined reads histories, which no part of it would keep
                tried = [judge({**best.weights, name: weight}) for weight in WEIGHTS]
                top = max(tried, key=lambda one: validator.value(one.totals))
                if better(top, best):
                    best, grown = top, True
        alone = {name: validator.value(one.totals) for name, one in each.items()}
        kept = {name: float(weight) for name, weight in best.weights.items()}
        return Kinds(validator.measure.name, alone, kept, validator.value(best.totals))


def _say_unread(schema: Schema, kinds: Sequence[str], why: str) -> None:
    """Warn of context and statistics of items that none of these kinds reads; ``{}`` in why are the kinds."""
    unread = context_of(schema)
    if unread and not any(TOWERS.get(kind).reads_context for kind in kinds):
        warn(f"{' and '.join(unread)}: not read, {why.format(', '.join(kinds))}")


def _weighed(train: TrainPart) -> bool:
    """Return whether interactions have different weights."""
    column = train.schema.weight
    if column is None:
        return False
    found = {weight for block in train.blocks() for weight in block.interactions.get_column(column).unique()}
    return len(found) > 1


def _changed(section: Section, of: type[Section], but: str) -> dict[str, Any]:
    """Return the settings of a class that are not at its defaults."""
    return {
        name: getattr(section, name)
        for name, field in of.model_fields.items()
        if name != but and getattr(section, name) != field.default
    }


def _spread(model: Recommender) -> float:
    """Return the standard deviation of the scores of some users, each against their mean."""
    rng = np.random.default_rng(0)
    U, V = (
        side.vectors[side.warm][rng.permutation(int(side.warm.sum()))[:_SCORED]]
        for side in (model.users, model.items)
    )
    scores = U @ V.T
    found = float((scores - scores.mean(axis=1, keepdims=True)).std(dtype=np.float64))
    return found if found > 0 else 1.0
