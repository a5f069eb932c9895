"""A second stage with further sources of candidates: trained, measured, saved, and what it never sees."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

import twotower as tt
from two_stage_data import RANKER, SETTINGS, SOURCES, WITH_SOURCES, data, two_stages, with_sources
from twotower.errors import ConfigError
from twotower.evaluation.stages import StagesEvaluation
from twotower.metrics import Interval
from twotower.ranking.known import Queried
from twotower.ranking.pool import Pool
from twotower.ranking.sources.popular import Popular
from twotower.ranking.sources.registry import SOURCES as REGISTRY
from twotower.recommender import Recommender
from twotower.recommender.candidate_lists import first_stage
from twotower.recommender.forgetting import without_users
from twotower.retrieval import Candidates


@pytest.fixture(scope="module")
def model() -> Recommender:
    return with_sources()


def test_what_the_towers_do_not_find_is_ranked(model: Recommender) -> None:
    plain, users = two_stages().model, two_stages().model.user_ids.head(40)
    npt.assert_array_equal(plain.items.vectors, model.items.vectors)
    assert model.ranker is not None
    names = [one.name for one in model.ranker.features]
    assert names[-6:] == [f"{name}_source_{what}" for name in SOURCES for what in ("score", "rank")]
    own, towers = (
        {(user, item) for user, item in one.recommend(users, 40).select("user_id", "item_id").iter_rows()}
        for one in (model, replace(model, ranker=None))
    )
    assert len(own) == len(towers) == 40 * 40  # as many, and others
    assert len(own - towers) > 40


def test_each_source_and_all_together_are_measured(model: Recommender) -> None:
    measured = model.evaluate(two_stages().test, ks=(10, 40), resamples=100)
    found = measured.stages
    before = two_stages().model.evaluate(two_stages().test, ks=(10,), resamples=100).stages
    assert found is not None
    assert before is not None
    assert list(found.sources) == ["towers", *SOURCES]
    assert found.sources["towers"] == before.found
    assert [list(found.sources[name]) for name in SOURCES] == [["recall@6"]] * 3
    assert found.towers["ndcg@10"] == before.towers["ndcg@10"]
    of_all = measured.metrics["recall@40"].value  # of lists of all candidates
    assert found.found["recall@40"].value == pytest.approx(of_all)
    assert found.found != before.found
    recall = {name: found.sources[name]["recall@6"].value for name in SOURCES}
    assert found.found["recall@40"].value > max(recall.values()) > 0
    assert found.as_dict()["sources"]["recent"]["recall@6"]["value"] == recall["recent"]
    assert f"of 'recent' {recall['recent']:.4f}" in found.says
    assert before.sources == {}
    assert "sources" not in before.as_dict()
    for one, there in ((model, True), (two_stages().model, False)):
        first = first_stage(one)
        assert first is not None
        assert (first.sources is not None) == there


def test_one_user_has_no_interval_and_nothing_has_no_share() -> None:
    one, nothing = (Interval(value, math.nan, math.nan) for value in (0.5, 0.0))
    of = {"ndcg@10": one}
    alone = StagesEvaluation(40, {"recall@40": one}, {"ndcg@10": nothing}, of, of)
    assert alone.says == (
        "The second stage changes NDCG@10 by +0.5000, from 0.0000 by the towers alone; recall@40 of its "
        "candidates is 0.5000"
    )
    several = {"ndcg@10": Interval(0.1, 0.0, 0.2)}
    assert (
        "by +0.1000 [+0.0000, +0.2000] (+20.0%), from 0.5000"
        in replace(alone, towers=of, difference=several).says
    )


def test_the_same_lists_alone_among_others_saved_and_however_long(model: Recommender, tmp_path: Path) -> None:
    users = model.user_ids.head(30)
    together = model.recommend(users, 20)
    for user in users.head(3):
        alone = model.recommend(user, 20)
        assert alone.equals(together.filter(pl.col("user_id") == user))
        longer = model.recommend(user, 60)
        assert longer.head(20).equals(alone)
        assert longer["item_id"].n_unique() == len(longer) == 60
        assert (longer["score"].diff().drop_nulls() <= 0).all()
    every = pl.concat(model.recommend_all(20))
    assert every.filter(pl.col("user_id").is_in(users.implode())).equals(together)
    model.save(tmp_path / "bundle")
    loaded = Recommender.load(tmp_path / "bundle")
    assert loaded.recommend(users, 20).equals(together)
    assert loaded.ranker is not None
    assert loaded.ranker.settings.sources == SOURCES
    left = without_users(model, np.array([3, 7]))
    left.save(tmp_path / "left")
    assert Recommender.load(tmp_path / "left").recommend(users[:3], 5).equals(left.recommend(users[:3], 5))


def test_a_bundle_without_further_sources_does_not_name_them(tmp_path: Path) -> None:
    two_stages().model.save(tmp_path / "bundle")
    saved = json.loads((tmp_path / "bundle" / "ranker.json").read_text())
    assert not {"sources", "source_candidates"} & set(saved["settings"])


def test_filters_hold_for_what_a_source_finds(model: Recommender) -> None:
    users, genres = model.user_ids.head(20), data().items.filter(pl.col("author") == "a3")["item_id"]
    seen = two_stages().train.interactions.select("user_id", "item_id")
    for how in ({"filters": {"author": "a3"}}, {"allow": genres.to_list()}):
        lists = model.recommend(users, 30, **how)
        assert set(lists["item_id"]) <= set(genres)
        assert len(lists.join(seen, on=["user_id", "item_id"], how="inner")) == 0
        assert set(lists["item_id"]) == set(
            replace(model, ranker=None).recommend(users, 30, **how)["item_id"]
        )


def test_no_source_sees_what_is_to_be_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that gives away all that it can know finds nothing of the answer, in any fold."""
    train, validation, _, _ = two_stages()
    asked: list[tuple[float, set[Any]]] = []

    class Spy(Popular):
        @staticmethod
        def find(queries: Queried, pool: Pool, k: int) -> Candidates:
            past = queries.known.past
            asked.append(
                (past.end, {*zip(past.lists.owners().tolist(), past.lists.values.tolist(), strict=True)})
            )
            return Popular.find(queries, pool, k)

    with REGISTRY.temporarily(spy=Spy):
        ranker = RANKER | {"sources": ["spy"], "source_candidates": 6}
        tt.TwoTower(**SETTINGS).fit(train, validation, ranker=ranker, progress=False)
    times = np.sort(train.times())
    starts = [times[round(len(times) * (1 - 0.15 * left))] for left in (2, 1)]
    ends = sorted({end for end, _ in asked})
    assert len(ends) == 3  # two folds, and the training set for the validation set
    assert ends[0] < starts[0] <= ends[1] < starts[1] <= ends[2] == times[-1] < validation.times().min()
    sizes = [len(train.interactions.filter(pl.col("at") <= end)) for end in ends]
    known = dict(asked)
    assert [len(known[end]) for end in ends] == sizes


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"sources": ["populer"]}, r"'populer'.*Did you mean 'popular'"),
        ({"sources": ["recent", "recent"]}, "must name each source once, got recent again"),
        ({"source_candidates": 20}, "source_candidates must be left out without sources, got 20"),
        (
            {"sources": ["recent", "next"], "source_candidates": 20},
            r"fewer than 40 candidates, got 2 \* 20; lower source_candidates or raise candidates",
        ),
    ],
)
def test_wrong_settings_are_refused(ranker: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tt.TwoTower(**SETTINGS).fit(two_stages().train, ranker=RANKER | ranker)


def test_sources_that_need_times_are_refused_without_them() -> None:
    plain = data(timestamp=None).as_train()
    with pytest.raises(ConfigError, match=r"'recent', 'next' need the time of each interaction"):
        tt.TwoTower(**SETTINGS).fit(plain, ranker=WITH_SOURCES)
