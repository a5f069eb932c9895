"""Build the packaged sample of KuaiRec from the published files.

    python benchmarks/build_sample.py --real DIR --interactions FILE [--out DIR]

DIR holds user_features.csv, item_categories.csv and kuairec_caption_category.csv; FILE is a Parquet table of
user_id, item_id (the video_id) and watch_ratio. The videos' durations are recovered from their watch ratios.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from sample_durations import recover
from twotower.data.dataset import Dataset
from twotower.datasets.kuairec import read_item_content, read_user_features
from twotower.datasets.loading import SAMPLE_SCHEMA

OUT = Path(__file__).parents[1] / "src" / "twotower" / "datasets" / "sample"


def build(real: Path, interactions: Path) -> dict[str, pl.DataFrame]:
    events = (
        pl.read_parquet(interactions)
        .select(
            pl.col("user_id").cast(pl.Int32),
            pl.col("item_id").cast(pl.Int32).alias("video_id"),
            pl.col("watch_ratio").cast(pl.Float64),
        )
        .sort("user_id", "video_id")
    )
    ratios = events.group_by("video_id").agg("watch_ratio")
    durations = pl.DataFrame(
        list(recover(dict(ratios.iter_rows())).items()),
        schema={"video_id": pl.Int32, "video_duration": pl.Int32},
        orient="row",
    )
    users = read_user_features(real).filter(pl.col("user_id").is_in(events["user_id"].implode()))
    items = (
        read_item_content(real)
        .filter(pl.col("video_id").is_in(events["video_id"].implode()))
        .join(durations, on="video_id", how="left", validate="1:1", maintain_order="left")
    )
    tables = {"interactions": events, "users": users, "items": items}
    Dataset.of(events, users, items, schema=SAMPLE_SCHEMA)  # raises if they are not valid
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the packaged sample of KuaiRec.")
    parser.add_argument("--real", type=Path, required=True, help="folder of the published side files")
    parser.add_argument("--interactions", type=Path, required=True, help="Parquet table of interactions")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    arguments = parser.parse_args()
    tables = build(arguments.real, arguments.interactions)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = arguments.out / f"{name}.parquet"
        table.write_parquet(path, compression="zstd", compression_level=19)
        print(f"{path}: {table.height:,} rows, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
