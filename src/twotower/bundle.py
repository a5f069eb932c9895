"""The saved form of a `Recommender`: safetensors and JSON in a directory, every part hashed; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from twotower.atomic import folder_place, replacing_folder
from twotower.config import ModelConfig, ObjectiveConfig
from twotower.errors import BundleError
from twotower.features import Encoder, SideEncoder
from twotower.features.encoder import column_from_state, column_state
from twotower.features.positive import PositiveRule
from twotower.features.target import Target
from twotower.model import SideArrays, TwoTowerModel
from twotower.objectives import FoldInSettings
from twotower.recommender import Recommender
from twotower.retrieval import load_index
from twotower.schema import Schema
from twotower.side import PLAIN, Side, plain

FORMAT = 2
"""Version of the saved form; a bundle of another one is refused."""
MANIFEST = "bundle.json"
ENCODER, TOWERS, VECTORS, TABLES = (
    "encoder.safetensors",
    "towers.safetensors",
    "vectors.safetensors",
    "tables.json",
)
PARTS = ("encoder.json", ENCODER, TOWERS, VECTORS, TABLES)
INDEX = "index.bin"
"""A part that is there if an index was made."""

_OWN = (
    "format",
    "schema",
    "model",
    "target",
    "positive",
    "objective",
    "least_squares",
    "history",
    "parts",
    "hash",
)
"""What the manifest holds of its own; the rest are facts."""

Arrays = dict[str, NDArray[Any]]


def save_bundle(recommender: Recommender, directory: Path, facts: dict[str, Any]) -> None:
    """Write a bundle under a temporary name and put it in place when it is whole.

    Raises:
        BundleError: it can't be written (a full disk, no permission), or something that is no bundle has the
            place; what was there before is untouched.
    """
    try:
        with replacing_folder(directory, MANIFEST, "bundle") as temporary:
            _write_parts(recommender, temporary)
            parts = list(PARTS)
            if recommender.index is not None:
                recommender.index.save(temporary / INDEX)
                parts.append(INDEX)
            manifest: dict[str, Any] = {
                "format": FORMAT,
                "schema": recommender.encoder.schema.model_dump(mode="json"),
                "model": recommender.model.config.model_dump(mode="json"),
                "target": recommender.target.state(),
                "positive": recommender.positive.state(),
                "objective": recommender.objective.model_dump(mode="json"),
                "least_squares": asdict(recommender.least_squares),
                "history": recommender.history,
                **facts,
                "parts": {name: _digest(temporary / name) for name in parts},
            }
            manifest = json.loads(json.dumps(manifest))  # as it will be read: every key a string
            manifest["hash"] = _manifest_hash(manifest)
            _write_text(temporary / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"could not write the bundle {directory.absolute()}: {error}; what was there is untouched. "
            "Make room, or choose another place"
        ) from None


def read_facts(directory: Path) -> dict[str, Any]:
    """Return what `save_bundle` was given to keep in the manifest.

    Raises:
        BundleError: as `read_manifest`.
    """
    return {name: value for name, value in read_manifest(directory).items() if name not in _OWN}


def load_bundle(directory: Path, *, index: bool = True) -> Recommender:
    """Read a bundle, checking the hash of every part and of the whole.

    Without ``index`` an index that is in it is checked but not read, and every search is exact. If a save was
    killed between its two renames, the bundle it was to replace is read where it stepped aside.

    Raises:
        BundleError: a part is missing, truncated, of another bundle, or of a newer format.
        MissingExtraError: the index in it needs a library that is not installed.
    """
    directory = folder_place(directory, MANIFEST)
    manifest = read_manifest(directory)
    for name, digest in manifest["parts"].items():
        try:
            found = _digest(directory / name)
        except FileNotFoundError:
            raise BundleError(
                f"bundle {directory} lacks its part {name}; copy it again, or train again"
            ) from None
        except OSError as error:
            raise BundleError(f"part {name} of bundle {directory} can't be read: {error}") from None
        if found != digest:
            raise BundleError(
                f"part {name} of bundle {directory} is not the one saved with it (truncated, changed or of "
                "another bundle); copy the whole bundle again, or train again"
            )
    try:
        recommender = _read_parts(directory, manifest)
        if index and INDEX in manifest["parts"]:
            searched = load_index(directory / INDEX, recommender.items.vectors)
            recommender = replace(recommender, index=searched)
        return recommender
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, SafetensorError, OSError) as error:
        raise BundleError(f"bundle {directory} can't be read: {type(error).__name__}: {error}") from None


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return a bundle's manifest, its own hash and format checked."""
    path = folder_place(directory, MANIFEST) / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{directory} is no bundle: it has no {MANIFEST}; name the directory that train wrote"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise BundleError(
                f"bundle {directory} has format {manifest['format']}, this version reads format {FORMAT}; "
                "upgrade twotower"
            )
        if manifest["format"] < FORMAT:
            raise BundleError(
                f"bundle {directory} has format {manifest['format']}, this version reads format {FORMAT}; "
                "train again"
            )
        whole = manifest["hash"] == _manifest_hash(manifest) and set(manifest["parts"]) - {INDEX} == set(
            PARTS
        )
    except OSError as error:
        raise BundleError(f"{path} can't be read: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise BundleError(
            f"{path} is damaged: its hash does not match; copy the bundle again, or train again"
        )
    return dict(manifest)


