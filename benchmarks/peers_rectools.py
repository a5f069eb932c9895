"""SASRec and an eSASRec-like model of RecTools, measured by `benchmarks/ranking.py` on its splits.

    python -m venv VENV && VENV/bin/pip install torch==2.13.0 "rectools[torch]"
    python benchmarks/ranking.py --data DIR --results OUT --sets amazon-beauty --models --baselines
    VENV/bin/python benchmarks/peers_rectools.py OUT amazon-beauty [--models "SASRec tuned"] [--minutes 20]
    python benchmarks/ranking.py --data DIR --results OUT --sets amazon-beauty

It needs an environment of its own, with RecTools and without twotower. The first call of `ranking.py`
writes the split, ``OUT/SET/split.npz``; this script writes the ranked lists, ``OUT/SET/NAME.npz``; the
last call prints their metrics beside ours.

- ``SASRec defaults``: `SASRecModel()` as it comes (256 dimensions, 2 blocks, dropout .2, softmax over all
  items, 3 epochs), except that the last 50 items are read where nearly all histories are shorter.
- ``SASRec tuned`` and ``eSASRec tuned`` (its LiGR blocks, with softmax): dropout, dimensions, blocks and
  learning rate one after the other, each kept if NDCG@10 of the validation items is better. The epochs
  are chosen by the same metric: training stops after two without a gain. Then it is trained again on
  training and validation set. No setting is begun after ``--minutes`` of CPU time.

To save time, the softmax is computed for real positions alone (padding has no loss, so nothing changes),
and in the tuned models padding is masked and batches are cut to their longest history.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

LENGTH = {"amazon-beauty": 50, "amazon-games": 50, "ml-100k-last": 100, "ml-1m-sequences": 100}
"""How many last items are read; 100 is RecTools' default."""
START = {
    "amazon-beauty": {"dropout_rate": 0.5},
    "amazon-games": {"dropout_rate": 0.5},
    "ml-100k-last": {"dropout_rate": 0.2},
    "ml-1m-sequences": {"dropout_rate": 0.2},
}
FIRST = {"n_factors": 64, "n_blocks": 1, "n_heads": 2, "lr": 0.002}
SEARCH: tuple[dict[str, Any], ...] = (
    {"n_factors": 128},
    {"dropout_rate": 0.3},
    {"n_blocks": 2},
    {"lr": 0.001},
    {"dropout_rate": 0.1},
    {"dropout_rate": 0.6},
    {"n_factors": 256},
)
"""What is tried one after the other, on top of what was better so far."""
MOST_EPOCHS, PATIENCE, LISTED = 30, 2, 100


class RealPositions(TransformerLightningModule):  # type: ignore[misc]
    """RecTools' softmax loss, without the logits of padding, which has no loss."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the mean cross-entropy of the next item over the real positions."""
        items = self.torch_model.item_model.get_all_embeddings()
        sessions = self.torch_model.encode_sessions(batch, items)  # (batch, length, dim)
        real = batch["y"] != 0
        return torch.nn.functional.cross_entropy(sessions[real] @ items.T, batch["y"][real])


class CutBatches(SASRecDataPreparator):  # type: ignore[misc]
    """Cuts a batch to its longest history; right only where padding is masked."""

    def _collate_fn_train(self, batch: list[Any]) -> dict[str, torch.Tensor]:
        whole = super()._collate_fn_train(batch)
        longest = int((whole["x"] != 0).sum(dim=1).max())
        return {name: of[:, -longest:] for name, of in whole.items()}


def trainer(**_: Any) -> pl.Trainer:
    """Return a trainer that writes and prints nothing; `fit_partial` sets its epochs."""
    return pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def read(path: Path) -> pd.DataFrame:
    """Return the rows of a split: user, item, place and part."""
    with np.load(path) as of:
        return pd.DataFrame({name: of[name] for name in ("user", "item", "place", "part")})


