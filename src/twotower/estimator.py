"""`TwoTower`: the estimator. ``TwoTower(dim=64).fit(train)`` gives a `Recommender`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, Self

import numba
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from twotower.config import Config, ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.data.splitting import carve_validation
from twotower.errors import ConfigError, nearest
from twotower.features import Encoder
from twotower.features.encoder import SideEncoder, catalogue
from twotower.features.target import Target
from twotower.model import SideArrays, TwoTowerModel
from twotower.objectives import Huber, Logistic, Objective, Pairs, Squared, Workspace, score_pairs
from twotower.recommender import Recommender, Side, finished, plain
from twotower.schema import explain
from twotower.training import Batcher, Checkpoint, Listener, Silent, Trainer, TrainPairs

_SECTIONS: dict[str, type[BaseModel]] = {
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "training": TrainingConfig,
}
_RENAMED = {"objective": ("objective", "name")}


class TwoTower:
    """A two-tower model to be fitted.

    Every setting of the config's ``[model]``, ``[objective]`` and ``[training]`` sections is a keyword
    argument of the same name; ``objective="huber"`` is ``objective.name``. See `twotower.config` for what
    they mean.

    >>> TwoTower(dim=32, objective="huber", learning_rate=0.01).training.learning_rate
    0.01

    Args:
        seed: of weights, batches and dropout.
        settings: as above.

    Raises:
        ConfigError: an unknown setting (the message names the nearest) or a value out of range.
    """

    def __init__(self, *, seed: int = 42, **settings: Any) -> None:
        values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
        for key, value in settings.items():
            section, name = _RENAMED.get(key) or (_section_of(key), key)
            values[section][name] = value
        made: dict[str, Any] = {}
        for section, kind in _SECTIONS.items():
            try:
                made[section] = kind.model_validate(values[section])
            except ValidationError as error:
                raise ConfigError(explain(error, section, kind.model_fields)) from None
        self.model: ModelConfig = made["model"]
        self.objective: ObjectiveConfig = made["objective"]
        self.training: TrainingConfig = made["training"]
        self.seed = seed

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the estimator that a config describes."""
        made = cls(seed=config.seed)
        made.model, made.objective, made.training = config.model, config.objective, config.training
        return made

    def fit(
        self,
        train: TrainPart,
        validation: Dataset | None = None,
        *,
        checkpoints: Path | None = None,
        resume: bool = False,
        listener: Listener | None = None,
    ) -> Recommender:
        """Train on ``train``, choosing the number of epochs on ``validation``.

        Args:
            train: what is learnt from.
            validation: what epochs are judged on; without it a tenth of train's rows, drawn at random.
            checkpoints: directory for a checkpoint after each epoch.
            resume: go on from the checkpoint there, to the same bits as without a break.
            listener: told of every step and epoch.

        Raises:
            TypeError: train is not a `TrainPart`.
            ConfigError: the schema names no label; the device is not there.
            TrainingError: the loss does not stay finite; the checkpoint belongs to another run.
            Interrupted: Ctrl-C; the last whole epoch is in the checkpoint.
        """
        if not isinstance(train, TrainPart):
            raise TypeError(
                f"a model is trained on a TrainPart only, got {type(train).__name__}; "
                "use the first part that twotower.split returns, or Dataset.as_train() if all is for training"
            )
        if train.schema.label is None:
            raise ConfigError(
                f"objective {self.objective.name!r} predicts a label; the schema has none: set schema.label"
            )
        if validation is None:
            train, validation = carve_validation(train, "random", 0.1, self.seed)
        device = pick_device(self.training.device)
        listener = listener or Silent()
        threads = torch.get_num_threads(), numba.get_num_threads()
        if self.training.threads is not None:
            torch.set_num_threads(self.training.threads)
            numba.set_num_threads(min(self.training.threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        try:
            return self._fit(train, validation, device, checkpoints, resume, listener)
        finally:
            torch.set_num_threads(threads[0])
            numba.set_num_threads(threads[1])

    def _fit(
        self,
        train: TrainPart,
        validation: Dataset,
        device: torch.device,
        checkpoints: Path | None,
        resume: bool,
        listener: Listener,
    ) -> Recommender:
        mark = fingerprint(self, train, validation)
        found = Checkpoint.read(checkpoints) if resume and checkpoints is not None else None
        earlier = found.meta["earlier"] if found is not None else {}
        if not earlier:
            prepared = self._prepare(train, device)
            judge = _Judge(prepared, validation, device)
            trainer = self._trainer(prepared, "train", mark)
            outcome = trainer.run(
                judge,
                epochs=self.training.epochs,
                checkpoints=checkpoints,
                resume=resume,
                listener=listener,
            )
            if not self.training.refit:
                return self._finish(prepared, train, outcome.history)
            earlier = {
                "best_epoch": outcome.best_epoch,
                "rates": outcome.rates,
                "history": outcome.history,
            }
        everything = train.joined(validation)
        prepared = self._prepare(everything, device)
        trainer = self._trainer(prepared, "refit", mark)
        refitted = trainer.run(
            None,
            epochs=earlier["best_epoch"],
            rates=earlier["rates"],
            checkpoints=checkpoints,
            resume=found is not None and bool(found.meta["earlier"]),
            listener=listener,
            earlier=earlier,
        )
        return self._finish(prepared, everything, earlier["history"] + refitted.history)

    def _prepare(self, train: TrainPart, device: torch.device) -> _Prepared:
        """Fit encoder and target on a train part, and bring everything the loop needs into arrays."""
        encoder = Encoder.fit(train)
        schema = train.schema
        assert schema.label is not None
        label = train.interactions.get_column(schema.label).to_numpy()
        duration = durations(train) if self.objective.transform == "duration_rank" else None
        target = Target.fit(
            label,
            duration,
            transform=self.objective.transform,
            cap=self.objective.cap,
            logistic=self.objective.name == "logistic",
        )
        weight = None
        if schema.weight is not None:
            weight = train.interactions.get_column(schema.weight).to_numpy().astype(np.float32)
        pairs = TrainPairs.sort(
            _warm_rows(train, encoder.users),
            _warm_rows(train, encoder.items),
            target.forward(label, duration),
            weight,
            len(encoder.users.warm_ids),
            len(encoder.items.warm_ids),
        )
        users, items = (
            SideArrays.pack(
                side.transform(
                    _table(train, which, side).join(
                        side.warm_ids.alias(side.column).to_frame(),
                        on=side.column,
                        how="right",
                        maintain_order="right",
                    )
                ),
                device,
            )
            for which, side in (("users", encoder.users), ("items", encoder.items))
        )
        model = TwoTowerModel(
            users, items, pairs.n_users, pairs.n_items, self.model, self.seed, target.base
        ).to(device)
        objective = self._objective()
        objective.check(Pairs(np.array([0, len(pairs)]), pairs.item, pairs.target, pairs.weight))
        return _Prepared(encoder, target, pairs, users, items, model, objective)

    def _objective(self) -> Objective:
        match self.objective.name:
            case "squared":
                return Squared()
            case "huber":
                return Huber(self.objective.delta)
            case "logistic":
                return Logistic()

    def _trainer(self, prepared: _Prepared, phase: str, mark: str) -> Trainer:
        return Trainer(
            prepared.model,
            prepared.users,
            prepared.items,
            Batcher(prepared.pairs, self.training.batch_size, self.seed),
            prepared.objective,
            self.objective.regularisation,
            self.training,
            self.seed,
            phase,
            mark,
        )

    def _finish(self, prepared: _Prepared, train: TrainPart, history: list[dict[str, Any]]) -> Recommender:
        """Encode the whole catalogue, cold rows included, and note what each user has seen."""
        encoder, schema = prepared.encoder, train.schema
        device = prepared.users.dense.device
        sides = {}
        for which, side in (("users", encoder.users), ("items", encoder.items)):
            table = _table(train, which, side)
            encoded = side.transform(table)
            vectors = finished(
                prepared.model.encode(SideArrays.pack(encoded, device), which), which, prepared.target
            )
            sides[which] = Side(table.get_column(side.column), vectors, encoded.warm > 0)
        user = sides["users"].rows(train.interactions.get_column(schema.user))
        item = sides["items"].rows(train.interactions.get_column(schema.item)).astype(np.int32)
        seen = Pairs.from_arrays(user, item, np.zeros(len(user), np.float32), n_users=len(sides["users"].ids))
        items_table = _table(train, "items", encoder.items)
        duration = None
        if schema.duration is not None and schema.duration in items_table.columns:
            duration = items_table.get_column(schema.duration).cast(pl.Float64).fill_null(np.nan).to_numpy()
        return Recommender(
            encoder,
            prepared.model.eval(),
            prepared.target,
            sides["users"],
            sides["items"],
            (seen.indptr, seen.item),
            plain(items_table.select(schema.item, *(c for c in schema.display if c != schema.item))),
            duration,
            history,
        )


class _Prepared(NamedTuple):
    encoder: Encoder
    target: Target
    pairs: TrainPairs
    users: SideArrays
    items: SideArrays
    model: TwoTowerModel
    objective: Objective


class _Judge:
    """Measures a model on the validation part: the loss, and RMSE and MAE in the label's units."""

    def __init__(self, prepared: _Prepared, validation: Dataset, device: torch.device) -> None:
        schema = validation.schema
        assert schema.label is not None
        self.target, self.objective = prepared.target, prepared.objective
        self.label = validation.interactions.get_column(schema.label).to_numpy()
        self.duration = durations(validation) if self.target.transform.needs_duration else None
        self.sides, rows = {}, {}
        for which, side in (("users", prepared.encoder.users), ("items", prepared.encoder.items)):
            ids = validation.interactions.get_column(side.column)
            distinct = ids.unique().sort()
            table = validation.users if which == "users" else validation.items
            found = table.join(
                distinct.alias(side.column).to_frame(), on=side.column, how="right", maintain_order="right"
            )
            self.sides[which] = SideArrays.pack(side.transform(found), device)
            rows[which] = distinct.search_sorted(ids).to_numpy()
        order = np.argsort(rows["users"], kind="stable")
        self.user, self.item = rows["users"][order], rows["items"][order]
        self.label = self.label[order]
        if self.duration is not None:
            self.duration = self.duration[order]
        values = self.target.forward(self.label, self.duration)
        self.pairs = Pairs.from_arrays(self.user, self.item, values, n_users=self.sides["users"].rows)
        # what the labels become under the transform and back: a capped model is judged on capped labels
        self.reachable = self.target.transform.inverse(
            self.target.transform.forward(self.label, self.duration), self.duration
        )
        self.workspace = Workspace()

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        U, V = (model.encode(self.sides[which], which) for which in ("users", "items"))
        loss = self.objective(U, V, self.pairs, workspace=self.workspace).loss
        scores = score_pairs(finished(U, "users", self.target), V.cpu().numpy(), self.user, self.item)
        error = self.target.inverse(scores, self.duration) - self.reachable
        return {
            "validation_loss": loss,
            "validation_rmse": float(np.sqrt(np.mean(error * error))),
            "validation_mae": float(np.mean(np.abs(error))),
        }


def pick_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"training.device {name!r} can't be used here ({reason}); use 'auto' or 'cpu'"
        ) from None
    return device


def fingerprint(estimator: TwoTower, train: Dataset, validation: Dataset) -> str:
    """Return a hash of the settings and of the rows that a checkpoint depends on."""
    digest = hashlib.sha256()
    for section in (estimator.model, estimator.objective, estimator.training):
        digest.update(json.dumps(section.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(f"{estimator.seed} {torch.get_num_threads()} {numba.get_num_threads()}".encode())
    digest.update(json.dumps(train.schema.model_dump(mode="json"), sort_keys=True).encode())
    for part in (train, validation):
        for table in (part.interactions.select(part.role_columns()), part.users, part.items):
            digest.update(f"{table.schema} {table.height}".encode())
            digest.update(table.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def _warm_rows(train: Dataset, side: SideEncoder) -> NDArray[np.int32]:
    ids = train.interactions.get_column(side.column)
    return side.warm_ids.search_sorted(ids).to_numpy().astype(np.int32)


def _table(data: Dataset, which: str, side: SideEncoder) -> pl.DataFrame:
    return catalogue(data, which, side.warm_ids)


def _section_of(key: str) -> str:
    for section, kind in _SECTIONS.items():
        if key in kind.model_fields:
            return section
    known = sorted(name for kind in _SECTIONS.values() for name in kind.model_fields if name != "name")
    raise ConfigError(f"unknown setting {key!r}.{nearest(key, known)} Valid: {', '.join(known)}.")