def _write_parts(recommender: Recommender, directory: Path) -> None:
    state: dict[str, Any] = {}
    arrays: Arrays = {}
    for which, side in (("users", recommender.encoder.users), ("items", recommender.encoder.items)):
        columns = {}
        for name, encoder in side.columns.items():
            columns[name], own = column_state(encoder)
            arrays |= {f"{which}.{name}.{key}": np.ascontiguousarray(value) for key, value in own.items()}
        state[which] = {"column": side.column, "warm_ids": _column(side.warm_ids), "columns": columns}
    _write_text(directory / "encoder.json", json.dumps(state, ensure_ascii=False))
    _save(arrays, directory / ENCODER)
    towers = {name: t.detach().cpu().numpy() for name, t in recommender.model.state_dict().items()}
    _save(towers, directory / TOWERS)
    vectors: Arrays = {
        "users": recommender.users.vectors,
        "users.warm": recommender.users.warm,
        "items": recommender.items.vectors,
        "items.warm": recommender.items.warm,
        "seen.indptr": recommender.seen[0],
        "seen.item": recommender.seen[1],
    }
    if recommender.seen_label is not None:
        vectors["seen.label"] = recommender.seen_label
    if recommender.item_duration is not None:
        vectors["items.duration"] = recommender.item_duration
    _save(vectors, directory / VECTORS)
    tables = {
        "users": _column(recommender.users.ids),
        "items": _column(recommender.items.ids),
        "display": [
            {"name": c.name, **_column(c)}
            for c in plain(recommender.display.drop(recommender.encoder.schema.item))
        ],
    }
    _write_text(directory / TABLES, json.dumps(tables, ensure_ascii=False))


def _read_parts(directory: Path, manifest: dict[str, Any]) -> Recommender:
    schema = Schema.model_validate(manifest["schema"])
    state = json.loads((directory / "encoder.json").read_text(encoding="utf-8"))
    arrays = load_file(directory / ENCODER)
    sides = {}
    for which, kinds in (("users", schema.users), ("items", schema.items)):
        columns = {}
        for name, kind in kinds.items():
            prefix = f"{which}.{name}."
            own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            columns[name] = column_from_state(kind, state[which]["columns"][name], own)
        sides[which] = SideEncoder(state[which]["column"], _series(state[which]["warm_ids"]), columns)
    encoder = Encoder(schema, sides["users"], sides["items"])
    model = _model(encoder, ModelConfig.model_validate(manifest["model"]), load_file(directory / TOWERS))
    vectors = load_file(directory / VECTORS)
    tables = json.loads((directory / TABLES).read_text(encoding="utf-8"))
    users = Side(_series(tables["users"]), vectors["users"], vectors["users.warm"])
    items = Side(_series(tables["items"]), vectors["items"], vectors["items.warm"])
    display = pl.DataFrame(
        [items.ids.alias(schema.item)] + [_series(c).alias(c["name"]) for c in tables["display"]]
    )
    return Recommender(
        encoder,
        model,
        Target.from_state(manifest["target"]),
        users,
        items,
        (vectors["seen.indptr"], vectors["seen.item"]),
        display,
        vectors.get("items.duration"),
        manifest["history"],
        PositiveRule.from_state(manifest["positive"]),
        ObjectiveConfig.model_validate(manifest["objective"]),
        FoldInSettings(**manifest["least_squares"]),
        vectors.get("seen.label"),
    )


def _model(encoder: Encoder, config: ModelConfig, weights: Arrays) -> TwoTowerModel:
    cpu = torch.device("cpu")
    packed = []
    for side, kinds in ((encoder.users, encoder.schema.users), (encoder.items, encoder.schema.items)):
        # the towers' shapes follow from the columns alone: one row of missing values shows them all
        row = pl.DataFrame([pl.Series(side.column, [None], dtype=side.warm_ids.dtype)])
        row = row.with_columns(
            pl.lit(None, dtype=_MISSING.get(kind, pl.String)).alias(c) for c, kind in kinds.items()
        )
        packed.append(SideArrays.pack(side.transform(row), cpu))
    n_users, n_items = len(encoder.users.warm_ids), len(encoder.items.warm_ids)
    model = TwoTowerModel(packed[0], packed[1], n_users, n_items, config, seed=0)
    model.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in weights.items()})
    return model.eval()


_MISSING: dict[str, pl.DataType | type[pl.DataType]] = {
    "number": pl.Float64,
    "log_number": pl.Float64,
    "timestamp": pl.Float64,
    "categories": pl.List(pl.String),
    "vector": pl.List(pl.Float32),
}
_DTYPES = {str(dtype): dtype for dtype in PLAIN}


def _column(column: pl.Series) -> dict[str, Any]:
    return {"type": str(column.dtype), "values": column.to_list()}


def _series(state: dict[str, Any]) -> pl.Series:
    return pl.Series("id", state["values"], dtype=_dtype(state["type"]))


def _dtype(name: str) -> pl.DataType | type[pl.DataType]:
    if name.startswith("List(") and name.endswith(")"):
        return pl.List(_dtype(name[5:-1]))
    return _DTYPES[name]


def _save(arrays: Arrays, path: Path) -> None:
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_hash(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
