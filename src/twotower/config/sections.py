"""The sections of a configuration as typed, frozen values. Each default is documented beside it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _share_or_path(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1.0:
        return float(value)
    if value is None:
        return value
    raise ValueError("must be a share between 0 and 1, or with method 'files' a path")


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("must be 'auto' or a whole number of pairs, 1 or more")


def _device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is None:
        raise ValueError("must be auto, cpu, cuda, cuda:1 (and so on) or mps")
    return value


ShareOrPath = Annotated[float | str, BeforeValidator(_share_or_path)]
PathString = Annotated[str, Field(min_length=1)]


def _columns_by_table(value: Any) -> Any:
    tables = {"interactions": value} if isinstance(value, list) else value
    if not isinstance(tables, dict):
        return value
    return {table: tuple(names) if isinstance(names, list) else names for table, names in tables.items()}


def _encoding(value: str) -> str:
    try:
        "".encode(value)
    except (LookupError, ValueError):
        raise ValueError("must be an encoding such as utf-8, latin-1 or utf-16") from None
    return value


ColumnNames = Annotated[tuple[str, ...], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """One section: an unknown key is an error, and values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """``[data]``: where the tables are."""

    source: Literal["tables", "kuairec", "kuairec-sample", "movielens"] = "tables"
    """``tables`` reads the three paths below; the others read their data set's raw files from ``dir``."""
    dir: PathString | None = None
    """Folder or zip of a data set's raw files; relative to the config file."""
    interactions: PathString | None = None
    """One row an event: a file (CSV, TSV, JSON lines, Parquet or RecBole's, text perhaps compressed), a
    folder of parts, or a pattern such as ``events/*.parquet``; relative to the config file."""
    users: PathString | None = None
    """The same, one row a user; may be left out without user features, or if they are in the interactions."""
    items: PathString | None = None
    """The same, one row an item; may be left out without item features, or if they are in the
    interactions."""
    columns: Annotated[
        dict[Literal["interactions", "users", "items"], ColumnNames], BeforeValidator(_columns_by_table)
    ] = Field(default_factory=dict)
    """Names of all columns of text files without a header: a list for the interactions, or by table,
    ``columns = { interactions = ["user", "item", "rating"], items = ["item", "title"] }``."""
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    """Of text files, such as ``latin-1``; UTF-16 is known by its mark."""
    repeats: Literal["max", "last", "first", "mean", "sum", "refuse"] = "max"
    """What becomes of rows of one user, item and time (without a time: user and item) that are not copies of
    each other: ``max`` keeps the one with the largest label, so that no positive is lost; ``last`` or
    ``first`` keeps that row; ``mean`` or ``sum`` makes one of their labels; ``refuse`` makes them an error.
    Copies, equal in all that is read, are dropped first."""

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        tables = [name for name in ("interactions", "users", "items") if getattr(self, name) is not None]
        tables += [name for name in ("columns",) if self.columns]
        if self.source != "tables" and tables:
            raise ValueError(
                f"{tables[0]} is for source 'tables'; '{self.source}' "
                + ("is packaged" if self.source == "kuairec-sample" else "is read from dir")
            )
        if self.source in ("tables", "kuairec-sample") and self.dir is not None:
            raise ValueError(f"dir is for raw files of a data set; source '{self.source}' does not read it")
        if self.source in ("kuairec", "movielens") and self.dir is None:
            raise ValueError(f"dir is needed: the folder or zip with the raw files of '{self.source}'")
        return self


