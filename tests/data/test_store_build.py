"""A store built from files has the very rows that the same config gives in memory, in every set."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from twotower.config import load_config
from twotower.core import columns
from twotower.data.fingerprint import fingerprint
from twotower.data.splits import SPLITS, HoldOut
from twotower.data.splitting import Parts
from twotower.data.store import folder as store_folder
from twotower.data.store.buckets import Buckets, by_user_and_time
from twotower.data.store.growing import GrowingVocabulary, TypesDiffer
from twotower.data.store.spill import Spill, SpilledColumn
from twotower.data.store.train import StoredTrain
from twotower.datasets import stored as stored_sets
from twotower.errors import BundleError, DataError
from twotower.workflows.reading import load_parts

CONFIG = """
[data]
interactions = "events.parquet"
users = "users.parquet"
store_dir = "stores"
[schema]
user = "u"
item = "i"
label = "y"
weight = "w"
timestamp = "t"
[schema.users]
age = "number"
"""
FILES = CONFIG.replace('interactions = "events.parquet"\n', "") + "[split]\n"


def events(n: int, seed: int) -> pl.DataFrame:
    """Rows of some 20 users with many and few of them; a fifth again, and a fifth with another label."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "u": (20 * rng.random(n) ** 2).astype(int),
            "i": rng.integers(0, 15, n),
            "y": rng.integers(1, 6, n) / 2,
            "w": rng.random(n),
            "t": np.where(rng.random(n) < 0.05, np.nan, rng.integers(0, 30, n) + 1.4e9),
            "s": rng.choice(["train", "train", "Train", "val", "test"], n),
        }
    ).with_columns(pl.col("t").fill_nan(None))
    again = frame[rng.integers(0, n, n // 5)].with_columns(pl.col("y") + 1)
    return pl.concat([frame, frame[rng.integers(0, n, n // 5)], again])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spill, "block", 37)
    monkeypatch.setattr(Buckets, "rows", 60)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # slow while other tests write


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with the tables of a config."""
    events(200, 0).write_parquet(tmp_path / "events.parquet")
    events(50, 1).write_parquet(tmp_path / "test.parquet")
    pl.DataFrame({"u": range(18), "age": np.arange(18.0)}).write_parquet(tmp_path / "users.parquet")
    return tmp_path


def load(folder: Path, *given: str, config: str = CONFIG, log: Callable[[str], None] = print) -> Parts:
    (folder / "config.toml").write_text(config)
    return load_parts(load_config(folder / "config.toml", given), log=log)


def assert_same(stored: Parts, memory: Parts) -> None:
    """The same rows in each set, in the same order where they are in memory; the same tables, notes, hash."""
    assert isinstance(stored.train, StoredTrain)
    for one, other in ((stored.validation, memory.validation), (stored.test, memory.test)):
        assert_frame_equal(one.interactions, other.interactions)
        assert one.notes == other.notes
    rows, roles = stored.train.in_memory().interactions, memory.train.role_columns()
    assert_frame_equal(rows.sort(roles), memory.train.interactions.sort(roles))
    assert_frame_equal(stored.train.users, memory.train.users)
    assert_frame_equal(stored.train.items, memory.train.items)
    assert (stored.train.notes, stored.train.schema) == (memory.train.notes, memory.train.schema)
    assert stored.hash == fingerprint(memory)


@pytest.mark.parametrize(
    "method",
    [
        *(["split.method='" + kind.name + "'"] for kind in SPLITS.classes() if issubclass(kind, HoldOut)),
        ["split.column='s'"],
        ["split.method='files'", "split.train='events.parquet'", "split.test='test.parquet'"],
        ["split.method='random'", "schema.timestamp='none'"],
    ],
    ids=lambda given: given[0].split("=")[1],
)
def test_each_split_has_the_rows_that_it_has_in_memory(
    method: list[str], tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables)  # where paths given with --set start
    config = FILES if "files" in method[0] else CONFIG
    stored, memory = (
        load(tables, *method, f"data.store={where}", config=config) for where in ("always", "never")
    )
    assert_same(stored, memory)


@pytest.mark.parametrize("repeats", ["last", "first", "sum", "mean"])
def test_rows_are_merged_as_in_memory(repeats: str, tables: Path) -> None:
    given = [f"data.repeats={repeats}"]
    assert_same(load(tables, *given, "data.store=always"), load(tables, *given, "data.store=never"))


def test_ids_of_text_whole_tables_and_rows_without_ids(tables: Path) -> None:
    rng = np.random.default_rng(0)
    frame = events(300, 3).with_columns("v" + pl.col("i").cast(pl.String), u=pl.col("u") * 10**12)
    gaps = pl.when(pl.Series(rng.random(frame.height) > 0.1))
    frame = frame.with_columns(i=gaps.then(pl.col("i")), d=gaps.then(pl.lit(7.5)))
    (tables / "parts").mkdir()
    for part in range(3):
        frame[140 * part : 140 * (part + 1)].write_parquet(tables / "parts" / f"{part}.parquet")
    config = CONFIG.replace("events.parquet", "parts").replace('users = "users.parquet"\n', "")
    config = config.split("[schema.users]")[0] + 'missing_ids = "drop"\nduration = "d"\n'
    stored, memory = (load(tables, f"data.store={where}", config=config) for where in ("always", "never"))
    assert_same(stored, memory)
    assert any("without an id" in note for note in stored.train.notes)


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (
            pl.lit(float("inf")).alias("y"),
            [],
            r"a label must be a finite number: \S*events.parquet, data row 46",
        ),
        (pl.lit(None).alias("w"), [], r"every interaction needs a weight: \S*events.parquet, data row 46"),
        (pl.lit("dev 2").alias("s"), ["split.column='s'"], r"column 's' of \S* is 'dev 2' in data row 46 "),
    ],
)
def test_a_bad_value_is_named_by_file_and_row(
    change: pl.Expr, given: list[str], message: str, tables: Path
) -> None:
    frame = events(200, 0)
    name = change.meta.output_name()
    bad = pl.when(pl.int_range(pl.len()) == 45).then(change).otherwise(pl.col(name)).alias(name)
    frame.with_columns(bad).write_parquet(tables / "events.parquet")
    with pytest.raises(DataError, match=message):
        load(tables, "data.store=always", *given)
    assert [path for path in (tables / "stores").rglob("*") if path.suffix != ".lock"] == []


@pytest.mark.parametrize("given", [["data.repeats=refuse"], ["split.test=0.0001"]])
def test_what_is_refused_in_memory_is_refused_in_the_same_words(given: list[str], tables: Path) -> None:
    told = []
    for where in ("always", "never"):
        with pytest.raises(DataError) as error:
            load(tables, f"data.store={where}", *given)
        told.append(str(error.value))
    assert told[0] == told[1]


def test_the_store_is_used_again_until_the_data_or_the_split_change(tables: Path) -> None:
    said: list[str] = []
    for given in ([], [], ["split.seed=5"], ["model.dim=8"]):
        load(tables, "data.store=always", *given, log=said.append)
    verbs = [line.split(" the store")[0] for line in said if "the store of events.parquet" in line]
    assert verbs == ["building", "built", "reading", "building", "built", "reading"]
    assert any(line.endswith("MB; it can be deleted at any time") for line in said)
    (others,) = (line for line in said if "1 other store in" in line)
    assert others.endswith("MB; delete what you no longer need")
    load(tables, "data.store=never", log=said.append)
    assert "note: data.store_dir is not read, as data.store is 'never'" in said
    events(210, 0).write_parquet(tables / "events.parquet")
    assert_same(load(tables, "data.store=always"), load(tables, "data.store=never"))
    shutil.rmtree(tables / "stores")
    store = load(tables, "data.store=always").train
    assert isinstance(store, StoredTrain)
    shutil.rmtree(tables / "stores")
    assert store.events.transpose.user.tolist()  # written where the store was
    assert_same(load(tables, "data.store=always"), load(tables, "data.store=never"))


def test_files_that_change_before_they_are_read_make_no_store(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name stands for the files as they were when it was chosen."""

    def changed(*args: Any) -> Any:
        events(210, 0).write_parquet(tables / "events.parquet")
        return streamed(*args)

    streamed = stored_sets._streamed
    monkeypatch.setattr(stored_sets, "_streamed", changed)
    with pytest.raises(DataError, match=r"must not change while they are read, and those of events.parquet"):
        load(tables, "data.store=always")
    assert [path for path in (tables / "stores").rglob("*") if path.suffix != ".lock"] == []


@pytest.mark.parametrize("store", ["always", "auto", "never"])
def test_a_link_to_nothing_is_an_error(store: str, tables: Path) -> None:
    (tables / "parts").mkdir()
    (tables / "events.parquet").rename(tables / "parts/a.parquet")
    (tables / "parts/b.parquet").symlink_to("nothing.parquet")
    with pytest.raises(DataError, match=r"b.parquet can't be read \(No such file or directory"):
        load(tables, f"data.store={store}", config=CONFIG.replace("events.parquet", "parts"))


@pytest.mark.parametrize("name", ["test.arrow", "store.json", "train/item.npy"])
def test_a_damaged_store_is_built_again_which_is_said(name: str, tables: Path) -> None:
    before = load(tables, "data.store=always")
    (damaged,) = (tables / "stores").rglob(name)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    said: list[str] = []
    after = load(tables, "data.store=always", log=said.append)
    assert any("damaged" in line or "is not" in line for line in said)
    assert any(line.startswith("built the store") for line in said)
    assert after.hash == before.hash


def test_a_store_of_another_version_is_built_again(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tables, "data.store=always")
    monkeypatch.setattr(store_folder, "VERSION", 2)
    said: list[str] = []
    load(tables, "data.store=always", log=said.append)
    assert any("is a store of version 1, not 2; it is built again" in line for line in said)


def test_two_processes_build_it_once(tables: Path) -> None:
    said: list[str] = []
    (tables / "config.toml").write_text(CONFIG)
    config = load_config(tables / "config.toml", ["data.store=always"])
    threads = [threading.Thread(target=load_parts, args=[config], kwargs={"log": said.append}) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(line.startswith("built the store") for line in said) == 1
    assert sum(line.startswith("reading the store") for line in said) == 1


def test_what_a_killed_process_leaves_is_never_taken_for_a_store(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as it is at each write is what a kill at that moment leaves."""
    left: list[Path] = []

    def seen(function: Any) -> Any:
        def with_copy(*args: Any, **kwargs: Any) -> Any:
            for path in (tables / "stores").glob(".*.writing"):
                left.append(tables / "left" / str(len(left)) / path.name)
                shutil.copytree(path, left[-1])
            return function(*args, **kwargs)

        return with_copy

    with monkeypatch.context() as patch:
        for owner, name in (
            (Buckets, "__init__"),
            (columns.ColumnWriter, "append"),
            (pl.DataFrame, "write_ipc"),
            (store_folder, "_finish"),
        ):
            patch.setattr(owner, name, seen(getattr(owner, name)))
        whole = load(tables, "data.store=always")
    assert len(left) > 8
    for folder in left[::8]:
        shutil.rmtree(tables / "stores")
        shutil.copytree(folder.parent, tables / "stores")
        said: list[str] = []
        parts = load(tables, "data.store=always", log=said.append)
        assert said[0].startswith("building the store")
        assert parts.hash == whole.hash
        assert not list((tables / "stores").glob(".*.writing"))


@pytest.mark.parametrize("writes", [0, 3, 30])
def test_a_full_disk_leaves_nothing(writes: int, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def full(self: SpilledColumn, *args: Any) -> None:
        nonlocal count
        count += 1
        if count > writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *args)

    original = SpilledColumn.append
    with monkeypatch.context() as patch:
        patch.setattr(SpilledColumn, "append", full)
        with pytest.raises(BundleError, match="No space left on device; no partial file is left"):
            load(tables, "data.store=always")
    assert [path for path in (tables / "stores").rglob("*") if path.suffix != ".lock"] == []
    assert_same(load(tables, "data.store=always"), load(tables, "data.store=never"))


def test_a_split_of_ones_own_goes_through_memory_and_says_so(tables: Path) -> None:
    class Longest(HoldOut):
        name = "longest"
        summary = "the rows with the highest labels"

        def hold_out(self, data: Any, share: float, rng: np.random.Generator) -> Any:
            label = data.interactions.get_column("y").to_numpy()
            return label >= np.quantile(label, 1 - share)

    said: list[str] = []
    with SPLITS.temporarily(longest=Longest):
        given = ["split.method=longest"]
        stored = load(tables, "data.store=always", *given, log=said.append)
        assert_same(stored, load(tables, "data.store=never", *given))
    assert any("read into memory for it, because split method 'longest' chooses" in line for line in said)


def test_small_data_stays_in_memory(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(load(tables).train, StoredTrain)
    assert not (tables / "stores").exists()
    monkeypatch.setattr(stored_sets, "FROM_ROWS", 281)
    assert not isinstance(load(tables).train, StoredTrain)
    monkeypatch.setattr(stored_sets, "FROM_ROWS", 280)
    assert isinstance(load(tables).train, StoredTrain)


def test_a_named_data_set_and_the_context(tmp_path: Path, tables: Path) -> None:
    said: list[str] = []
    config = f'[data]\nsource = "kuairec-sample"\nstore_dir = "{tmp_path / "s"}"\nstore = "always"\n'
    stored = load(tmp_path, config=config, log=said.append)
    assert any("because source 'kuairec-sample' is read as a whole" in line for line in said)
    assert stored.hash == fingerprint(load(tmp_path, "data.store=never", config=config))
    context = load(tables, "data.store=always", "schema.context={s='category'}", log=said.append)
    assert not isinstance(context.train, StoredTrain)
    assert any("a store has no place for the context (s)" in line for line in said)


@pytest.mark.parametrize("conflict", [False, True])
def test_features_in_the_interactions(conflict: bool, tables: Path) -> None:
    frame = events(150, 4).with_columns(pl.col("u").cast(pl.Float64), age=pl.col("u") * 2.0, d=pl.lit(3.0))
    frame = frame.with_columns(
        age=pl.when(pl.int_range(pl.len()) % 3 > 0).then("age"), title="t" + pl.col("i").cast(pl.String)
    )
    if conflict:
        frame[200, "age"] = 77.0
    frame.write_parquet(tables / "events.parquet")
    config = CONFIG.replace('users = "users.parquet"\n', "")
    config = config.replace("[schema.users]", 'display = ["title"]\nduration = "d"\n[schema.users]')
    told: list[Any] = []
    said: list[str] = []
    for where in ("always", "never"):
        try:
            told.append(load(tables, f"data.store={where}", config=config, log=said.append))
        except DataError as error:
            told.append(str(error))
    if conflict:
        assert told[0] == told[1]
        assert "a feature must have one value per id" in told[0]
    else:
        assert_same(told[0], told[1])
        assert not any("into memory" in line for line in said)


def test_tables_at_an_address(tables: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory, config = fsspec.filesystem("memory"), CONFIG.replace("events.parquet", "memory://store/*.parquet")
    for part in range(2):
        events(40, part).write_parquet(tables / "part.parquet")
        memory.pipe(f"/store/{part}.parquet", (tables / "part.parquet").read_bytes())
    for verb in ("building", "reading", "building"):
        said: list[str] = []
        stored = load(tables, "data.store=always", config=config, log=said.append)
        assert said[0].startswith(f"{verb} the store of *.parquet")
        if verb == "reading":
            memory.pipe("/store/1.parquet", memory.cat("/store/0.parquet"))
    assert_same(stored, load(tables, "data.store=never", config=config))


def test_text_with_a_code_on_its_last_line(tables: Path) -> None:
    """Batches of text have the types of the whole; times that are text are read alike in all batches."""
    text = events(100, 2).with_columns(t=pl.from_epoch(pl.col("t").cast(pl.Int64)).cast(pl.String))
    text = pl.concat([text.cast({"u": pl.String}), text.tail(1).with_columns(u=pl.lit("007"))])
    text.write_csv(tables / "events.csv")
    config = CONFIG.replace("events.parquet", "events.csv")
    stored, memory = (load(tables, f"data.store={where}", config=config) for where in ("always", "never"))
    assert_same(stored, memory)
    assert stored.train.users.schema["u"] == pl.String


def test_the_order_of_day_and_month_may_be_clear_only_from_all_batches(tables: Path) -> None:
    frame = events(100, 2).sort("t", nulls_last=True).drop("t")
    day = pl.date(2024, 1, 1) + pl.duration(days=pl.int_range(pl.len()) // 4)
    frame.with_columns(t=day.dt.strftime("%d/%m/%Y")).write_csv(tables / "events.csv")
    config, said = CONFIG.replace("events.parquet", "events.csv"), list[str]()
    stored, memory = (
        load(tables, f"data.store={where}", config=config, log=said.append) for where in ("always", "never")
    )
    assert any("the order of day and month is ambiguous" in line for line in said)
    assert_same(stored, memory)


def test_times_of_two_units_are_told_as_in_memory(tables: Path) -> None:
    """The unit is that of most times, which a batch does not know: so the whole is read into memory."""
    frame = events(100, 2).with_columns(t=1.6e12 + pl.int_range(pl.len()) * 1e9)
    frame = frame.with_columns(t=pl.when(pl.int_range(pl.len()) < 37).then(pl.col("t") / 1e3).otherwise("t"))
    frame.write_parquet(tables / "events.parquet")
    told, said = [], list[str]()
    for where in ("always", "never"):
        with pytest.raises(DataError) as error:
            load(tables, f"data.store={where}", log=said.append)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert any("because column 't' is not written alike in all batches" in line for line in said)


def test_order_of_a_user() -> None:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 70_000, 500).astype(np.int32) // 1000
    for time in (rng.integers(0, 2**32, 500, dtype=np.uint32) >> 27, np.round(rng.normal(size=500), 1), None):
        if time is not None and time.dtype == np.float64:
            time[::7], time[1] = np.nan, -0.0
        expected = np.lexsort([user] if time is None else [time, user])
        assert by_user_and_time(user, time).tolist() == expected.tolist()


def test_a_vocabulary_grows_and_keeps_its_rows() -> None:
    rng = np.random.default_rng(0)
    numbers, text = GrowingVocabulary(), GrowingVocabulary()
    known: dict[int, int] = {}
    for size in (3, 70_000, 70_000, 1):
        ids = pl.Series(rng.integers(-(2**62), 2**62, size) // (1 << 46))
        expected = [known.setdefault(one, len(known)) for one in ids.to_list()]
        assert numbers.rows(ids).tolist() == expected
        assert text.rows(ids.cast(pl.String)).tolist() == expected
    assert numbers.ids.to_list() == list(known)
    assert text.ids.cast(pl.Int64).to_list() == list(known)
    with pytest.raises(TypesDiffer):
        numbers.rows(pl.Series(["a"]))
