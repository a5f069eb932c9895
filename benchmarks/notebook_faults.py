"""Nine mistakes of the usual KuaiRec notebook: what `check` reports for each, and its effect on metrics.

    python benchmarks/notebook_faults.py [--seed 42] [--check-scale 0.05] [--only 2 3 ...]

The output of `check` is for a synthetic KuaiRec with the planted mistake, since the packaged sample has
neither times nor daily counts. The metrics are for the packaged sample (real data), random 80/10/10, label
capped at 5: of our model and of the notebook's network, each with and without the mistake. If the test rows
are the same, the difference has its paired 95% interval over users.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from planted_faults import PLANTS, Tables, clean  # noqa: E402
from twotower import TwoTower  # noqa: E402
from twotower.audit import audit  # noqa: E402
from twotower.baselines import NotebookNetwork  # noqa: E402
from twotower.config import load_config  # noqa: E402
from twotower.data.splitting import Parts  # noqa: E402
from twotower.datasets.loading import SAMPLE_SCHEMA, load_sample  # noqa: E402
from twotower.datasets.synthetic import write_kuairec  # noqa: E402
from twotower.evaluation import compare_ratings  # noqa: E402
from twotower.metrics import mae, r2, rmse  # noqa: E402
from twotower.workflows import load_parts  # noqa: E402

CAP = 5.0
Predictions = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Measured:
    """The data sets, and each model's predictions for the test rows."""

    parts: Parts
    predictions: Predictions


def tables_of_sample(seed: int) -> Tables:
    """Return the sample as files, with a random test set split off."""
    data = load_sample()
    rows = data.interactions.sample(fraction=1.0, shuffle=True, seed=seed)
    cut = len(rows) // 10
    frames = {"train": rows[cut:], "test": rows[:cut], "users": data.users, "items": data.items}
    config: dict[str, Any] = {
        "seed": seed,
        "data": {"users": "users.parquet", "items": "items.parquet"},
        "schema": SAMPLE_SCHEMA.model_dump(mode="json", exclude_none=True),
        "split": {"method": "files", "train": "train.parquet", "test": "test.parquet"},
        "objective": {"name": "squared", "transform": "cap", "cap": CAP},
        "evaluation": {"cap": CAP},
    }
    return Tables(frames, config)


def measure(tables: Tables, folder: Path, *, stop_on_test: bool = False, refit: bool = True) -> Measured:
    """Train both models with the tables' config."""
    config = load_config(tables.write(folder), [f"training.refit={str(refit).lower()}"])
    parts = load_parts(config)
    validation = parts.test if stop_on_test else parts.validation
    ours = TwoTower.from_config(config).fit(parts.train, validation)
    network = NotebookNetwork().fit(parts.train, validation, cap=CAP, seed=config.seed)
    if refit:
        network.refit(parts.train.joined(validation))
    return Measured(
        parts, {"two-tower": ours.predict(parts.test), "notebook's network": network.predict(parts.test)}
    )


def labels(measured: Measured) -> NDArray[np.float64]:
    """Return the labels of the test rows."""
    return measured.parts.test.interactions["watch_ratio"].cast(pl.Float64).to_numpy()


def show(title: str, measured: Measured, against: Measured | None = None) -> None:
    """Print capped R2 and MAE of both models, and paired differences from the models without the mistake."""
    capped = np.minimum(labels(measured), CAP)
    print(f"  {title}: {len(capped):,} test rows")
    for name, predicted in measured.predictions.items():
        at_most = np.minimum(predicted, CAP)
        line = f"    {name:20} R2 {r2(capped, at_most):.4f}  MAE {mae(capped, at_most):.4f}"
        if against is not None:
            pair = {"faulty": predicted, "clean": against.predictions[name]}
            found = compare_ratings(
                pair, measured.parts.test, measured.parts.train, against="clean", cap=CAP
            ).differences["faulty"]
            said = [
                f"{metric} {of.value:+.4f} [{of.low:+.4f}, {of.high:+.4f}]"
                for metric, of in (("R2", found["r2_capped"]), ("MAE", found["mae_capped"]))
            ]
            line += f"  difference to the model without the mistake: {', '.join(said)}"
        print(line, flush=True)