class SplitConfig(Section):
    """``[split]``: what is trained on and what is tested on."""

    method: Literal[
        "random", "per_user", "temporal", "leave_last", "cold_items", "cold_users", "files", "column"
    ] = "random"
    """How rows are held out; ``files`` takes the parts from files, ``column`` from a column that names
    them."""
    column: PathString | None = None
    """Column of the interactions that says which part a row is of: train, test, and perhaps validation (or
    dev, val). With it the method is ``column``."""
    test: ShareOrPath = 0.1
    """Share of the rows (users, items) that is tested on; with ``files`` the test file, with ``column`` what
    the column says of test rows, if it is not "test"."""
    validation: ShareOrPath | None = None
    """The same for validation; carved out of train. Default: as large a share as test; with ``files`` 0.1."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of what is held out; none for the config's own. With one of its own, models of several seeds
    differ in weights and batches alone."""
    train: PathString | None = None
    """With ``files``: the train file. With source ``kuairec`` all three name matrices in ``data.dir``. With
    ``column``: what the column says of train rows, if it is not "train"."""

    @model_validator(mode="before")
    @classmethod
    def _column_is_a_method(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("column") is not None and "method" not in values:
            return {**values, "method": "column"}
        return values

    @model_validator(mode="after")
    def _paths_with_files_only(self) -> Self:
        if (self.method == "column") != (self.column is not None):
            raise ValueError(
                "method 'column' needs split.column, the name of a column that says train or test"
                if self.column is None
                else f"column is for method 'column', not '{self.method}'; leave one of them out"
            )
        if self.method == "column":
            if isinstance(self.test, float) and self.test != type(self).model_fields["test"].default:
                raise ValueError(f"method 'column' takes the test rows from '{self.column}'; leave test out")
        elif self.method == "files":
            if self.train is None or not isinstance(self.test, str):
                raise ValueError("method 'files' needs the paths split.train and split.test")
        elif self.train is not None or isinstance(self.test, str) or isinstance(self.validation, str):
            raise ValueError(
                f"paths are for method 'files'; method '{self.method}' takes shares between 0 and 1"
            )
        return self


class ModelConfig(Section):
    """``[model]``: the two towers."""

    dim: Annotated[int, Field(ge=4)] = 64
    """Length of the vectors, the two places for the biases included."""
    ensemble_size: Literal["auto"] | Count = "auto"
    """Towers in one: each has an equal part of ``dim`` and of the last hidden layer, and a loss of its own;
    the score is the mean of theirs. ``auto``: 4, or 2 or 1 where 4 would leave less than 8 of ``dim`` to each
    or does not divide; 1 with ``all_pairs``."""
    hidden: Literal["auto"] | tuple[Count, ...] = "auto"
    """Widths of the hidden layers of each tower; empty for linear towers. ``auto``: none with ``squared`` and
    ``all_pairs``, whose linear towers are solved for in closed form; one of 128 with other objectives, and
    where a setting that only hidden layers or learning by gradients have is not at its default."""
    embedding_dim: Count = 8
    """Width of the embedding of each category or categories column, in towers with hidden layers."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Non-linearity between layers."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of hidden units dropped in training."""
    id_dropout: Literal["auto"] | Annotated[float, Field(ge=0.0, lt=1.0)] = "auto"
    """Share of users and items whose id is hidden in each step, so that features learn to carry them.
    ``auto``: 0.1; with ``all_pairs``, which solves for what ids add once features have had their say, 0.9."""
    shared_layers: bool = False
    """Whether both towers share their hidden layers after the first (needs two or more hidden layers)."""
    normalise: bool = False
    """Whether vectors (without biases) have unit length; their dot product is divided by temperature."""
    temperature: Positive = 0.1
    """Divisor of the cosine when ``normalise`` is on."""

    @model_validator(mode="after")
    def _members_have_equal_parts(self) -> Self:
        last = self.widths[-1] if self.widths else 0
        for name, size in (("dim", self.dim), ("the last of hidden", last)):
            if size % self.n_members:
                raise ValueError(
                    f"{name} must be a multiple of ensemble_size ({self.ensemble_size}), got {size}"
                )
        if self.dim < 4 * self.n_members:
            raise ValueError(
                f"dim must be at least 4 for each of the {self.ensemble_size} members, got {self.dim}"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers of towers that learn by gradients, "auto" resolved."""
        return (128,) if self.hidden == "auto" else self.hidden

    @property
    def n_members(self) -> int:
        """Number of members, "auto" resolved."""
        if self.ensemble_size != "auto":
            return self.ensemble_size
        last = self.widths[-1] if self.widths else 0
        return next(m for m in (4, 2, 1) if m == 1 or (self.dim % m == 0 == last % m and self.dim >= 8 * m))

    @model_validator(mode="after")
    def _shared_needs_two(self) -> Self:
        if self.shared_layers and len(self.widths) < 2:
            raise ValueError("shared_layers needs at least two hidden layers: the first is each tower's own")
        return self


class PositiveConfig(Section):
    """``[positive]``: which interactions count as positives; without a rule every one does.

    Positives are what implicit objectives learn from and what ranking metrics look for. At most one of the
    rules below can be set; whatever a rule needs to know is learnt from train.
    """

    threshold: float | None = None
    """Labels of at least this."""
    quantile: Share | None = None
    """Labels of at least this quantile of the train labels."""
    duration_rank: Share | None = None
    """Labels whose rank among train labels of like duration is at least this, from 0 to 1 (KuaiRec: a watch
    ratio is mostly a matter of the video's length)."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(rules) > 1:
            raise ValueError(f"one rule says what is positive, got {' and '.join(rules)}; keep one of them")
        return self


IMPLICIT = ("all_pairs", "softmax", "bpr")
"""Objectives that learn to rank from positives; the others predict a label."""


class ObjectiveConfig(Section):
    """``[objective]``: what is minimised."""

    name: Literal["squared", "huber", "logistic", "all_pairs", "softmax", "bpr"] = "all_pairs"
    """To rank, which is what recommending needs: ``all_pairs`` (squared error over every pair of user and
    item), ``softmax`` or ``bpr``. To predict a label: ``squared`` (squared error), ``huber``, or ``logistic``
    (labels in [0, 1])."""
    transform: Literal["none", "cap", "log1p", "standardise", "duration_rank"] = "none"
    """What the label becomes before training; predictions come back in the label's own units."""
    cap: float | None = None
    """Where ``transform = "cap"`` cuts."""
    delta: Positive = 1.0
    """Where Huber turns from squared to linear, in standard deviations of the (transformed) label."""
    unobserved_weight: NotNegative = 0.2
    """Of ``all_pairs``: how much every pair of user and item is drawn to 0, where an interaction weighs 1."""
    min_grade: Annotated[float, Field(ge=0.0, le=1.0)] | None = 0.2
    """Of ``all_pairs`` where there is a label: what the least liked interaction counts. An interaction counts
    ``min_grade + (1 - min_grade) * rank``, where ``rank`` is that of its label in the training set, from 0 to
    1; an unobserved pair counts 0. So 0 treats the lowest labels as unobserved, and 1 treats all interactions
    alike. ``"none"``:
    positives alone count, 1 each."""
    negatives: Count = 4096
    """Of ``softmax`` and ``bpr``: items drawn uniformly in each step, beside those of its pairs, where a step
    does not hold the whole catalogue anyway."""
    hard_negatives: Count | None = None
    """Of ``softmax``: so many negatives of highest score count for a user in a step; ``"none"`` for all."""
    regularisation: Literal["auto"] | NotNegative = "auto"
    """L2 on the vectors, each weighted by the square root of its number of pairs; with ``all_pairs`` in units
    of the train pairs' noise; where ``squared`` is solved for in closed form, the same for all rows.
    ``auto``: 0.33 with ``all_pairs``, 0.13 with ``squared`` where it is solved for, else 0.07 to predict a
    label and 0.015 to rank."""

    @property
    def implicit(self) -> bool:
        """Whether the objective learns to rank from positives, and predicts no label."""
        return self.name in IMPLICIT

    @property
    def graded(self) -> bool:
        """Whether every interaction is learnt from, by the rank of its label."""
        return self.name == "all_pairs" and self.min_grade is not None

    @property
    def least_grade(self) -> float:
        """Grade of the least liked interaction, for baselines: the model's floor, or the default."""
        floor = self.min_grade if self.graded else None
        return float(type(self).model_fields["min_grade"].default) if floor is None else floor

    @model_validator(mode="after")
    def _cap_needs_a_value(self) -> Self:
        if (self.transform == "cap") != (self.cap is not None):
            raise ValueError("transform = 'cap' and a value for cap go together")
        return self

    @model_validator(mode="after")
    def _logistic_keeps_labels_in_bounds(self) -> Self:
        # The others may leave labels in [0, 1] or bring them there; what they do is seen on the train labels.
        if self.name == "logistic" and self.transform == "standardise":
            raise ValueError(
                "objective 'logistic' needs labels from 0 to 1, and transform 'standardise' centres them "
                "on 0; use transform 'none' or 'duration_rank', or objective 'squared'"
            )
        return self


class TrainingConfig(Section):
    """``[training]``: the loop."""

    epochs: Count = 60
    """Most passes over the train pairs; early stopping usually ends sooner."""
    batch_size: Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)] = "auto"
    """Pairs a step. ``auto``: about 12 steps an epoch, between 8,192 and 1,048,576 pairs."""
    learning_rate: Positive = 0.005
    """Adam's step size at the start."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """``plateau`` cuts the rate when validation stalls; ``cosine`` falls to zero over all epochs."""
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What the rate is multiplied by at a plateau."""
    plateau_patience: Count = 2
    """Epochs without a better validation metric before the rate is cut."""
    patience: Count = 6
    """Epochs without a better validation metric before training stops; the best epoch's weights are kept."""
    weight_decay: NotNegative = 0.01
    """Decoupled weight decay of the layers' weights (Loshchilov and Hutter 2019)."""
    clip_norm: Positive | None = 5.0
    """Longest gradient of the layers' weights, as one vector; ``"none"`` to leave gradients alone."""
    refit: bool = True
    """Whether to train once more, for the best number of epochs, on train and validation together."""
    posterior: bool = True
    """With objective ``squared`` and towers that learn by gradients: whether the trained ids' vectors become
    their posterior means, where that is better on validation. Vectors that are normalised, or without
    ``regularisation``, stay as they are."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    threads: Count | None = None
    """CPU threads; none for all cores. Part of what makes two runs the same bits."""


class EvaluationConfig(Section):
    """``[evaluation]``: what is reported on the test part."""

    cap: float | None = None
    """Rating metrics are reported raw and also with labels and predictions capped here."""
    ranking: bool = True
    """Whether the catalogue is ranked for every user with positives in the test part. A model trained by an
    implicit objective is measured by nothing else."""
    ks: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 100)
    """Where ranked lists are cut off."""
    candidates: Literal["all", "test_items", "test_pairs"] = "all"
    """What a user may be given: any item; only items with interactions in the test part; or
    only those that the user has interactions with there (where the test part is fully observed)."""
    exclude_seen: bool = True
    """Whether users are not given what they have in train, positive or not; pairs of the test part that were
    seen in train are then not looked for, and counted. ``false`` where people come back to items (music,
    groceries). Validation, baselines and the saved model follow it."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """Bootstrap resamples of the users behind each interval."""
