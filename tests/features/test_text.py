"""Text: the hash against plain Python, the directions against NumPy's full SVD."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

from twotower.features.text import COLUMNS, WIDTH, Text, _count, _leading_directions, _weighted

TEXTS = [
    "the cat sat on the mat",
    "The Dog sat on the log",
    "a cat and a dog",
    "深入人心的歌曲",
    "这首歌深入人心",
    "猫 and 狗 on the mat",
    "no animals here",
    "ＦＵＬＬ width",
]


def fnv(gram: str) -> int:
    """The 64-bit hash of an n-gram's code points, in Python integers."""
    h = 14695981039346656037
    for character in gram:
        h = ((h ^ ord(character)) * 1099511628211) % 2**64
    return (h ^ (h >> 29)) % 2**14


def counted(text: str) -> dict[int, float]:
    grams = Counter(fnv(text[i : i + n]) for n in (1, 2, 3) for i in range(len(text) - n + 1))
    return {column: 1.0 + math.log(times) for column, times in grams.items()}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("banana", "banana"),
        ("Straße", "strasse"),
        ("深入人心的歌曲", "深入人心的歌曲"),
        ("  Ａb  ", "ab"),
        ("🐈‍⬛𝄞", "🐈‍⬛𝄞"),
        ("x", "x"),
        ("", ""),
        ("   ", ""),
        (None, ""),
    ],
)
def test_ngrams_against_plain_python(given: str | None, read: str) -> None:
    row = _count(pl.Series(["pad", given, "pad"], dtype=pl.String))[1]
    found = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
    expected = counted(read)
    assert found.keys() == expected.keys()
    for column, value in expected.items():
        assert found[column] == pytest.approx(value, rel=1e-6)


def test_weights_by_hand() -> None:
    encoder = Text().fit(pl.Series(["ab", "ac", "ad"]))
    for gram, rows in (("a", 3), ("b", 1), ("ab", 1), ("ac", 1)):
        assert encoder.idf[fnv(gram)] == pytest.approx(math.log(4 / (1 + rows)) + 1, rel=1e-6)
    assert np.count_nonzero(encoder.idf) == 7


def dense_weighted(texts: list[str], idf: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(texts), COLUMNS))
    for row, text in enumerate(texts):
        for column, value in counted(text).items():
            matrix[row, column] = value * idf[column]
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def test_directions_are_those_of_the_full_svd() -> None:
    encoder = Text().fit(pl.Series(TEXTS))
    read = [t.lower() for t in TEXTS[:-1]] + ["full width"]
    matrix = dense_weighted(read, encoder.idf.astype(np.float64))
    right = np.linalg.svd(matrix, full_matrices=False)[2][: len(TEXTS) - 1]
    found = encoder.projection / np.linalg.norm(encoder.projection, axis=0)
    assert found.shape == (COLUMNS, len(TEXTS) - 1)
    npt.assert_allclose(np.abs(np.sum(found.T * right, axis=1)), 1.0, atol=1e-4)


def test_train_rows_are_centred_and_the_widest_direction_has_unit_variance() -> None:
    encoder = Text().fit(pl.Series(TEXTS))
    values = encoder.transform(pl.Series(TEXTS)).values
    npt.assert_allclose(values[:, :-1].mean(axis=0), 0.0, atol=1e-5)
    assert values[:, :-1].std(axis=0).max() == pytest.approx(1.0, rel=1e-4)
    assert not values[:, -1].any()


def test_like_texts_lie_close_in_any_language() -> None:
    values = Text().fit(pl.Series(TEXTS)).transform(pl.Series(TEXTS)).values[:, :-1]
    length = np.linalg.norm(values, axis=1)
    cosine = values @ values.T / np.outer(length, length)
    np.fill_diagonal(cosine, -1)
    assert cosine[3].argmax() == 4
    assert cosine[0].argmax() in (1, 5)


def test_empty_and_missing_texts_have_a_flag_and_no_values() -> None:
    block = Text().fit(pl.Series([*TEXTS, None, ""])).transform(pl.Series([None, "", "  ", "cat"])).values
    assert block[:, -1].tolist() == [1, 1, 1, 0]
    assert not block[:3, :-1].any()
    assert block[3, :-1].any()


@pytest.mark.parametrize("train", [[None, None], ["one"], ["", None], []])
def test_columns_with_too_little_text_have_the_flag_alone(train: list[str | None]) -> None:
    encoder = Text().fit(pl.Series(train, dtype=pl.String))
    assert encoder.transform(pl.Series(["one", None, ""])).values.tolist() == [[0], [1], [1]]


def test_copies_of_one_text_make_no_directions_of_noise() -> None:
    encoder = Text().fit(pl.Series(["same words"] * 30 + ["other thing"] * 30))
    length = np.linalg.norm(encoder.projection, axis=0)
    assert length.shape == (WIDTH,)
    assert np.count_nonzero(length > 1e-6 * length.max()) == 2
    block = encoder.transform(pl.Series(["same other", "thing"])).values
    assert np.isfinite(block).all()
    assert not block[:, 2:].any()


def test_leading_directions_of_a_decaying_matrix() -> None:
    rng = np.random.default_rng(3)
    left = np.linalg.qr(rng.normal(size=(200, 60)))[0]
    right = np.linalg.qr(rng.normal(size=(300, 60)))[0]
    matrix = (left * 0.7 ** np.arange(60)) @ right.T
    from scipy import sparse

    found = _leading_directions(sparse.csr_matrix(matrix.astype(np.float32)), 10)
    npt.assert_allclose(found.T @ found, np.eye(10), atol=1e-4)
    npt.assert_allclose(np.abs(np.sum(found * right[:, :10], axis=0)), 1.0, atol=1e-4)


def test_the_same_bits_twice_and_from_the_saved_form() -> None:
    first, second = Text().fit(pl.Series(TEXTS)), Text().fit(pl.Series(TEXTS))
    for name, value in first.arrays().items():
        npt.assert_array_equal(value, second.arrays()[name])
    again = Text().restore({}, first.arrays())
    npt.assert_array_equal(again.transform(pl.Series(TEXTS)).values, first.transform(pl.Series(TEXTS)).values)


def test_rows_of_weights_have_unit_length() -> None:
    encoder = Text().fit(pl.Series(TEXTS))
    weighted = _weighted(_count(pl.Series(TEXTS)), encoder.idf)
    npt.assert_allclose(np.sqrt(weighted.multiply(weighted).sum(axis=1)), 1.0, rtol=1e-5)
