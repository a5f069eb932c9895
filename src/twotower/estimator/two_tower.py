"""`TwoTower`: the estimator. ``TwoTower(dim=64).fit(train)`` gives a `Recommender`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Never, Self

from twotower.config import Config, ModelConfig, ObjectiveConfig, PositiveConfig, TrainingConfig
from twotower.config.ranker import RankerConfig
from twotower.config.renamed import current_keywords
from twotower.core.forking import check_process
from twotower.core.reprs import html_of
from twotower.core.warn import deprecated
from twotower.data.dataset import Dataset, TrainPart, check_train
from twotower.data.splitting import carve_validation
from twotower.errors import ConfigError, TwoTowerWarning, yes_or_no
from twotower.estimator.fitting import Fit, pick_device, place_of, threads_of
from twotower.estimator.second_stage import trained
from twotower.estimator.settings import Settings
from twotower.estimator.setup import carving_of, check_context
from twotower.objectives import Objective
from twotower.recommender import Recommender
from twotower.targets.positive import PositiveRule
from twotower.towers import Tower
from twotower.towers.auto import AutoPart
from twotower.training import Callback, CallbackList, ListenerCallback, Trainer
from twotower.training.checkpoint import FILE as CHECKPOINT
from twotower.training.engine import Engine
from twotower.training.progress_bars import progress_of


class TwoTower:
    """A two-tower model to be fitted. It ranks by default; ``objective="squared"`` predicts the label.

    Settings are keyword arguments: those of the config's ``[model]``, ``[objective]`` (whose ``name`` is
    ``objective`` here) and ``[training]`` sections, under the same names. They are validated here, not in
    `fit`. Two estimators are equal if their settings are; `sklearn.base.clone` copies one.

    By default several kinds of towers are trained, and what ranks the validation set best is kept, alone or
    added up (``kind="auto"``). With an objective or a trainer of your choice the towers are linear, unless
    you name their kind; ``kind="linear"`` alone is the quick way, solved in closed form. A setting that the
    towers, the objective or the trainer don't read is an error that names those that do.

    >>> TwoTower(dim=32, objective="huber", learning_rate=0.01)
    TwoTower(dim=32, objective='huber', learning_rate=0.01)

    Args:
        kind: The towers: ``linear`` (vectors are a linear function of features and id), ``mlp`` (with hidden
            layers), ``item_item`` (a user is the sum of its history's rows of an item-item matrix) or
            ``sequence`` (a user is its history, in the order of time); or the name of a kind of your own.
            ``auto``: what the validation set finds best of several kinds, alone or added up. Where an
            objective or a trainer is named and no kind, it is ``linear``. Or the class itself, derived from
            `twotower.towers.Tower`; its settings are keywords too. None: as if it was not named.
        dim: Length of the vectors, including the two entries for the biases; with kind ``auto`` that of each
            kind. ``auto``: 64, with ``item_item`` 512, with ``sequence`` 256; with ``linear`` and
            ``all_pairs`` 64, 128, 256 or 512, the largest whose validation metric is at least 1% above that
            of half of it; 128 with ``softmax`` and ``bpr``.
        max_dim: Largest length that ``dim = "auto"`` may choose; 2,048 for ``item_item`` unless set.
        ensemble_size: Number of small models in one. Each has an equal share of ``dim`` and of the last
            hidden layer and its own loss; the score is the mean of their scores. ``auto``: 4, or fewer (2 or
            1) if each would get less than 8 of ``dim`` or the sizes don't divide; 1 with ``all_pairs``,
            ``softmax`` and ``bpr``.
        normalise: Whether vectors (without biases) are scaled to unit length; the dot product is then divided
            by ``temperature``.
        temperature: Divisor of the cosine similarity if ``normalise`` is true.
        hidden: With ``mlp``: widths of the hidden layers of each tower; None for one of 128.
        embedding_dim: With ``mlp``: length of the embedding of each category or categories column.
        activation: With ``mlp``: activation function between layers.
        dropout: With ``mlp``: share of hidden units dropped in training. ``auto``: 0.1. With ``sequence``:
            share of numbers dropped in training. ``auto``: 0.5 where histories have up to about 10 items on
            average or 150,000 in all; less with more, down to 0.1.
        shared_layers: With ``mlp``: whether both towers share all hidden layers but the first; needs two or
            more hidden layers.
        popularity: With ``item_item``: scores of an item are multiplied by its popularity, a weighted count
            of its users that is 1 on average, to this power: below 0, popular items are recommended less.
            ``auto``: 0, or -0.15 or -0.3 where the validation metric is higher.
        max_history: With ``sequence``: only this many of a query's last interactions are read.
        pooling: With ``sequence``: how a history becomes one vector; the results of several are added.
            ``decay``: sums in which recent items count more. ``recurrent``: a state with gates.
            ``attention``: causal self-attention. ``mean``: all items alike.
        rates: With pooling ``decay``: how much an item counts relative to the next one, at the start of
            training; a sum for each rate.
        heads: With pooling ``attention``: number of heads.
        blocks: With pooling ``attention``: number of blocks, one after the other.
        candidates: With ``auto``: kinds of towers that are considered, the simplest first: a later one must
            be better than it by more than the interval of the difference; of those solved in closed form the
            best is taken. Those that read histories in order need a timestamp.
        parts: With ``auto``: what was chosen, if more than one; set by training.
        objective: To recommend, train to rank: ``all_pairs`` (squared error over every pair of user and
            item), ``softmax`` or ``bpr``. To predict a label: ``squared`` (squared error), ``huber``, or
            ``logistic`` (labels in [0, 1]). Or a class of your own, derived from
            `twotower.objectives.Objective`, whose settings are keywords too; or an object of it. ``auto``:
            ``softmax`` for ``sequence``, else ``all_pairs``.
        transform: Transformation of the label before training; predictions are transformed back.
        cap: Largest label with ``transform = "cap"``; larger ones are set to it.
        delta: With ``huber``: where the loss turns from squared to linear, in standard deviations of the
            (transformed) label.
        unobserved_mass: With ``all_pairs``: total weight of the target 0 of all pairs of user and item
            together, relative to that of the interactions. A user's share of it grows with the square root of
            the user's number of interactions.
        unobserved_weight: With ``all_pairs``: weight of the target 0 for every pair of user and item, instead
            of ``unobserved_mass``; an interaction has weight 1. ``"none"``: it follows from
            ``unobserved_mass``.
        hard_weight: With ``all_pairs``: weight of hard negatives: unobserved items that a user is scored high
            on, drawn again in each epoch after the fourth, two per interaction, with target 0. Only linear
            towers use them. ``auto``: 0.1 or 0 (none), by validation, where ``regularisation`` is ``auto``
            too.
        min_grade: With ``all_pairs`` and a label: target of the interaction with the lowest label. An
            interaction's target is ``min_grade + (1 - min_grade) * rank``, where ``rank`` is that of its
            label in the training set, from 0 to 1; an unobserved pair's is 0. So 0 treats the lowest labels
            as unobserved, and 1 treats all interactions alike. ``"none"``: only positives count, with target
            1. With ``softmax`` and ``bpr`` and a label: grade of the interaction with the lowest label.
            Grades are as with ``all_pairs``, and an interaction weighs the square of its own. ``"none"``:
            only positives count. With ``sequence`` only positives are targets, and grades are what the items
            of a history count.
        negatives: With ``softmax`` and ``bpr``: items sampled uniformly in each step as negatives, in
            addition to the items of the batch; not used if the batch covers the whole catalogue anyway.
            ``auto``: 4096; 1024 with ``sequences``.
        hard_negatives: With ``softmax``: only this many negatives with the highest scores count for each user
            in a step; ``"none"``: all.
        regularisation: L2 regularisation of the vectors, each weighted by the square root of its number of
            pairs (the same for all rows if ``squared`` is solved in closed form); with ``all_pairs`` in units
            of the noise of the training pairs. ``auto``: 0.33 with ``all_pairs`` (linear towers try others on
            the validation set), 0.13 with ``squared`` in closed form, 0.05 with ``softmax`` and ``bpr``, else
            0.07 to predict a label and 0.015 to rank.
        trainer: ``als`` (alternating least squares) solves linear towers with objective ``all_pairs`` in
            closed form, ``variational`` those with ``squared``, ``ease`` towers of kind ``item_item``;
            ``sequences`` trains those of kind ``sequence`` to rank; ``gradients`` trains all other towers
            with all objectives. ``auto``: the first of these that can. Or a class of your own, derived from
            `twotower.training.Trainer`; its settings are keywords too.
        epochs: Maximum number of passes over the training pairs; early stopping usually ends sooner.
            ``auto``: 60; 6 with ``sequences``.
        batch_size: With ``gradients``, as the following: pairs per step. ``auto``: about 12 steps per epoch,
            between 8,192 and 1,048,576 pairs. With ``sequences``: targets per step, of whole users. ``auto``:
            1,024.
        learning_rate: Initial learning rate of Adam. ``auto``: 0.005; where ``softmax`` or ``bpr`` start from
            a closed form, 0.0005, and a tenth of that for layers. With ``sequences``: highest learning rate
            of Adam; it rises over the first 50 steps, then falls linearly to 2% over all epochs. Features and
            decays learn at five times the rate. ``auto``: 0.002; 0.001 without features of items.
        schedule: ``plateau`` reduces the learning rate when the validation metric stalls; ``cosine`` decays
            it to zero over all epochs; ``constant`` keeps it.
        plateau_factor: Factor that the learning rate is multiplied by at a plateau.
        plateau_patience: Epochs without a better validation metric before the learning rate is reduced.
        patience: Epochs without a better validation metric before training stops; the best epoch's weights
            are kept.
        id_dropout: Share of users and items whose id is hidden in each step, so the features learn to stand
            in for it (cold start). ``auto``: 0.1; 0.9 where the part of the vectors that ids add is solved
            for after each epoch, as with ``all_pairs``.
        weight_decay: Decoupled weight decay of the layers' weights (Loshchilov and Hutter 2019).
        clip_norm: Maximum norm of the gradient of the layers' weights; ``"none"``: no clipping.
        refit: Whether to train again on training and validation set together, for the best number of epochs.
        posterior: With objective ``squared``: whether the vectors of the ids are replaced by their posterior
            means if that improves the validation metric. Not done with ``normalise`` or without
            ``regularisation``.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        threads: Number of CPU threads; by default all cores. Results are bit-identical only with the same
            number.
        positive: Which interactions are positives: a number (labels of at least this), or one rule of the
            config's ``[positive]`` section, such as ``{"quantile": 0.8}``. ``None``: every interaction.
        seed: Seed of weights, batches and dropout: same seed, same machine, same threads, same bits.

    Raises:
        ConfigError: an unknown setting (the message names the nearest), a value out of range, or a setting
            that nothing would read.
    """

    def __init__(
        self,
        *,
        kind: str | type[Tower] | None = None,
        dim: Literal["auto"] | int = "auto",
        max_dim: int = 512,
        ensemble_size: Literal["auto"] | int = "auto",
        normalise: bool = False,
        temperature: float = 0.1,
        hidden: Sequence[int] | None = None,
        embedding_dim: int = 8,
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        dropout: Literal["auto"] | float = "auto",
        shared_layers: bool = False,
        popularity: Literal["auto"] | float = "auto",
        max_history: int = 200,
        pooling: Sequence[str] = ("decay", "recurrent"),
        rates: Sequence[float] = (0.5, 0.95),
        heads: int = 2,
        blocks: int = 1,
        candidates: Sequence[str] = ("linear", "item_item", "sequence"),
        parts: Sequence[AutoPart] = (),
        objective: str | Objective | type[Objective] = "auto",
        transform: str = "none",
        cap: float | None = None,
        delta: float = 1.0,
        unobserved_mass: float = 12.0,
        unobserved_weight: float | None = None,
        hard_weight: Literal["auto"] | float = "auto",
        min_grade: float | None = 0.2,
        negatives: Literal["auto"] | int = "auto",
        hard_negatives: int | None = None,
        regularisation: Literal["auto"] | float = "auto",
        trainer: str | type[Trainer] = "auto",
        epochs: Literal["auto"] | int = "auto",
        batch_size: Literal["auto"] | int = "auto",
        learning_rate: Literal["auto"] | float = "auto",
        schedule: Literal["plateau", "cosine", "constant"] = "plateau",
        plateau_factor: float = 0.5,
        plateau_patience: int = 2,
        patience: int = 6,
        id_dropout: Literal["auto"] | float = "auto",
        weight_decay: float = 0.01,
        clip_norm: float | None = 5.0,
        refit: bool = True,
        posterior: bool = True,
        device: str = "auto",
        threads: int | None = None,
        positive: float | Mapping[str, float] | None = None,
        seed: int = 42,
        **unknown: Never,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "unknown")}
        passed = [name for name, value in given.items() if value != _DEFAULTS[name]]
        self._use(given | current_keywords(unknown, passed))

    def _use(self, params: dict[str, Any]) -> None:
        """Take settings over once they are valid."""
        changed = {
            name: value
            for name, value in params.items()
            if name not in _DEFAULTS or (value is not _DEFAULTS[name] and value != _DEFAULTS[name])
        }
        self.settings = Settings.of(changed)
        layers = changed.get("hidden") is not None and "kind" not in changed  # as in an earlier version
        self._params = params | {"kind": self.settings.model.kind} if layers else params

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the estimator that a config describes."""
        settings = Settings(config.positive, config.model, config.objective, config.training, config.seed)
        made = cls.__new__(cls)
        made.settings, made._params = settings, _DEFAULTS | settings.params()
        return made

    @property
    def positive(self) -> PositiveConfig:
        """Which interactions are positives."""
        return self.settings.positive

    @property
    def model(self) -> ModelConfig:
        """The settings of the towers."""
        return self.settings.model

    @property
    def objective(self) -> ObjectiveConfig:
        """The settings of the objective."""
        return self.settings.objective

    @property
    def training(self) -> TrainingConfig:
        """The settings of the training."""
        return self.settings.training

    @property
    def seed(self) -> int:
        """The seed of weights, batches and dropout."""
        return self.settings.seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return every setting by its keyword, as it was given.

        Args:
            deep: without effect, as no setting is an estimator; scikit-learn asks for it.
        """
        del deep
        return dict(self._params)

    def set_params(self, **params: Any) -> Self:
        """Change settings and return the estimator; with an error nothing is changed.

        Raises:
            ConfigError: as the constructor says.
        """
        self._use(self._params | current_keywords(params, params))
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TwoTower) and self.settings == other.settings

    __hash__ = None  # type: ignore[assignment]  # settings can be changed

    def _changed(self) -> dict[str, Any]:
        """Return the settings that are not at their defaults, as they were given."""
        params = self.settings.params()
        return {
            name: value
            for name, value in self._params.items()
            if name not in _DEFAULTS or value != _DEFAULTS[name] != params.get(name, _DEFAULTS[name])
        }

    def __repr__(self) -> str:
        return f"TwoTower({', '.join(f'{name}={value!r}' for name, value in self._changed().items())})"

    def _repr_html_(self) -> str:
        facts = {name: repr(value) for name, value in self._changed().items()}
        return html_of("TwoTower, not trained", facts or {"settings": "all at their defaults"})

    if not TYPE_CHECKING:  # a type checker knows what is missing without it

        def __getattr__(self, name: str) -> Any:
            fix = ""
            if not name.startswith("_") and hasattr(Recommender, name):
                fix = ": fit returns the trained model, a Recommender; write model = TwoTower(...).fit(train)"
            raise AttributeError(
                f"{type(self).__name__!r} has no attribute {name!r}{fix}", name=name, obj=self
            )

    def fit(
        self,
        train: TrainPart,
        validation: Dataset | None = None,
        *,
        checkpoints: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
        progress: bool | Literal["auto"] = "auto",
        exclude_seen: bool = True,
        rule: PositiveRule | None = None,
        ranker: RankerConfig | Mapping[str, Any] | None = None,
        engine: Engine | None = None,
        listener: Any = None,
    ) -> Recommender:
        """Train on ``train``, choosing the number of epochs on ``validation``.

        Args:
            train: the training set.
            validation: what epochs are measured on; without it a tenth of the training rows, drawn at random.
                With ``refit=False``, what users have in a ``validation`` of your own does not count as seen.
            checkpoints: directory for a checkpoint after each epoch.
            resume: continue from the checkpoint there; the result has the same bits as without the break.
            callbacks: called at phases, steps and epochs; any of them can stop training. An exception raised
                in one ends the training; the last whole epoch is in the checkpoint.
            progress: "auto" shows a bar in a notebook or on a terminal, and nothing elsewhere; True also
                writes one line per epoch elsewhere, to stderr; False shows nothing.
            exclude_seen: whether users are not recommended what they have in the training set. Validation
                ranks by that, and so do `Recommender.evaluate` and `Recommender.recommend` by default. False
                where people come back to items (music, groceries).
            rule: the rule for positives, if it is already fitted on ``train``.
            ranker: settings of a second stage, see ``[ranker]``; ``{}`` for its defaults, None for none.
            engine: where it is trained, such as ``tt.Ray(workers=4)``; None: here.
            listener: deprecated, use ``callbacks``.

        Raises:
            TrainPartError: train is not a `TrainPart`.
            ConfigError: the schema names no label; the device is not there; ``resume`` without
                ``checkpoints``; another argument is not valid.
            TrainingError: the loss does not stay finite; the checkpoint belongs to another run.
            Interrupted: Ctrl-C; the last whole epoch is in the checkpoint.
        """
        check_process()
        advice = ""
        if resume and checkpoints is None:
            raise ConfigError("resume=True continues from a checkpoint: say where it is with checkpoints=...")
        if checkpoints is not None:
            checkpoints = Path(checkpoints).expanduser()
            if resume and not any(checkpoints.glob(f"**/{CHECKPOINT}")):  # "auto" has one a kind
                warnings.warn(
                    f"there is no checkpoint in {checkpoints}: training starts from the beginning",
                    TwoTowerWarning,
                    stacklevel=2,
                )
            advice = " The last whole epoch is in the checkpoint; fit(..., resume=True) continues from it."
        told = CallbackList(callbacks, advice)
        if listener:
            deprecated("fit(listener=...)", "callbacks=[...] with objects of subclasses of twotower.Callback")
            told.callbacks.append(ListenerCallback(listener))
        check_train(train, "a model")
        if train.schema.label is None and not self.objective.implicit:
            raise ConfigError(
                f"objective {self.objective.name!r} predicts a label; the schema has none: set schema.label"
            )
        check_context(self.model, self.objective, train.schema)
        exclude_seen, carved = yes_or_no("exclude_seen", exclude_seen), validation is None
        if validation is None:
            train, validation = carve_validation(train, carving_of(self.model, train), 0.1, self.seed)
        device = pick_device(self.training.device)
        threads = threads_of(self.training.threads)
        with place_of(engine, self.settings), threads, progress_of(progress) as bars:
            told.callbacks[:0] = bars
            rule = rule or PositiveRule.fit(train, self.positive)
            fit = Fit(self.settings, device, checkpoints, resume, told, exclude_seen, carved, engine)
            return trained(fit, ranker, train, validation, rule)


_DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(TwoTower.__init__).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}
