"""Data with a known fault: a clean synthetic KuaiRec as plain tables, and what spoils it.

The first group is the nine faults of the usual KuaiRec notebook. Those of its code are planted as what they
come to in files and settings: a test file with labels of another scale, a validation file that is the test's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomlkit

from twotower.datasets.kuairec import SCHEMA, read_items, read_matrix, read_users


@dataclass
class Tables:
    """Frames by the name of their file, and the config that reads them."""

    frames: dict[str, pl.DataFrame]
    config: dict[str, Any]
    source: Path = field(default_factory=Path)

    def copy(self) -> Tables:
        plain = tomlkit.parse(tomlkit.dumps(self.config)).unwrap()
        return Tables(dict(self.frames), plain, self.source)

    def set(self, section: str, **values: Any) -> None:
        self.config.setdefault(section, {}).update(values)

    def change(self, name: str, *columns: pl.Expr | pl.Series) -> None:
        self.frames[name] = self.frames[name].with_columns(*columns)

    def features(self, side: str, **kinds: str) -> None:
        self.config["schema"][side].update(kinds)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in self.frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        path = folder / "config.toml"
        path.write_text(tomlkit.dumps(self.config), encoding="utf-8")
        return path


def clean(folder: Path) -> Tables:
    """Return the files of a synthetic KuaiRec as tables, trained on big and tested on small."""
    frames = {
        "train": read_matrix(folder, "big").unique(
            ["user_id", "video_id", "timestamp"], keep="first", maintain_order=True
        ),
        "test": read_matrix(folder, "small"),
        "users": read_users(folder),
        "items": read_items(folder),
    }
    config = {
        "data": {"users": "users.parquet", "items": "items.parquet"},
        "schema": SCHEMA.model_dump(mode="json", exclude_none=True),
        "split": {"method": "files", "train": "train.parquet", "test": "test.parquet"},
        "objective": {"name": "squared", "transform": "cap", "cap": 5.0},
        "evaluation": {"cap": 5.0},
    }
    return Tables(frames, config, folder)


@dataclass(frozen=True)
class Plant:
    """A fault.

    Attributes:
        spoil: changes the tables in place.
        check: the check that is to find it.
        severity: how bad it is to find it.
        said: what the finding must name.
        fault: its number in the notebook; 0 for one that isn't there.
    """

    spoil: Callable[[Tables], None]
    check: str
    severity: str
    said: str
    fault: int


PLANTS: dict[str, Plant] = {}


def plant(
    check: str, severity: str, said: str = "", fault: int = 0
) -> Callable[[Callable[[Tables], None]], Callable[[Tables], None]]:
    def register(spoil: Callable[[Tables], None]) -> Callable[[Tables], None]:
        PLANTS[spoil.__name__] = Plant(spoil, check, severity, said, fault)
        return spoil

    return register


# The notebook's faults


@plant("completeness", "warning", "dropped", fault=1)
def dropna_deletes_untimed_test_rows(t: Tables) -> None:
    t.frames["test"] = t.frames["test"].drop_nulls()


@plant("duplicates", "warning", "both sides", fault=1)
def random_split_of_a_log_with_copies(t: Tables) -> None:
    log = read_matrix(t.source, "big").sample(fraction=1.0, shuffle=True, seed=0)
    t.frames["train"], t.frames["test"] = log[: -len(log) // 5], log[-len(log) // 5 :]


@plant("duplicates", "warning", "only in their timestamp", fault=1)
def copies_with_another_timestamp(t: Tables) -> None:
    log = t.frames["train"].with_row_index("order")
    again = log.sample(fraction=0.1, seed=1).with_columns(pl.col("timestamp") + 0.25)
    log = pl.concat([log, again]).sample(fraction=1.0, shuffle=True, seed=0).drop("order")
    t.frames["train"], t.frames["test"] = log[: -len(log) // 5], log[-len(log) // 5 :]


@plant("joining", "warning", "row numbers", fault=2)
def users_looked_up_by_position_after_dropna(t: Tables) -> None:
    kept = t.frames["users"].drop_nulls(["onehot_feat4", "onehot_feat12"])
    t.frames["users"] = kept.with_columns(pl.Series("user_id", np.arange(len(kept)), dtype=pl.Int32))


@plant("alignment", "error", "shifted", fault=2)
def items_looked_up_by_position_after_a_row_was_dropped(t: Tables) -> None:
    items = t.frames["items"]
    moved = pl.concat([items[1:], items[:1]]).drop("video_id")
    t.frames["items"] = pl.concat([items.select("video_id"), moved], how="horizontal")


@plant("alignment", "error", "shifted", fault=2)
def items_looked_up_by_position_after_rows_in_the_middle_were_dropped(t: Tables) -> None:
    items = t.frames["items"]
    at = len(items) // 2
    moved = pl.concat([items[:at], items[at + 3 :], items[at : at + 3]]).drop("video_id")
    t.frames["items"] = pl.concat([items.select("video_id"), moved], how="horizontal")


@plant("alignment", "error", "first appearance", fault=2)
def items_in_the_order_of_the_log(t: Tables) -> None:
    order = t.frames["train"].select("video_id").unique(maintain_order=True)
    items = t.frames["items"].join(order, on="video_id", how="semi").sort("video_id")
    moved = order.join(t.frames["items"], on="video_id", maintain_order="left").drop("video_id")
    t.frames["items"] = pl.concat([items.select("video_id"), moved], how="horizontal")


@plant("future", "warning", "play_cnt", fault=3)
def daily_counts_summed_over_all_days(t: Tables) -> None:
    daily = pl.read_csv(t.source / "item_daily_features.csv")
    sums = daily.group_by("video_id").agg(
        pl.col("play_cnt", "like_cnt").sum(), pl.col("play_progress").mean()
    )
    t.frames["items"] = t.frames["items"].join(
        sums.cast({"video_id": pl.Int32}), on="video_id", how="left", maintain_order="left"
    )
    t.features("items", play_cnt="log_number", like_cnt="log_number", play_progress="number")


@plant("target", "error", "number of", fault=3)
def a_count_of_all_interactions_by_another_name(t: Tables) -> None:
    both = pl.concat([t.frames[name].select("video_id") for name in ("train", "test")])
    counts = both.group_by("video_id").agg(pl.len().cast(pl.Float64).alias("x1"))
    t.frames["items"] = t.frames["items"].join(counts, on="video_id", how="left", maintain_order="left")
    t.features("items", x1="log_number")


@plant("target", "error", "mean label", fault=3)
def a_mean_label_of_all_interactions(t: Tables) -> None:
    both = pl.concat([t.frames[name].select("user_id", "watch_ratio") for name in ("train", "test")])
    means = both.group_by("user_id").agg((pl.col("watch_ratio").mean() * 3 + 1).alias("x2"))
    t.frames["users"] = t.frames["users"].join(means, on="user_id", how="left", maintain_order="left")
    t.features("users", x2="number")


@plant("alignment", "error", "first_level_category_id", fault=4)
def a_category_assigned_from_a_frame_with_another_index(t: Tables) -> None:
    often = t.frames["train"].group_by("video_id").len().sort("len", "video_id", descending=[True, False])
    known = often.join(t.frames["items"], on="video_id", maintain_order="left")
    rest = t.frames["items"].join(often, on="video_id", how="anti", maintain_order="left")
    values = pl.concat([known.select("first_level_category_id"), rest.select("first_level_category_id")])
    t.change("items", values.to_series())


@plant("nominal-codes", "warning", "onehot_feat4", fault=5)
def encrypted_categories_as_numbers(t: Tables) -> None:
    t.features("users", **{f"onehot_feat{i}": "number" for i in range(18)})


@plant("nominal-codes", "warning", "x7", fault=5)
def codes_under_another_name(t: Tables) -> None:
    t.change("users", pl.col("onehot_feat7").alias("x7"))
    t.features("users", x7="log_number")


@plant("nominal-codes", "warning", "x8", fault=5)
def codes_standardised(t: Tables) -> None:
    code = pl.col("first_level_category_id").rank("dense")
    t.change("items", ((code - code.mean()) / code.std()).alias("x8"))
    t.features("items", x8="number")


@plant("scale", "error", "standardised separately", fault=6)
def each_file_scaled_by_its_own_scaler(t: Tables) -> None:
    for name in ("train", "test"):
        label = pl.col("watch_ratio")
        t.change(name, (label - label.mean()) / label.std(ddof=0))


@plant("scale", "error", "another scale", fault=6)
def the_test_label_scaled_alone(t: Tables) -> None:
    label = pl.col("watch_ratio")
    t.change("test", (label - label.mean()) / label.std(ddof=0))


@plant("scale", "error", "another scale", fault=6)
def the_test_label_brought_to_0_and_1(t: Tables) -> None:
    t.change("test", pl.col("watch_ratio") / pl.col("watch_ratio").max())


@plant("selection", "error", "is the test set", fault=7)
def early_stopping_on_the_test_file(t: Tables) -> None:
    t.set("split", validation="test.parquet")


@plant("selection", "error", "is the test set", fault=7)
def early_stopping_on_a_copy_of_the_test_file(t: Tables) -> None:
    t.frames["val"] = t.frames["test"].sample(fraction=1.0, shuffle=True, seed=0)
    t.set("split", validation="val.parquet")


@plant("selection", "warning", "contains test rows", fault=7)
def a_validation_file_with_test_rows(t: Tables) -> None:
    log = t.frames["train"]
    t.frames["val"] = pl.concat([log[-3000:], t.frames["test"][:500]])
    t.frames["train"] = log[:-3000]
    t.set("split", validation="val.parquet")


@plant("identity", "warning", "id_dropout", fault=8)
def ids_hidden_from_the_model(t: Tables) -> None:
    t.set("training", trainer="gradients", id_dropout=0.95)


@plant("identity", "error", "a different", fault=8)
def row_numbers_as_users(t: Tables) -> None:
    start = 0
    for name in ("train", "test"):
        n = len(t.frames[name])
        t.change(name, pl.Series("user_id", np.arange(start, start + n)))
        start += n


@plant("duration", "warning", "video_duration", fault=9)
def liked_is_a_ratio_above_2(t: Tables) -> None:
    t.set("positive", threshold=2.0)
    t.config["objective"] = {"name": "all_pairs"}


@plant("duration", "warning", "video_duration", fault=9)
def liked_as_the_label(t: Tables) -> None:
    for name in ("train", "test"):
        t.change(name, (pl.col("watch_ratio") > 2).cast(pl.Float64))
    t.config["objective"] = {"name": "logistic"}


# Others


@plant("joining", "error", "leading zeros")
def ids_with_leading_zeros(t: Tables) -> None:
    t.change("items", pl.col("video_id").cast(pl.String).str.zfill(8))


@plant("joining", "warning", "some items")
def items_left_out_of_their_table(t: Tables) -> None:
    t.frames["items"] = t.frames["items"].sample(fraction=0.9, seed=0)


@plant("future", "error", "last_met")
def a_date_of_the_last_interaction(t: Tables) -> None:
    last = t.frames["train"].group_by("video_id").agg(pl.col("timestamp").max().alias("last_met"))
    t.frames["items"] = t.frames["items"].join(last, on="video_id", how="left", maintain_order="left")
    t.features("items", last_met="timestamp")


@plant("read-as", "note", "milliseconds")
def times_in_milliseconds(t: Tables) -> None:
    for name in ("train", "test"):
        t.change(name, pl.col("timestamp") * 1000)


@plant("placeholders", "warning", "a placeholder is treated as one user")
def a_user_that_is_none(t: Tables) -> None:
    users = pl.col("user_id").cast(pl.String)
    none = pl.int_range(pl.len()) % 5 == 0
    t.change("train", pl.when(none).then(pl.lit("NULL")).otherwise(users).alias("user_id"))


@plant("placeholders", "warning", "a label probably means 'unknown'")
def a_label_that_means_not_known(t: Tables) -> None:
    none = pl.int_range(pl.len()) % 5 == 0
    for name in ("train", "test"):
        t.change(name, pl.when(none).then(-1.0).otherwise("watch_ratio").alias("watch_ratio"))


@plant("coming-back", "warning", "come back")
def users_who_come_back_to_items(t: Tables) -> None:
    known = t.frames["train"].filter(pl.int_range(pl.len()) % 4 == 0).head(t.frames["test"].height // 4)
    again = known.select(pl.all().exclude("timestamp"), pl.col("timestamp") + 7 * 86_400)
    t.frames["test"] = pl.concat([t.frames["test"], again.select(t.frames["test"].columns)])


@plant("combined-values", "warning", "combinations of others")
def lists_as_one_category(t: Tables) -> None:
    tags = [f"{a}, {b}" if a != b else a for a in "pqrstuv" for b in "pqrstuv"]
    n = t.frames["items"].height
    t.change("items", pl.Series("tags", [tags[i % len(tags)] for i in range(n)]))
    t.features("items", tags="category")


@plant("combined-values", "warning", "numbers are read as categories")
def prices_as_categories(t: Tables) -> None:
    n = t.frames["items"].height
    t.change("items", pl.Series("price", [f"{i % 97},{i % 90 + 10}" for i in range(n)]))
    t.features("items", price="category")


@plant("future", "warning", "without a time")
def untimed_rows_in_a_split_by_time(t: Tables) -> None:
    t.config["data"]["interactions"] = "test.parquet"
    t.config["split"] = {"method": "temporal"}


@plant("target", "error", "watched")
def the_play_time_as_the_duration(t: Tables) -> None:
    for name in ("train", "test"):
        t.change(name, (pl.col("video_duration") * pl.col("watch_ratio")).alias("played"))
    t.config["schema"]["duration"] = "played"


@plant("target", "error", "nearly alone")
def a_label_that_is_an_item_column(t: Tables) -> None:
    quality = pl.DataFrame({"video_id": t.frames["items"]["video_id"]}).with_columns(
        pl.Series("quality", np.random.default_rng(0).gamma(2.0, size=len(t.frames["items"])))
    )
    t.frames["items"] = t.frames["items"].with_columns(quality["quality"])
    for name in ("train", "test"):
        rows = t.frames[name].join(quality, on="video_id", maintain_order="left")
        noise = np.random.default_rng(1).normal(0, 0.3, len(rows))
        t.frames[name] = rows.with_columns((pl.col("quality") + noise).alias("watch_ratio")).drop("quality")
    t.features("items", quality="number")


@plant("columns", "warning", "empty")
def an_empty_column(t: Tables) -> None:
    t.change("users", pl.lit(None, pl.Float64).alias("income"))
    t.features("users", income="number")


@plant("tails", "warning", "cap")
def an_uncapped_label(t: Tables) -> None:
    t.config["objective"], t.config["evaluation"] = {"name": "squared"}, {}


@plant("cold", "warning", "cold users")
def users_that_train_lacks(t: Tables) -> None:
    there = t.frames["test"].select(pl.col("user_id").unique().sort())[::3]
    t.frames["train"] = t.frames["train"].join(
        t.frames["test"].select("user_id").unique().join(there, on="user_id", how="anti"),
        on="user_id",
        how="anti",
    )


@plant("popularity", "warning", "floods")
def a_placeholder_item(t: Tables) -> None:
    t.change(
        "train", pl.when(pl.int_range(pl.len()) % 3 == 0).then(7).otherwise("video_id").alias("video_id")
    )


@plant("split", "error", "none after dropping")
def nothing_left_to_train_on(t: Tables) -> None:
    t.frames["train"] = t.frames["test"]
