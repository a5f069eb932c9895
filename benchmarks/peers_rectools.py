"""SASRec and an eSASRec-like model of RecTools, measured by `benchmarks/ranking.py` on its splits.

    python -m venv VENV && VENV/bin/pip install torch==2.13.0 "rectools[torch]"
    python benchmarks/ranking.py --data DIR --results OUT --sets amazon-beauty --models --baselines
    VENV/bin/python benchmarks/peers_rectools.py OUT amazon-beauty [--device cuda --jobs 8] [--minutes 20]
    python benchmarks/ranking.py --data DIR --results OUT --sets amazon-beauty

It needs an environment of its own, with RecTools and without twotower. The first call of `ranking.py`
writes the split, ``OUT/SET/split.npz``; this script writes the ranked lists, ``OUT/SET/NAME.npz``; the
last call prints their metrics beside ours.

- ``SASRec defaults``: `SASRecModel()` as it comes (256 dimensions, 2 blocks, dropout .2, softmax over all
  items, 3 epochs), except that the last 50 items are read where nearly all histories are shorter.
- ``SASRec tuned`` and ``eSASRec tuned`` (its LiGR blocks): the settings of `tried`, in that order, until
  ``--minutes`` have passed. The epochs are chosen on validation: training stops when NDCG@10 of the
  validation items has not grown for `PATIENCE` epochs. The setting with the best NDCG@10 is trained again on
  training and validation set, for its best number of epochs. ``OUT/SET/NAME.jsonl`` has what was tried.

To save time, the full softmax is computed for real positions alone (padding has no loss, so nothing
changes), and in the tuned models padding is masked and batches are cut to their longest history.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import multiprocessing
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from itertools import zip_longest
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
"""How many last items the default model reads; 100 is RecTools' default."""
TUNED_LENGTH = {**LENGTH, "ml-1m-sequences": 200}
DROPOUT = {"amazon-beauty": (0.5, 0.2), "amazon-games": (0.5, 0.2)}
"""The likelier one first: (.2, .5) for the other sets, whose histories are long."""
MOST_EPOCHS, PATIENCE, LISTED = 150, 8, 100
DEFAULTS, SASREC, ESASREC = "SASRec defaults", "SASRec tuned", "eSASRec tuned"


def tried(name: str, model_name: str) -> list[dict[str, Any]]:
    """Return the settings that are tried, the likelier ones first; none for the model as it comes."""
    first, second = DROPOUT.get(name, (0.2, 0.5))
    if model_name == DEFAULTS:
        return [{}]
    sizes = [(256, 2), (128, 2), (256, 1), (128, 1), (64, 2), (64, 1)]
    if model_name == ESASREC:
        sizes = [(256, 2), (128, 2), (256, 1)]
    wide, sampled = {"n_factors": 256, "n_blocks": 2}, {"loss": "sampled_softmax", "n_negatives": 256}
    return [
        *({"n_factors": dim, "n_blocks": blocks, "dropout_rate": first} for dim, blocks in sizes),
        {**wide, "dropout_rate": second},
        {**wide, "dropout_rate": 0.35},
        {**wide, "dropout_rate": first, "lr": 0.0005},
        {**wide, "dropout_rate": first, **sampled},
        *({"n_factors": dim, "n_blocks": blocks, "dropout_rate": second} for dim, blocks in sizes[1:]),
        {"n_factors": 128, "n_blocks": 2, "dropout_rate": first, "lr": 0.002},
    ]


class RealPositions(TransformerLightningModule):  # type: ignore[misc]
    """RecTools' loss; the full softmax without the logits of padding, which has no loss."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the mean cross-entropy of the next item over the real positions."""
        if self.loss != "softmax":
            loss: torch.Tensor = self.loss_calculator(self.get_batch_logits(batch), batch["y"], batch["yw"])
            return loss
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


class Watch(pl.Callback):  # type: ignore[misc]
    """Measures NDCG@10 of one held-out item a user after each epoch, and ends what gains no more."""

    def __init__(self, train: pd.DataFrame, held: pd.DataFrame, length: int, until: float) -> None:
        self.train, self.held, self.length, self.until = train, held, length, until
        self.best, self.epoch, self.last = -1.0, 0, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        """Return itself: RecTools copies the trainer that it is given."""
        return self

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TransformerLightningModule) -> None:
        """Measure, and stop if it is enough."""
        self.last += 1
        found = self._ndcg(module)
        if found > self.best:
            self.best, self.epoch = found, self.last
        trainer.should_stop = self.last - self.epoch >= PATIENCE or time.time() > self.until

    @torch.no_grad()
    def _ndcg(self, module: TransformerLightningModule) -> float:
        if self.last == 1:
            self._prepare(module.data_preparator.item_id_map)
        module.eval()
        items, total = module.torch_model.item_model.get_all_embeddings(), 0.0
        for first in range(0, len(self.target), 1024):
            rows = slice(first, first + 1024)
            x, target = (torch.from_numpy(of[rows]).to(items.device) for of in (self.x, self.target))
            scores = module.torch_model.encode_sessions({"x": x}, items)[:, -1] @ items.T
            low, high = np.searchsorted(self.seen[0], [first, first + len(x)])
            seen = torch.from_numpy(self.seen[:, low:high] - [[first], [0]]).to(items.device)
            own = scores.gather(1, target[:, None])
            scores[seen[0], seen[1]] = -torch.inf
            scores[:, 0] = -torch.inf
            place = (scores > own).sum(dim=1)
            total += float(torch.where((place < 10) & (target > 0), 1 / torch.log2(place + 2.0), 0.0).sum())
        module.train()
        return total / len(self.held)

    def _prepare(self, ids: Any) -> None:
        """Make x (users, length), target (users,) and seen (2, pairs), all internal ids, 0 if unknown."""
        known = pd.Series(np.arange(ids.size), index=ids.external_ids)
        users = self.held["user"].to_numpy()
        row = pd.Series(np.arange(len(users)), index=users)
        rows = self.train[self.train["user"].isin(users)]
        item = known.reindex(rows["item"]).fillna(0).to_numpy(dtype=np.int64)
        row_of = row[rows["user"]].to_numpy()[item > 0]
        item = item[item > 0]
        order = np.argsort(row_of, kind="stable")
        row_of, item = row_of[order], item[order]
        from_last = np.searchsorted(row_of, row_of, side="right") - np.arange(len(row_of))
        self.x = np.zeros((len(users), self.length), dtype=np.int64)
        near = from_last <= self.length
        self.x[row_of[near], self.length - from_last[near]] = item[near]
        self.target = known.reindex(self.held["item"]).fillna(0).to_numpy(dtype=np.int64)
        self.seen = np.stack([row_of, item])


