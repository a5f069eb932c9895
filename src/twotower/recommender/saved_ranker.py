"""The second stage in a bundle: LightGBM's text form of the trees, JSON and safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twotower.config.diversity import DiversityConfig
from twotower.config.ranker import RankerConfig
from twotower.core.lists import Lists
from twotower.core.saved import number
from twotower.core.tensors import Arrays, finite, parse
from twotower.ranking.columns import columns_of
from twotower.ranking.groups.registry import features_of
from twotower.ranking.known import Known
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.past import Past
from twotower.ranking.second_stage import SecondStage
from twotower.ranking.tree_text import check_trees
from twotower.ranking.trees import Trees
from twotower.recommender.list_stages import check_column
from twotower.recommender.query_context import QueryContext
from twotower.recommender.second_stage import members_of
from twotower.recommender.state import RecommenderState

State = TypeVar("State", bound=RecommenderState)
TREES, SETTINGS, STATE = "ranker.txt", "ranker.json", "ranker.safetensors"
RANKER_PARTS = (TREES, SETTINGS, STATE)
"""Files that exist only if there is a second stage."""


def ranker_parts(stage: SecondStage) -> dict[str, str | Arrays]:
    """Return the content of the three files by their names: trees, settings and arrays."""
    unread = set() if stage.settings.sources else {"sources", "source_candidates"}
    known, settings = stage.known, stage.settings.model_dump(mode="json", exclude=unread)
    arrays: Arrays = {
        "past.indptr": known.past.lists.indptr,
        "past.item": known.past.lists.values,
        "past.grade": known.past.grade,
        "users": known.users,
        "items": known.items,
    }
    if known.past.time is not None:
        arrays["past.time"] = known.past.time
    for name, matrix in (("together", known.together), ("following", known.following)):
        if matrix is not None:
            arrays |= {
                f"{name}.indptr": matrix.lists.indptr,
                f"{name}.item": matrix.lists.values,
                f"{name}.weight": matrix.weight,
            }
    for place, (lists, _) in enumerate(known.values.values()):
        arrays |= {f"values.{place}.indptr": lists.indptr, f"values.{place}.code": lists.values}
    state = {
        "settings": settings,
        "queries": list(stage.queries),
        "worth": list(stage.trees.worth),
        "values": [[name, size] for name, (_, size) in known.values.items()],
        "features": [one.name for one in stage.features],
    }
    return {TREES: stage.trees.text, SETTINGS: json.dumps(state, ensure_ascii=False), STATE: arrays}


def with_stages(
    model: State, manifest: Mapping[str, Any], contents: Mapping[str, NDArray[np.uint8]]
) -> State:
    """Return the model of a bundle with the second stage and the rules for lists in it, if there are any.

    Raises:
        Exception: of any kind; the bundle was not saved by this library.
    """
    if TREES in contents:
        model = replace(model, ranker=restored_ranker(model, contents))
    if manifest.get("diversity") is None:
        return model
    rules = DiversityConfig.model_validate_json(json.dumps(manifest["diversity"]), strict=True)
    check_column(rules, model.display.columns[1:])
    return replace(model, diversity=rules)


def restored_ranker(model: RecommenderState, contents: Mapping[str, NDArray[np.uint8]]) -> SecondStage:
    """Return the second stage in a bundle.

    Args:
        model: the model that it belongs to.
        contents: bytes of the files.

    Raises:
        Exception: of any kind; the files were not saved by this library, or with another model.
    """
    state, arrays = json.loads(contents[SETTINGS].tobytes()), parse(contents[STATE])
    settings = RankerConfig.model_validate_json(json.dumps(state["settings"]), strict=True)
    n_users, n_items = len(model.users), len(model.items)
    lists = _lists(arrays, "past", "item", n_users, n_items)
    n = len(lists.values)
    shape = model.encoder
    context = shape.user_shape.context if QueryContext(model.towers).read else None
    users, items = tuple(columns_of(shape.user_shape)), tuple(columns_of(shape.item_shape))
    time = _numbers(arrays, "past.time", "float64", (n,)) if "past.time" in arrays else None
    if time is not None and np.isinf(time).any():
        raise ValueError("the times of the ranker must be finite")
    values = {}
    for place, (name, size) in enumerate(state["values"]):
        if not isinstance(name, str) or type(size) is not int or not 0 < size <= 1 << 20:
            raise ValueError("the categories of the ranker must have a name and a number")
        values[name] = (_lists(arrays, f"values.{place}", "code", n_items, size), size)
    known = Known(
        Past(lists, _finite(arrays, "past.grade", (n,)), time, n_items),
        model.items.vectors,
        model.item_directions,
        members_of(model),
        users,
        items,
        tuple(columns_of(context)),
        _numbers(arrays, "users", "float32", (n_users, len(users))),
        _numbers(arrays, "items", "float32", (n_items, len(items))),
        values,
        _matrix(arrays, "together", n_items),
        _matrix(arrays, "following", n_items) if "following.indptr" in arrays else None,
        settings.sources,
    )
    if (known.following is not None) != bool(np.isfinite(known.past.end)):
        raise ValueError("the ranker must have what follows what if it has times, and only then")
    features = features_of(known)
    if state["features"] != [one.name for one in features]:
        raise ValueError("the features of the ranker are not those of the model")
    text = contents[TREES].tobytes().decode()
    check_trees(text, len(features))
    queries = tuple(int(number({"queries": one}, "queries", above=-1)) for one in state["queries"])
    worth = tuple(number({"worth": one}, "worth") for one in state["worth"])
    if len(queries) != 2:
        raise ValueError("the ranker must say of how many queries it was made")
    return SecondStage(settings, known, Trees(text, worth), (queries[0], queries[1]))


def _lists(arrays: Arrays, name: str, values: str, n: int, most: int) -> Lists:
    return Lists.check(name, (arrays[f"{name}.indptr"], arrays[f"{name}.{values}"]), n, most)


def _numbers(arrays: Arrays, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = arrays[name]
    if str(array.dtype) != dtype or array.shape != shape:
        raise ValueError(
            f"{name} of the ranker must be {dtype} of shape {shape}, got {array.dtype} of {array.shape}"
        )
    return array


def _finite(arrays: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = _numbers(arrays, name, "float32", shape)
    finite(f"{name} of the ranker", array)
    return array


def _matrix(arrays: Arrays, name: str, n_items: int) -> Neighbours:
    lists = _lists(arrays, name, "item", n_items, n_items)
    return Neighbours(lists, _finite(arrays, f"{name}.weight", (len(lists.values),)))
