"""vector: a precomputed list of floats, standardised as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.core.blocks import Dense, Form
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.saved import number, numbers
from twotower.core.where import Found, Where, shown
from twotower.core.wording import count_of
from twotower.errors import DataError


class Vector(FeatureKind):
    """A list of floats, of the same length in all rows (an embedding computed elsewhere)."""

    dtype = pl.List(pl.Float32)

    decimal: Literal[".", ","] | None = None
    """The decimal mark of the numbers."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return List(Float32), all lists of the length of the first one.

        Strings are read like ``[0.1, 0.2]``, ``[0.1 0.2]``, ``0.1 0.2`` or ``0,1;0,2``.

        Raises:
            DataError: a list has another length or a missing or non-finite number, or a string is in another
                notation.
        """
        rule = "a vector must be a list of finite numbers"
        raw = values
        if values.dtype == pl.String:
            values = _vectors_of_strings(values, where, rule, self.decimal, found)
        elif values.dtype == pl.Null:
            return values.cast(pl.List(pl.Float32))
        elif isinstance(values.dtype, pl.Array):
            if len(values.dtype.shape) > 1:
                raise where.wrong_type(rule, values, "Give each row one flat list")
            values = values.arr.to_list()
        if not isinstance(values.dtype, pl.List):
            raise where.wrong_type(rule, values, "Give each row a list, or a string like [0.1, 0.2]")
        inner = values.dtype.inner
        if not (isinstance(inner, pl.DataType) and (inner.is_numeric() or inner == pl.Null)):
            raise where.wrong_type(f"{rule}, not {inner}", values, "Give each row a flat list of numbers")
        values = values.cast(pl.List(pl.Float32))
        sizes = values.list.len()
        known = sizes.drop_nulls()
        if len(known) and (sizes != known[0]).any():
            wrong = (sizes != known[0]).fill_null(False)
            row = wrong.arg_max() or 0
            first = sizes.is_not_null().arg_max() or 0
            raise where.fault(
                f"all vectors of a column must have one length ({known[0]} in data row {first + 1}, "
                f"{sizes[row]} here)",
                "Correct the list, or leave it empty if the vector is unknown",
                row + 1,
                raw[row],
            )
        if len(known) and known[0] == 0:
            raise where.first(
                sizes == 0, raw, "a vector must have at least one number", "Leave the field empty, or drop it"
            )
        numbers = values.drop_nulls().explode()
        if not numbers.is_finite().fill_null(False).all():
            finite = values.list.eval(pl.element().is_finite().fill_null(False)).list.all()
            raise where.first(
                ~finite, raw, rule, "Correct the list, or leave it empty if the vector is unknown"
            )
        return values

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits lists of fractions."""
        return Fit(6, "lists of fractions") if facts.lists and facts.fractions else None

    def fit(self, column: pl.Series) -> VectorEncoder:
        """Fit mean and scale on the rows that have a vector."""
        present = column.drop_nulls()
        if not len(present):
            raise DataError(
                f"vector column {column.name!r} is empty in every training row; remove it from the schema"
            )
        values = _matrix(present, len(present[0]))
        scale = float((values - values.mean(axis=0)).std())
        return VectorEncoder(values.mean(axis=0), scale if scale > 1e-12 else 1.0)

    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> VectorEncoder:
        """Rebuild from the JSON form."""
        return VectorEncoder(numbers(state, "mean").astype(np.float32), number(state, "scale", above=0.0))

    def grouped(self, column: pl.Series) -> pl.Series:
        """Return each vector's coordinate along the direction of largest variance, Float64."""
        known = column.is_not_null().to_numpy()
        place = np.full(len(column), np.nan)
        if known.sum() > 1:
            rows = np.array(column.drop_nulls().to_list(), dtype=np.float64)  # (m, length)
            rows -= rows.mean(axis=0)
            _, directions = np.linalg.eigh(rows.T @ rows)
            place[known] = rows @ directions[:, -1]
        return pl.Series(column.name, place, nan_to_null=True)


