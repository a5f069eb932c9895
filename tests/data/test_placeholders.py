"""Values that stand for none, and those that only look so."""

import numpy as np
import polars as pl
import pytest

from twotower.data.placeholders import constant, placeholder_ids, placeholder_label


@pytest.mark.parametrize(
    ("labels", "want"),
    [
        ([-1.0] * 4 + [1, 2, 3, 4, 5, 5], "-1"),
        ([99.0] * 2 + [1, 2, 3, 4, 5, 5], "99"),
        ([0.0] * 6 + [1, 2, 3, 4, 5, 5], "0"),
        ([-1.0, 1.0] * 5, None),
        ([-1.0, 0.0, 1.0] * 5, None),
        ([0.0, 0.5, 1.5, 2.5], None),
        ([1.0, 2.0, 3.0, 4.0, 5.0], None),
        ([], None),
    ],
)
def test_labels(labels: list[float], want: str | None) -> None:
    found = placeholder_label(np.array(labels, dtype=float))
    assert (None if found is None else found.value) == want


def test_ids() -> None:
    assert placeholder_ids(pl.Series(range(100))) == []
    assert [x.value for x in placeholder_ids(pl.Series([-1] * 10 + list(range(1, 91))))] == ["-1"]
    assert [x.value for x in placeholder_ids(pl.Series(["nan"] * 5 + ["a", "b", "c"] * 10))] == ["nan"]
    assert placeholder_ids(pl.Series([0, 1, 2] * 10)) == []


def test_constant() -> None:
    assert constant(np.ones(3))
    assert not constant(np.array([1.0, 2.0]))
    assert not constant(np.array([]))
