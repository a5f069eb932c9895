"""`twotower index` and what `recommend` does with it; someone new, and lists of items allowed or denied."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

import twotower as tt
from twotower.retrieval.registry import INDEXES


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


@pytest.fixture(scope="module")
def indexed(call, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(run, tmp_path_factory.mktemp("indexed") / "run")
    answer = call("index", copy, "--kind", "hnsw", "--recall", 1)
    assert answer.code == 0, answer.err
    return copy


def test_the_curve_is_printed_and_the_choice_said(call, copy: Path) -> None:
    answer = call("index", copy, "-k", 5)
    assert answer.code == 0
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["index", "parameters", "recall@5", "us", "a", "query", "s", "to", "build", "MiB"] in lines
    assert {"exact", "hnsw", "ivf", "ivfpq"} <= {line[0] for line in lines if line}
    assert answer.out.count("chosen") == 1
    assert "30 items of dim 8, 40 users" in answer.err
    assert "exact: recall 1.0000, " in answer.err


def test_json_holds_the_curve(call, copy: Path) -> None:
    found = call("index", copy, "--kind", "ivf", "--recall", 0.9, "--json").json
    assert found["k"] == 30
    assert found["chosen"]["kind"] == "ivf"
    assert found["chosen"]["recall"] >= 0.9
    assert found["chosen"] in found["curve"]
    assert found["curve"][0]["kind"] == "exact"
    assert (copy / "bundle" / "index.bin").exists()


def test_recommendations_come_from_the_index_unless_exact(call, indexed: Path, tmp_path: Path) -> None:
    answer = call("recommend", indexed, "--user", 3, "-k", 4)
    assert answer.err.startswith(
        "found by hnsw: recall@30 1.0000 of the exact lists; --exact scores every item\n"
    )
    exact = call("recommend", indexed, "--user", 3, "-k", 4, "--exact")
    assert "found by" not in exact.err
    assert exact.out == answer.out
    for name, more in (("index", []), ("exact", ["--exact"])):
        assert call("recommend", indexed, "--all", "--out", tmp_path / f"{name}.parquet", *more).code == 0
    tables = [pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("index", "exact")]
    assert tables[0].equals(tables[1])
    assert call("similar", indexed, "--item", 3).code == 0
    assert call("evaluate", indexed).code == 0


def test_the_metrics_stay_in_the_bundle_and_exact_takes_the_index_away(call, copy: Path) -> None:
    from twotower.recommender.bundle import read_facts

    before = read_facts(copy / "bundle")
    assert call("index", copy, "--kind", "ivf", "--recall", 0.5).code == 0
    after = read_facts(copy / "bundle")
    assert after.pop("index")["kind"] == "ivf"
    assert after == before
    assert call("index", copy, "--kind", "exact").code == 0
    assert read_facts(copy / "bundle")["index"]["kind"] == "exact"
    assert not (copy / "bundle" / "index.bin").exists()
    assert "found by" not in call("recommend", copy, "--user", 3).err


def test_a_recall_out_of_reach_says_so_and_changes_nothing(call, copy: Path, monkeypatch) -> None:
    from twotower.retrieval import tuning

    before = {path.name: path.read_bytes() for path in (copy / "bundle").iterdir()}
    monkeypatch.setattr(tuning, "recall", lambda index, *_: 1.0 if index.name == "exact" else 0.5)
    answer = call("index", copy, "--kind", "hnsw", "--recall", 0.98)
    assert answer.code == 2
    assert "no hnsw index of these items reaches recall 0.98, the best has 0.5000" in answer.err
    assert {path.name: path.read_bytes() for path in (copy / "bundle").iterdir()} == before
    answer = call("index", copy, "--recall", 0.98)  # nothing is insisted on: the exact scan is taken
    assert answer.code == 0
    assert "No approximate index reaches recall 0.98" in answer.out


@pytest.mark.parametrize("k", [0, 31])
def test_an_impossible_k(call, run: Path, k: int) -> None:
    answer = call("index", run, "-k", k)
    assert answer.code == 2
    assert f"-k must lie between 1 and the catalogue's 30 items, got {k}" in answer.err


def test_an_index_that_is_damaged_or_of_other_vectors_is_refused(call, indexed: Path, tmp_path: Path) -> None:
    import hashlib
    import json

    from twotower.recommender.bundle import _manifest_hash

    copy = shutil.copytree(indexed, tmp_path / "copy")
    part = copy / "bundle" / "index.bin"
    part.write_bytes(part.read_bytes()[:-1])
    answer = call("recommend", copy, "--user", 3)
    assert answer.code == 2
    assert "part index.bin of bundle" in answer.err
    # even where the manifest agrees: an index of the items in another order
    from twotower.retrieval import HnswIndex

    vectors = tt.load(indexed / "bundle").items.vectors
    HnswIndex.build(vectors[::-1].copy()).save(part)
    path = copy / "bundle" / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["parts"]["index.bin"] = hashlib.sha256(part.read_bytes()).hexdigest()
    manifest["hash"] = _manifest_hash(manifest)
    path.write_text(json.dumps(manifest))
    answer = call("recommend", copy, "--user", 3)
    assert answer.code == 2
    assert "was built for other item vectors" in answer.err
    assert call("recommend", copy, "--user", 3, "--exact").code == 0


# Someone new, and filters


def test_someone_new_is_recommended_to_by_items(call, run: Path) -> None:
    answer = call("recommend", run, "--item", 3, "--item", 7, "-k", 4)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == "recommended to someone new who liked 3, 7"
    found = call("recommend", run, "--item", 3, "--item", 7, "-k", 30, "--json").json
    assert found["given"] == ["3", "7"]
    assert {one["item_id"] for one in found["items"]} == set(range(30)) - {3, 7}
    answer = call("recommend", run, "--item", 333)
    assert answer.code == 2
    assert "unknown item '333'" in answer.err


def test_someone_new_is_recommended_to_by_features(call, run: Path) -> None:
    answer = call("recommend", run, "--item", 3, "--feature", "age=31", "-k", 4)
    assert answer.out.splitlines()[0] == "recommended to someone new who liked 3 with age=31"
    model = tt.load(run)
    for items in ([], [3]):
        words = [word for one in items for word in ("--item", one)]
        found = call("recommend", run, *words, "--feature", "age=31", "--json").json
        assert found["features"] == {"age": "31"}
        expected = model.recommend(tt.Query(history=items or None, features={"age": 31}))
        assert [one["item_id"] for one in found["items"]] == expected["film"].to_list()
        assert [one["score"] for one in found["items"]] == pytest.approx(expected["score"].to_list())
    answer = call("recommend", run, "--feature", "aeg=31")
    assert (answer.code, "Did you mean 'age'" in answer.err) == (2, True), answer.err


def test_an_unknown_user_is_told_of_the_other_ways(call, run: Path) -> None:
    answer = call("recommend", run, "--user", 999)
    assert answer.code == 2
    assert "unknown user '999'" in answer.err
    assert answer.err.rstrip().endswith("For someone new give --item ID or --feature COLUMN=VALUE too.")
    assert "tt.Query" not in answer.err


def test_a_user_comes_with_items_and_features(call, run: Path) -> None:
    """As a query in Python, a known user may bring items, and someone new an id with features."""
    model = tt.load(run)
    for words, query, said in (
        (["--user", 3, "--item", 7], tt.Query(user=3, history=[7]), "user 3 who liked 7"),
        (
            ["--user", "u9", "--item", 7, "--feature", "age=31"],
            tt.Query(user="u9", history=[7], features={"age": 31}),
            "user u9 who liked 7 with age=31",
        ),
    ):
        found = call("recommend", run, *words, "--json").json
        expected = model.recommend(query)
        assert found["user_id"] == query.user
        assert found["given"] == ["7"]
        assert [one["item_id"] for one in found["items"]] == expected["film"].to_list()
        assert [one["score"] for one in found["items"]] == pytest.approx(expected["score"].to_list())
        lines = call("recommend", run, *words, "-k", 4).out.splitlines()
        assert lines[0] == f"recommended to {said}"
        assert lines[2].split()[:3] == ["rank", "film", "score"]
    answer = call("recommend", run, "--user", 3, "--feature", "age=31")
    assert answer.code == 2
    assert "features are for users that the model doesn't know; it knows user '3'" in answer.err


@pytest.mark.parametrize("how", [["--user", 3], ["--item", 29], ["--all"]])
def test_filters_leave_full_lists_of_what_is_allowed(
    call, run: Path, indexed: Path, tmp_path: Path, how: list[object]
) -> None:
    pl.DataFrame({"film": [*range(12), 5]}).write_csv(tmp_path / "allow.csv")
    pl.DataFrame({"film": [0, 1]}).write_parquet(tmp_path / "deny.parquet")
    files = ["--allow", tmp_path / "allow.csv", "--deny", tmp_path / "deny.parquet", "--include-seen"]
    out = ["--out", tmp_path / "out.csv"] if how == ["--all"] else []
    if how[0] == "--item":
        files.remove("--include-seen")
    for where in (run, indexed):
        answer = call("recommend", where, *how, "-k", 20, "--json", *files, *out)
        assert answer.code == 0, answer.err
        if out:
            lists = pl.read_csv(tmp_path / "out.csv").group_by("user_id").agg("item_id")["item_id"].to_list()
            assert len(lists) == 40
        else:
            lists = [[one["item_id"] for one in answer.json["items"]]]
        assert all(sorted(one) == list(range(2, 12)) for one in lists)


def test_filters_that_are_wrong(call, run: Path, tmp_path: Path) -> None:
    pl.DataFrame({"flim": [1]}).write_csv(tmp_path / "column.csv")
    pl.DataFrame({"film": [76, 77]}).write_csv(tmp_path / "unknown.csv")
    pl.DataFrame({"film": [1]}).clear().write_parquet(tmp_path / "nothing.parquet")
    for name, said in (
        ("column.csv", "needs the column 'film'; "),
        (
            "unknown.csv",
            "at least one item of the catalogue; 2 of the 2 items of allow are not known (76, 77)",
        ),
        ("nothing.parquet", "a table needs at least one row"),
        ("nowhere.csv", "nowhere.csv"),
    ):
        for how in (["--user", 3], ["--all", "--out", tmp_path / "out.csv"]):
            answer = call("recommend", run, *how, "--allow", tmp_path / name)
            assert answer.code == 2
            assert said in answer.err
    assert not (tmp_path / "out.csv").exists()


def test_items_of_a_filter_that_are_not_known_are_counted(call, run: Path, tmp_path: Path) -> None:
    pl.DataFrame({"film": [1, 77, 2]}).write_csv(tmp_path / "some.csv")
    words = ["recommend", run, "--user", 3, "--include-seen", "--json"]
    for option, items in (("--allow", {1, 2}), ("--deny", {*range(30)} - {1, 2})):
        answer = call(*words, "-k", 30, option, tmp_path / "some.csv")
        assert f"note: 1 of the 3 items of {option[2:]} are not known (77); they are left out" in answer.err
        assert {item["item_id"] for item in answer.json["items"]} == items
        strict = call(*words, option, tmp_path / "some.csv", "--strict")
        assert (strict.code, strict.out) == (2, "")
        assert "unknown item 77" in strict.err


def test_the_help_names_every_kind(call) -> None:
    said = call("index", "--help").out
    assert all(name in said for name in INDEXES)
