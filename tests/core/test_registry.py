"""Parts by name: built-in ones, those of entry points, and one's own."""

from __future__ import annotations

import sys
from collections import Counter, deque
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from twotower.baselines import BASELINES, RANKING_BASELINES
from twotower.core import registry as module
from twotower.core.registry import Registry, reference
from twotower.data.splits.registry import SPLITS
from twotower.errors import ConfigError
from twotower.features import KINDS
from twotower.metrics import METRICS
from twotower.objectives.registry import OBJECTIVES
from twotower.retrieval import INDEXES
from twotower.targets.registry import TRANSFORMS
from twotower.towers.registry import TOWERS
from twotower.training.registry import TRAINERS


class Mine:
    pass


class Yours:
    pass


@pytest.fixture
def shapes() -> Registry[object]:
    return Registry("shape", "collections", {"counter": ":Counter", "deque": ":deque"})


def test_built_in_parts_by_name_and_the_first_is_the_default(shapes):
    assert shapes.names() == ("counter", "deque")
    assert shapes.default == "counter"
    assert list(shapes.classes()) == [Counter, deque]
    assert shapes.name_of(deque) == "deque"
    assert list(shapes) == ["counter", "deque"]
    assert shapes["deque"] is deque
    assert "deque" in shapes
    assert "set" not in shapes


def test_an_unknown_name_says_what_there_is(shapes):
    with pytest.raises(
        ConfigError, match=r"shape must be one of counter, deque; got 'dequeue'. Did you mean"
    ):
        shapes.get("dequeue")


def test_an_own_class_is_registered_by_a_name_or_by_where_it_is(shapes):
    assert shapes.register(Mine, "mine") is Mine
    assert shapes.get("mine") is Mine
    assert shapes.name_of(Mine) == "mine"
    assert shapes.name_of(Yours) == reference(Yours) == f"{__name__}:Yours"
    assert shapes.get(f"{__name__}:Yours") is Yours
    assert shapes.names()[2:] == ("mine", f"{__name__}:Yours")


def test_a_name_is_given_once(shapes):
    shapes.register(Mine, "mine")
    shapes.register(Mine, "mine")  # as a module that is run again does
    for name in ("mine", "deque"):
        with pytest.raises(ConfigError, match=f"shape '{name}' is there already"):
            shapes.register(Yours, name)


def test_a_class_that_is_not_there_is_asked_for(shapes):
    with pytest.raises(ConfigError, match="is a class that this program doesn't have; import and register"):
        shapes.get("lost.module:Class")


@pytest.mark.parametrize(
    "registry",
    [KINDS, OBJECTIVES, TRAINERS, TOWERS, TRANSFORMS, INDEXES, SPLITS, METRICS, BASELINES, RANKING_BASELINES],
    ids=lambda registry: registry.kind,
)
def test_what_the_error_says_registers_the_class(registry):
    """The line of the message is run as it is."""
    module = ModuleType("own_parts")
    module.Outer = type("Outer", (), {"Part": registry.get(registry.default)})
    with registry.temporarily():
        with pytest.raises(ConfigError) as caught:
            registry.get("own_parts:Outer.Part")
        assert f"entry points of the group 'twotower.{registry.kind}'" in str(caught.value)
        line = str(caught.value).partition("register it: ")[2].partition(". Commands")[0]
        assert line.startswith("from own_parts import Outer; from twotower.")
        seen = []
        sys.modules["own_parts"] = module
        try:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(type(registry), "register", lambda self, part: seen.append((self, part)))
                exec(line, {})
        finally:
            del sys.modules["own_parts"]
        assert seen == [(registry, registry.get(registry.default))]


def test_a_class_of_a_script_or_a_function_is_registered_by_its_name():
    for name in ("__main__:Mine", "own:test.<locals>.Mine"):
        with pytest.raises(ConfigError, match="define it in a module and train again") as caught:
            OBJECTIVES.get(name)
        assert (
            f"from twotower.objectives.registry import OBJECTIVES; OBJECTIVES.register(Mine, '{name}')"
            in str(caught.value)
        )


def test_a_name_that_nothing_is_near_may_be_of_a_package(shapes):
    package = r"The package that adds it may be missing \(by entry points of the group 'twotower.shape'\)"
    with pytest.raises(ConfigError, match=rf"one of counter, deque; got 'bag'. {package}: install it"):
        shapes.get("bag")
    assert "Did you mean" in str(shapes.unknown("dequeue"))
    assert "Did you mean" not in str(shapes.unknown("dequeue", saved=True))


def test_entry_points_add_parts(shapes, monkeypatch):
    added = EntryPoint("own", f"{reference(Mine)}", "twotower.shape")
    monkeypatch.setattr(module, "entry_points", lambda group: [added] if group == "twotower.shape" else [])
    assert shapes.names() == ("counter", "deque", "own")
    assert shapes.get("own").__name__ == "Mine"
