"""Both stages, trained on a set where the second one knows something that the towers don't."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

import twotower as tt
from two_stage_data import RANKER, SETTINGS, two_stages
from twotower.errors import BundleError, MissingExtraError, TwoTowerWarning
from twotower.estimator.fitting import Fit
from twotower.recommender import Recommender
from twotower.recommender.bundle import FORMAT, ONE_STAGE, read_manifest
from twotower.recommender.forgetting import without_users


@pytest.fixture(scope="module")
def model() -> Recommender:
    return two_stages().model


def test_the_second_stage_finds_what_is_new(model: Recommender) -> None:
    found = model.evaluate(two_stages().test, ks=(10,), resamples=200)
    assert found.stages is not None
    stages = found.stages
    assert stages.candidates == RANKER["candidates"]
    assert stages.difference["ndcg@10"].low > 0.05  # the towers know the genre, not what is new
    npt.assert_allclose(
        stages.difference["ndcg@10"].value, found.metrics["ndcg@10"].value - stages.towers["ndcg@10"].value
    )
    alone = replace(model, ranker=None).evaluate(two_stages().test, ks=(10, 40), resamples=200)
    assert alone.stages is None
    assert alone.metrics["ndcg@10"] == stages.towers["ndcg@10"]
    assert alone.metrics["recall@40"] == stages.found["recall@40"]
    assert "item_age" in list(model.ranker.importance())[:5]  # type: ignore[union-attr]


def test_a_saved_model_gives_the_same_lists(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "bundle")
    loaded = Recommender.load(tmp_path / "bundle")
    users = model.user_ids.head(20)
    assert loaded.recommend(users, 10).equals(model.recommend(users, 10))
    assert not loaded.recommend(users, 10).equals(replace(loaded, ranker=None).recommend(users, 10))


def test_a_list_is_the_same_alone_and_among_others_and_however_long(model: Recommender) -> None:
    users = model.user_ids.head(30)
    together = model.recommend(users, 20)
    for user in users.head(3):
        alone = model.recommend(user, 20)
        assert alone.equals(together.filter(pl.col("user_id") == user))
        assert model.recommend(user, 5).equals(alone.head(5))
        longer = model.recommend(user, 60)  # more than are ranked again
        assert longer.head(20).equals(alone)
        assert (longer["score"].diff().drop_nulls() <= 0).all()
        after = replace(model, ranker=None).recommend(user, 60)["item_id"]
        assert longer["item_id"][40:].to_list() == after[40:].to_list()
        assert set(longer["item_id"]) == set(after)
    every = pl.concat(model.recommend_all(5))
    assert every.filter(pl.col("user_id").is_in(users.implode())).equals(together.filter(pl.col("rank") <= 5))


def test_whoever_is_new_is_ranked_for(model: Recommender) -> None:
    new = [tt.Query(history=[100, 104]), tt.Query(features={"age": 30.0}), tt.Query(user=3, history=[110])]
    lists = model.recommend(new, 10)
    assert lists["query"].value_counts()["count"].to_list() == [10, 10, 10]
    known = model.recommend(3, 10)["item_id"].to_list()
    assert lists.filter(pl.col("query") == 2)["item_id"].to_list() != known  # what just happened counts


def test_training_again_gives_the_same_trees(model: Recommender) -> None:
    train, validation, _, _ = two_stages()
    assert model.ranker is not None
    again = tt.TwoTower(**SETTINGS).fit(train, validation, ranker=RANKER, progress=False)
    assert again.ranker is not None
    assert again.ranker.trees.text == model.ranker.trees.text
    plain = tt.TwoTower(**SETTINGS).fit(train, validation, progress=False)
    npt.assert_array_equal(plain.items.vectors, model.items.vectors)


def test_trees_that_learned_nothing_say_so_and_change_nothing() -> None:
    ranker = {**RANKER, "min_rows": 100_000}
    with pytest.warns(TwoTowerWarning, match=r"no tree of the ranker has a split.*min_rows \(100,000\)"):
        model = tt.TwoTower(**SETTINGS).fit(two_stages().train, ranker=ranker)
    users = model.user_ids.head(20)
    lists = replace(model, ranker=None).recommend(users, 10).drop("score")
    assert model.recommend(users, 10).drop("score").equals(lists)


def test_bundles_without_a_second_stage_are_as_before(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "two")
    replace(model, ranker=None).save(tmp_path / "one")
    two, one = (read_manifest(tmp_path / name) for name in ("two", "one"))
    assert (two["format"], one["format"]) == (FORMAT, ONE_STAGE)
    assert {*two["parts"]} - {*one["parts"]} == {"ranker.txt", "ranker.json", "ranker.safetensors"}
    text = tmp_path / "two" / "ranker.txt"
    text.write_text(text.read_text() + " ")
    with pytest.raises(BundleError, match=r"ranker\.txt of bundle .* is not the one saved with it"):
        Recommender.load(tmp_path / "two")
    text.unlink()
    with pytest.raises(BundleError, match=r"lacks its part ranker\.txt"):
        Recommender.load(tmp_path / "two")


def test_a_deleted_user_is_in_no_part_of_the_second_stage(model: Recommender, tmp_path: Path) -> None:
    rows = np.array([3, 7])
    left = without_users(model, rows)
    assert left.ranker is not None
    assert model.ranker is not None
    past, before = left.ranker.known.past, model.ranker.known.past
    others = np.setdiff1d(np.arange(len(model.users)), rows)
    assert len(past.lists) == len(others)
    for place, row in enumerate(others.tolist()):
        npt.assert_array_equal(past.lists[place], before.lists[row])
    assert len(past.grade) == len(past.time) == len(before.grade) - len(before.lists.of(rows).values)
    npt.assert_array_equal(left.ranker.known.users, model.ranker.known.users[others])
    left.save(tmp_path / "left")
    users = left.user_ids.head(10)
    assert Recommender.load(tmp_path / "left").recommend(users, 5).equals(left.recommend(users, 5))


def test_without_lightgbm_nothing_is_trained_and_the_error_names_the_extra(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation, _, _ = two_stages()
    assert model.ranker is not None
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.setattr(Fit, "run", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[ranker\]'"):
        tt.TwoTower(**SETTINGS).fit(train, validation, ranker=RANKER, progress=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[ranker\]'"):
        replace(model.ranker.trees).scores(np.zeros((1, 3), np.float32))
