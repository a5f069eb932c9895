"""`continued`: a finished model, trained further on more interactions, in a fraction of a whole fit.

Settings that were chosen on the validation set stay as they are. Closed forms go a few rounds from the
earlier vectors; towers that descend go a few epochs from the earlier weights, at a lower rate; what is solved
at once is solved again, without a search. A second stage keeps its trees, and reads candidates and features
of the continued model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
import torch

from twotower.data.dataset import TrainPart
from twotower.errors import ConfigError
from twotower.estimator.auto import AutoFit
from twotower.estimator.earlier import Earlier, earlier_of
from twotower.estimator.finishing import finish
from twotower.estimator.fitting import Fit, pick_device, threads_of
from twotower.estimator.joining import joined
from twotower.estimator.on_disk import readable
from twotower.estimator.second_stage import carried_over, check_in_memory
from twotower.estimator.settings import Settings
from twotower.estimator.setup import TrainingSetup, prepare
from twotower.recommender import Recommender
from twotower.recommender.queries import Queries
from twotower.targets.positive import PositiveRule
from twotower.towers.registry import TOWERS
from twotower.training import Callback, CallbackList, Loop, Record
from twotower.training.choice import Choice
from twotower.training.closed_form.id_als import from_features

SHARE = 1 / 3
"""Epochs of a continued training, as a share of the best number of epochs of the first one."""
PHASE = "continued"


@dataclass(frozen=True)
class Chosen:
    """What a first training chose for one kind of towers.

    Attributes:
        choice: settings that were "auto"; None if nothing was chosen.
        epochs: the best number of epochs.
        refined: whether validation confirmed `Trainer.refined`.
    """

    choice: Choice | None
    epochs: int
    refined: bool = False

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Chosen:
        """Return what JSON values say, as of a checkpoint's ``earlier``."""
        choice = state.get("choice")
        made = None if choice is None else Choice(**choice)
        return cls(made, int(state["best_epoch"]), bool(state.get("refined")))

    @property
    def state(self) -> dict[str, Any]:
        """Return it as JSON values; see `of`."""
        choice = None if self.choice is None else asdict(self.choice)
        return {"choice": choice, "best_epoch": self.epochs, "refined": self.refined}

    @property
    def more_epochs(self) -> int:
        """Epochs to continue for."""
        return max(1, round(SHARE * self.epochs))


def continued(
    settings: Settings,
    model: Recommender,
    everything: TrainPart,
    chosen: Mapping[str, Chosen],
    *,
    callbacks: Sequence[Callback] = (),
    exclude_seen: bool = True,
) -> Recommender:
    """Continue from a model on a training set that has more interactions; new users and items are included.

    Args:
        settings: that the model was trained by.
        model: the finished model.
        everything: its training and validation set, and what came since.
        chosen: kind of towers -> what the first training chose.
        callbacks: called at phases, steps and epochs.
        exclude_seen: whether users are not recommended what they have in the training set.

    Raises:
        ConfigError: the towers have other sizes by these settings; a kind's choice is not known; the training
            set is on disk, and there is a second stage.
        TrainingError: the loss does not stay finite.
    """
    if model.ranker is not None:
        check_in_memory(everything)
    told = CallbackList(callbacks, "")
    whole = Fit(settings, pick_device(settings.training.device), None, False, told, exclude_seen)
    rule, towers = PositiveRule.fit(everything, settings.positive), earlier_of(model)
    if TOWERS.get(settings.model.kind).composed:
        made = AutoFit(whole).fits(everything)
        fits = {one.kind: made[one.kind] for one in towers if one.kind in made}
    else:
        fits = {settings.model.kind: whole}
    done: dict[str, Recommender] = {}
    records = list[Record]()
    with threads_of(settings.training.threads):
        for one in towers:
            if one.kind not in fits or one.kind not in chosen:
                raise ConfigError(
                    f"the choices of the first training of towers {one.kind!r} must be known to continue; "
                    "the run lacks them (its checkpoints were deleted, or its settings changed): train from "
                    "the beginning"
                )
            told.on_kind(kind=one.kind)
            folds = len(towers) == 1 and not model.model.users.reads_history
            given = (everything, rule, chosen[one.kind], model if folds else None)
            setup, history = _further(fits[one.kind], one, *given)
            records += history
            done[one.kind] = finish(setup, everything, rule, history, exclude_seen)
    found = next(iter(done.values()))
    if len(done) > 1:
        found = joined(done, {one.kind: one.weight for one in towers}, settings)
    training = replace(found.training, epochs=[*model.history, *records], kinds=model.kinds)
    found = replace(found, training=training)
    if model.ranker is not None:
        found = replace(found, ranker=carried_over(model.ranker, found, everything))
    return found


def _fold_in_new_users(setup: TrainingSetup, model: Recommender, everything: TrainPart) -> None:
    """Let new users start where the earlier model has them, by their items that it knows."""
    schema, towers, users = everything.schema, setup.task.model, setup.encoder.users
    fresh = users.warm_ids.filter(~users.warm_ids.is_in(model.user_ids.implode()))
    rows = everything.interactions.filter(
        pl.col(schema.user).is_in(fresh.implode()) & pl.col(schema.item).is_in(model.item_ids.implode())
    )
    if not rows.height:
        return
    labels = [] if schema.label is None else [pl.col(schema.label).alias("labels")]
    asked = rows.group_by(schema.user, maintain_order=True).agg(pl.col(schema.item).alias("history"), *labels)
    vectors = torch.from_numpy(model.encode_queries(Queries.of(asked.drop(schema.user))))
    layout = towers.layout
    outputs = layout.parts(vectors)[..., :-1].flatten(1) * layout.members
    place = torch.from_numpy(users.rows(asked.get_column(schema.user)))
    given = from_features(towers.users, setup.task.users.take(place.to(setup.task.users.warm.device)))
    with torch.no_grad():
        weight = towers.users.ids.weight
        weight[place] = (outputs - torch.from_numpy(given)).to(weight)


def _further(
    fit: Fit,
    one: Earlier,
    everything: TrainPart,
    rule: PositiveRule,
    chosen: Chosen,
    model: Recommender | None,
) -> tuple[TrainingSetup, list[Record]]:
    """Continue one kind of towers; ``model`` is the earlier one if it is this kind alone."""
    settings, epochs = fit.settings, chosen.more_epochs
    if chosen.choice is not None:
        settings = settings.with_choice(chosen.choice)
    training = settings.training.model_copy(update={"epochs": epochs})
    settings = replace(settings, training=training)
    train = readable(settings.model, everything)
    setup = prepare(settings, train, rule, fit.device, earlier=one)
    if model is not None and not setup.trainer.solves and settings.objective.implicit:
        _fold_in_new_users(setup, model, everything)
    outcome = Loop(setup.trainer, PHASE, "", None, fit.callbacks).run(None, epochs=epochs)
    if chosen.refined:
        setup.trainer.refine(fit.callbacks)
    return setup, outcome.history
