"""Build the parts of a recommender from the bytes of a bundle; every value is checked before it is used.

Hashes tell that a bundle is as it was saved, not who saved it: whoever can write a bundle can also write its
hashes. So no size, row number or type that a file states is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.config import ModelConfig
from twotower.config.kinds import ColumnEncoder
from twotower.config.parts import OBJECTIVE, saved_parts
from twotower.config.renamed import renamed
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.core.parts import Part, memory
from twotower.core.saved import flag, number
from twotower.core.tensors import Arrays, check_size, entries, exactly, finite, parse
from twotower.features import ContextEncoder, Encoder, SideEncoder
from twotower.recommender.display import PLAIN
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.left_out import SHAPE, TYPICAL, vectors_of
from twotower.recommender.parts import Catalogue, EntityVectors, Interactions, Kinds, Training
from twotower.recommender.saved_histories import PREFIX, check_histories, restored_histories
from twotower.targets.positive import PositiveRule
from twotower.targets.target import Target
from twotower.towers import TwoTowerModel
from twotower.towers.fold_in import FoldInSettings

STATE, ENCODER, TOWERS, VECTORS, TABLES = (
    "encoder.json",
    "encoder.safetensors",
    "towers.safetensors",
    "vectors.safetensors",
    "tables.json",
)
PARTS = (STATE, ENCODER, TOWERS, VECTORS, TABLES)
INDEX = "index.bin"
"""A file that exists only if an index was built."""

_NO_VECTORS = np.empty((0, 0), dtype=np.float32)
_LARGEST = float(np.finfo(np.float32).max) / 4
_IDS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.String)
_TYPES = {str(dtype): dtype for dtype in PLAIN}


def check_sizes(files: Mapping[str, Part | str | None]) -> None:
    """Check sizes before reading: the files must fit in memory, and be as long as they state.

    Raises:
        ValueError: the length of a file differs from what its header states; more bytes than memory.
    """
    parts = [part for part in files.values() if isinstance(part, Part)]
    total, most = sum(part.size for part in parts), memory()
    if most is not None and total > most:
        raise ValueError(f"its files have {total:,} bytes, and this machine has {most:,} bytes of memory")
    for part in parts:
        if part.name.endswith(".safetensors"):
            try:
                length = check_size(part.start(8), part.size)
                header = part.start(8 + length)[8:]
                ends = [end for *_, end in entries(header, part.size)]
            except ValueError:
                continue  # truncated or damaged: the check of its hash has a better message
            if ends and 8 + length + max(ends) < part.size:
                raise ValueError(f"{part.name} has {part.size:,} bytes, and its tensors end before")


def unpacked(
    manifest: Mapping[str, Any], contents: Mapping[str, NDArray[np.uint8]]
) -> tuple[FittedTowers, Catalogue, Interactions, Training]:
    """Return the parts of the recommender in a bundle.

    Args:
        manifest: the manifest.
        contents: bytes of each file.

    Raises:
        Exception: of any kind; the bundle was not saved by this library.
    """
    schema = Schema.parse(manifest["schema"])
    config, objective = saved_parts(
        _current("model", manifest["model"]),
        _objective(manifest),
        manifest.get("classes", {}),
    )
    encoder = _encoder(schema, _json(contents[STATE]), parse(contents[ENCODER]))
    tables, vectors = _json(contents[TABLES]), parse(contents[VECTORS])
    users, items = _series(tables["users"]), _series(tables["items"])
    read = {name: vectors.pop(name) for name in list(vectors) if name.startswith(PREFIX)}
    check_vectors(vectors, len(users), len(items), config.length)
    for what, ids in (("users", users), ("items", items)):
        _check_ids(what, ids)
    model = _model(encoder, config, parse(contents[TOWERS]), means=manifest["format"] < 6)
    sizes = {"users": len(users), "items": len(items)}
    check_histories(read, model.users, encoder, len(vectors["seen.item"]), sizes)
    positive = PositiveRule.from_state(manifest["positive"])
    labelled = schema.label is not None
    if positive.order is None and (labelled or positive.selects):
        raise ValueError("the rule for positives lacks the order of the labels")
    if "seen.label" in vectors and not labelled:
        raise ValueError("there are labels of seen items, but the schema has no label")
    history = manifest["history"]
    if not isinstance(history, list) or not all(isinstance(epoch, dict) for epoch in history):
        raise ValueError("the history must be a list of epochs")
    kept = {name: vectors.pop(name) for name in (TYPICAL, SHAPE) if name in vectors}
    catalogue = Catalogue(
        EntityVectors(users, vectors.get("users", _NO_VECTORS), vectors["users.warm"]),
        EntityVectors(items, vectors["items"], vectors["items.warm"]),
        _display(schema, items, tables["display"]),
        vectors.get("items.duration"),
    )
    seen = Interactions(Lists(vectors["seen.indptr"], vectors["seen.item"]), vectors.get("seen.label"))
    towers = FittedTowers(encoder, model, Target.from_state(manifest["target"]))
    catalogue, seen = restored_histories(read, encoder, catalogue, seen)
    training = Training(
        positive,
        objective,
        _fold_in(manifest["least_squares"]),
        history,
        flag(manifest, "exclude_seen") if "exclude_seen" in manifest else True,
        None if manifest.get("kinds") is None else _kinds(manifest["kinds"]),
        user_vectors=not kept,
    )
    if kept:
        known = kept[TYPICAL], kept.get(SHAPE)
        own = vectors_of(kept, towers, catalogue, seen, training)
        catalogue = replace(catalogue, users=replace(catalogue.users, vectors=own, typical=known))
    return towers, catalogue, seen, training


def _current(section: str, values: Any) -> Any:
    return renamed(section, values, warn=False) if isinstance(values, dict) else values


def _objective(manifest: Mapping[str, Any]) -> Any:
    """Return the settings of the objective; those that sample had no grades before format 6."""
    values = _current("objective", manifest["objective"])
    if (
        manifest["format"] >= 6
        or not isinstance(values, dict)
        or values.get("name") not in OBJECTIVE.registry
    ):
        return values
    config = OBJECTIVE.registry.get(values["name"]).Config
    graded = "min_grade" in config.model_fields and config().sampled_items is not None
    return {"min_grade": None, **values} if graded else values


def _json(content: NDArray[np.uint8]) -> Any:
    return json.loads(content.tobytes())


def _encoder(schema: Schema, state: Any, arrays: Arrays) -> Encoder:
    encoders: dict[str, dict[str, ColumnEncoder]] = {}
    sides, known = {}, set()
    for which in ("users", "items", "context"):
        kinds, own = getattr(schema, which), state.get(which, {"columns": {}})  # earlier versions: no context
        if set(own["columns"]) != set(kinds):
            raise ValueError(f"the columns of {which} are not those of the schema")
        encoders[which] = {}
        for name, kind in kinds.items():
            prefix = f"{which}.{name}."
            names = [key for key in arrays if key.startswith(prefix)]
            found = {key.removeprefix(prefix): arrays[key] for key in names}
            encoders[which][name] = kind.restore(own["columns"][name], found)
            known |= {prefix + key for key in encoders[which][name].arrays()}
    for which, column in (("users", schema.user), ("items", schema.item)):
        if state[which]["column"] != column:
            raise ValueError(f"the ids of {which} are not those of the schema")
        warm_ids = _series(state[which]["warm_ids"])
        _check_ids(f"warm {which}", warm_ids)
        sides[which] = SideEncoder(column, warm_ids, encoders[which])
    if set(arrays) != known:
        raise ValueError(f"{ENCODER} has tensors that belong to no column: {sorted(set(arrays) - known)[:3]}")
    return Encoder(schema, sides["users"], sides["items"], ContextEncoder(encoders["context"]))


def check_vectors(arrays: Arrays, n_users: int, n_items: int, dim: int) -> None:
    """Check the arrays of the catalogue and of what was seen.

    Raises:
        ValueError: a shape or type, a number or score that is not finite, a row out of range.
    """
    n_seen = len(arrays["seen.item"])
    users: dict[str, tuple[str, tuple[int, ...]]] = {"users": ("float32", (n_users, dim))}
    if TYPICAL in arrays:
        users = {TYPICAL: ("float32", (dim,))}
        if SHAPE in arrays:
            users[SHAPE] = ("float64", arrays[SHAPE].shape)
            finite("the shape of users", arrays[SHAPE])
    known = arrays[TYPICAL][None] if TYPICAL in arrays else arrays["users"]
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        **users,
        "users.warm": ("bool", (n_users,)),
        "items": ("float32", (n_items, dim)),
        "items.warm": ("bool", (n_items,)),
        "seen.indptr": ("int64", (n_users + 1,)),
        "seen.item": ("int32", (n_seen,)),
    }
    optional = {"seen.label": ("float32", (n_seen,)), "items.duration": ("float64", (n_items,))}
    exactly(arrays, shapes | {name: given for name, given in optional.items() if name in arrays})
    for name in ("users", "items"):
        if not arrays[f"{name}.warm"].any():
            raise ValueError(f"no row of the {name} was trained")
        finite(f"the vectors of {name}", known if name == "users" else arrays[name])
    if "seen.label" in arrays:
        finite("the labels of seen items", arrays["seen.label"])
    # |u . v| <= |u| |v|, so no score, and no sum on the way to it, overflows
    longest = [np.sqrt(np.einsum("ij,ij->i", v, v, dtype=np.float64).max()) for v in (known, arrays["items"])]
    if longest[0] * longest[1] > _LARGEST:
        raise ValueError("the vectors are so long that scores are not finite")
    indptr, item = arrays["seen.indptr"], arrays["seen.item"]
    if indptr[0] != 0 or indptr[-1] != n_seen or (np.diff(indptr) < 0).any():
        raise ValueError("the row pointers of seen items must rise from 0 to their number")
    if n_seen and (item.min() < 0 or item.max() >= n_items):
        raise ValueError(f"a seen item has a row outside the {n_items} items")


def check_weights(weights: Arrays) -> None:
    """Check that the weights of the towers are finite.

    Raises:
        ValueError: one is not.
    """
    for name, weight in weights.items():
        finite(f"the weights {name!r}", weight)


def _check_ids(what: str, ids: pl.Series) -> None:
    if ids.dtype not in _IDS or not len(ids) or ids.null_count() or ids.n_unique() != len(ids):
        raise ValueError(f"ids of {what} must be whole numbers or text, at least one, unique and not null")


def _display(schema: Schema, items: pl.Series, columns: Any) -> pl.DataFrame:
    found = [items.alias(schema.item)]
    for state in columns:
        if not isinstance(state["name"], str):
            raise ValueError("a display column has no name")
        found.append(_series(state).alias(state["name"]))
        if len(found[-1]) != len(items):
            raise ValueError(f"the display column {state['name']!r} has another length than the catalogue")
    return pl.DataFrame(found)  # refuses duplicate names


def _kinds(state: Any) -> Kinds:
    tables = (state["alone"], state["weights"])
    if not isinstance(state["metric"], str) or not all(isinstance(one, dict) and one for one in tables):
        raise ValueError("what was chosen among kinds of towers must be a metric and tables of numbers")
    alone, weights = ({name: number(one, name) for name in one} for one in tables)
    return Kinds(state["metric"], alone, weights, number(state, "value"))


def _fold_in(state: Any) -> FoldInSettings:
    numbers, flags = (
        ("cell", "ridge", "positive", "rest", "mean", "sd", "cell_power"),
        ("biased", "population"),
    )
    if not {"cell", "ridge"} <= set(state) <= {*numbers, *flags}:
        raise ValueError(f"the settings for folding in must be {', '.join((*numbers, *flags))}")
    values: dict[str, Any] = {name: number(state, name) for name in numbers if name in state}
    values |= {name: flag(state, name) for name in flags if name in state}
    made = FoldInSettings(**values)
    if (
        min(made.cell, made.ridge) < 0
        or made.sd <= 0
        or max(map(abs, (made.cell, made.ridge, made.positive, made.rest, made.mean, made.sd))) > 1e12
        or not 0.0 <= made.cell_power <= 1.0
    ):
        raise ValueError("a setting for folding in is out of range")
    return made


def _model(encoder: Encoder, config: ModelConfig, weights: Arrays, *, means: bool) -> TwoTowerModel:
    users, items = encoder.users, encoder.items
    if len(config.widths) > len(weights):
        raise ValueError(
            f"the model has {len(config.widths)} hidden layers, but {TOWERS} has weights of fewer"
        )
    with torch.device("meta"):  # shapes without memory, as the sizes in the config may be anything
        model = TwoTowerModel(
            encoder.user_shape, encoder.item_shape, len(users.warm_ids), len(items.warm_ids), config, seed=0
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes["mean"] = tuple(weights["mean"].shape)
    if means:
        weights |= {name: np.zeros(1, np.float32) for name in shapes if name.endswith(".by_root")}
    exactly(weights, {name: ("float32", shape) for name, shape in shapes.items()})
    check_weights(weights)
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    tensors["mean"] = tensors["mean"].reshape(())
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def _series(state: Any) -> pl.Series:
    if not isinstance(state["values"], list):
        raise ValueError("the values of a column must be a list")
    return pl.Series("id", state["values"], dtype=_dtype(state["type"]))


def _dtype(name: str, deep: int = 0) -> pl.DataType | type[pl.DataType]:
    if deep < 4 and name.startswith("List(") and name.endswith(")"):
        return pl.List(_dtype(name[5:-1], deep + 1))
    return _TYPES[name]
