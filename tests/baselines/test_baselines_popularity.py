"""Popularity of items and of categories, by hand."""

import numpy as np
import polars as pl
import pytest

from twotower.baselines import CategoryPopularity, Popularity
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation.ranker import RankRequest

SCHEMA = Schema(items={"year": "number", "genre": "category", "tags": "categories"})
EVENTS = pl.DataFrame(
    # Item 1 has three users, 2 has one (twice), 3 two, 4 two; 7 is not in the items table.
    {"user_id": [1, 2, 3, 1, 1, 1, 2, 2, 3, 3], "item_id": [1, 1, 1, 2, 2, 3, 3, 4, 4, 7]}
)
ITEMS = pl.DataFrame(
    {
        "item_id": [1, 2, 3, 4, 5, 6, 8, 9],
        "year": [2000.0] * 8,
        "genre": ["x", "x", "y", None, "y", "x", "z", None],
        "tags": [["a"], ["a", "b"], ["b", "b"], [], ["b"], ["a", "b", "new"], ["new"], None],
    }
)


def data(items=ITEMS, schema=SCHEMA):
    return Dataset.of(EVENTS, items=items, schema=schema)


def ranked(model, items, k=10):
    """The ids of one user's list, without excluded items."""
    none = (np.zeros(2, dtype=np.int64), np.empty(0, dtype=np.int32))
    found = model.rank(RankRequest(pl.Series([1]), pl.Series(items), none, data()), k)[0]
    return [items[row] for row in found if row >= 0]


def test_popular_is_what_most_users_have():
    model = Popularity().fit(data().as_train())
    assert ranked(model, [2, 9, 7, 4, 3, 1, 8]) == [1, 4, 3, 2, 7, 9, 8]


GRADES = [0.25, 0.25, 0.25, 0.5, 1.0, 1.0, 0.5, 1.0, 0.25, 1.0]  # of `EVENTS`


def test_with_grades_popular_is_what_has_the_greatest_sum():
    # 1: three times .25; 2: the better of .5 and 1; 3: 1 + .5; 4: 1 + .25; 7: 1.
    model = Popularity().fit(data().as_train(), grades=GRADES)
    assert ranked(model, [2, 9, 7, 4, 3, 1, 8]) == [3, 4, 2, 7, 1, 9, 8]
    alike = Popularity(power=0.0).fit(data().as_train(), grades=GRADES)
    assert ranked(alike, [2, 9, 7, 4, 3, 1, 8]) == [1, 4, 3, 2, 7, 9, 8]


def test_with_grades_a_category_is_worth_the_mean_sum_of_its_items():
    model = CategoryPopularity("genre", power=2.0).fit(data().as_train(), grades=GRADES)
    # x: items 1 and 2 have .1875 and 1; y: item 3 has 1.25.
    worth = {"category": ["x", "y"], "worth": [(0.1875 + 1) / 2, 1.25]}
    assert model.worth.to_dict(as_series=False) == worth
    assert ranked(model, [9, 6, 8, 5]) == [
        5,
        9,
        8,
        6,
    ]  # the mean of the warm is (.1875 + 1 + 1.25 + 1.0625 + 1) / 5


def test_the_popularity_of_a_category_by_hand():
    model = CategoryPopularity("genre").fit(data().as_train())
    # x: items 1 and 2 have 3 + 1 users; y: item 3 has 2. The mean of the warm 1, 2, 3, 4, 7 is 9 / 5.
    assert model.worth.to_dict(as_series=False) == {"category": ["x", "y"], "worth": [2.0, 2.0]}
    assert model.mean == pytest.approx(1.8)
    # Those of x and y, warm or not, by row; then those whose category is missing or unknown, by row.
    assert ranked(model, [9, 6, 8, 5, 4, 1, 7]) == [6, 5, 1, 9, 8, 4, 7]


def test_an_item_is_worth_the_mean_of_its_categories():
    model = CategoryPopularity("tags").fit(data().as_train())
    # a: items 1 and 2, (3 + 1) / 2; b: items 2 and 3, counted once each, (1 + 2) / 2.
    assert model.worth.to_dict(as_series=False) == {"category": ["a", "b"], "worth": [2.0, 1.5]}
    # 1: 2.0; 9, 4, 8: 1.8, the mean; 6 and 2: 1.75, "new" not counting; 5 and 3: 1.5.
    assert ranked(model, [5, 9, 6, 4, 3, 2, 8, 1]) == [1, 9, 4, 8, 6, 2, 5, 3]


def test_the_column_is_the_first_of_categories_or_the_judges_choice():
    train = data().as_train()
    assert ranked(CategoryPopularity().fit(train), [9, 6]) == [6, 9]  # by genre; by tags it is 9, 6
    for wanted in ("genre", "tags"):
        chosen = CategoryPopularity.tune(train, lambda r, wanted=wanted: float(r.column == wanted))
        assert chosen.baseline.settings() == {"column": wanted}


def test_a_column_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"genre, tags; got 'genres'\. Did you mean 'genre'"):
        CategoryPopularity("genres").fit(data().as_train())
    with pytest.raises(ConfigError, match="'year'"):
        CategoryPopularity("year").fit(data().as_train())


def test_it_applies_where_there_are_categories():
    bare = Schema(items={"year": "number"})
    train = data(schema=bare).as_train()
    assert not CategoryPopularity.applies_to(bare)
    for act in (CategoryPopularity().fit, lambda part: CategoryPopularity.tune(part, lambda r: 0.0)):
        with pytest.raises(ConfigError, match=r"\[schema.items\]"):
            act(train)


def test_tables_without_the_column_are_refused():
    model = CategoryPopularity("genre").fit(data().as_train())
    none = (np.zeros(2, dtype=np.int64), np.empty(0, dtype=np.int32))
    lacking = data(schema=Schema(items={"tags": "categories"}))
    with pytest.raises(DataError, match="'genre'"):
        model.rank(RankRequest(pl.Series([1]), pl.Series([1]), none, lacking), 1)