def dataset(rows: pd.DataFrame) -> Dataset:
    """Return rows as RecTools wants them; the place in the table is the time."""
    frame = pd.DataFrame(
        {
            Columns.User: rows["user"],
            Columns.Item: rows["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(rows["place"], unit="s"),
        }
    )
    return Dataset.construct(frame)


def listed(model: SASRecModel, rows: Dataset, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the users that are known and their lists (n, k), -1 after the last item."""
    known = users[np.isin(users, rows.user_id_map.external_ids)]
    found = model.recommend(known, rows, k=k, filter_viewed=True, on_unsupported_targets="ignore")
    lists = np.full((len(known), k), -1, dtype=np.int64)
    row = pd.Series(np.arange(len(known)), index=known)[found[Columns.User]].to_numpy()
    lists[row, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return known, lists


def ndcg(model: SASRecModel, rows: Dataset, held: pd.DataFrame, k: int = 10) -> float:
    """Return NDCG of one held-out item a user."""
    known, lists = listed(model, rows, held["user"].to_numpy(), k)
    target = held.set_index("user")["item"][known].to_numpy()
    hit = lists == target[:, None]
    return float((hit / np.log2(np.arange(k) + 2)).sum() / len(held))


def made(settings: dict[str, Any], length: int, *, gated: bool = False, plain: bool = False) -> SASRecModel:
    """Return an unfitted model."""
    cut = {} if plain else {"data_preparator_type": CutBatches, "use_key_padding_mask": True}
    layers = {"transformer_layers_type": LiGRLayers} if gated else {}
    return SASRecModel(
        **{"session_max_len": length, **settings},
        **cut,
        **layers,
        lightning_module_type=RealPositions,
        get_trainer_func=trainer,
    )


def trained(settings: dict[str, Any], length: int, rows: Dataset, held: pd.DataFrame, *, gated: bool) -> Any:
    """Train until validation gains nothing; return (best NDCG@10, its epoch)."""
    pl.seed_everything(42)
    model, best = made(settings, length, gated=gated), (-1.0, 0)
    for epoch in range(1, MOST_EPOCHS + 1):
        model.fit_partial(rows, min_epochs=1, max_epochs=1)
        best = max(best, (ndcg(model, rows, held), -epoch))
        if epoch + best[1] >= PATIENCE:
            break
    return best[0], -best[1]


def chosen(name: str, rows: Dataset, held: pd.DataFrame, seconds: float, *, gated: bool) -> dict[str, Any]:
    """Return the settings that are best on validation, their epochs and how many were tried."""
    begun, best, tried = time.process_time(), (-1.0, 0), 0
    kept: dict[str, Any] = {}
    for more in ({**FIRST, **START[name]}, *SEARCH):
        settings = {**kept, **more}
        if settings == kept or (tried and time.process_time() - begun > seconds):
            continue
        found, tried = trained(settings, LENGTH[name], rows, held, gated=gated), tried + 1
        print(
            f"  {settings}: NDCG@10 {found[0]:.4f}, epoch {found[1]}, {time.process_time() - begun:.0f} s",
            flush=True,
        )
        if found > best:
            best, kept = found, settings
    return {"settings": kept, "epochs": best[1], "validation": best[0], "tried": tried}


def ran(
    name: str, model_name: str, split: pd.DataFrame, minutes: float
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Tune and train one model; return users, lists and what is to be said of it."""
    train, held = (split[split["part"] == part] for part in ("train", "validation"))
    everything = dataset(split[split["part"] != "test"])
    plain, gated = model_name == "SASRec defaults", model_name.startswith("eSASRec")
    if plain:
        choice: dict[str, Any] = {"settings": {}, "epochs": 3, "tried": 0}
    else:
        choice = chosen(name, dataset(train), held, 60 * minutes, gated=gated)
    pl.seed_everything(42)
    model = made(choice["settings"], LENGTH[name], gated=gated, plain=plain)
    model.fit_partial(everything, min_epochs=choice["epochs"], max_epochs=choice["epochs"])
    users, lists = listed(model, everything, split[split["part"] == "test"]["user"].unique(), LISTED)
    return users, lists, choice


def main() -> None:
    """Run the models that are asked for and write their lists."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("results", type=Path)
    arguments.add_argument("sets", nargs="+", choices=LENGTH)
    names = ["SASRec tuned", "eSASRec tuned", "SASRec defaults"]
    arguments.add_argument("--models", nargs="+", choices=names, default=names)
    arguments.add_argument("--minutes", type=float, default=20, help="CPU minutes of tuning for each model")
    given = arguments.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for name in given.sets:
        split = read(given.results / name / "split.npz")
        for model_name in given.models:
            print(f"{name}, {model_name}", flush=True)
            start = time.process_time()
            users, lists, choice = ran(name, model_name, split, given.minutes)
            settings = ", ".join(f"{key} {value}" for key, value in choice["settings"].items()) or "defaults"
            about = {
                "given": "ids, times",
                "settings": f"{settings}, {choice['epochs']} epochs, last {LENGTH[name]} items",
                "validation": choice.get("validation"),
                "tried": choice["tried"],
                "split": str(np.load(given.results / name / "split.npz")["key"]),
                "cpu_seconds": round(time.process_time() - start, 1),
                "ours": False,
            }
            np.savez_compressed(
                given.results / name / f"{model_name}.npz", users=users, items=lists, about=json.dumps(about)
            )
            print(f"  {about}", flush=True)


if __name__ == "__main__":
    main()
