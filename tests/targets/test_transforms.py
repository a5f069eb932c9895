"""The contract of every label transform; and a transform of one's own in a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twotower as tt
from twotower.config import load_config
from twotower.errors import BundleError, ConfigError
from twotower.targets.labels import F64, LabelTransform
from twotower.targets.registry import TRANSFORMS
from twotower.targets.target import Target


class Root(LabelTransform):
    """The square root."""

    name: ClassVar[str] = "root"

    def forward(self, label: F64, duration: F64 | None = None) -> F64:
        return np.sqrt(label)

    def inverse(self, target: F64, duration: F64 | None = None) -> F64:
        return np.square(target)


CAPS = {"cap": 40.0}
ERRORS = {"duration_rank": 0.05}
"""Error of a label transformed and back, in parts of the range; 0 for others but rounding."""
NAMES = [*TRANSFORMS.names(), "root"]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The own transform is registered in this module's tests alone."""
    with TRANSFORMS.temporarily(root=Root):
        yield


def fitted(name: str, label: F64, duration: F64) -> LabelTransform:
    return TRANSFORMS.get(name).fit(label, duration, cap=CAPS.get(name))


cases = st.lists(
    st.tuples(st.floats(0.0, 100.0, width=32), st.sampled_from([5.0, 10.0, float("nan")])),
    min_size=2,
    max_size=30,
)


@pytest.mark.parametrize("name", NAMES)
class TestTransform:
    def test_it_is_found_by_its_name(self, name: str) -> None:
        kind = TRANSFORMS.get(name)
        assert kind.name == name == TRANSFORMS.name_of(kind)
        assert kind.__doc__

    @settings(deadline=None, max_examples=30)
    @given(cases)
    def test_it_keeps_the_order_of_labels_of_one_duration(self, name: str, rows: list[Any]) -> None:
        label, duration = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        duration[~np.isfinite(duration)], one = 5.0, np.full(len(label), 5.0)
        values = fitted(name, label, duration).forward(label, one)
        assert (np.diff(values[np.argsort(label, kind="stable")]) >= 0).all()

    @settings(deadline=None, max_examples=30)
    @given(cases, st.data())
    def test_a_row_does_not_depend_on_the_others(
        self, name: str, rows: list[Any], data: st.DataObject
    ) -> None:
        label, duration = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        duration[0] = 5.0
        transform = fitted(name, label, duration)
        taken = np.array(data.draw(st.lists(st.integers(0, len(label) - 1), min_size=1)))
        for way in (transform.forward, transform.inverse):
            npt.assert_array_equal(way(label[taken], duration[taken]), way(label, duration)[taken])

    def test_the_inverse_gives_labels_of_the_same_units(self, name: str) -> None:
        rng = np.random.default_rng(0)
        label, duration = rng.uniform(0.0, 50.0, 500), rng.choice([5.0, 10.0], 500)
        back = (transform := fitted(name, label, duration)).inverse(
            transform.forward(label, duration), duration
        )
        expected = np.minimum(label, CAPS.get(name, np.inf))
        npt.assert_allclose(back, expected, atol=50.0 * ERRORS.get(name, 1e-12))

    def test_the_saved_form_has_all_of_it(self, name: str) -> None:
        rng = np.random.default_rng(1)
        label, duration = rng.uniform(0.0, 50.0, 200), rng.choice([5.0, np.nan], 200)
        transform = fitted(name, label, duration)
        again = TRANSFORMS.get(name).from_state(json.loads(json.dumps(transform.state())))
        npt.assert_array_equal(again.forward(label, duration), transform.forward(label, duration))
        npt.assert_array_equal(again.inverse(label, duration), transform.inverse(label, duration))

    def test_a_saved_form_without_its_values_is_refused(self, name: str) -> None:
        if fitted(name, np.arange(3.0), np.ones(3)).state():
            with pytest.raises((KeyError, ValueError)):
                TRANSFORMS.get(name).from_state({})

    def test_what_it_says_of_outliers_is_true(self, name: str) -> None:
        label = np.append(np.linspace(0.0, 39.0, 999), 1e5)
        values = fitted(name, label, np.ones(1000)).forward(label, np.ones(1000))
        squares = np.square(values - values.mean())
        assert (squares.max() / squares.sum() < 0.5) == TRANSFORMS.get(name).tames_outliers

    def test_it_asks_for_durations_only_if_it_needs_them(self, name: str) -> None:
        label, fit = np.arange(4.0), TRANSFORMS.get(name).fit
        if TRANSFORMS.get(name).needs_duration:
            with pytest.raises(ConfigError, match=r"set schema\.duration"):
                fit(label, None)
        else:
            transform = fit(label, None, cap=CAPS.get(name))
            assert transform.inverse(transform.forward(label, None), None).shape == (4,)


def test_a_transform_of_ones_own_is_named_in_a_config_and_saved(tmp_path: Path) -> None:
    class Rooted(Root):
        name = "rooted"

    path = tmp_path / "config.toml"
    text = '[data]\nsource = "kuairec-sample"\n[objective]\nname = "squared"\ntransform = "{}"\n'
    path.write_text(text.format("rooted"))
    with TRANSFORMS.temporarily(rooted=Rooted):
        assert load_config(path).objective.label_transform == "rooted"
        path.write_text(text.format("roooted"))
        with pytest.raises(
            ConfigError, match=r"'objective\.transform' must be one of .*rooted; got 'ro+ted'"
        ):
            load_config(path)
        rng = np.random.default_rng(0)
        events = pl.DataFrame({"user_id": rng.integers(0, 20, 300), "item_id": rng.integers(0, 15, 300)})
        data = tt.Dataset.of(events.with_columns(y=rng.uniform(0, 9, 300)), schema={"label": "y"})
        model = tt.TwoTower(dim=4, objective="squared", transform="rooted", threads=1).fit(data.as_train())
        assert isinstance(model.target.transform, Rooted)
        model.save(tmp_path / "bundle")
        again = tt.load(tmp_path / "bundle")
        npt.assert_array_equal(again.predict(data), model.predict(data))
    with pytest.raises(BundleError, match=r"Input should be 'none', 'cap'.*'rooted'"):
        tt.load(tmp_path / "bundle")


def test_a_target_keeps_the_name_of_its_transform() -> None:
    target = Target.fit(np.arange(5.0), None, transform="root", cap=None, logistic=False)
    assert target.state()["transform"] == {"name": "root", "state": {}}
