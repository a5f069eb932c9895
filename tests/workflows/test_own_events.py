"""Tables of events that no store exported are read as interactions are, or refused by row."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from twotower import workflows
from twotower.config import load_config
from twotower.core.erasure import Erased, Erasures, keyed
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.workflows.continuing import continue_run
from twotower.workflows.event_table import PLACE, EventTable, columns_of
from twotower.workflows.forgetting import forget_users
from twotower.workflows.own_events import checked
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    text = (folder / "config.toml").read_text(encoding="utf-8")
    text = text.replace('kind = "mlp"\nhidden = [8]', 'kind = "linear"')
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return workflows.train(load_config(folder / "own.toml"), folder / "own").run


@pytest.fixture(scope="module")
def parts(run: Run) -> Parts:
    return load_parts(run.config())


def table(**columns: pl.Expr) -> EventTable:
    rows = pl.DataFrame({"person": [1, 77], "film": [2, 3], "stars": [4, 5], "at": [1e9, 1e9 + 1]})
    return EventTable(rows.with_columns(pl.lit(None, pl.Int64).alias(PLACE), **columns), TrainedUpTo())


def test_text_and_milliseconds_are_read(parts: Parts) -> None:
    given = table(
        person=pl.col("person").cast(pl.String),
        stars=pl.lit(pl.Series(["4.0", "5"])),
        at=(pl.col("at") * 1000).cast(pl.Int64),
    )
    found = checked(given, parts.train)
    assert found.interactions.rows() == [(1, 2, 4.0, 1e9, None), (77, 3, 5.0, 1e9 + 1, None)]
    assert found.interactions.schema["person"] == parts.train.interactions.schema["person"]
    assert any("milliseconds" in note for note in found.notes)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"film": pl.lit("zz")}, r"ids must be of the type.*Int64.*row 1, column 'film' has 'zz'"),
        ({"person": pl.lit(pl.Series([1, None]))}, r"every row needs an id.*row 2, column 'person'"),
        ({"stars": pl.lit("x")}, r"a label must be a finite number.*row 1, column 'stars' has 'x'"),
        ({"stars": pl.lit(float("nan"))}, r"every interaction needs a label.*row 1, column 'stars'"),
        ({"stars": pl.lit(float("inf"))}, r"a label must be a finite number.*row 1, column 'stars'"),
        ({"at": pl.lit("noon")}, r"a timestamp must be.*row 1, column 'at' has 'noon'"),
    ],
)
def test_what_is_no_interaction_is_refused(parts: Parts, columns: dict[str, pl.Expr], message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked(table(**columns), parts.train)


@pytest.mark.parametrize(
    ("stars", "message"),
    [(-1.0, "no label of the training set is negative"), (50.0, "highest is 5 in the training set; got 50")],
)
def test_labels_beyond_the_scale_are_refused(parts: Parts, stars: float, message: str) -> None:
    scale = parts.train.interactions.with_columns(stars=5.0 - pl.int_range(pl.len()) % 9 // 2)
    with pytest.raises(DataError, match=rf"{message}.* in column 'stars' of the table of events"):
        checked(table(stars=pl.lit(stars)), parts.train.with_interactions(scale).as_train())


def test_text_ids_and_formats_are_those_of_the_data() -> None:
    rows = pl.DataFrame({"who": ["a", "07"], "what": ["x", "7"], "at": ["01.02.2024", "31.12.2024"]})
    reading = {"at": {"format": "%d.%m.%Y"}}
    schema = {"user": "who", "item": "what", "timestamp": "at", "interactions": reading}
    train = Dataset.of(rows, schema=schema).as_train()
    later = pl.DataFrame({"who": ["07", "12"], "what": [7, 8], "at": ["03.02.2025", "04.02.2025"]})
    found = checked(EventTable(later.with_columns(pl.lit(None).alias(PLACE)), TrainedUpTo()), train)
    days = [dt.datetime(2025, 2, day, tzinfo=dt.UTC).timestamp() for day in (3, 4)]
    assert found.interactions.rows() == [("07", "7", days[0], None), ("12", "8", days[1], None)]


def test_what_a_store_exported_is_as_it_is(parts: Parts) -> None:
    exported = replace(table(stars=pl.lit(50.0)), mark=TrainedUpTo({"store": 1}))
    assert checked(exported, parts.train) is exported


def test_events_that_the_data_has_train_nothing(run: Run, parts: Parts, folder: Path) -> None:
    own = parts.train.interactions.head(5).select(columns_of(parts.train.schema))
    said: list[str] = []
    known = EventTable(own.with_columns(pl.lit(None, pl.Int64).alias(PLACE)), TrainedUpTo())
    done = continue_run(run.path, known, folder / "none", log=said.append)
    assert done.new == 0
    assert "the data has all of these events already, so nothing was trained" in said
    assert not (folder / "none").exists()


def test_a_config_s_table_is_read_alike(run: Run, folder: Path) -> None:
    table(stars=pl.lit("x")).interactions.write_parquet(folder / "wrong.parquet")
    config = load_config(run.config_file, [f"data.events='{folder / 'wrong.parquet'}'"], saved=True)
    with pytest.raises(DataError, match="a label must be a finite number"):
        load_parts(config)


def test_a_run_that_has_a_table_from_the_start_is_continued_and_loses_only_who_is_deleted(
    run: Run, parts: Parts, folder: Path
) -> None:
    """The table is the user's own, with texts and milliseconds, and is left as it is."""
    path = folder / "given.parquet"
    given = table(stars=pl.col("stars").cast(pl.String), at=(pl.col("at") * 1000).cast(pl.Int64))
    given.interactions.drop(PLACE).write_parquet(path)
    before, said = path.read_bytes(), list[str]()
    config = load_config(run.config_file, [f"data.events='{path}'"], saved=True)
    load_parts(config, log=said.append)
    assert any("milliseconds" in line for line in said)
    first = workflows.train(config, folder / "given").run
    rows = table(at=pl.col("at") + 5).interactions.cast({"stars": pl.Float64}).head(1)
    more = continue_run(first.path, EventTable(rows, TrainedUpTo()), folder / "given more")
    assert more.new == 1
    assert len(load_parts(more.run.config()).train) == len(parts.train) + 3
    key = "a key"
    forget_users(first, Erasures(key, [Erased(1, keyed(key, "77"), 9, 1, 0.0)], "store"))
    left = load_parts(first.config()).train
    assert len(left) == len(parts.train) + 1
    assert 77 not in left.interactions["person"]
    assert left.times().max() == 1e9
    assert path.read_bytes() == before
