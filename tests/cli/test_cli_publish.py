"""`twotower publish`: what it says, and what it refuses."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import twotower as tt
from twotower.recommender.bundle import read_manifest

pytestmark = pytest.mark.skipif(not find_spec("milvus_lite"), reason="needs the extra milvus")


def test_a_run_is_published_and_asked(call, run: Path, tmp_path: Path) -> None:
    address = f"milvus:{tmp_path / 'items.db'}"
    version = read_manifest(run / "bundle")["hash"][:12]
    answer = call("publish", run, address)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("published 30 items and ")
    assert f"current version of {address}: {version}\n" in answer.out
    assert "30 of 30 items written" in answer.err
    again = call("publish", run, address, "--json").json
    assert (again["version"], again["written"], again["items"]) == (version, False, 30)
    assert call("publish", run, address).out.startswith("30 items of this version were published before")

    exact, model = tt.load(run, index=False), tt.load(run, index=address)
    assert type(model.index).__name__ == "MilvusIndex"
    shown = exact.display.get_columns()[1]
    for more in ({}, {"filters": {shown.name: shown.drop_nulls()[0]}}, {"deny": exact.item_ids.head(3)}):
        assert model.recommend([3, 5], k=4, **more).equals(exact.recommend([3, 5], k=4, **more))

    searched, asked = [], type(model.index).search
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.index), "search", lambda *a, **b: searched.append(a) or asked(*a, **b))
        listed = call("recommend", run, "--user", 3, "-k", 4, "--index", address, "--json")
    assert searched, listed.err
    assert listed.json == call("recommend", run, "--user", 3, "-k", 4, "--exact", "--json").json


def test_wrong_settings_are_refused(call, run: Path, tmp_path: Path) -> None:
    address = f"milvus:{tmp_path / 'items.db'}"
    for args, message in [
        (("http://host/items",), "error: the address of a vector database must be milvus://HOST:PORT"),
        (("milvus://root:secret@host/items",), "error: an address must not contain a user"),
        ((address, "--keep", 0), "error: keep must be a whole number of at least 1, got 0"),
        ((address, "--set", "nlist"), "--set takes NAME=N, got 'nlist'"),
        ((address, "--set", "nlists=3"), "Did you mean 'nlist'"),
    ]:
        answer = call("publish", run, *args)
        assert answer.code == 2
        assert message in answer.err
        assert "secret" not in answer.err
    for args, message in [
        (("--index", address, "--exact"), "--index can't be combined with --exact or --engine"),
        (("--index", "http://host/items"), "the address of a vector database must be milvus://HOST:PORT"),
    ]:
        answer = call("recommend", run, "--user", 3, *args)
        assert answer.code == 2
        assert message in " ".join(answer.err.split())
    assert not (tmp_path / "items.db").exists()
    with pytest.raises(tt.TwoTowerError, match=r"must have the bundle's version, .* is none"):
        tt.load(run, index=address)
