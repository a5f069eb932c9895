"""The contract of rating baselines, and each one against what it must equal or beat."""

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array, hstack
from sklearn.linear_model import Ridge

from twotower.baselines import BASELINES, Baseline, Biases, GlobalMean
from twotower.baselines.biases import DEFAULT, GRID, NormalEquations
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.data.splitting import split_three
from twotower.errors import ConfigError, DataError, TrainingError, TrainPartError

SCHEMA = Schema(
    label="label",
    users={"age": "number", "city": "category"},
    items={"views": "log_number", "tags": "categories", "look": "vector", "title": "text"},
)


def planted(n_rows=6000, n_users=80, n_items=50, schema=SCHEMA, seed=0):
    """A label made of features that all baselines except the mean can partly use, with missing values."""
    rng = np.random.default_rng(seed)
    age, views = rng.normal(40, 10, n_users), rng.lognormal(5, 1, n_items)
    tags = [sorted(rng.choice(6, rng.integers(1, 4), replace=False).tolist()) for _ in range(n_items)]
    users = pl.DataFrame(
        {
            "user_id": np.arange(n_users),
            "age": pl.Series(age).scatter([3, 4], None),
            "city": pl.Series([f"c{i % 5}" for i in range(n_users)]).scatter([5], None),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(n_items),
            "views": pl.Series(views).scatter([1], None),
            "tags": [*tags[:-1], None],
            "look": [*rng.normal(size=(n_items - 1, 3)).tolist(), None],
            "title": [f"title {i}" for i in range(n_items)],
        }
    )
    user, item = rng.integers(0, n_users, n_rows), rng.integers(0, n_items, n_rows)
    has_tag = np.array([0 in t for t in tags])
    label = 3.0 + (age[user] - 40) / 10 + 1.5 * has_tag[item] + 0.5 * rng.normal(size=n_rows)
    events = pl.DataFrame({"user_id": user, "item_id": item, "label": label})
    return Dataset.of(events, users, items, schema=schema)


def unseen(data):
    """Rows with ids unknown to the training set and the tables, alone and with known ones."""
    events = pl.DataFrame({"user_id": [10**6, 0, 10**6], "item_id": [0, 10**6, 10**6], "label": [0.0] * 3})
    return data.with_interactions(events)


def both(train, validation):
    """Return a training set with the rows of both."""
    return train.with_interactions(pl.concat([train.interactions, validation.interactions])).as_train()


def rmse(model, data):
    return float(np.sqrt(np.square(model.predict(data) - data.interactions["label"].to_numpy()).mean()))


@pytest.fixture(scope="module")
def parts():
    return split_three(planted(), seed=1)


@pytest.fixture(scope="module")
def fitted(parts):
    return {name: BASELINES[name]().fit(parts.train, parts.validation) for name in BASELINES}


