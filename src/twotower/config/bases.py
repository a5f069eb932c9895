"""The settings that all towers, all objectives or all trainers have; each part adds its own to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from twotower.config.named import PartName
from twotower.config.sections import Count, NotNegative, Positive, Section


def _device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is None:
        raise ValueError("must be auto, cpu, cuda, cuda:1 (and so on) or mps")
    return value


class ModelConfig(Section):
    """``[model]``: the two towers. Each kind of towers has these settings and its own."""

    kind: Annotated[str, PartName("twotower.towers.registry:TOWERS")] = "auto"
    """The towers: ``linear`` (vectors are a linear function of features and id), ``mlp`` (with hidden
    layers), ``item_item`` (a user is the sum of its history's rows of an item-item matrix) or ``sequence``
    (a user is its history, in the order of time); or the name of a kind of your own. ``auto``: what the
    validation set finds best of several kinds, alone or added up. Where an objective or a trainer is named
    and no kind, it is ``linear``."""
    dim: Literal["auto"] | Annotated[int, Field(ge=4)] = "auto"
    """Length of the vectors, including the two entries for the biases; with kind ``auto`` that of each kind.
    ``auto``: 64, with ``item_item`` 512, with ``sequence`` 256; with ``linear`` and ``all_pairs`` 64, 128,
    256 or 512, the largest whose validation metric is at least 1% above that of half of it; 128 with
    ``softmax`` and ``bpr``."""
    max_dim: Annotated[int, Field(ge=4)] = 512
    """Largest length that ``dim = "auto"`` may choose; 2,048 for ``item_item`` unless set."""
    ensemble_size: Literal["auto"] | Count = "auto"
    """Number of small models in one. Each has an equal share of ``dim`` and of the last hidden layer and its
    own loss; the score is the mean of their scores. ``auto``: 4, or fewer (2 or 1) if each would get less
    than 8 of ``dim`` or the sizes don't divide; 1 with ``all_pairs``, ``softmax`` and ``bpr``."""
    normalise: bool = False
    """Whether vectors (without biases) are scaled to unit length; the dot product is then divided by
    ``temperature``."""
    temperature: Positive = 0.1
    """Divisor of the cosine similarity if ``normalise`` is true."""

    auto_dim: ClassVar[int] = 64
    """Length that ``dim = "auto"`` stands for where none is chosen."""
    searched: ClassVar[Mapping[str, Any]] = {"dim": [32, 64, 96, 128]}
    """Settings that `tune` searches by default, each with its values as a space in TOML has them."""
    samples: ClassVar[bool] = False
    """Whether the objective, where none is named, is the first that samples negatives, not the default."""

    @property
    def length(self) -> int:
        """``dim``, with "auto" resolved as where none is chosen."""
        return min(self.auto_dim, self.max_dim) if self.dim == "auto" else self.dim

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers; none by default."""
        return ()

    @property
    def n_members(self) -> int:
        """Number of members, "auto" resolved."""
        if self.ensemble_size != "auto":
            return self.ensemble_size
        last = self.widths[-1] if self.widths else 0
        return next(
            m for m in (4, 2, 1) if m == 1 or (self.length % m == 0 == last % m and self.length >= 8 * m)
        )

    @model_validator(mode="after")
    def _members_have_equal_parts(self) -> Self:
        last = self.widths[-1] if self.widths else 0
        for name, size in (("dim", self.length), ("the last of hidden", last)):
            if size % self.n_members:
                raise ValueError(
                    f"{name} must be a multiple of ensemble_size ({self.ensemble_size}), got {size}"
                )
        if self.length < 4 * self.n_members:
            raise ValueError(
                f"dim must be at least 4 for each of the {self.ensemble_size} members, got {self.length}"
            )
        return self

    @model_validator(mode="after")
    def _temperature_divides_cosines(self) -> Self:
        default = ModelConfig.model_fields["temperature"].default
        if not self.normalise and self.temperature != default:
            raise ValueError(
                f"model.temperature = {self.temperature!r} is only for normalised vectors; leave it at "
                f"{default!r}, or set model.normalise = true"
            )
        return self


LEAST_GRADE = 0.2
"""Grade of the interaction with the lowest label, where nothing else is said; the highest has 1."""


class ObjectiveConfig(Section):
    """``[objective]``: the loss that training minimises. Each has these settings and its own."""

    name: Annotated[str, PartName("twotower.objectives.registry:OBJECTIVES")]
    """To recommend, train to rank: ``all_pairs`` (squared error over every pair of user and item),
    ``softmax`` or ``bpr``. To predict a label: ``squared`` (squared error), ``huber``, or ``logistic``
    (labels in [0, 1]). Or the name of an objective of your own."""
    regularisation: Literal["auto"] | NotNegative = "auto"
    """L2 regularisation of the vectors, each weighted by the square root of its number of pairs (the same for
    all rows if ``squared`` is solved in closed form); with ``all_pairs`` in units of the noise of the
    training pairs. ``auto``: 0.33 with ``all_pairs`` (linear towers try others on the validation set), 0.13
    with ``squared`` in closed form, 0.05 with ``softmax`` and ``bpr``, else 0.07 to predict a label and
    0.015 to rank."""

    implicit: ClassVar[bool]
    """Whether the objective learns to rank from positives rather than to predict a label."""
    quadratic: ClassVar[Literal["", "pairs", "cells"]] = ""
    """Whether it is least squares in the vectors, which closed forms need: over the pairs, or over every cell
    of users x items."""
    logits: ClassVar[bool] = False
    """Whether scores are logits of the label."""
    ensembles: ClassVar[bool] = True
    """Whether several small models are better than one large one, with ``ensemble_size = "auto"``."""
    in_noise: ClassVar[bool] = False
    """Whether ``regularisation`` is in units of the noise of the training pairs."""
    start_scale: ClassVar[float] = 0.0
    """Scale of the scores of the closed form of ``all_pairs`` that training by gradients starts from; 0 for a
    random start."""
    searched: ClassVar[Mapping[str, Any]] = {}
    """Settings that `tune` searches by default, each with its values as a space in TOML has them."""
    needs_labels: ClassVar[tuple[str, ...]] = ()
    """Settings that have no effect without labels."""

    @property
    def grade_floor(self) -> float | None:
        """Target of the interaction with the lowest label, where every interaction counts, graded by the rank
        of its label; None if not."""
        return None

    @property
    def graded(self) -> bool:
        """Whether every interaction counts, graded by the rank of its label."""
        return self.grade_floor is not None

    @property
    def least_grade(self) -> float:
        """Grade of the interaction with the lowest label, for baselines."""
        return LEAST_GRADE if self.grade_floor is None else self.grade_floor

    @property
    def sampled_items(self) -> int | Literal["auto"] | None:
        """Items sampled in each step as negatives, "auto" for the trainer's usual number; None if the
        objective samples none."""
        return None

    @property
    def label_transform(self) -> str:
        """Transformation of the label before training."""
        return "none"

    @property
    def label_cap(self) -> float | None:
        """Largest label that the model is to predict; None if there is none."""
        return None

    def settled(self, *, solved: bool) -> Self:
        """Return the settings with every "auto" resolved.

        Args:
            solved: whether the vectors are solved in closed form.
        """
        if self.regularisation != "auto":
            return self
        return self.model_copy(update={"regularisation": self.auto_regularisation(solved=solved)})

    def auto_regularisation(self, *, solved: bool) -> float:
        """Return the regularisation that "auto" stands for.

        Args:
            solved: whether the vectors are solved in closed form.
        """
        return 0.015 if self.implicit else 0.07


class PredictingConfig(ObjectiveConfig):
    """The settings of objectives that predict a label."""

    transform: Annotated[str, PartName("twotower.targets.registry:TRANSFORMS")] = "none"
    """Transformation of the label before training; predictions are transformed back."""
    cap: float | None = None
    """Largest label with ``transform = "cap"``; larger ones are set to it."""

    implicit: ClassVar[bool] = False
    searched: ClassVar[Mapping[str, Any]] = {"regularisation": {"low": 0.02, "high": 0.3, "log": True}}

    @property
    def label_transform(self) -> str:
        """Transformation of the label before training."""
        return self.transform

    @property
    def label_cap(self) -> float | None:
        """Largest label that the model is to predict."""
        return self.cap

    @model_validator(mode="after")
    def _cap_needs_a_value(self) -> Self:
        if (self.transform == "cap") != (self.cap is not None):
            raise ValueError("transform = 'cap' and a value for cap go together")
        return self


class RankingConfig(ObjectiveConfig):
    """The settings of objectives that learn to rank from positives."""

    implicit: ClassVar[bool] = True
    searched: ClassVar[Mapping[str, Any]] = {"regularisation": {"low": 0.003, "high": 0.08, "log": True}}


class SamplingConfig(RankingConfig):
    """The settings of objectives that sample negatives."""

    negatives: Literal["auto"] | Count = "auto"
    """Items sampled uniformly in each step as negatives, in addition to the items of the batch; not used if
    the batch covers the whole catalogue anyway. ``auto``: 4096; 1024 with ``sequences``."""

    searched: ClassVar[Mapping[str, Any]] = {
        **RankingConfig.searched,
        "negatives": [1024, 4096, 16384],
    }

    @property
    def sampled_items(self) -> int | Literal["auto"] | None:
        """Items sampled in each step as negatives."""
        return self.negatives


class GradedSamplingConfig(SamplingConfig):
    """The settings of objectives that sample negatives and learn from graded interactions."""

    min_grade: Annotated[float, Field(ge=0.0, le=1.0)] | None = LEAST_GRADE
    """With a label: grade of the interaction with the lowest label. Grades are as with ``all_pairs``, and an
    interaction weighs the square of its own. ``"none"``: only positives count. With ``sequence`` only
    positives are targets, and grades are what the items of a history count."""

    ensembles: ClassVar[bool] = False  # all members would start from the same solution
    start_scale: ClassVar[float] = 12.0
    searched: ClassVar[Mapping[str, Any]] = {
        **SamplingConfig.searched,
        "min_grade": ["none", 0.0, 0.2, 0.4, 0.6, 0.8],
    }
    needs_labels: ClassVar[tuple[str, ...]] = ("min_grade",)

    @property
    def grade_floor(self) -> float | None:
        """``min_grade``."""
        return self.min_grade

    def auto_regularisation(self, *, solved: bool) -> float:
        """Return the regularisation that "auto" stands for."""
        return 0.05


class TrainingConfig(Section):
    """``[training]``: how the towers learn. Each trainer has these settings and its own."""

    trainer: Annotated[str, PartName("twotower.training.registry:TRAINERS", ("auto",))] = "auto"
    """``als`` (alternating least squares) solves linear towers with objective ``all_pairs`` in closed form,
    ``variational`` those with ``squared``, ``ease`` towers of kind ``item_item``; ``sequences`` trains those
    of kind ``sequence`` to rank; ``gradients`` trains all other towers with all objectives. ``auto``: the
    first of these that can."""
    epochs: Literal["auto"] | Count = "auto"
    """Maximum number of passes over the training pairs; early stopping usually ends sooner. ``auto``: 60; 6
    with ``sequences``."""
    patience: Count = 6
    """Epochs without a better validation metric before training stops; the best epoch's weights are kept."""
    refit: bool = True
    """Whether to train again on training and validation set together, for the best number of epochs."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    threads: Count | None = None
    """Number of CPU threads; by default all cores. Results are bit-identical only with the same number."""

    searched: ClassVar[Mapping[str, Any]] = {}
    """Settings that `tune` searches by default, each with its values as a space in TOML has them."""
    usual_epochs: ClassVar[int] = 60
    """What ``epochs = "auto"`` stands for."""

    @property
    def most_epochs(self) -> int:
        """Maximum number of epochs, "auto" resolved."""
        return self.usual_epochs if self.epochs == "auto" else self.epochs
