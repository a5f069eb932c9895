"""The sections of a configuration as typed, frozen values, each field documented below it."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from twotower.config.named import PartName
from twotower.core.urls import without_secrets


def _share_or_path(value: Any) -> Any:
    if isinstance(value, str) and value:
        return without_secrets(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1.0:
        return float(value)
    if value is None:
        return value
    raise ValueError("must be a share between 0 and 1, or with method 'files' a path")


ShareOrPath = Annotated[float | str, BeforeValidator(_share_or_path)]
PathString = Annotated[str, Field(min_length=1)]
TablePath = Annotated[str, Field(min_length=1), AfterValidator(without_secrets)]


def _columns_by_table(value: Any) -> Any:
    tables = {"interactions": value} if isinstance(value, list) else value
    if not isinstance(tables, dict):
        return value
    return {table: tuple(names) if isinstance(names, list) else names for table, names in tables.items()}


def _encoding(value: Any) -> Any:
    by_table = value if isinstance(value, dict) else {"interactions": value}
    for table, name in by_table.items():
        if table not in ("interactions", "users", "items"):
            raise ValueError(f"must be for interactions, users or items, got {table!r}")
        try:
            "".encode(name)
        except (LookupError, ValueError, TypeError):
            said = f", got {name!r} for {table}" if isinstance(value, dict) else ""
            raise ValueError(f"must be an encoding such as utf-8, latin-1 or utf-16{said}") from None
    return value


ColumnNames = Annotated[tuple[str, ...], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
_SPLIT = PartName("twotower.data.splits.registry:SPLITS")


class Section(BaseModel):
    """One section: an unknown key is an error, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """``[data]``: where the tables are."""

    source: Literal["tables", "kuairec", "kuairec-sample", "movielens"] = "tables"
    """``tables`` reads the tables named below; ``kuairec`` and ``movielens`` read the raw files of the data
    set from ``dir``; ``kuairec-sample`` is packaged."""
    dir: PathString | None = None
    """Folder or zip of a data set's raw files; relative to the config file."""
    interactions: TablePath | None = None
    """Table with one row per event: a file (CSV, TSV, JSON lines, Parquet, RecBole's ``.inter``; text files
    may be compressed), a folder of files, or a pattern such as ``events/*.parquet``; relative to the config
    file. Or an address that fsspec knows, such as ``s3://bucket/events/*.parquet``; secrets in it are used,
    but not kept."""
    users: TablePath | None = None
    """Table with one row per user. Leave it out if there are no user features, or if they are columns of the
    interactions."""
    items: TablePath | None = None
    """Table with one row per item. Leave it out if there are no item features, or if they are columns of the
    interactions."""
    columns: Annotated[
        dict[Literal["interactions", "users", "items"], ColumnNames], BeforeValidator(_columns_by_table)
    ] = Field(default_factory=dict)
    """Names of all columns of text files without a header: a list for the interactions, or one list per
    table: ``columns = { interactions = ["user", "item", "rating"], items = ["item", "title"] }``."""
    encoding: Annotated[str | dict[str, str], BeforeValidator(_encoding)] = "utf-8"
    """Encoding of text files, such as ``latin-1``; or of those that are not UTF-8, by table:
    ``encoding = { users = "latin-1" }``. UTF-16 is detected by its byte order mark."""
    repeats: Literal["max", "last", "first", "mean", "sum", "refuse"] = "max"
    """How to merge rows of the same user, item and time (without timestamps: user and item) that differ:
    ``max`` keeps the row with the largest label, so no positive is lost; ``last`` and ``first`` keep that
    row; ``mean`` and ``sum`` combine the labels; ``refuse`` raises an error. Exact duplicates are dropped
    first."""

    events: PathString | None = None
    """Table of later interactions that is added to the training set: what `twotower events export` wrote, or
    a Parquet table with the columns of the schema; relative to the config file. The validation and test set
    stay as they are."""
    store: Literal["auto", "always", "never"] = "auto"
    """Whether the training interactions are kept in a store on disk, of 8 to 16 bytes each, instead of in
    memory, where training takes some 250 bytes each. ``auto``: tables from 20 million rows on. The sets
    have the same rows either way."""
    store_dir: PathString | None = None
    """Folder of the stores; relative to the config file. Default: ``twotower`` in the user's cache folder
    (``$XDG_CACHE_HOME`` or ``~/.cache``). A store is used again while the files and the config's ``[data]``,
    ``[schema]`` and ``[split]`` are the same, and can be deleted at any time."""

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        tables = [name for name in ("interactions", "users", "items") if getattr(self, name) is not None]
        tables += [name for name in ("columns",) if self.columns]
        if self.source != "tables" and tables:
            raise ValueError(
                f"{tables[0]} is for source 'tables'; '{self.source}' "
                + ("is packaged" if self.source == "kuairec-sample" else "is read from dir")
            )
        given = self.encoding if isinstance(self.encoding, dict) else {}
        if alone := [name for name in ("users", "items") if name in given and getattr(self, name) is None]:
            raise ValueError(
                f"encoding has one for {alone[0]}, and there is no table of {alone[0]}; leave it out, or set "
                f"data.{alone[0]}"
            )
        if self.source in ("tables", "kuairec-sample") and self.dir is not None:
            raise ValueError(f"dir is for raw files of a data set; source '{self.source}' does not read it")
        if self.store_dir is not None and "://" in self.store_dir:
            raise ValueError(
                f"store_dir must be a folder of this machine, as a store is mapped into memory, got "
                f"{self.store_dir!r}; leave it out, or name a local folder"
            )
        if self.source in ("kuairec", "movielens") and self.dir is None:
            raise ValueError(f"dir is needed: the folder or zip with the raw files of '{self.source}'")
        return self


