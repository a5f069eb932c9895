"""A saved recommender gives the same answers to the bit, and a bundle that is not whole is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from safetensors import SafetensorError

import twotower as tt
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import BundleError
from twotower.estimator import TwoTower
from twotower.recommender import Recommender, bundle
from twotower.recommender.bundle import FORMAT, MANIFEST, ONE_STAGE, PARTS, read_manifest
from twotower.towers import tower

SETTINGS: dict[str, Any] = {
    "objective": "squared",
    "dim": 6,
    "kind": "mlp",
    "hidden": (6,),
    "batch_size": 200,
    "threads": 1,
    "epochs": 2,
    "learning_rate": 0.05,
}
N_USERS, N_ITEMS = 20, 24
IDS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "int": lambda c: c + 100,
    "Int32": lambda c: (c + 100).cast(pl.Int32),
    "UInt32": lambda c: c.cast(pl.UInt32) + 4_000_000_000,
    "str": lambda c: pl.format("编号/{}\n\"'", c),
}


def data(ids: str = "int", *, seed: int = 0) -> TrainPart:
    """Features of every kind, display columns of many types, nulls in all; the last of each side is cold."""
    rng = np.random.default_rng(seed)
    cell = rng.choice((N_USERS - 1) * (N_ITEMS - 1), 200, replace=False)
    events = pl.DataFrame(
        {"user_id": cell // (N_ITEMS - 1), "item_id": cell % (N_ITEMS - 1), "y": rng.gamma(2.0, 1.0, 200)}
    )
    users = pl.DataFrame(
        {
            "user_id": np.arange(N_USERS),
            "age": [None if i == 3 else float(i) for i in range(N_USERS)],
            "fans": rng.integers(0, 1000, N_USERS).astype(float),
            "job": [None if i == 5 else f"j{i % 3}" for i in range(N_USERS)],
            "since": rng.uniform(0, 1e9, N_USERS),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS),
            "tags": [None if i == 2 else list(range(i % 4)) for i in range(N_ITEMS)],
            "face": [None if i == 6 else [float(i), 1.0, float(i % 5)] for i in range(N_ITEMS)],
            "caption": [None if i == 1 else f"标题 {i * i + seed} words" for i in range(N_ITEMS)],
            "seconds": [None if i == 7 else 5.0 + i % 6 for i in range(N_ITEMS)],
            "title": [None if i == 4 else f"电影 {i}" for i in range(N_ITEMS)],
            "stars": [None if i == 4 else i for i in range(N_ITEMS)],
            "price": [float("nan") if i == 4 else i + 0.1 for i in range(N_ITEMS)],
            "free": [None if i == 4 else i % 2 == 0 for i in range(N_ITEMS)],
            "cast": [None if i == 4 else [f"a{i}", None] for i in range(N_ITEMS)],
            "day": [None if i == 4 else f"2020-01-{i + 1:02}" for i in range(N_ITEMS)],
        }
    ).with_columns(
        pl.col("stars").cast(pl.UInt8), pl.col("price").cast(pl.Float32), pl.col("day").str.to_date()
    )
    key = IDS[ids]
    schema = {
        "label": "y",
        "duration": "seconds",
        "users": {"age": "number", "fans": "log_number", "job": "category", "since": "timestamp"},
        "items": {"tags": "categories", "face": "vector", "caption": "text"},
        "display": ["title", "stars", "price", "free", "cast", "day", "tags"],
    }
    return Dataset.of(
        events.with_columns(key(pl.col("user_id")), key(pl.col("item_id"))),
        users.with_columns(key(pl.col("user_id"))),
        items.with_columns(key(pl.col("item_id"))),
        schema=schema,
    ).as_train()


@pytest.fixture(scope="module")
def model() -> Recommender:
    return TwoTower(**SETTINGS).fit(data())


@pytest.fixture(scope="module")
def saved(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "bundle"
    model.save(directory)
    return directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def unknown_rows(train: TrainPart, ids: str) -> Dataset:
    """Pairs with users and items that the model has never met, in a table of their own."""
    new = pl.DataFrame({"user_id": [900, 901, 902]}).select(IDS[ids](pl.col("user_id"))).to_series()
    users = train.users.head(3).with_columns(new)
    events = pl.DataFrame(
        {
            "user_id": users["user_id"],
            "item_id": train.items["item_id"].gather([0, 5, N_ITEMS - 1]),
            "y": [0.0] * 3,
        }
    )
    return Dataset.of(events, pl.concat([train.users, users]), train.items, schema=train.schema)


def assert_same_answers(one: Recommender, two: Recommender, train: TrainPart, ids: str) -> None:
    """Compare every kind of answer to the bit."""
    for exclude_seen in (True, False):
        expected = one.recommend(one.user_ids, 7, exclude_seen=exclude_seen)
        found = two.recommend(two.user_ids, 7, exclude_seen=exclude_seen)
        assert found.schema == expected.schema
        assert found.equals(expected)
    assert two.score(train.interactions).equals(one.score(train.interactions))
    for part in (train, unknown_rows(train, ids)):
        npt.assert_array_equal(two.predict(part), one.predict(part))


@pytest.mark.parametrize("ids", list(IDS))
@pytest.mark.parametrize("transform", ["none", "duration_rank"])
def test_answers_are_the_same_to_the_bit(ids: str, transform: str, tmp_path: Path) -> None:
    train = data(ids)
    model = TwoTower(**SETTINGS, transform=transform).fit(train)
    model.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle")
    assert again.user_ids.equals(model.user_ids)
    assert again.item_ids.dtype == model.item_ids.dtype
    assert_same_answers(model, again, train, ids)
    assert again.history == model.history
    assert not again.model.training


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "linear", "hidden": None, "trainer": "gradients"},
        {"ensemble_size": 3, "dim": 12, "kind": "mlp", "hidden": (4, 6)},
        {"kind": "mlp", "hidden": (6, 5), "shared_layers": True},
        {"normalise": True, "temperature": 0.3},
        {"objective": "huber", "delta": 0.5, "transform": "log1p"},
        {"transform": "cap", "cap": 2.0},
        {"transform": "standardise", "activation": "gelu"},
    ],
)
def test_every_model_comes_back(settings: dict[str, Any], tmp_path: Path) -> None:
    train = data()
    model = TwoTower(**{**SETTINGS, **settings}).fit(train)
    model.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle")
    assert again.model.config == model.model.config
    assert_same_answers(model, again, train, "int")


def test_tables_read_by_rows_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower, "LARGE_TABLE", 0)
    model = TwoTower(**SETTINGS).fit(data())
    assert len(model.model.row_tables()) == 4
    model.save(tmp_path / "bundle")
    assert_same_answers(model, Recommender.load(tmp_path / "bundle"), data(), "int")


def test_a_model_of_ids_alone_comes_back(tmp_path: Path) -> None:
    events = data().interactions
    train = Dataset.of(events, schema={"label": "y"}).as_train()
    model = TwoTower(**{**SETTINGS, "objective": "logistic"}).fit(
        Dataset.of(events.with_columns(y=(pl.col("y") > 2).cast(float)), schema={"label": "y"}).as_train()
    )
    model.save(tmp_path / "bundle")
    again = Recommender.load(tmp_path / "bundle")
    assert again.item_duration is None
    assert again.recommend(again.user_ids, 5).equals(model.recommend(model.user_ids, 5))
    npt.assert_array_equal(again.predict(train), model.predict(train))


def test_saving_what_was_loaded_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    Recommender.load(saved).save(tmp_path / "again")
    for name in PARTS:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_a_bundle_is_safetensors_and_json(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert names == {MANIFEST, *PARTS}
    assert {name.rsplit(".", 1)[1] for name in names} == {"json", "safetensors"}
    for path in saved.iterdir():
        content = path.read_bytes()
        if path.suffix == ".safetensors":  # a JSON header behind its length, then bare numbers
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        assert isinstance(json.loads(content), dict)


def test_facts_are_kept(model: Recommender, tmp_path: Path) -> None:
    facts = {
        "metrics": {"rmse": {"value": 0.5, "low": 0.1 + 0.2}},
        "at_k": {2: 1.0, 10: 2.0},
        "by": ("a", "b"),
        "name": "名字",
    }
    model.save(tmp_path / "bundle", **facts)
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest["metrics"] == facts["metrics"]
    assert manifest["at_k"] == {"2": 1.0, "10": 2.0}
    assert manifest["by"] == ["a", "b"]
    assert manifest["name"] == "名字"
    assert manifest["format"] == ONE_STAGE
    Recommender.load(tmp_path / "bundle")


# what is refused


@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
def test_a_flipped_byte_is_found(part: str, copy: Path) -> None:
    path = copy / part
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    places = {0, 1, 8, len(content) - 1, *rng.integers(0, len(content), 12).tolist()}
    for place in sorted(places):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        with pytest.raises(BundleError):
            Recommender.load(copy)
    path.write_bytes(content)
    Recommender.load(copy)


def test_every_digit_of_the_manifest_counts(copy: Path) -> None:
    path = copy / MANIFEST
    content = path.read_text(encoding="utf-8")
    places = [at for at, character in enumerate(content) if character in "0123456789"]
    for at in places[:: max(len(places) // 60, 1)]:
        other = content[:at] + str((int(content[at]) + 1) % 10) + content[at + 1 :]
        with contextlib.suppress(ValueError):  # the last digit of a long number may not change it
            if json.loads(other) == json.loads(content):
                continue
        path.write_text(other, encoding="utf-8")
        with pytest.raises(BundleError):
            Recommender.load(copy)


@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
@pytest.mark.parametrize("keep", [0.0, 0.5, -1])
def test_a_truncated_part_is_found(part: str, keep: float, copy: Path) -> None:
    content = (copy / part).read_bytes()
    (copy / part).write_bytes(content[:-1] if keep == -1 else content[: int(len(content) * keep)])
    with pytest.raises(BundleError, match=r"damaged|truncated, changed"):
        Recommender.load(copy)


@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
def test_a_missing_part_is_named(part: str, copy: Path) -> None:
    (copy / part).unlink()
    with pytest.raises(BundleError, match=part.replace(".", r"\.")):
        Recommender.load(copy)


@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
def test_a_part_of_another_bundle_is_refused(part: str, copy: Path, tmp_path: Path) -> None:
    other = TwoTower(**SETTINGS, seed=1).fit(data(seed=1))
    other.save(tmp_path / "other")
    if part == "tables.json":  # both catalogues are the same: give the other one other titles
        text = (tmp_path / "other" / part).read_text(encoding="utf-8").replace("电影", "film")
        (tmp_path / "other" / part).write_text(text, encoding="utf-8")
    assert (tmp_path / "other" / part).read_bytes() != (copy / part).read_bytes()
    shutil.copy(tmp_path / "other" / part, copy / part)
    with pytest.raises(
        BundleError, match=r"is not the one saved with it \(truncated, changed or from another bundle\)"
    ):
        Recommender.load(copy)


@pytest.mark.parametrize("where", ["a folder", "a file", "nothing"])
def test_what_is_no_bundle(where: str, tmp_path: Path) -> None:
    path = tmp_path / "place"
    if where == "a folder":
        path.mkdir()
    elif where == "a file":
        path.write_text("{}")
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json"):
        Recommender.load(path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"format": 2}', '{"format": "x", "parts": {}}']
)
def test_a_manifest_that_is_none(content: str, copy: Path) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match="is damaged"):
        Recommender.load(copy)


@pytest.mark.parametrize(("step", "fix"), [(1, "upgrade"), (1 - FORMAT, "train again")])
def test_another_format_says_what_to_do(step: int, fix: str, copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    manifest["format"] = FORMAT + step
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        BundleError,
        match=rf"has format {FORMAT + step}, this version reads formats 2 to {FORMAT}.*written by .*{fix}",
    ):
        Recommender.load(copy)


# writing


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_every_file_has_the_mode_that_the_umask_says(model: Recommender, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        model.save(tmp_path / "bundle")
    finally:
        os.umask(before)
    files = sorted((tmp_path / "bundle").iterdir())
    assert {path.name for path in files} == {MANIFEST, *PARTS}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~mask}


def test_a_run_is_loaded_as_its_bundle_is(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "runs" / "first" / "bundle")
    (tmp_path / "runs" / "first" / "config.toml").touch()
    lists = model.recommend(model.user_ids, 3)
    for place in ("runs/first", "runs/first/bundle"):
        assert tt.load(tmp_path / place).recommend(model.user_ids, 3).equals(lists)
    with pytest.raises(BundleError, match=r"contains several runs; choose one: .*first"):
        tt.load(tmp_path / "runs")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").touch()
    with pytest.raises(BundleError, match=r"is not finished, so it has no bundle.*--resume"):
        tt.load(tmp_path / "begun")
    with pytest.raises(BundleError, match="is not a bundle"):
        tt.load(tmp_path / "nothing")


def test_saving_again_replaces_the_bundle(model: Recommender, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "bundle"
    model.save(place, version=1)
    (place / "stray.txt").write_text("not part of it")
    model.save(place, version=2)
    assert read_manifest(place)["version"] == 2
    assert {path.name for path in place.iterdir()} == {MANIFEST, *PARTS}
    assert [path.name for path in place.parent.iterdir()] == ["bundle"], "something was left behind"


def killed(place: Path) -> None:
    """Leave what a save of ``place`` leaves that is killed between its two renames."""
    shutil.copytree(place, place.with_name(".bundle.writing"))
    place.rename(place.with_name(".bundle.old"))


def test_a_save_killed_between_its_renames_loses_nothing(
    model: Recommender, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    real, renames = os.replace, list[str]()

    with monkeypatch.context() as patch:

        def dies(source: Path, target: Path) -> None:
            if renames:
                patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a dead process cleans nothing up
                patch.setattr(os, "replace", lambda *_: None)  # and puts nothing back
                raise KeyboardInterrupt
            renames.append(Path(target).name)
            real(source, target)

        patch.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            model.save(copy, version=2)
    assert renames == [".bundle.old"]
    assert sorted(path.name for path in copy.parent.iterdir()) == [".bundle.old", ".bundle.writing"]
    Recommender.load(copy)
    assert read_manifest(copy).get("version") is None
    assert {path.name: path.read_bytes() for path in (copy.parent / ".bundle.old").iterdir()} == before
    model.save(copy, version=3)
    assert read_manifest(copy)["version"] == 3
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"], "something was left behind"


def test_a_save_that_fails_after_one_was_killed_still_loses_nothing(
    model: Recommender, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    killed(copy)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle, "_write_text", full)
    with pytest.raises(BundleError, match=r"No space left.*what was there is unchanged"):
        model.save(copy, version=2)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"], "something was left behind"


def test_what_stepped_aside_is_checked_like_any_bundle_and_never_hides_one(
    model: Recommender, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(copy)
    monkeypatch.chdir(copy.parent)
    Recommender.load(Path("bundle"))
    vectors = copy.parent / ".bundle.old" / "vectors.safetensors"
    content = vectors.read_bytes()
    vectors.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="is not the one saved with it"):
        Recommender.load(copy)
    vectors.write_bytes(content)
    copy.mkdir()  # what has the name is the bundle, good or bad
    with pytest.raises(BundleError, match="is not a bundle"):
        Recommender.load(copy)


def test_an_empty_directory_may_be_filled(
    model: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "bundle"
    place.mkdir()
    monkeypatch.chdir(tmp_path)
    model.save("bundle")
    Recommender.load(place)


def test_a_directory_of_other_things_is_not_replaced(model: Recommender, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="exists and is not a bundle, so it is not replaced"):
        model.save(tmp_path)
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        model.save(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("fails", ["write_tensors", "os.fsync", "os.replace", "_write_text"])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left")]
)
def test_a_full_disk_leaves_the_old_bundle(
    fails: str, after: int, error: Exception, model: Recommender, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    owner: Any = os if fails.startswith("os.") else bundle
    real, left = getattr(owner, fails.removeprefix("os.")), [after]

    def full(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise error
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, fails.removeprefix("os."), full)
        with pytest.raises(BundleError, match=r"No space left.*what was there is unchanged"):
            model.save(copy, version=2)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"], "something was left behind"
    Recommender.load(copy)


def test_a_place_that_cannot_be_written(model: Recommender, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="could not write the bundle"):
        model.save(tmp_path / "file" / "bundle")
