"""Which user gets which model: shares are kept, users stay, and few move."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import ConfigError
from twotower.server.traffic import Traffic

USERS = [str(n) for n in range(20_000)]


def test_a_user_has_the_model_that_the_documented_hash_says() -> None:
    traffic = Traffic({"a": 90.0, "b": 10.0}, "s")
    for user in USERS[:200]:
        place = int(hashlib.sha256(f"s:{user}".encode()).hexdigest()[:16], 16) / 16**16
        assert traffic.model_of(user) == ("a" if place < 0.9 else "b")


@pytest.mark.parametrize("share", [0.0, 1.0, 50.0, 99.5, 100.0])
def test_shares_are_kept(share: float) -> None:
    traffic = Traffic({"a": share, "b": 100.0 - share}, "x")
    count = sum(traffic.model_of(user) == "a" for user in USERS)
    expected = len(USERS) * share / 100
    assert abs(count - expected) <= 4 * (expected * (1 - share / 100)) ** 0.5


def test_salts_are_independent_and_a_larger_share_moves_only_who_it_must() -> None:
    one, other = (Traffic({"a": 50.0, "b": 50.0}, salt) for salt in "12")
    same = sum(one.model_of(user) == other.model_of(user) for user in USERS)
    assert abs(same - 10_000) < 4 * 5_000**0.5
    wider = Traffic({"a": 60.0, "b": 40.0}, "1")
    assert all(wider.model_of(user) == "a" for user in USERS if one.model_of(user) == "a")


@settings(max_examples=30)
@given(st.text(), st.lists(st.integers(0, 10), min_size=1, max_size=5).filter(any), st.text())
def test_everyone_has_a_model_with_a_share(user: str, parts: list[int], salt: str) -> None:
    traffic = Traffic({str(n): 100.0 * part / sum(parts) for n, part in enumerate(parts)}, salt)
    assert traffic.shares[traffic.model_of(user)] > 0.0
    assert traffic.shares[traffic.largest] == max(traffic.shares.values())


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"a": 90.0, "b": 20.0}, "shares must sum to 100, got a 90, b 20"),
        ({"a": 101.0, "b": -1.0}, "percentages from 0 to 100"),
        ({"a": float("nan"), "b": 100.0}, "percentages from 0 to 100"),
        ({"a": 50.0, "bb": 50.0}, "there is no model 'bb'; there are a, b"),
    ],
)
def test_wrong_shares_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Traffic.of(shares, ["a", "b"], "")
