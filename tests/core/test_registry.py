"""Parts by name: built-in ones, those of entry points, and one's own."""

from __future__ import annotations

from collections import Counter, deque
from importlib.metadata import EntryPoint

import pytest

from twotower.core import registry as module
from twotower.core.registry import Registry, reference
from twotower.errors import ConfigError


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
        ConfigError, match=r"shape must be one of counter, deque, got 'dequeue'. Did you mean"
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
    with pytest.raises(ConfigError, match="is a class that this program doesn't have; import lost"):
        shapes.get("lost.module:Class")


def test_entry_points_add_parts(shapes, monkeypatch):
    added = EntryPoint("own", f"{reference(Mine)}", "twotower.shape")
    monkeypatch.setattr(module, "entry_points", lambda group: [added] if group == "twotower.shape" else [])
    assert shapes.names() == ("counter", "deque", "own")
    assert shapes.get("own").__name__ == "Mine"
