"""Models whose user tower reads histories: what a query has done, against vectors put together by hand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file

import twotower as tt
from history_towers import COLD, HOUR, KINDS, N_ITEMS, N_USERS, START, data, events
from twotower.core.fingerprint import Fingerprint
from twotower.data.dataset import Dataset
from twotower.errors import BundleError, DataError
from twotower.recommender import Recommender
from twotower.recommender.bundle import MANIFEST
from twotower.recommender.unpacking import VECTORS
from twotower.towers import LinearTower, SideArrays, TwoTowerModel
from twotower.towers.registry import TOWERS
from twotower.workflows import recommend_all

CPU = torch.device("cpu")
Event = tuple[int, float, float]
"""Item, grade, and time."""


@pytest.fixture(scope="module", autouse=True)
def towers() -> Iterator[None]:
    with TOWERS.temporarily(**KINDS):
        yield


def fitted(kind: str, **more: Any) -> Recommender:
    settings: dict[str, Any] = {"kind": kind, "dim": 8, "epochs": 3, "threads": 1, "refit": False}
    settings |= {"objective": "softmax", "positive": 3.0, "min_grade": None, "exclude_seen": False} | more
    train = data().as_train()
    exclude = settings.pop("exclude_seen")
    return tt.TwoTower(**settings).fit(train, train, progress=False, exclude_seen=exclude)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted("recent")


@pytest.fixture(scope="module")
def linear() -> Recommender:
    return fitted("sum")


def trained(user: int, *, before: float = math.inf) -> list[Event]:
    """Return what a user did in the training set, in the order of time, those of one time as given."""
    own = [row for row in events() if row[0] == user and row[3] is not None and row[3] < before]
    own.sort(key=lambda row: row[3] or 0.0)
    return [(item, float(stars >= 3.0), float(time or 0.0)) for _, item, stars, time in own]


def by_hand(model: Recommender, past: Sequence[Event], *, user: int | None = None, age: Any = None) -> Any:
    """Return the vector of someone who did all this, entry by entry."""
    tower: Any = model.model.users
    row = pl.DataFrame(
        {"user_id": [user], "age": [20.0 + 5 * user if user is not None else age]},
        schema={"user_id": pl.Int64, "age": pl.Float64},
    )
    with torch.no_grad():
        total = LinearTower.forward(tower, SideArrays.pack(model.encoder.users.transform(row), CPU))[0]
        items = tower.past(SideArrays.pack(model.encoder.items.transform(data().items), CPU))
        for place, (item, grade, time) in enumerate(past):
            weight = grade
            if model.model.config.kind == "recent":
                weight *= 0.5 ** (len(past) - 1 - place) * 0.5 ** ((past[-1][2] - time) / HOUR)
            total = total + weight * items[item - 100]
        return model.model.vectors_of(total[None], "users")[0].numpy()


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["recent", "sum"])
def test_a_trained_user_has_done_what_the_training_set_says(kind: str) -> None:
    model = fitted(kind)
    for user in range(N_USERS):
        close(model.users.vectors[model.users.row(user)], by_hand(model, trained(user), user=user))


def test_without_an_event_a_user_keeps_the_stored_vector(model: Recommender) -> None:
    queries = [0, tt.Query(user=1, history=[]), tt.Query(user=2, at=START + 100 * HOUR)]
    found = model.encode_queries(queries)
    assert np.array_equal(found, model.users.vectors[[model.users.row(user) for user in (0, 1, 2)]])
    assert np.array_equal(model.user_vectors([1])["vector"].to_numpy(), found[1:2])


LATER = START + 10 * HOUR
QUERIES: list[tuple[dict[str, Any], list[Event]]] = [
    # labels and times; between what the training set has, and after
    (
        {"history": [102, 101], "labels": [5.0, 1.0], "times": [LATER, START + 1.5 * HOUR]},
        [(101, 0.0, START + 1.5 * HOUR), (102, 1.0, LATER)],
    ),
    # of a time of the training set: after what it has of that time
    ({"history": [105], "labels": [4.0], "times": [START + 2 * HOUR]}, [(105, 1.0, START + 2 * HOUR)]),
    # without times: after all, at the end of the training set; without labels: liked
    ({"history": [103, 102]}, [(103, 1.0, START + 3 * HOUR), (102, 1.0, START + 3 * HOUR)]),
    (
        {"history": [103, 102], "labels": [None, 2.0]},
        [(103, 1.0, START + 3 * HOUR), (102, 0.0, START + 3 * HOUR)],
    ),
    # a cold item, at the time that the query is asked
    ({"history": [COLD], "at": LATER}, [(COLD, 1.0, LATER)]),
    # the same item twice
    ({"history": [101, 101]}, [(101, 1.0, START + 3 * HOUR), (101, 1.0, START + 3 * HOUR)]),
]


@pytest.mark.parametrize(("given", "more"), QUERIES)
@pytest.mark.parametrize("user", [0, 3, N_USERS - 1])
def test_a_known_user_with_events(model: Recommender, user: int, given: Any, more: Any) -> None:
    """User 8 did nothing in training; of user 3 a row has no time."""
    past = sorted(trained(user) + more, key=lambda event: event[2])
    (found,) = model.encode_queries(tt.Query(user=user, **given))
    close(found, by_hand(model, past, user=user))


@pytest.mark.parametrize(("given", "more"), QUERIES)
@pytest.mark.parametrize("age", [None, 31.0])
def test_someone_new_with_a_history(model: Recommender, age: float | None, given: Any, more: Any) -> None:
    features = {} if age is None else {"features": {"age": age}}
    (found,) = model.encode_queries(tt.Query(**given, **features))
    close(found, by_hand(model, sorted(more, key=lambda event: event[2]), age=age))


def test_someone_new_by_features_alone_or_by_nothing(model: Recommender) -> None:
    described, unknown, empty = model.encode_queries(
        [tt.Query(features={"age": 44.0}), tt.Query(features={}), tt.Query(history=[])]
    )
    close(described, by_hand(model, [], age=44.0))
    warm = model.users.vectors[model.users.warm]
    close(unknown, warm.mean(axis=0))
    assert np.array_equal(unknown, empty)


def test_a_query_is_asked_at_a_time(model: Recommender) -> None:
    """It reads what was strictly before: nothing of that time, and nothing later."""
    for user in range(N_USERS):
        for hours in (0.0, 1.0, 2.5, 9.0):
            at = START + hours * HOUR
            (found,) = model.encode_queries(tt.Query(user=user, at=datetime.fromtimestamp(at, UTC)))
            close(found, by_hand(model, trained(user, before=at), user=user))
    (found,) = model.encode_queries(
        tt.Query(user=2, history=[101], times=[START + HOUR], at=START + 1.5 * HOUR)
    )
    past = [*trained(2, before=START + 1.5 * HOUR), (101, 1.0, START + HOUR)]
    close(found, by_hand(model, sorted(past, key=lambda event: event[2]), user=2))


def test_many_queries_are_one_pass(model: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [tt.Query(user=user, **given) for given, _ in QUERIES for user in (0, 8)]
    queries += [tt.Query(**given) for given, _ in QUERIES]
    queries += [
        tt.Query(features={"age": 31.0}),
        tt.Query(user=4),
        tt.Query(features={}),
        tt.Query(user=5, at=START),
    ]
    queries += [tt.Query(features={"age": 25.0}, **given) for given, _ in QUERIES]
    alone = np.concatenate([model.encode_queries(query) for query in queries])
    passes: list[int] = []
    encode = TwoTowerModel.encode

    def counted(self: TwoTowerModel, side: SideArrays, which: str) -> torch.Tensor:
        passes.append(side.rows)
        return encode(self, side, which)

    monkeypatch.setattr(TwoTowerModel, "encode", counted)
    np.testing.assert_allclose(model.encode_queries(queries), alone, rtol=1e-6, atol=1e-6)
    assert passes == [len(queries) - 2]  # user 4 is as trained, and of one nothing is known


def test_lists_follow_the_vectors_and_leave_out_what_was_had(model: Recommender) -> None:
    queries = [tt.Query(user=0, history=[102, 104]), tt.Query(history=[101]), 3]
    vectors = model.encode_queries(queries)
    lists = model.recommend(queries, N_ITEMS, exclude_seen=True)
    of_3 = {row[1] for row in events() if row[0] == 3}  # also what has no time
    for place, seen in enumerate(({event[0] for event in trained(0)} | {102, 104}, {101}, of_3)):
        own = lists.filter(pl.col("query") == place)
        assert set(own["item_id"]) == set(range(100, 100 + N_ITEMS)) - seen
        scores = {item: vectors[place] @ model.items.vectors[item - 100] for item in own["item_id"]}
        close(own["score"], [scores[item] for item in own["item_id"]])
        assert own["score"].is_sorted(descending=True)


def test_labels_that_a_model_does_not_know_are_refused() -> None:
    table = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 2, 3], "time": [1.0, 2.0, 1.0, 3.0]})
    train = Dataset.of(table, schema={"timestamp": "time"}).as_train()
    model = tt.TwoTower(kind="recent", dim=4, epochs=1, objective="softmax", refit=False).fit(
        train, train, exclude_seen=False
    )
    with pytest.raises(DataError, match="trained without labels"):
        model.encode_queries(tt.Query(history=[1], labels=[2.0]))
    assert model.interactions.grades is not None
    assert model.interactions.grades.tolist() == [1.0] * 4


def test_without_order_a_history_is_what_there_is(linear: Recommender) -> None:
    """Times change nothing, and what has none counts as well: of user 3 that is a sixth row."""
    interactions = replace(linear.interactions, times=None)
    model = replace(linear, interactions=interactions)
    timed, untimed = model.encode_queries(
        [tt.Query(user=3, history=[101], times=[START], at=LATER), tt.Query(user=3, history=[101])]
    )
    assert np.array_equal(timed, untimed)
    close(timed, by_hand(linear, [*trained(3), (104, 1.0, 0.0), (101, 1.0, 0.0)], user=3))


@pytest.mark.parametrize("kind", ["recent", "sum"])
def test_a_bundle_answers_as_the_model(kind: str, tmp_path: Path) -> None:
    model = fitted(kind)
    model.save(tmp_path / "bundle")
    loaded = Recommender.load(tmp_path / "bundle")
    queries = [tt.Query(user=user, **given) for given, _ in QUERIES for user in (0, 3, 8)]
    queries += [tt.Query(features={"age": 25.0}, **given) for given, _ in QUERIES]
    queries += [tt.Query(**given) for given, _ in QUERIES]
    assert np.array_equal(loaded.encode_queries(queries), model.encode_queries(queries))
    assert np.array_equal(loaded.users.vectors, model.users.vectors)
    for which in ("users", "items"):
        own, read = (getattr(one, which).arrays for one in (model, loaded))
        assert torch.equal(own.warm, read.warm)
        assert own.shape == read.shape
    one, same = (found.explain(tt.Query(user=0, history=[COLD]), [101, 102]) for found in (model, loaded))
    assert one.equals(same)


def changed(folder: Path, name: str, value: Any) -> None:
    """Put an array of a bundle in place of another one, with the hashes that belong to it."""
    arrays = load_file(folder / VECTORS)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value(arrays[name].copy()) if name in arrays else value(None)
    save_file(arrays, folder / VECTORS)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["parts"][VECTORS] = hashlib.sha256((folder / VECTORS).read_bytes()).hexdigest()
    manifest["hash"] = Fingerprint().json({k: v for k, v in manifest.items() if k != "hash"}).hex()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def put(place: Any, value: float) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("read.grade", None, "'read.grade' is missing"),
        ("read.time", None, "'read.time' is missing"),
        ("read.items.codes", None, "'read.items.codes' is missing"),
        ("read.items.list_0.codes", None, "missing"),
        ("read.grade", put(0, np.nan), "finite"),
        ("read.grade", lambda array: array[:-1], "read.grade"),
        ("read.time", lambda array: array[::-1], "ascend"),
        ("read.time", put(0, np.inf), "ascend"),
        ("read.items.dense", put(0, np.inf), "finite"),
        ("read.items.codes", put(0, 10_000), "outside"),
        ("read.items.codes", put(0, -1), "outside"),
        ("read.items.list_0.codes", put(0, 0), "outside"),
        ("read.items.list_0.indptr", put(1, 900), "pointers"),
        ("read.items.list_0.indptr", put(1, 0), "pointers"),
        ("read.users.more", lambda array: np.zeros(3), "unexpected"),
    ],
)
def test_damaged_histories_are_refused(
    model: Recommender, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    folder = tmp_path / "bundle"
    model.save(folder)
    changed(folder, name, value)
    with pytest.raises(BundleError, match=message):
        Recommender.load(folder)


def test_of_a_linear_tower_the_effects_add_up(linear: Recommender) -> None:
    """And each is exactly what the item adds, by hand; the base is the score without a history."""
    for query, past, who in [
        (0, trained(0), {"user": 0}),
        (tt.Query(user=0, history=[COLD, 101]), [*trained(0), (COLD, 1.0, 0), (101, 1.0, 0)], {"user": 0}),
        (tt.Query(history=[101, 104, 101], labels=[5.0, 1.0, None]), [(101, 2.0, 0), (104, 0.0, 0)], {}),
        (tt.Query(features={"age": 31.0}, history=[102]), [(102, 1.0, 0)], {"age": 31.0}),
    ]:
        (vector,) = linear.encode_queries(query)
        found = linear.explain(query, [103, 106])
        for item in (103, 106):
            own = found.filter(pl.col("item_id") == item)
            close(own["score"].to_numpy(), vector @ linear.items.vectors[item - 100])
            close(own["base"][0] + own["contribution"].sum(), own["score"][0])
            close(own["base"][0], by_hand(linear, [], **who) @ linear.items.vectors[item - 100])
            assert own["contribution"].is_sorted(descending=True)
            parts = dict(own.select("because_item_id", "contribution").iter_rows())
            assert set(parts) == {event[0] for event in past}
            for because, part in parts.items():
                without = [event for event in past if event[0] != because]
                difference = by_hand(linear, past, **who) - by_hand(linear, without, **who)
                close(part, difference @ linear.items.vectors[item - 100])


def test_otherwise_an_effect_is_that_of_leaving_the_item_out(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = sorted([*trained(2), (101, 1.0, LATER), (COLD, 1.0, LATER)], key=lambda event: event[2])
    query = tt.Query(user=2, history=[101, COLD], times=[LATER, LATER])
    found = model.explain(query, [103])
    monkeypatch.setattr("twotower.recommender.read_histories._AT_ONCE", 1)  # item by item
    assert model.explain(query, [103]).drop("base").equals(found.drop("base"))
    parts = dict(found.select("because_item_id", "contribution").iter_rows())
    assert set(parts) == {event[0] for event in past}
    for item, part in parts.items():
        without = [event for event in past if event[0] != item]
        difference = by_hand(model, past, user=2) - by_hand(model, without, user=2)
        close(part, difference @ model.items.vectors[3])
    close(found["base"][0] + sum(parts.values()), found["score"][0])
    alone = model.explain(tt.Query(features={"age": 30.0}), [103])
    assert alone.height == 0


def test_nothing_of_the_test_set_is_read() -> None:
    """A planted item that everyone takes in the test set, at times before and after the training's."""
    train = data().as_train()
    planted = pl.DataFrame(
        {
            "user_id": list(range(N_USERS)) * 2,
            "item_id": [COLD] * N_USERS * 2,
            "stars": [5.0] * N_USERS * 2,
            "time": [START - HOUR] * N_USERS + [START + 50 * HOUR] * N_USERS,
        }
    )
    test = train.with_interactions(planted.select(train.interactions.columns))
    model = fitted("recent")
    before = model.encode_queries(list(range(N_USERS)))
    model.evaluate(test, resamples=10)
    model.predict(test)
    model.score(planted)
    assert np.array_equal(model.encode_queries(list(range(N_USERS))), before)
    ranker = {user: model.recommend([user], N_ITEMS, exclude_seen=False) for user in range(N_USERS)}
    for user, lists in ranker.items():
        own = lists.filter(pl.col("item_id") == COLD)["score"][0]
        close(own, by_hand(model, trained(user), user=user) @ model.items.vectors[COLD - 100])


