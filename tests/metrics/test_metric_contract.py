"""The contract of metrics: every registered one, and one of one's own of each kind, keeps it.

Each is compared with an independent definition below, in plain Python or of scikit-learn, and must obey the
laws of its kind. A new metric needs a definition here, or the first test fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from own_metrics import OWN
from twotower.core.lists import Lists
from twotower.errors import DataError
from twotower.metrics import (
    METRICS,
    Catalogue,
    CatalogueMetric,
    ListMetric,
    Metric,
    RankingMetric,
    RatingMetric,
    TopLists,
    exposure_counts,
    group_users,
    metric_of,
    registered,
)
from twotower.metrics.checks import checked_values
from twotower.metrics.registry import main_metric, title_of
from twotower.metrics.statistics import Measured

N_ITEMS, WIDTH = 9, 6
TRAINED = np.array([5, 0, 3, 3, 8, 1, 0, 2, 1])
CATALOGUE = Catalogue.of_rows(N_ITEMS)
CATALOGUE = Catalogue(CATALOGUE.ids, TRAINED, int(TRAINED.sum()) + 4)


def every(kind: Any) -> list[Any]:
    return [*registered(kind), *(part() for part in OWN if issubclass(part, kind))]


def each(kind: Any) -> Any:
    return pytest.mark.parametrize("metric", every(kind), ids=lambda metric: metric.name)


# Definitions. Of rows: (user, label, prediction) -> value.


def xauc(rows: list[tuple[int, float, float]]) -> float:
    pairs = [(a, b) for a in rows for b in rows if a[1] > b[1]]
    right = sum((a[2] > b[2]) + 0.5 * (a[2] == b[2]) for a, b in pairs)
    return right / len(pairs) if pairs else math.nan


def by_user(rows: list[tuple[int, float, float]], of: Callable[[Any], float]) -> float:
    values = [of([row for row in rows if row[0] == user]) for user in {row[0] for row in rows}]
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan


def of_columns(function: Callable[..., float]) -> Callable[[Any], float]:
    return lambda rows: function([row[1] for row in rows], [row[2] for row in rows])


RATED: dict[str, Callable[[Any], float]] = {
    "mae": of_columns(mean_absolute_error),
    "rmse": of_columns(root_mean_squared_error),
    "r2": lambda rows: of_columns(r2_score)(rows) if len({row[1] for row in rows}) > 1 else math.nan,
    "xauc": xauc,
    "xauc_by_user": lambda rows: by_user(rows, xauc),
    "within": lambda rows: sum(abs(y - p) <= 0.5 for _, y, p in rows) / len(rows),
    "worst": lambda rows: by_user(rows, lambda own: max(abs(y - p) for _, y, p in own)),
}

# Of one user: (list, relevant, k) -> value. ``hits`` is whether each place is one.


def hits(items: list[int], relevant: set[int], k: int) -> list[bool]:
    return [item in relevant for item in items[:k]]


def dcg(found: list[bool]) -> float:
    return sum(1 / math.log2(place + 2) for place, hit in enumerate(found) if hit)


def average_precision(items: list[int], relevant: set[int], k: int) -> float:
    found = hits(items, relevant, k)
    at = [sum(found[: place + 1]) / (place + 1) for place in range(len(found)) if found[place]]
    return sum(at) / min(k, len(relevant))


def place(items: list[int], relevant: set[int], k: int, without: float) -> float:
    found = hits(items, relevant, k)
    return found.index(True) + 1 if any(found) else without


def percentile(item: int) -> float:
    own = TRAINED[item]
    return float(sum(c < own for c in TRAINED) + sum(c == own for c in TRAINED) / 2) / N_ITEMS


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


RANKED: dict[str, Callable[[list[int], set[int], int], float]] = {
    "recall": lambda items, relevant, k: sum(hits(items, relevant, k)) / len(relevant),
    "ndcg": lambda items, relevant, k: dcg(hits(items, relevant, k)) / dcg([True] * min(k, len(relevant))),
    "hit_rate": lambda items, relevant, k: float(any(hits(items, relevant, k))),
    "precision": lambda items, relevant, k: sum(hits(items, relevant, k)) / k,
    "map": average_precision,
    "mrr": lambda items, relevant, k: 1 / place(items, relevant, k, math.inf),
    "first_hit": lambda items, relevant, k: place(items, relevant, k, k + 1),
    "last_is_hit": lambda items, relevant, k: float(len(items) >= k and items[k - 1] in relevant),
    "avg_popularity_percentile": lambda items, _, k: mean([percentile(item) for item in items[:k]]),
    "novelty": lambda items, _, k: mean(
        [-math.log2(max(TRAINED[item], 1) / (TRAINED.sum() + 4)) for item in items[:k]]
    ),
    "mean_row": lambda items, _, k: mean([float(item) for item in items[:k]]),
}


def gini(counts: list[int]) -> float:
    apart = sum(abs(a - b) for a in counts for b in counts) / N_ITEMS**2
    return apart / (2 * sum(counts) / N_ITEMS) if sum(counts) else math.nan


COUNTED: dict[str, Callable[[list[int]], float]] = {
    "coverage": lambda counts: sum(count > 0 for count in counts) / N_ITEMS,
    "gini": gini,
    "loudest": max,
}


DIRECTED = [one for one in every(RankingMetric) if one.higher_is_better is not None and one.cut]
LINEAR = [one for one in every(RatingMetric) if one.name != "xauc"]  # test_metrics_bootstrap is about that


# Cases.


@st.composite
def lists(draw: st.DrawFn, relevant_from: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """The lists of a few users and their relevant items; short lists, empty ones, and users without any."""
    items = st.integers(0, N_ITEMS - 1)
    users = draw(st.integers(1, 5))
    top = [draw(st.lists(items, max_size=WIDTH, unique=True)) for _ in range(users)]
    return top, [draw(st.lists(items, min_size=relevant_from, unique=True)) for _ in range(users)]


cuts = st.lists(st.integers(1, WIDTH), min_size=1, max_size=3, unique=True).map(lambda ks: tuple(sorted(ks)))
values = st.sampled_from([0.0, 0.5, 1.0, 2.5])  # so that there are ties
rows = st.lists(st.tuples(st.integers(0, 3), values, values), min_size=1, max_size=9)


def top_of(case: tuple[Any, Any], ks: tuple[int, ...]) -> TopLists:
    padded = [[*items, *[-1] * (WIDTH - len(items))] for items in case[0]]
    return TopLists.of(np.array(padded, dtype=np.int32), Lists.from_groups(case[1]), ks, CATALOGUE)


def table(metric: RatingMetric, of: Any, cap: float | None = None) -> Measured:
    user, label, prediction = (np.array(column) for column in zip(*of, strict=True))
    return Measured.of(group_users(user), label, prediction, cap=cap, measured=[metric])


def rated(metric: RatingMetric, of: Any, cap: float | None = None) -> dict[str, float]:
    return table(metric, of, cap).statistics()[0].values()


def better(metric: Metric, value: float, than: float) -> bool:
    return metric.better(value, than - 1e-9 if not metric.higher_is_better else than + 1e-9)


# What a class says of itself.


def test_each_has_a_definition_here() -> None:
    known = RATED.keys() | RANKED.keys() | COUNTED.keys()
    assert {metric.name for metric in every(Metric)} == known


@each(Metric)
def test_a_class_says_everything(metric: Metric) -> None:
    assert metric.name.isidentifier()
    assert metric.meaning
    assert not metric.meaning.endswith(".")
    assert metric.higher_is_better in (True, False, None)
    assert isinstance(metric, RatingMetric | RankingMetric | CatalogueMetric)
    assert not (isinstance(metric, ListMetric | CatalogueMetric) and metric.higher_is_better is not None)
    assert metric.headline == (metric.shown in (1, 2))


def test_the_registry_is_what_results_are_named_by() -> None:
    for name in METRICS:
        metric = METRICS[name]()
        assert metric.name == name
        for key in metric.names((5, 10), 1.0):
            assert type(metric_of(key)) is type(metric)
            assert title_of(key).startswith(metric.called)
    for kind, main in ((RatingMetric, "rmse"), (RankingMetric, "ndcg")):
        places = [metric.shown for metric in registered(kind) if metric.shown]
        assert len(places) == len(set(places))
        assert main_metric(metric.name for metric in registered(kind)) == main
    assert metric_of("mine@5") is None


def test_the_documentation_has_a_row_for_each() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")}
    for metric in registered(Metric):
        at = "" if isinstance(metric, RatingMetric) else "@k"
        assert rows & {metric.called + at, metric.name + at}, metric.name


# Rating metrics.


@each(RatingMetric)
@settings(max_examples=40, deadline=None)
@given(of=rows)
def test_a_rating_metric_is_its_definition(metric: RatingMetric, of: Any) -> None:
    found = rated(metric, of, cap=1.0)
    assert list(found) == metric.names((), 1.0)
    assert found[metric.name] == pytest.approx(RATED[metric.name](of), nan_ok=True, abs=1e-12)
    assert metric.undefined or not math.isnan(found[metric.name])
    if metric.cappable:
        capped = [(user, min(label, 1.0), min(prediction, 1.0)) for user, label, prediction in of]
        assert found[f"{metric.name}_capped"] == pytest.approx(
            RATED[metric.name](capped), nan_ok=True, abs=1e-12
        )


@each(RatingMetric)
@settings(max_examples=30, deadline=None)
@given(of=rows, order=st.randoms())
def test_order_and_names_of_users_change_nothing(metric: RatingMetric, of: Any, order: Any) -> None:
    shuffled = [(70 - 3 * user, label, prediction) for user, label, prediction in of]
    order.shuffle(shuffled)
    assert rated(metric, shuffled) == pytest.approx(rated(metric, of), nan_ok=True, abs=1e-12)


@each(RatingMetric)
@settings(max_examples=30, deadline=None)
@given(of=rows)
def test_a_perfect_prediction_is_best(metric: RatingMetric, of: Any) -> None:
    (perfect,) = rated(metric, [(user, label, label) for user, label, _ in of]).values()
    (found,) = rated(metric, of).values()
    assert math.isnan(perfect) == math.isnan(found)
    assert not better(metric, found, than=perfect)
    if metric.unit == "share" and not math.isnan(found):
        assert perfect == 1.0
        assert found <= 1.0


@pytest.mark.parametrize("metric", LINEAR, ids=lambda metric: metric.name)
@settings(max_examples=30, deadline=None)
@given(of=rows, draws=st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_drawing_users_is_copying_them(metric: RatingMetric, of: Any, draws: list[int]) -> None:
    users = sorted({row[0] for row in of})
    copies = [(10 * user + copy, y, p) for user, y, p in of for copy in range(draws[user])]
    assume(copies)
    whole = table(metric, of).statistics()[0]
    weight = np.array([[draws[user] for user in users]], dtype=float)
    found = whole.metrics(weight)[metric.name][0]
    assert found == pytest.approx(RATED[metric.name](copies), nan_ok=True, abs=1e-9)


@each(RatingMetric)
def test_a_slice_is_its_rows_alone(metric: RatingMetric) -> None:
    rng = np.random.default_rng(0)
    of = list(zip(rng.integers(0, 9, 200), rng.normal(size=200), rng.normal(size=200), strict=True))
    masks = [rng.random(200) < share for share in (0.02, 0.4, 0.9)]
    for mask, found in zip(masks, table(metric, of, 0.5).statistics(masks)[1:], strict=True):
        (of_alone,) = table(metric, [of[row] for row in np.flatnonzero(mask)], 0.5).statistics()
        assert found.values() == pytest.approx(of_alone.values(), nan_ok=True)
        assert [found.users_behind(name) for name in found.values()] == [
            of_alone.users_behind(name) for name in found.values()
        ]


# Metrics of lists.


@each(RankingMetric)
@settings(max_examples=60, deadline=None)
@given(case=lists(), ks=cuts)
def test_a_metric_of_lists_is_its_definition(metric: RankingMetric, case: Any, ks: tuple[int, ...]) -> None:
    found = metric.measured(top_of(case, ks))
    assert list(found) == metric.names(ks, None)
    for name, of in found.items():
        k = int(name.partition("@")[2]) if metric.cut else ks[-1]
        for value, items, relevant in zip(of, *case, strict=True):
            assert metric.undefined or not math.isnan(value)
            if metric.of_relevant and not relevant:
                assert math.isnan(value)
            else:
                expected = RANKED[metric.name](items, set(relevant), k)
                assert value == pytest.approx(expected, nan_ok=True, abs=1e-12)
                if metric.unit == "share" and not math.isnan(value):
                    assert 0.0 <= value <= 1.0


@each(RankingMetric)
@settings(max_examples=30, deadline=None)
@given(case=lists(), ks=cuts, order=st.randoms())
def test_users_are_measured_alone_and_in_any_order(
    metric: RankingMetric, case: Any, ks: tuple[int, ...], order: Any
) -> None:
    found, rank = metric.measured(top_of(case, ks)), list(range(len(case[0])))
    order.shuffle(rank)
    moved = metric.measured(top_of(([case[0][u] for u in rank], [case[1][u] for u in rank]), ks))
    for name, of in found.items():
        np.testing.assert_array_equal(moved[name], of[rank])
        alone = [
            metric.measured(top_of(([items], [wanted]), ks))[name][0]
            for items, wanted in zip(*case, strict=True)
        ]
        np.testing.assert_array_equal(alone, of)


@pytest.mark.parametrize("metric", DIRECTED, ids=lambda metric: metric.name)
@settings(max_examples=40, deadline=None)
@given(case=lists(relevant_from=1), k=st.integers(1, WIDTH), order=st.randoms())
def test_a_perfect_list_is_best(metric: RankingMetric, case: Any, k: int, order: Any) -> None:
    perfect = [[*wanted, *(i for i in range(N_ITEMS) if i not in wanted)][:WIDTH] for wanted in case[1]]
    for items, wanted in zip(perfect, case[1], strict=True):
        head = items[: len(wanted)]
        order.shuffle(head)  # the order of the relevant items is all the same
        items[: len(wanted)] = head
    (best,), (found,) = (metric.measured(top_of((of, case[1]), (k,))).values() for of in (perfect, case[0]))
    assert not any(better(metric, value, than=most) for value, most in zip(found, best, strict=True))
    if metric.name in ("ndcg", "map", "mrr", "hit_rate"):
        assert (best == 1.0).all()


@pytest.mark.parametrize("metric", DIRECTED, ids=lambda metric: metric.name)
@settings(max_examples=40, deadline=None)
@given(case=lists(relevant_from=1), data=st.data())
def test_moving_a_hit_up_is_never_worse(metric: RankingMetric, case: Any, data: st.DataObject) -> None:
    moved = []
    for items, wanted in zip(*case, strict=True):
        places = [at for at, item in enumerate(items) if at and item in wanted]
        after = list(items)
        if places:
            at = data.draw(st.sampled_from(places))
            after.insert(data.draw(st.integers(0, at - 1)), after.pop(at))
        moved.append(after)
    before, after = (metric.measured(top_of((of, case[1]), (2, WIDTH))) for of in (case[0], moved))
    for name in before:
        assert not any(
            better(metric, old, than=new) for old, new in zip(before[name], after[name], strict=True)
        )


@each(RankingMetric)
@settings(max_examples=40, deadline=None)
@given(case=lists(), data=st.data())
def test_with_fewer_relevant_items_the_lists_are_the_same(
    metric: RankingMetric, case: Any, data: st.DataObject
) -> None:
    top = top_of(case, (2, WIDTH))
    size = len(top.relevant.values)
    where = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
    kept = iter(where)
    fewer = [[item for item in wanted if next(kept)] for wanted in case[1]]
    expected = metric.measured(top_of((case[0], fewer), (2, WIDTH)))
    inside = top.within(where)
    owner = np.repeat(np.arange(top.n_users), np.diff(inside.indptr))
    np.testing.assert_array_equal(inside.relevant.values[inside.pair], top.lists[owner, inside.rank - 1])
    for name, of in metric.measured(inside).items():
        np.testing.assert_array_equal(of, expected[name])


@each(CatalogueMetric)
@settings(max_examples=60, deadline=None)
@given(case=lists(), k=st.integers(1, WIDTH), order=st.randoms())
def test_a_metric_of_all_lists_is_its_definition(
    metric: CatalogueMetric, case: Any, k: int, order: Any
) -> None:
    counts = exposure_counts(top_of(case, (WIDTH,)).lists, N_ITEMS, k)
    found = metric.value(counts, CATALOGUE)
    expected = [sum(item in items[:k] for items in case[0]) for item in range(N_ITEMS)]
    assert found == pytest.approx(COUNTED[metric.name](expected), nan_ok=True)
    assert metric.undefined or not math.isnan(found)
    order.shuffle(expected)
    assert metric.value(np.array(expected), CATALOGUE) == pytest.approx(found, nan_ok=True)
    if metric.unit == "share" and not math.isnan(found):
        assert 0.0 <= found <= 1.0


class Given(RatingMetric):
    """A metric whose value a test sets."""

    name = "given"
    meaning = "what the test says"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def value(self, sums: Any) -> Any:
        return self.answer(sums)


ROWS = np.arange(6) % 3, np.arange(6.0), np.arange(6.0) + 1


def given_value(answer: Any) -> Any:
    user, label, prediction = ROWS
    rows = Measured.of(group_users(user), label, prediction, cap=None, measured=[Given(answer)])
    return rows.statistics()[0].values()["given"]


@pytest.mark.parametrize(
    ("answer", "got"), [(np.zeros(3), "shape"), (0.5, "0.5"), (None, "None"), ("x", "x")]
)
def test_a_rating_metric_of_another_shape_is_refused(answer: Any, got: str) -> None:
    with pytest.raises(DataError, match=f"metric 'given' must return one number for each.*got.*{got}"):
        given_value(lambda _: answer)


@pytest.mark.parametrize("given", [[["a", "b"]], [[1.0], [2.0, 3.0]], np.array([["a", "b"]])])
def test_values_without_a_shape_of_their_own_are_shown(given: Any) -> None:
    with pytest.raises(DataError, match=re.escape(f"metric 'x' must return two numbers; got {given!r}")):
        checked_values("x", given, (1, 2), "two numbers")


class GivenOfLists(CatalogueMetric):
    """A metric whose value a test sets."""

    name = "given"
    answer: Any = None

    def value(self, exposures: Any, catalogue: Any) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [np.zeros(3), np.zeros(1), "0.5", "x", None, [], {}])
def test_a_metric_of_all_lists_that_is_no_number_is_refused(answer: Any) -> None:
    metric = GivenOfLists()
    metric.answer = answer
    got = f"shape {np.shape(answer)}" if np.ndim(answer) else repr(answer)
    with pytest.raises(
        DataError, match=re.escape(f"must return one number, or nan where it is undefined; got {got}")
    ):
        metric.measured(np.zeros(N_ITEMS, np.int64), CATALOGUE)


@pytest.mark.parametrize("answer", [2, 0.5, np.float32(0.5), np.array(0.5), math.nan])
def test_a_metric_of_all_lists_may_be_any_number(answer: Any) -> None:
    metric = GivenOfLists()
    metric.answer = answer
    found = metric.measured(np.zeros(N_ITEMS, np.int64), CATALOGUE)
    assert type(found) is float
    assert found == pytest.approx(float(answer), nan_ok=True)


def test_a_sum_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(DataError, match=r"reads the sum 'squares', .* absolute, .* squared_error"):
        given_value(lambda sums: sums["squares"])


def test_every_sum_that_the_docstring_promises_is_there() -> None:
    promised = re.findall(r"``(\w+)``", (RatingMetric.__doc__ or "").split("====\n")[1])
    assert {"rows", "absolute", "squared_error", "label", "comparable", "own_xauc"} <= set(promised)
    for name in promised:
        assert np.isfinite(given_value(lambda sums, name=name: sums[name]))
