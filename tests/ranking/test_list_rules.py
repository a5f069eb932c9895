"""Rules for lists against plain Python, and what is said where they can't be kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stage_data import two_stages
from twotower.config.diversity import DiversityConfig
from twotower.errors import ConfigError, TwoTowerWarning
from twotower.ranking.list_rules import Facts, GivenUp, ListRules
from twotower.ranking.pool import Pool
from twotower.recommender.second_stage import nothing_asked
from twotower.retrieval import Candidates

N_ITEMS = 40


def facts(seed: int) -> Facts:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = [[f"a{i % 5}", *(["b"] if i % 3 == 0 else [])] if i else [] for i in range(N_ITEMS)]
    return Facts(values, rng.random(N_ITEMS) < 0.3, directions)


def by_hand(rules: DiversityConfig, of: Facts, items: list[int], scores: list[float], k: int) -> Any:
    """Return the chosen items, and whether each rule was given up."""
    low, high = min(scores), max(scores)
    worth = {i: (s - low) / (high - low) if high > low else 1.0 for i, s in zip(items, scores, strict=True)}
    chosen: list[int] = []
    lost = [False, False]
    while len(chosen) < min(k, len(items)):
        wants = math.floor(rules.new_share * (len(chosen) + 1) + 1e-9) > sum(map(bool, of.new[chosen]))
        left = [i for i in items if i not in chosen]

        def kept(i: int) -> bool:
            counts = [sum(v in of.values[j] for j in chosen) for v in of.values[i]]
            return rules.at_most is None or all(n < rules.at_most for n in counts)

        among = [i for i in left if kept(i) and (of.new[i] or not wants)] or [i for i in left if kept(i)]
        lost[0] |= not among
        among = among or left

        def value(i: int) -> float:
            like = max(
                (float(of.directions[i].astype(float) @ of.directions[j]) for j in chosen), default=-1.0
            )
            return rules.relevance * worth[i] - (1 - rules.relevance) * like

        best = max(among, key=value)
        lost[1] |= bool(wants and not of.new[best])
        chosen.append(best)
    return chosen, lost


def applied(rules: DiversityConfig, of: Facts, found: Candidates, k: int) -> tuple[Candidates, GivenUp]:
    given_up: list[GivenUp] = []

    def known(rows: Any) -> Facts:
        return Facts([of.values[row] for row in rows], of.new[rows], of.directions[rows])

    asked = nothing_asked(np.zeros((len(found.items), 1)))
    top = ListRules(rules, known, k, given_up).apply(asked, found, Pool(len(found.items)))
    return top, given_up[0]


@settings(max_examples=25)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([1.0, 0.6]),
)
def test_as_by_hand_and_the_same_however_long(seed: int, most: int, share: float, relevance: float) -> None:
    rng, of = np.random.default_rng(seed), facts(seed)
    rules = DiversityConfig(column="author", at_most=most, new_share=share, relevance=relevance)
    sizes = [rng.integers(1, N_ITEMS), 0, rng.integers(1, N_ITEMS)]
    found = Candidates.empty(3, N_ITEMS)
    for q, size in enumerate(sizes):
        found.items[q, :size] = rng.permutation(N_ITEMS)[:size]
        found.scores[q, :size] = np.sort(rng.normal(size=size))[::-1]
    top, given_up = applied(rules, of, found, 12)
    shorter, _ = applied(rules, of, found, 5)
    npt.assert_array_equal(top.items[:, :5], shorter.items)
    for q, size in enumerate(sizes):
        if not size:
            assert (top.items[q] == -1).all()
            continue
        scores = found.scores[q, :size].tolist()
        expected, lost = by_hand(rules, of, found.items[q, :size].tolist(), scores, 12)
        assert top.items[q, : len(expected)].tolist() == expected  # full, where there are candidates
        assert (top.items[q, len(expected) :] == -1).all()
        assert [given_up.at_most[q], given_up.new_share[q]] == lost
        place = dict(zip(found.items[q].tolist(), scores, strict=False))
        npt.assert_array_equal(top.scores[q, : len(expected)], np.float32([place[i] for i in expected]))


def test_requests_have_rules_of_their_own() -> None:
    model = two_stages().model
    plain = model.recommend([1, 2, 3], 10)
    ruled = model.recommend([1, 2, 3], 10, diversity={"column": "author", "at_most": 2})
    assert plain["author"].value_counts()["count"].max() > 2
    assert ruled.group_by("user_id", "author").len()["len"].max() == 2
    assert len(ruled) == 30
    assert ruled["item_id"][0] == plain["item_id"][0]
    assert model.recommend(1, 10, diversity=False).equals(plain.head(10))
    with pytest.warns(TwoTowerWarning, match=r"of 3 lists 3 have more than 1 item of a value of 'author'"):
        full = model.recommend([1, 2, 3], 10, diversity={"column": "author", "at_most": 1})
    assert len(full) == 30  # there are seven authors
    few = {item for item, n in zip(model.item_ids, model.item_counts, strict=True) if n < 30}
    ruled = model.recommend([1, 2], 10, diversity={"new_share": 0.5, "new_below": 30})
    assert ruled["item_id"].is_in(few).sum() >= 10


def test_invalid_rules_are_refused() -> None:
    model = two_stages().model
    for rules, message in (
        (
            {"column": "autor", "at_most": 2},
            "diversity.column must be a display column .*Did you mean 'author'",
        ),
        ({"column": "author"}, "column and at_most belong together"),
        ({}, "needs a rule"),
        ({"at_mst": 2}, "Did you mean 'at_most'"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.recommend(1, 5, diversity=rules)