def test_in_each_fold_a_user_has_done_what_is_in_its_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the validation rows, which the refit has, and without those of the test set."""
    found: list[tuple[Recommender, pl.DataFrame]] = []
    evaluate = Recommender.evaluate

    def kept(self: Recommender, test: Dataset, **how: Any) -> Any:
        found.append((self, test.interactions))
        return evaluate(self, test, **how)

    monkeypatch.setattr(Recommender, "evaluate", kept)
    everything = data()
    rows = everything.interactions.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    settings: dict[str, Any] = {"kind": "recent", "dim": 8, "epochs": 1, "threads": 1, "positive": 3.0}
    model = tt.TwoTower(**settings, objective="softmax", min_grade=None)
    tt.cross_validate(model, everything.with_interactions(rows), folds=3, resamples=10, progress=False)
    assert len(found) == 3
    assert sum(test.height for _, test in found) == rows.height
    for fitted_one, test in found:
        train = rows.join(test, on=["user_id", "item_id"], how="anti", maintain_order="left")
        assert train.height + test.height == rows.height
        for user in range(N_USERS):
            own = train.filter(pl.col("user_id") == user, pl.col("time").is_not_null()).sort(
                "time", maintain_order=True
            )
            past = [
                (item, float(stars >= 3.0), time)
                for item, stars, time in own.select("item_id", "stars", "time").iter_rows()
            ]
            vector = fitted_one.users.vectors[fitted_one.users.row(user)]
            close(vector, by_hand(fitted_one, past, user=user))


def test_a_batch_is_what_is_recommended(model: Recommender, tmp_path: Path) -> None:
    recommend_all(model, tmp_path / "all.parquet", 4)
    lists = pl.read_parquet(tmp_path / "all.parquet")
    for user in range(N_USERS):
        own = lists.filter(pl.col("user_id") == user)
        scores = by_hand(model, trained(user), user=user) @ model.items.vectors.T
        close(own["score"], [scores[item - 100] for item in own["item_id"]])


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_a_user_of_the_finished_model_has_what_is_seen(refit: bool, own: bool) -> None:
    """With a refit also the validation rows; without one those of a validation set that was carved."""
    everything = data().as_train()
    train, validation = everything, None
    if own:
        rows = everything.interactions
        train = everything.with_interactions(rows.filter(pl.col("time") < START + 2.5 * HOUR)).as_train()
        validation = everything.with_interactions(rows.filter(pl.col("time") >= START + 2.5 * HOUR))
    settings = {"kind": "sum", "dim": 8, "epochs": 2, "threads": 1, "objective": "softmax", "positive": 3.0}
    model = tt.TwoTower(**settings, min_grade=None, refit=refit).fit(train, validation, progress=False)  # type: ignore[arg-type]
    until = START + 2.5 * HOUR if own and not refit else math.inf
    for user in range(N_USERS):
        close(
            model.users.vectors[model.users.row(user)], by_hand(model, trained(user, before=until), user=user)
        )


def test_an_item_item_model_is_explained_by_its_matrix() -> None:
    """What an item adds is its grade times the product of its row and the vector of the scored one."""
    train = data().as_train()
    model = tt.TwoTower(kind="item_item", dim=16, threads=1, refit=False, positive=3.0).fit(
        train, progress=False
    )
    query = tt.Query(user=2, history=[COLD, 101], labels=[5.0, None])
    found = model.explain(query, [103, 106])
    tower: Any = model.model.users
    with torch.no_grad():
        left = model.model.vectors_of(tower.inputs(model.items.arrays), "users").numpy()
        empty = model.model.vectors_of(torch.zeros(1, tower.width), "users").numpy()[0]
    past = model.histories.past(model.query_encoder.encode(tt.Queries.of(query)).asked)[0]
    highest: dict[int, float] = {}
    for row, grade in zip(past.item.tolist(), past.label.tolist(), strict=True):
        highest[row] = max(grade, highest.get(row, 0.0))
    assert highest[1] == 1.0 > highest[7] > 0.8  # liked; five stars, which are the rank of many
    for item in (103, 106):
        own = found.filter(pl.col("item_id") == item)
        vector = model.items.vectors[item - 100]
        parts = dict(own.select("because_item_id", "contribution").iter_rows())
        for row, grade in highest.items():
            close(parts[100 + row], grade * (left[row] - empty) @ vector)
        close(own["base"][0], empty @ vector)
        close(own["score"][0], model.encode_queries(query)[0] @ vector)