@pytest.mark.parametrize("name", list(BASELINES))
class TestContract:
    def test_its_name_is_its_key(self, name):
        assert BASELINES[name]().name == name
        assert issubclass(BASELINES[name], Baseline)

    def test_predicts_each_row(self, name, fitted, parts):
        prediction = fitted[name].predict(parts.test)
        assert prediction.shape == (len(parts.test),)
        assert prediction.dtype == np.float64
        assert np.isfinite(prediction).all()

    def test_cold_ids_get_finite_predictions(self, name, fitted, parts):
        prediction = fitted[name].predict(unseen(parts.test))
        assert np.isfinite(prediction).all()
        assert np.all(np.abs(prediction - 3.5) < 6)

    def test_rows_are_predicted_alone_and_in_their_order(self, name, fitted, parts):
        order = np.random.default_rng(0).permutation(len(parts.test))[:100]
        some = parts.test.with_interactions(parts.test.interactions[order])
        np.testing.assert_allclose(
            fitted[name].predict(some), fitted[name].predict(parts.test)[order], rtol=1e-5, atol=1e-6
        )

    def test_no_rows_give_no_predictions(self, name, fitted, parts):
        assert fitted[name].predict(parts.test.with_interactions(parts.test.interactions[:0])).shape == (0,)

    def test_rows_of_the_tables_in_another_order_change_nothing(self, name, fitted, parts):
        data = parts.test
        turned = Dataset(data.interactions, data.users.reverse(), data.items.reverse(), data.schema)
        np.testing.assert_allclose(fitted[name].predict(turned), fitted[name].predict(data), rtol=1e-6)

    def test_labels_of_the_rows_to_predict_are_not_read(self, name, fitted, parts):
        data = parts.test
        blind = data.with_interactions(data.interactions.drop("label"))
        np.testing.assert_array_equal(fitted[name].predict(blind), fitted[name].predict(data))

    def test_the_same_seed_gives_the_same_bits(self, name, fitted, parts):
        again = BASELINES[name]().fit(parts.train, parts.validation)
        np.testing.assert_array_equal(again.predict(parts.test), fitted[name].predict(parts.test))

    def test_a_second_fit_forgets_the_first(self, name, parts):
        other = planted(300, 20, 10, seed=5).as_train()
        model = BASELINES[name]().fit(other, cap=1.0).fit(parts.train)
        fresh = BASELINES[name]().fit(parts.train)
        np.testing.assert_array_equal(model.predict(parts.test), fresh.predict(parts.test))

    def test_a_capped_target_is_that_of_capped_labels(self, name, parts):
        label = pl.col("label").clip(upper_bound=3.0)
        train, validation = (
            part.with_interactions(part.interactions.with_columns(label))
            for part in (parts.train, parts.validation)
        )
        expected = BASELINES[name]().fit(train.as_train(), validation).predict(parts.test)
        found = BASELINES[name]().fit(parts.train, parts.validation, cap=3.0).predict(parts.test)
        np.testing.assert_allclose(found, np.minimum(expected, 3.0), rtol=1e-6)
        assert found.max() <= 3.0

    def test_a_refit_learns_rows_that_the_fit_did_not_have(self, name, parts):
        raised = parts.validation.interactions.with_columns(pl.col("label") + 100.0)
        model = BASELINES[name]().fit(parts.train, parts.validation, seed=3)
        before = model.predict(parts.test)
        found = model.refit(both(parts.train, parts.validation.with_interactions(raised))).predict(parts.test)
        # A tenth of the rows is 100 higher, so all predictions must rise, by about an eighth of it.
        assert 5 < (found - before).mean() < 20

    def test_a_refit_on_the_same_rows_with_nothing_chosen_changes_nothing(self, name, parts):
        model = BASELINES[name]().fit(parts.train, cap=3.5, seed=7)
        fitted = model.predict(parts.test)
        np.testing.assert_array_equal(model.refit(parts.train).predict(parts.test), fitted)

    def test_a_refit_keeps_the_cap_and_can_be_repeated(self, name, parts):
        everything = both(parts.train, parts.validation)
        model = BASELINES[name]().fit(parts.train, parts.validation, cap=3.0)
        first = model.refit(everything).predict(parts.test)
        assert first.max() <= 3.0
        np.testing.assert_array_equal(model.refit(everything).predict(parts.test), first)

    def test_a_fit_after_a_refit_forgets_it(self, name, parts, fitted):
        model = BASELINES[name]().fit(parts.train).refit(both(parts.train, parts.validation))
        found = model.fit(parts.train, parts.validation).predict(parts.test)
        np.testing.assert_array_equal(found, fitted[name].predict(parts.test))

    def test_a_refit_is_refused_before_a_fit_and_on_anything_but_a_train_part(self, name, parts):
        with pytest.raises(TrainingError, match=r"call fit\(train, validation\) first"):
            BASELINES[name]().refit(parts.train)
        with pytest.raises(TrainPartError, match="TrainPart"):
            BASELINES[name]().fit(parts.train).refit(parts.validation)

    def test_is_fitted_on_a_train_part_only(self, name, parts):
        with pytest.raises(TrainPartError, match="TrainPart"):
            BASELINES[name]().fit(parts.test)

    def test_refuses_to_predict_before_it_is_fitted(self, name, parts):
        with pytest.raises(TrainingError, match=r"call fit\(train\) first"):
            BASELINES[name]().predict(parts.test)

    def test_refuses_what_it_cannot_learn_from(self, name, parts):
        without = planted(schema=SCHEMA.model_copy(update={"label": None}))
        with pytest.raises(ConfigError, match="label"):
            BASELINES[name]().fit(without.as_train())
        with pytest.raises(ConfigError, match="finite"):
            BASELINES[name]().fit(parts.train, cap=float("nan"))
        with pytest.raises(DataError, match="validation"):
            BASELINES[name]().fit(
                parts.train, parts.validation.with_interactions(parts.test.interactions[:0])
            )

    def test_weights_of_nothing_but_zero_are_refused(self, name):
        events = pl.DataFrame(
            {"user_id": [1, 2], "item_id": [1, 2], "label": [1.0, 2.0], "weight": [0.0, 0.0]}
        )
        data = Dataset.of(events, schema=Schema(label="label", weight="weight"))
        with pytest.raises(DataError, match="weight above 0"):
            BASELINES[name]().fit(data.as_train())

    def test_text_ids_do_what_integer_ids_do(self, name, fitted, parts):
        def text(part):
            user, item = pl.col("user_id").cast(pl.String), pl.col("item_id").cast(pl.String)
            return Dataset(
                part.interactions.with_columns(user, item),
                part.users.with_columns(user),
                part.items.with_columns(item),
                part.schema,
            )

        model = BASELINES[name]().fit(text(parts.train).as_train(), text(parts.validation))
        np.testing.assert_allclose(
            model.predict(text(parts.test)), fitted[name].predict(parts.test), rtol=1e-5, atol=1e-7
        )