def copies(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 1: 8% of rows are duplicates, and the split comes after."""
    t = base.copy()
    log = pl.concat([t.frames["train"], t.frames["test"]]).with_row_index("at")
    again = log.sample(fraction=0.087, seed=1).with_columns(pl.col("at") + len(log))
    # with their own time, since `twotower` would drop the duplicates
    log = pl.concat([log, again]).sample(fraction=1.0, shuffle=True, seed=0)
    cut = len(log) // 10
    t.frames["train"], t.frames["test"] = log[cut:], log[:cut]
    t.set("schema", timestamp="at")
    t.set("split", validation=0.1)
    show("with duplicates on both sides", measure(t, folder))
    show("without", fresh)


def positions(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 2: features looked up by position after a row was dropped."""
    t = base.copy()
    for name, ids in (("users", "user_id"), ("items", "video_id")):
        frame = t.frames[name]
        moved = pl.concat([frame[1:], frame[:1]]).drop(ids)
        t.frames[name] = pl.concat([frame.select(ids), moved], how="horizontal")
    show("every row with the features of the next", measure(t, folder), fresh)


def sums_over_all_days(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 3: an item's counts and mean progress as features, including the test rows."""
    t = base.copy()
    everything = pl.concat([t.frames["train"], t.frames["test"]])
    sums = everything.group_by("video_id").agg(
        pl.len().cast(pl.Float64).alias("play_cnt"),
        pl.col("watch_ratio").clip(0, CAP).mean().alias("play_progress"),
    )
    t.frames["items"] = t.frames["items"].join(sums, on="video_id", how="left", maintain_order="left")
    t.features("items", play_cnt="log_number", play_progress="number")
    show("counts and mean progress of all rows as features", measure(t, folder), fresh)


def another_index(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 4: category columns assigned from a frame in order of popularity."""
    t = base.copy()
    often = t.frames["train"].group_by("video_id").len().sort("len", "video_id", descending=[True, False])
    columns = [c for c in t.frames["items"].columns if "category" in c]
    known = often.join(t.frames["items"], on="video_id", maintain_order="left")
    rest = t.frames["items"].join(often, on="video_id", how="anti", maintain_order="left")
    moved = pl.concat([known.select(columns), rest.select(columns)])
    t.change("items", *moved.get_columns())
    show(f"{', '.join(columns)} in another order", measure(t, folder), fresh)


def codes_as_numbers(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 5: category codes read as numbers."""
    t = base.copy()
    for side in ("users", "items"):
        kinds = t.config["schema"][side]
        frame = t.frames[side]
        for column, kind in kinds.items():
            if kind == "category":
                kinds[column] = "number"
                if not frame[column].dtype.is_numeric():
                    frame = frame.with_columns(pl.col(column).rank("dense").cast(pl.Float64))
        t.frames[side] = frame
    print("  (the notebook's network always reads codes as numbers)")
    show("every category as a number", measure(t, folder), fresh)


def scalers(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 6: the test label scaled by its own scaler, and both inverted with the training one."""
    del base, folder
    train = fresh.parts.train.joined(fresh.parts.validation).interactions["watch_ratio"].to_numpy()
    label = labels(fresh)
    told = (label - label.mean()) / label.std() * train.std() + train.mean()
    print(f"  sd of the label: train {train.std():.4f}, test {label.std():.4f}")
    for name, predicted in fresh.predictions.items():
        print(
            f"    {name:20} in the label's units: MAE {mae(label, predicted):.4f} "
            f"RMSE {rmse(label, predicted):.4f} R2 {r2(label, predicted):.4f}; "
            f"with two scalers: MAE {mae(told, predicted):.4f} "
            f"RMSE {rmse(told, predicted):.4f} R2 {r2(told, predicted):.4f}"
        )


def stopping_on_test(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 7: the test set decides early stopping and the learning rate."""
    del fresh
    honest = measure(base.copy(), folder / "honest", refit=False)
    show(
        "stopped by the test set",
        measure(base.copy(), folder / "test", stop_on_test=True, refit=False),
        honest,
    )
    show("stopped by a validation set", honest)


def one_network(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 8: one network on both sides' features, without ids."""
    del base, folder
    pair = fresh.predictions
    found = compare_ratings(pair, fresh.parts.test, fresh.parts.train, against="two-tower", cap=CAP)
    of = found.differences["notebook's network"]["r2_capped"]
    show("both without other mistakes", fresh)
    print(f"    network minus two-tower: R2 {of.value:+.4f} [{of.low:+.4f}, {of.high:+.4f}]")


def liked(base: Tables, fresh: Measured, folder: Path) -> None:
    """Mistake 9: a like is a watch ratio above 2."""
    del fresh
    rows = pl.concat([base.frames["train"], base.frames["test"]])
    seconds = (pl.col("video_duration") / 1000).alias("seconds")
    duration = base.frames["items"].select("video_id", seconds).drop_nulls()
    known = rows.join(duration, on="video_id")
    edges = [4, 7, 10, 15, 30]
    band = pl.Series("band", np.digitize(known["seconds"].to_numpy(), edges))
    shares = (
        known.with_columns(band)
        .group_by("band")
        .agg((pl.col("watch_ratio") > 2).mean().alias("liked"), pl.len())
    )
    bounds = [0, *edges, 330]
    for at, share, n in shares.sort("band").iter_rows():
        print(
            f"    videos of {bounds[at]:2} to {bounds[at + 1]:3} s: {share:6.1%} of {n:,} views are above 2"
        )
    for title, rule in (
        ("ratio above 2", {"threshold": 2.0}),
        ("rank in the duration's bucket", {"duration_rank": 0.8}),
    ):
        t = base.copy()
        t.config["objective"] = {"name": "all_pairs"}
        t.config["positive"] = rule
        # Positives only, so that training depends on nothing but the rule.
        t.set("objective", min_grade="none")
        config = load_config(t.write(folder / title.replace(" ", "-")))
        parts = load_parts(config)
        model = TwoTower.from_config(config).fit(parts.train, parts.validation)
        lists = model.recommend(model.user_ids, 10).join(duration, on="video_id", how="left")
        shown = np.median(lists["seconds"].drop_nulls().to_numpy())
        print(f"    liked = {title}: median duration of videos in the top tens {shown:.1f} s")
    print(f"    median duration of all videos {np.median(duration['seconds'].to_numpy()):.1f} s")


FAULTS: dict[int, tuple[str, Callable[[Tables, Measured, Path], None], str]] = {
    1: (
        "duplicates on both sides of the split; rows dropped",
        copies,
        "dropna_deletes_untimed_test_rows random_split_of_a_log_with_copies",
    ),
    2: (
        "features looked up by position",
        positions,
        "items_looked_up_by_position_after_a_row_was_dropped",
    ),
    3: (
        "daily counts summed over all days",
        sums_over_all_days,
        "daily_counts_summed_over_all_days a_mean_label_of_all_interactions",
    ),
    4: (
        "a column assigned from a frame with another index",
        another_index,
        "a_category_assigned_from_a_frame_with_another_index",
    ),
    5: ("codes as numbers", codes_as_numbers, "encrypted_categories_as_numbers"),
    6: (
        "the test label scaled by its own scaler",
        scalers,
        "each_file_scaled_by_its_own_scaler the_test_label_scaled_alone",
    ),
    7: (
        "early stopping on the test set",
        stopping_on_test,
        "early_stopping_on_the_test_file a_validation_file_with_test_rows",
    ),
    8: ("one network on both sides' features, without ids", one_network, "ids_hidden_from_the_model"),
    9: ("a like is a ratio above 2", liked, "liked_is_a_ratio_above_2"),
}
"""For each mistake: its title, how it is measured, and how it is planted for `check`."""


def told(base: Tables, name: str, folder: Path) -> None:
    """Print what `check` reports for a planted mistake."""
    tables, fault = base.copy(), PLANTS[name]
    fault.spoil(tables)
    found = audit(load_config(tables.write(folder))).findings
    for finding in found:
        if finding.check == fault.check and finding.severity.value == fault.severity:
            print(f"  check: {finding.severity.value}: {finding.what} ({finding.check})")
            print(
                f"    where: {finding.where}\n    evidence: {finding.evidence}\n    fix: {finding.fix}",
                flush=True,
            )
            return
    print(f"  check: MISSED {name}")


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seed", type=int, default=42)
    arguments.add_argument("--check-scale", type=float, default=0.05)
    arguments.add_argument("--only", type=int, nargs="*", choices=list(FAULTS), default=list(FAULTS))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_kuairec(folder / "raw", scale=given.check_scale, seed=0)
        synthetic, base = clean(folder / "raw"), tables_of_sample(given.seed)
        fresh = measure(base.copy(), folder / "clean")
        show("without mistakes", fresh)
        for number in given.only:
            title, run, plants = FAULTS[number]
            print(f"mistake {number}: {title}", flush=True)
            for name in plants.split():
                told(synthetic, name, folder / name)
            run(base, fresh, folder / f"fault-{number}")


if __name__ == "__main__":
    main()
