"""The notebook's network: its inputs by hand, and the parts of its training."""

import numpy as np
import polars as pl
import pytest
import torch

from twotower.baselines import NotebookNetwork
from twotower.baselines.notebook.inputs import NotebookInputs
from twotower.baselines.notebook.network import BATCH, build_network, build_optimiser, shuffled, train_steps
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError

SCHEMA = Schema(
    label="label",
    users={"age": "number", "city": "category"},
    items={"tags": "categories", "look": "vector", "title": "text"},
)


def tables():
    users = pl.DataFrame(
        {"user_id": [7, 3, 5, 9], "age": [10.0, 30.0, None, 1000.0], "city": ["b", "a", "b", "new"]}
    )
    items = pl.DataFrame(
        {
            "item_id": [2, 1, 4],
            "tags": [[5], [3, 5], [3, 8]],
            "look": [[0.0, 1.0], [2.0, 1.0], None],
            "title": ["x", "y", "z"],
        }
    )
    return users, items


def train_part():
    """Users 3, 5, 7 and items 1, 2 are in train; user 9 and item 4 are not."""
    events = pl.DataFrame({"user_id": [3, 5, 7, 7], "item_id": [1, 2, 1, 2], "label": [1.0, 2.0, 3.0, 4.0]})
    return Dataset.of(events, *tables(), schema=SCHEMA).as_train()


def test_inputs_by_hand():
    train = train_part()
    events = pl.DataFrame({"user_id": [3, 7, 5, 9, 11], "item_id": [1, 2, 4, 4, 11], "label": [0.0] * 5})
    inputs = NotebookInputs.fit(train).transform(train.with_interactions(events))
    root = np.sqrt(2.0)
    expected = [
        # age: mean 20, sd 10; city: a is 0, b is 1, of which train's users have 0, 1, 1; tags 3 and 5; look
        [1.0, -root, 1.0, 1.0, 1.0, 0.0],
        [-1.0, 1 / root, 0.0, 1.0, -1.0, 0.0],
        [0.0, 1 / root, 1.0, 0.0, 0.0, 0.0],  # no age, no look; the tag 8 is not train's
        [98.0, 0.0, 1.0, 0.0, 0.0, 0.0],  # a city that train lacks
        [0.0] * 6,  # in no table
    ]
    assert inputs.width == 6
    assert len(inputs) == 5
    np.testing.assert_allclose(inputs.batch(torch.arange(5)).numpy(), expected, rtol=1e-6, atol=1e-7)


def test_inputs_do_not_depend_on_what_train_lacks():
    train = train_part()
    users, items = tables()
    wild = users.with_columns(pl.when(pl.col("user_id") == 9).then(1e9).otherwise("age").alias("age"))
    other = Dataset.of(train.interactions, wild, items, schema=SCHEMA).as_train()
    one, two = (NotebookInputs.fit(part).transform(train) for part in (train, other))
    np.testing.assert_array_equal(one.batch(torch.arange(4)), two.batch(torch.arange(4)))


def test_a_value_out_of_all_bounds_still_gives_a_finite_prediction():
    train = train_part()
    model = NotebookNetwork(epochs=1).fit(train)
    wild = Dataset(train.interactions, train.users.with_columns(age=pl.lit(1e300)), train.items, SCHEMA)
    assert np.isfinite(model.predict(wild)).all()


def test_a_missing_column_is_refused():
    train = train_part()
    model = NotebookNetwork(epochs=1).fit(train)
    with pytest.raises(DataError, match="age"):
        model.predict(Dataset(train.interactions, train.users.drop("age"), train.items, SCHEMA))


def test_without_features_it_predicts_about_the_mean():
    rng = np.random.default_rng(0)
    events = pl.DataFrame(
        {
            "user_id": rng.integers(0, 9, 2000),
            "item_id": rng.integers(0, 9, 2000),
            "label": rng.normal(5, 1, 2000),
        }
    )
    train = Dataset.of(events, schema=Schema(label="label")).as_train()
    assert NotebookNetwork().fit(train).predict(train) == pytest.approx(5.0, abs=0.2)