def test_mean_is_the_mean(parts):
    mean = parts.train.interactions["label"].mean()
    assert GlobalMean().fit(parts.train).predict(parts.test) == pytest.approx(mean)


def test_mean_counts_a_row_of_weight_two_twice():
    events = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 2], "label": [1.0, 4.0, 50.0]})
    schema = Schema(label="label", weight="weight")
    train = Dataset.of(events.with_columns(weight=pl.Series([2.0, 1.0, 0.0])), schema=schema).as_train()
    np.testing.assert_allclose(GlobalMean().fit(train).predict(train), 2.0)


def rows(seed, n=400, n_users=30, n_items=12):
    rng = np.random.default_rng(seed)
    # Every user and item has a row; pairs repeat.
    user = np.concatenate([np.arange(n_users), rng.integers(0, n_users, n)])
    item = np.concatenate([np.arange(n_users) % n_items, rng.integers(0, n_items, n)])
    label = rng.normal(2.0, 1.0, len(user)) + 0.1 * user
    return user, item, label, rng.integers(0, 4, len(user)).astype(float)


@pytest.mark.parametrize("sizes", [(30, 12), (12, 30)])
@pytest.mark.parametrize("strengths", [(0.1, 5.0), (10.0, 0.01), (300.0, 300.0)])
def test_biases_solve_the_dense_normal_equations(sizes, strengths):
    user, item, label, weight = rows(0, n_users=sizes[0], n_items=sizes[1])
    one_hot = np.concatenate(
        [np.ones((len(user), 1)), np.eye(sizes[0])[user], np.eye(sizes[1])[item]], axis=1
    )
    ridge = np.diag(np.repeat([0.0, *strengths], [1, *sizes]))
    weighted = one_hot * weight[:, None]
    expected = np.linalg.solve(one_hot.T @ weighted + ridge, weighted.T @ label)
    found = NormalEquations.of(user, item, label, weight).solve(*strengths)
    np.testing.assert_allclose([found.mean, *found.user, *found.item], expected, rtol=1e-7, atol=1e-8)