@cache
def read(path: Path) -> pd.DataFrame:
    """Return the rows of a split in the order of users and time: user, item, place and part."""
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


def made(name: str, model_name: str, settings: dict[str, Any], device: str, *watch: Watch) -> SASRecModel:
    """Return an unfitted model."""

    def trainer() -> pl.Trainer:
        return pl.Trainer(
            max_epochs=3,
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(watch),
        )

    plain = model_name == DEFAULTS
    cut = {} if plain else {"data_preparator_type": CutBatches, "use_key_padding_mask": True}
    layers = {"transformer_layers_type": LiGRLayers} if model_name == ESASREC else {}
    pl.seed_everything(42)
    return SASRecModel(
        **{"session_max_len": (LENGTH if plain else TUNED_LENGTH)[name], **settings},
        **cut,
        **layers,
        lightning_module_type=RealPositions,
        get_trainer_func=trainer,
        recommend_torch_device=device,
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out."""
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def best_so_far(path: Path, split: str) -> float:
    """Return the validation metric of the lists that are kept."""
    if not path.exists():
        return -1.0
    about = json.loads(str(np.load(path)["about"]))
    return about["validation"] or -1.0 if about["split"] == split else -1.0


def run_cell(cell: tuple[Path, str, dict[str, Any]], device: str, until: float, begun: float) -> str:
    """Train with one setting; if it is the best so far on validation, again on all, and write its lists."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    torch.set_float32_matmul_precision("high")
    folder, model_name, settings = cell
    start, name = time.time(), folder.name
    if start > until:
        return f"{name}, {model_name}: {settings} not begun"
    split, key = read(folder / "split.npz"), str(np.load(folder / "split.npz")["key"])
    path, found, epochs = folder / f"{model_name}.npz", None, 3
    if model_name != DEFAULTS:
        train, held = (split[split["part"] == part] for part in ("train", "validation"))
        watch = Watch(train, held, TUNED_LENGTH[name], start + 0.5 * (until - start))
        model = made(name, model_name, settings, device, watch)
        model.fit_partial(dataset(train), min_epochs=1, max_epochs=MOST_EPOCHS)
        found, epochs = watch.best, watch.epoch
        with locked(path), (folder / f"{model_name}.jsonl").open("a") as file:
            line = {"settings": settings, "ndcg@10": found, "epochs": epochs, "of": watch.last}
            file.write(json.dumps({**line, "seconds": round(time.time() - start, 1), "split": key}) + "\n")
        if found <= best_so_far(path, key):
            return f"{name}, {model_name}: {line}"
    everything = dataset(split[split["part"] != "test"])
    model = made(name, model_name, settings, device)
    model.fit_partial(everything, min_epochs=epochs, max_epochs=epochs)
    users, lists = listed(model, everything, split[split["part"] == "test"]["user"].unique(), LISTED)
    said = ", ".join(f"{one} {value}" for one, value in settings.items()) or "defaults"
    length = (LENGTH if model_name == DEFAULTS else TUNED_LENGTH)[name]
    about = {
        "given": "ids, times",
        "settings": f"{said}, {epochs} epochs, last {length} items" + " (GPU)" * (device == "cuda"),
        "validation": found,
        "split": key,
        "cpu_seconds": round(time.time() - begun, 1),
        "ours": False,
    }
    with locked(path):
        if found is None or found > best_so_far(path, key):
            np.savez_compressed(path, users=users, items=lists, about=json.dumps(about))
    return f"{name}, {model_name}: {about}"


def main() -> None:
    """Run the models that are asked for and write their lists."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("results", type=Path)
    arguments.add_argument("sets", nargs="+", choices=LENGTH)
    names = [SASREC, ESASREC, DEFAULTS]
    arguments.add_argument("--models", nargs="+", choices=names, default=names)
    arguments.add_argument("--minutes", type=float, default=60, help="minutes for all that is asked for")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--jobs", type=int, default=1, help="settings that are trained at the same time")
    given = arguments.parse_args()
    begun = time.time()
    cells = [
        [(given.results / name, model, settings) for settings in tried(name, model)]
        for model in given.models
        for name in given.sets
    ]
    in_turn = [cell for cells_of in zip_longest(*cells) for cell in cells_of if cell is not None]
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        until = begun + 60 * given.minutes
        running = [pool.submit(run_cell, cell, given.device, until, begun) for cell in in_turn]
        for one in as_completed(running):
            if one.exception() is not None:
                print(repr(one.exception()), flush=True)
            else:
                print(f"{time.time() - begun:.0f} s: {one.result()}", flush=True)


if __name__ == "__main__":
    main()