def test_the_network_is_the_notebooks():
    torch.manual_seed(0)
    network = build_network(40)
    assert [tuple(p.shape) for p in network.parameters()] == [
        (128, 40), (128,), (64, 128), (64,), (32, 64), (32,), (1, 32), (1,),
    ]  # fmt: skip
    limit = np.sqrt(6 / (40 + 128))  # Glorot and Bengio's uniform
    assert 0.95 * limit < float(network[0].weight.detach().abs().max()) <= limit
    assert float(network[0].bias.detach().abs().max()) == 0


def test_an_epoch_visits_each_row_once_in_batches():
    batches = list(shuffled(300))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 300 - 2 * BATCH]
    assert sorted(torch.cat(batches).tolist()) == list(range(300))


def test_steps_lower_the_loss_and_weigh_rows():
    train = train_part()
    inputs = NotebookInputs.fit(train).transform(train)
    target, weight = torch.tensor([1.0, -1.0, 0.5, 99.0]), torch.tensor([1.0, 1.0, 2.0, 0.0])
    torch.manual_seed(0)
    network = build_network(inputs.width)
    optimiser = build_optimiser(network)
    every = [torch.arange(4)]
    losses = [
        train_steps(network, optimiser, inputs, target, weight=weight, batches=every) for _ in range(150)
    ]
    assert losses[0] < 3.0  # the row of weight 0 would make it thousands
    assert losses[-1] < 0.5 * losses[0]


def with_validation(labels):
    """Training and validation sets of noise, so that training only makes validation worse."""
    rng = np.random.default_rng(0)
    users = pl.DataFrame({"user_id": np.arange(50), "x": rng.normal(size=50)})
    events = pl.DataFrame({"user_id": np.arange(50).repeat(20), "item_id": np.zeros(1000, dtype=int)})
    x = users["x"].to_numpy()[events["user_id"].to_numpy()]
    schema = Schema(label="label", users={"x": "number"})
    train = Dataset.of(events.with_columns(label=pl.Series(x)), users, schema=schema).as_train()
    return train, train.with_interactions(events.with_columns(label=pl.Series(labels(x))))


def test_the_best_epochs_weights_are_kept_and_training_stops():
    train, opposed = with_validation(lambda x: -x)
    one, many = (NotebookNetwork(epochs).fit(train, opposed) for epochs in (1, 40))
    np.testing.assert_array_equal(one.predict(train), many.predict(train))


def test_a_refit_takes_as_many_epochs_as_the_best_had():
    train, opposed = with_validation(lambda x: -x)
    model = NotebookNetwork(40).fit(train, opposed)
    assert model.rates == (1e-3,)
    refitted = model.refit(train).predict(train)
    np.testing.assert_array_equal(refitted, NotebookNetwork(1).fit(train).predict(train))


def test_a_refit_takes_the_rates_of_the_epochs_again():
    # After convergence, dropout decides whether an epoch is better, and the rate falls. On the same rows the
    # same epochs at the same rates give the same network.
    train, same = with_validation(lambda x: x)
    model = NotebookNetwork(40).fit(train, same)
    fitted = model.predict(train)
    assert len(set(model.rates)) > 1
    np.testing.assert_array_equal(model.refit(train).predict(train), fitted)


def test_without_validation_all_epochs_are_run():
    train, _ = with_validation(lambda x: x)
    model = NotebookNetwork(15).fit(train)
    label = train.interactions["label"].to_numpy()
    assert np.square(model.predict(train) - label).mean() < 0.1 * label.var()


def test_the_seed_decides_and_the_generator_and_threads_outside_are_left_alone():
    train = train_part()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, same, other = (NotebookNetwork(1).fit(train, seed=seed).predict(train) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_constant_label_is_learnt():
    train = train_part()
    constant = train.with_interactions(train.interactions.with_columns(label=pl.lit(2.5))).as_train()
    assert NotebookNetwork(1).fit(constant).predict(constant) == pytest.approx(2.5, abs=1.0)


def test_no_epochs_are_refused():
    with pytest.raises(ConfigError, match="epochs"):
        NotebookNetwork(epochs=0)