def test_biases_are_scikit_learns_ridge():
    user, item, label, _ = rows(1)
    schema = Schema(label="label")
    train = Dataset.of(
        pl.DataFrame({"user_id": user, "item_id": item, "label": label}), schema=schema
    ).as_train()
    n = len(user)
    one_hot = hstack([csr_array((np.ones(n), (np.arange(n), codes))) for codes in (user, item)]).tocsr()
    expected = Ridge(alpha=7.0, solver="sparse_cg", tol=1e-12).fit(one_hot, label).predict(one_hot)
    np.testing.assert_allclose(Biases(7.0, 7.0).fit(train).predict(train), expected, rtol=1e-6)


def test_biases_of_cold_ids_are_zero(parts):
    model = Biases(2.0, 2.0).fit(parts.train)
    solution = model.solution
    expected = [solution.mean + solution.item[0], solution.mean + solution.user[0], solution.mean]
    np.testing.assert_allclose(model.predict(unseen(parts.test)), expected)


def test_strengths_are_the_best_of_the_grid_on_validation(parts):
    chosen = Biases().fit(parts.train, parts.validation)
    errors = {
        (user, item): rmse(Biases(user, item).fit(parts.train), parts.validation)
        for user in GRID
        for item in GRID
    }
    assert (chosen.user_strength, chosen.item_strength) == min(errors, key=errors.get)
    given = Biases(item_strength=3.0).fit(parts.train, parts.validation)
    assert given.item_strength == 3.0
    assert given.user_strength == min(GRID, key=lambda user: errors[user, 3.0])


def test_a_refit_of_the_biases_keeps_the_strengths_chosen(parts):
    everything = both(parts.train, parts.validation)
    chosen = Biases().fit(parts.train, parts.validation)
    strengths = chosen.user_strength, chosen.item_strength
    assert strengths != (DEFAULT, DEFAULT)  # otherwise the test shows nothing
    found = chosen.refit(everything).predict(parts.test)
    assert (chosen.user_strength, chosen.item_strength) == strengths
    np.testing.assert_array_equal(found, Biases(*strengths).fit(everything).predict(parts.test))


def test_a_refit_of_the_biases_knows_ids_that_validation_alone_has(parts):
    events = pl.DataFrame({"user_id": [10**6] * 50, "item_id": [0] * 50, "label": [9.0] * 50})
    extra = parts.train.with_interactions(events)
    model = Biases(1.0, 1.0).fit(parts.train)
    assert model.predict(extra).max() < 5.0
    np.testing.assert_allclose(model.refit(both(parts.train, extra)).predict(extra), 9.0, atol=0.5)


def test_weights_have_no_scale_for_the_biases():
    user, item, label, weight = rows(2)
    events = pl.DataFrame({"user_id": user, "item_id": item, "label": label, "weight": weight})
    schema = Schema(label="label", weight="weight")
    small, large = (
        Dataset.of(events.with_columns(pl.col("weight") * scale), schema=schema).as_train()
        for scale in (1e-3, 1e3)
    )
    np.testing.assert_allclose(
        Biases().fit(small).predict(small), Biases().fit(large).predict(small), rtol=1e-7
    )


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan")])
def test_a_strength_of_nothing_is_refused(strength):
    with pytest.raises(ConfigError, match="above 0"):
        Biases(user_strength=strength)


@pytest.mark.parametrize("name", ["biases", "notebook"])
def test_learns_the_planted_signal(name, parts):
    mean = rmse(GlobalMean().fit(parts.train), parts.test)
    found = rmse(BASELINES[name]().fit(parts.train, parts.validation), parts.test)
    assert found < 0.6 * mean