class SplitMethod(ABC):
    """What a config knows of a split method; `twotower.data.splits` has the methods."""

    name: ClassVar[str]
    """The value of ``split.method``."""
    summary: ClassVar[str]
    """What is held out, for the documentation."""
    hint: ClassVar[str] = ""
    """What it is for, in a few words, where that is not clear from its name."""
    by_time: ClassVar[bool] = False
    """Whether it holds out the latest rows, by the timestamp; rows without a time stay in training."""
    cold: ClassVar[Literal["", "users", "items"]] = ""
    """Which of them have all their rows on one side, so that those of the test set are new to the model."""
    warm: ClassVar[Literal["", "users", "items"]] = ""
    """Which of the test set's have rows in the training set, all of them."""
    sources: ClassVar[tuple[str, ...]] = ()
    """The values of ``data.source`` that it works with; none for all."""
    reads_files: ClassVar[bool] = False
    """Whether it reads files of its own (``split.train``, ...) in place of ``data.interactions``."""

    @classmethod
    def check(cls, settings: SplitConfig) -> None:
        """Make sure that the other keys of ``[split]`` are right for this method.

        Raises:
            ValueError: a key is missing or not for this method.
        """
        strings = isinstance(settings.test, str) or isinstance(settings.validation, str)
        if settings.train is not None or strings:
            raise ValueError(
                f"file paths are only for method 'files'; method '{cls.name}' takes shares between 0 and 1"
            )


class SplitConfig(Section):
    """``[split]``: how the interactions are divided into training, validation and test set."""

    method: Annotated[str, _SPLIT] = "random"
    """How rows are held out; ``files`` reads the sets from separate files, ``column`` from a column that
    names the set of each row. Or the name of a registered method of your own."""
    column: PathString | None = None
    """Column of the interactions that names the set of each row: train, test, and optionally validation (or
    dev, val). Setting it selects the method ``column``."""
    test: ShareOrPath = 0.1
    """Share of the rows (or users, or items) held out for testing. With ``files``: the test file. With
    ``column``: the value that marks test rows, if it is not "test"."""
    validation: ShareOrPath | None = None
    """The same for validation; taken from the training rows. Default: the same share as test; with ``files``
    0.1."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the split. Default: the config's seed. If set, runs with different seeds share one split and
    differ only in weights and batches."""
    train: TablePath | None = None
    """With ``files``: the training file. With source ``kuairec``, ``train``, ``validation`` and ``test`` name
    matrices in ``data.dir``. With ``column``: the value that marks training rows, if it is not "train"."""

    @model_validator(mode="before")
    @classmethod
    def _column_is_a_method(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("column") is not None and "method" not in values:
            return {**values, "method": "column"}
        return values

    @model_validator(mode="after")
    def _keys_of_its_method(self) -> Self:
        kind = self.kind()
        if self.column is not None and self.method != "column":
            raise ValueError(f"column is for method 'column', not '{self.method}'; leave one of them out")
        kind.check(self)
        return self

    def kind(self) -> type[SplitMethod]:
        """Return the class of the method."""
        found: type[SplitMethod] = _SPLIT.registry.get(self.method)
        return found


class PositiveConfig(Section):
    """``[positive]``: which interactions count as positives; without a rule every one does.

    Implicit objectives learn from positives, and ranking metrics count them as relevant. At most one of the
    rules below can be set; the quantiles and ranks are computed on the training set.
    """

    threshold: float | None = None
    """Labels of at least this value."""
    quantile: Share | None = None
    """Labels of at least this quantile of the training labels."""
    duration_rank: Share | None = None
    """Labels whose rank (0 to 1) among the training labels of items of similar duration is at least this. For
    watch ratios, which depend mostly on the video's length."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(rules) > 1:
            raise ValueError(
                f"only one rule can define positives, got {' and '.join(rules)}; keep one of them"
            )
        return self


class EvaluationConfig(Section):
    """``[evaluation]``: what is measured on the test set."""

    cap: float | None = None
    """If set, rating metrics are also reported with labels and predictions capped at this value."""
    ranking: bool = True
    """Whether to measure rankings of the catalogue for every user with positives in the test set. Models with
    an implicit objective are always measured this way."""
    ks: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 100)
    """The values of k at which ranked lists are cut off."""
    candidates: Literal["all", "test_items", "test_pairs"] = "all"
    """Which items can be recommended in the evaluation: any item; only items with interactions in the test
    set; or only the items that the user interacted with there (for a fully observed test set)."""
    exclude_seen: bool = True
    """Whether items that a user has in the training set are left out of the recommendations. Test pairs seen
    in training then don't count as relevant, and their number is reported. Set it to ``false`` where people
    come back to items (music, groceries). Validation, baselines and the saved model follow this setting."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """Number of bootstrap resamples of the users for each interval."""