@dataclass(frozen=True)
class VectorEncoder(ColumnEncoder):
    """Fitted state of a vector column.

    Attributes:
        mean: float32 (width,) on the training set.
        scale: one standard deviation for all components, which preserves the vector's geometry.
    """

    mean: NDArray[np.float32]
    scale: float

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Dense, len(self.mean) + 1)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width + 1): the standardised vector (zeros if missing) and a "missing" flag."""
        missing = column.is_null().to_numpy()
        block = np.zeros((len(column), len(self.mean) + 1), dtype=np.float32)
        if not missing.all():
            values = _matrix(column.drop_nulls(), len(self.mean))
            block[~missing, :-1] = (values - self.mean) / self.scale
        block[:, -1] = missing
        return Dense(block)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mean": self.mean.tolist(), "scale": self.scale}


def _matrix(column: pl.Series, width: int) -> NDArray[np.float32]:
    lengths = column.list.len()
    if (lengths != width).any():
        other = lengths.filter(lengths != width)[0]
        raise DataError(
            f"every vector of {column.name!r} must have {count_of(width, 'number')}, like the first one in "
            f"the training set; got one of {other}. Make all vectors the same length"
        )
    return column.explode().to_numpy().astype(np.float32).reshape(len(column), width)


def _vectors_of_strings(
    values: pl.Series, where: Where, rule: str, decimal: str | None, found: Found
) -> pl.Series:
    """Read ``[0.1, 0.2]``, ``[0.1 0.2]`` (as numpy prints it), ``0.1 0.2`` and ``0,1;0,2``."""
    text = values.str.strip_chars()
    text = text.set(text == "", None)
    fix = "Write it like [0.1, 0.2]"
    inner = text.str.replace(r"^(?:np\.)?array\((.*?)(?:,\s*dtype=\w+)?\)$", "$1").str.strip_chars()
    closed = inner.str.contains(r"(?s)^(\[.*\]|\(.*\)|\{.*\})$")
    if not closed.any():
        closed = ~inner.str.contains(r"[\[\](){}]")
    if not closed.all():
        raise where.first(~closed, values, f"{rule} in brackets", fix)
    inner = inner.str.strip_chars("[](){}").str.strip_chars()
    short = inner.str.contains("...", literal=True)
    if short.any():
        raise where.first(
            short,
            values,
            f"{rule}, and numpy has abbreviated this one",
            "Write complete lists, with json.dumps(list)",
        )
    separator = next((mark for mark in ";|" if inner.str.contains(mark, literal=True).any()), None)
    blanks = inner.str.replace_all(r"\s+", " ")
    points = inner.str.contains(".", literal=True).any()
    if separator is None and inner.str.contains(",", literal=True).any():
        spaced = blanks.str.contains(r"^[-+\d,]+( [-+\d,]+)*$").all() and blanks.str.contains(" ").any()
        decimal_commas = decimal == "," or (not points and spaced)
        separator = " " if decimal_commas else ","
    separator = separator or " "
    comma = decimal or ("," if separator != "," and not points else ".")
    if comma == "," and blanks.str.contains(",", literal=True).any() and separator != ",":
        blanks = blanks.str.replace_all(",", ".", literal=True)
        if decimal is None:
            found.add(where, "vectors with decimal commas", decimal=",")
    parts = blanks.str.split(separator)
    numbers = parts.list.eval(pl.element().str.strip_chars().cast(pl.Float32, strict=False))
    wrong = numbers.list.eval(pl.element().is_null()).list.any()
    if wrong.any():
        row = wrong.arg_max() or 0
        bad = [part.strip() for part, number in zip(parts[row], numbers[row], strict=True) if number is None]
        raise where.fault(f"{rule} ({shown(bad[0])} is not a number)", fix, row + 1, values[row])
    return numbers
