"""What a report measures, against answers known by hand or from other implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from taste_tables import SCRIPT

from twotower.features import Bag, Codes, Dense
from twotower.kernels.layout import VectorLayout
from twotower.metrics import Interval
from twotower.recommender.parts import Kinds
from twotower.report import Case
from twotower.report.calibration import calibrate
from twotower.report.facts import model_facts
from twotower.report.geometry import geometry_of, personal_of
from twotower.report.importance import IDS, _encoded, _permuted, _taken, importance_of
from twotower.report.item_map import map_of
from twotower.report.lists import _overlap
from twotower.report.people import people_of
from twotower.report.sections import curves
from twotower.report.wording import bounds, number, percent, shown, signed


def vectors(latent: np.ndarray) -> np.ndarray:
    """Return latent vectors with the two places for biases behind them."""
    return np.concatenate([latent, np.ones((len(latent), 2))], axis=1).astype(np.float32)


def test_directions_in_use() -> None:
    even = np.concatenate([np.eye(4), -np.eye(4)])  # the same variance along each of four axes
    of = geometry_of(vectors(even), VectorLayout(6))
    assert (of.rows, of.dim, of.still, of.zeros, of.finite) == (8, 4, 0, 0, True)
    assert of.effective_dim == pytest.approx(4.0)
    assert of.first == pytest.approx(0.25)
    assert of.norms == (1.0, 1.0, 1.0, 1.0)
    line = np.outer(np.arange(-3, 4), [1.0, 2.0, 0.0])
    of = geometry_of(vectors(line), VectorLayout(5))
    assert of.effective_dim == pytest.approx(1.0)
    assert (of.still, of.zeros) == (1, 1)
    of = geometry_of(vectors(np.ones((5, 3))), VectorLayout(5))
    assert (of.effective_dim, of.still) == (0.0, 3)
    assert np.isnan(of.first)
    assert not geometry_of(vectors(np.array([[1.0, np.inf]])), VectorLayout(4)).finite
    # the biases of each member are left out
    two = np.concatenate([vectors(even), vectors(even)], axis=1)
    assert geometry_of(two, VectorLayout(12, 2)).dim == 8


def test_scores_taken_apart() -> None:
    user = np.array([[1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], dtype=np.float32)
    item = np.array([[2.0, 1.0, 0.0], [-2.0, 1.0, 0.0]], dtype=np.float32)
    of = personal_of(user, item, 0)  # scores 2, -2, -2, 2
    assert (of.user, of.item, of.both, of.spread) == pytest.approx((0.0, 0.0, 1.0, 2.0))
    item = np.array([[0.0, 1.0, 3.0], [0.0, 1.0, -3.0]], dtype=np.float32)
    of = personal_of(user, item, 0)  # scores 3, -3 for both
    assert (of.user, of.item, of.both) == pytest.approx((0.0, 1.0, 0.0))
    assert personal_of(user[:1], item[:1], 0).both == 0.0


def test_overlap_of_lists() -> None:
    same = np.array([[0, 1, 2]] * 5, dtype=np.int32)
    assert _overlap(same) == 1.0
    apart = np.arange(15, dtype=np.int32).reshape(5, 3)
    assert _overlap(apart) == 0.0
    half = np.array([[0, 1], [1, 2]], dtype=np.int32)
    assert _overlap(half) == 0.5
    assert _overlap(np.array([[0, -1], [0, 3]], dtype=np.int32)) == 1.0  # all of the shorter one
    assert np.isnan(_overlap(same[:1]))


def test_calibration_against_numpy() -> None:
    rng = np.random.default_rng(0)
    prediction = rng.normal(size=1000)
    label = 0.3 + 0.7 * prediction + rng.normal(size=1000) / 2
    users = pl.Series([f"u{n % 50}" for n in range(1000)])
    of = calibrate(users, label, prediction, resamples=400, seed=1)
    assert [b.rows for b in of.bins] == [100] * 10
    order = np.argsort(prediction)
    for part, one in zip(np.split(order, 10), of.bins, strict=True):
        residual = label[part] - prediction[part]
        assert one.predicted == pytest.approx(prediction[part].mean())
        assert one.actual.value == pytest.approx(label[part].mean())
        assert one.residual.value == pytest.approx(residual.mean())
        assert one.rmse == pytest.approx(np.sqrt((residual**2).mean()))
        assert one.quantiles == pytest.approx(np.quantile(residual, [0.1, 0.25, 0.5, 0.75, 0.9]))
        assert (one.low, one.high) == (prediction[part].min(), prediction[part].max())
        assert one.actual.low < one.actual.value < one.actual.high
    slope, _ = np.polyfit(prediction, label, 1)
    assert of.slope.value == pytest.approx(slope)
    assert of.slope.low < 0.7 < of.slope.high
    assert of.bias.value == pytest.approx((label - prediction).mean())
    assert (of.label_sd, of.prediction_sd) == pytest.approx((label.std(), prediction.std()))
    shuffled = rng.permutation(1000)
    again = calibrate(users.gather(shuffled), label[shuffled], prediction[shuffled], resamples=400, seed=1)
    assert again.slope.low == pytest.approx(of.slope.low)


def test_calibration_of_equal_predictions() -> None:
    users, label = pl.Series([1, 1, 2, 3]), np.array([1.0, 2.0, 3.0, 4.0])
    of = calibrate(users, label, np.full(4, 2.0), resamples=100, seed=0)
    (one,) = of.bins
    assert (one.rows, one.predicted, one.actual.value, of.prediction_sd) == (4, 2.0, 2.5, 0.0)
    assert np.isnan(of.slope.value)
    alone = calibrate(pl.Series([1, 1]), label[:2], np.array([1.0, 3.0]), resamples=100, seed=0)
    assert np.isnan(alone.bias.low)  # one user says nothing of others


def test_the_case_holds_what_the_run_measured(rated: Case, ranked: Case) -> None:
    assert rated.evaluation.as_dict()["rating"] == rated.recorded["rating"]
    assert ranked.evaluation.as_dict()["ranking"] == ranked.recorded["ranking"]
    assert not rated.data.changed
    assert (rated.data.then, rated.data.seen) == (rated.data.now, 0.0)
    assert (rated.main, ranked.main) == ("rmse", "ndcg@10")
    assert set(rated.left_out) == {"notebook"}
    assert set(ranked.left_out) == {"category popularity", "recent popularity", "iALS", "BPR", "content kNN"}


def test_kinds_of_towers_have_curves_and_epochs_of_their_own(ranked: Case) -> None:
    kinds = Kinds("ndcg@100", {"linear": 0.2, "sequence": 0.3}, {"sequence": 1.0, "linear": 0.5}, 0.31)
    history = [{**record, "kind": kind} for kind in kinds.weights for record in ranked.history]
    training = replace(ranked.recommender.training, epochs=history, kinds=kinds)
    case = replace(ranked, recommender=replace(ranked.recommender, training=training))
    assert [figure.title for figure in curves(case)] == [
        f"{what} of {kind}" for kind in kinds.weights for what in ("Loss", "Validation")
    ]
    facts = dict(model_facts(case))
    assert facts["Towers"].startswith("sequence + 0.5 linear")
    assert facts["Chosen"].endswith("linear 0.2000, sequence 0.3000; kept sequence + 0.5 linear (0.3100)")
    alone = dict(model_facts(ranked))["Epochs"]
    assert facts["Epochs of linear"] == facts["Epochs of sequence"]
    assert facts["Epochs of linear"].split("; ")[1:] == alone.split("; ")[1:]


def test_lists_are_those_that_were_measured(ranked: Case) -> None:
    lists = ranked.lists
    assert lists is not None
    hits = [len(np.intersect1d(row, lists.relevant[n])) for n, row in enumerate(lists.lists)]
    precision = ranked.recorded["ranking"]["precision@10"]["value"]
    assert np.mean(hits) / 10 == pytest.approx(precision)
    coverage = ranked.recorded["ranking"]["coverage@10"]["value"]
    assert (lists.exposure > 0).mean() == pytest.approx(coverage)
    assert lists.by_band.sum(axis=1) == pytest.approx([1, 1, 1])
    first = lists.items.gather(lists.lists[0]).to_list()
    assert ranked.recommender.recommend([lists.users[0]], 10)["film"].to_list() == first


def test_features_that_are_known_to_matter_do(rated: Case) -> None:
    of = rated.importance
    worth = {(one.side, one.column): one for one in of.features}
    assert set(worth) == {
        ("users", IDS),
        ("users", "taste"),
        ("users", SCRIPT),
        ("items", IDS),
        ("items", "kind"),
        ("items", "tags"),
    }
    assert of.base == pytest.approx(rated.score.value)
    assert worth["users", "taste"].counts
    assert worth["items", "kind"].counts
    noise = worth["users", SCRIPT]
    assert noise.loss.value < worth["users", "taste"].loss.value / 5
    assert [one.loss.value for one in of.features] == sorted(
        (w.loss.value for w in of.features), reverse=True
    )


def test_importance_by_hand(rated: Case) -> None:
    model, parts = rated.recommender, rated.parts
    found = importance_of(
        model, parts, "rmse", cap=None, candidates="all", resamples=100, seed=3, repetitions=1
    )
    # the second column of the items: after the ids (0), the two of the users (1, 2), the items' ids (3)
    generator = np.random.default_rng([3, 4])
    items = parts.train.items.sort("film")
    dealt = items.with_columns(items.get_column("kind").gather(generator.permutation(items.height)))
    from twotower.recommender.fitted_towers import FittedTowers
    from twotower.towers import SideArrays

    arrays = SideArrays.pack(model.encoder.items.transform(dealt), torch.device("cpu"))
    moved = FittedTowers(model.encoder, model.model, model.target).vectors(arrays, "items")
    broken = replace(model, catalogue=replace(model.catalogue, items=replace(model.items, vectors=moved)))
    label = parts.test.interactions["stars"].to_numpy()
    expected = np.sqrt(np.mean((broken.predict(parts.test) - label) ** 2)) - rated.score.value
    (kind,) = (one for one in found.features if one.column == "kind")
    assert kind.loss.value == pytest.approx(expected)
    assert kind.loss.low < expected < kind.loss.high


def test_ids_change_hands_among_the_warm_alone(rated: Case) -> None:
    side = _encoded(rated.recommender, rated.parts, "items")
    cold = replace(side, warm=np.where(np.arange(side.rows) < 9, 0, side.warm).astype(np.int32))
    dealt = _permuted(cold, IDS, np.random.default_rng(0))
    assert (dealt.warm[:9] == 0).all()
    assert sorted(dealt.warm) == sorted(cold.warm)
    assert (dealt.warm != cold.warm).any()


def test_blocks_in_another_order() -> None:
    rows = np.array([2, 0, 1])
    assert _taken(Dense(np.eye(3, dtype=np.float32)), rows).values.argmax(axis=1).tolist() == [2, 0, 1]  # type: ignore[union-attr]
    assert _taken(Codes(np.array([5, 6, 7], np.int32), 9), rows).codes.tolist() == [7, 5, 6]  # type: ignore[union-attr]
    bag = _taken(Bag(np.array([0, 2, 3, 6]), np.arange(6, dtype=np.int32), 9), rows)
    assert isinstance(bag, Bag)
    assert (bag.indptr.tolist(), bag.codes.tolist()) == ([0, 3, 5, 6], [3, 4, 5, 0, 1, 2])


def test_people_are_shown_as_they_are(ranked: Case) -> None:
    lists, model = ranked.lists, ranked.recommender
    assert lists is not None
    people = people_of(model, lists)
    assert len(people) == 3
    train = ranked.parts.train.joined(ranked.parts.validation).interactions
    for person in people:
        mine = train.filter(pl.col("person") == int(person.id)).sort("stars", descending=True)
        assert person.items == mine.height
        assert [int(item.id) for item, _ in person.history] == mine["film"].head(
            len(person.history)
        ).to_list()
        assert [label for _, label in person.history] == pytest.approx(mine["stars"].head(8).to_list())
        listed = model.recommend([int(person.id)], 10)
        assert [int(one.item.id) for one in person.given] == listed["film"].to_list()
        assert [one.score for one in person.given] == pytest.approx(listed["score"].to_list(), abs=1e-4)
        test = ranked.parts.test.interactions.filter(
            (pl.col("person") == int(person.id)) & (pl.col("stars") >= 3)
        )
        liked = set(test["film"])
        assert [one.hit for one in person.given] == [int(one.item.id) in liked for one in person.given]
        assert person.liked == len(liked)
        explained = model.explain(int(person.id), listed["film"])
        for one in person.given:
            best = explained.filter(pl.col("film") == int(one.item.id)).row(0, named=True)
            if best["contribution"] > 0:
                assert (int(one.reasons[0][0].id), one.reasons[0][1]) == (
                    best["because_film"],
                    pytest.approx(best["contribution"]),
                )


def test_the_map_is_coloured_by_the_first_column_that_can(ranked: Case) -> None:
    of = map_of(ranked.recommender, ranked.parts.train.items)
    assert of is not None
    assert (of.column, len(of.points), of.others, of.every) == ("genre", 80, 0, 1)
    assert of.categories == tuple((f"genre & {k}", 20) for k in range(4))
    assert all(0 <= v <= of.size for point in of.points for v in (point.x, point.y))
    assert of.beyond == sum(point.beyond for point in of.points) > 0
    assert all(
        min(point.x, point.y) <= 8 or max(point.x, point.y) >= of.size - 8
        for point in of.points
        if point.beyond
    )
    catalogue = ranked.recommender.catalogue
    catalogue = replace(catalogue, display=catalogue.display.select("film"))
    bare = replace(ranked.recommender, catalogue=catalogue)
    other = map_of(bare, ranked.parts.train.items)
    assert other is not None
    assert (other.column, other.categories[0][0]) == ("kind", "kind 0")


def test_numbers_are_written_as_people_read_them() -> None:
    assert [number(v) for v in (0.123456, -0.5, 12.345, 4321.6, 5, None, float("inf"))] == [
        "0.1235",
        "−0.5000",
        "12.35",
        "4,322",
        "5",
        "–",
        "–",
    ]
    assert [signed(v) for v in (0.5, -0.5, float("nan"))] == ["+0.5000", "−0.5000", "–"]
    assert percent(0.125, 1) == "12.5%"
    assert bounds(Interval(1.0, float("nan"), float("nan"))) == ""
    assert shown(["a\n", None, "b"]) == "a , None, b"
