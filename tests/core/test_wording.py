"""Counted nouns."""

from __future__ import annotations

import pytest

from twotower.core.wording import count_of


@pytest.mark.parametrize(
    ("n", "noun", "plural", "text"),
    [
        (0, "row", None, "0 rows"),
        (1, "row", None, "1 row"),
        (2, "row", None, "2 rows"),
        (12_500, "interaction", None, "12,500 interactions"),
        (1, "category", "categories", "1 category"),
        (3, "category", "categories", "3 categories"),
    ],
)
def test_a_count_and_its_noun(n: int, noun: str, plural: str | None, text: str) -> None:
    assert count_of(n, noun, plural) == text
