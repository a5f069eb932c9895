"""Train, honestly evaluate and use two-tower recommenders, from interaction tables to recommendations.

>>> import twotower as tt
>>> data = tt.datasets.load("kuairec-sample")
>>> train, test = tt.split(data, "random", test=0.1, seed=42)
>>> len(train), len(test)
(105402, 11711)

``tt.TwoTower(dim=64).fit(train)`` then gives a `Recommender`, which evaluates, recommends, scores and saves.

Importing the package is quick: each name brings what it needs, torch among it, when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twotower.core import forking as _forking

if TYPE_CHECKING:
    from pathlib import Path

    from twotower import datasets
    from twotower.config.kinds import FeatureKind, Kind
    from twotower.config.schema import Schema
    from twotower.data.dataset import Dataset
    from twotower.data.splitting import split
    from twotower.data.tables import read_dataset, read_table
    from twotower.distributed import Ray
    from twotower.errors import TwoTowerError
    from twotower.estimator import TwoTower
    from twotower.evaluation import evaluate_rating
    from twotower.recommender import Recommender
    from twotower.recommender.queries import Queries
    from twotower.recommender.query import Query
    from twotower.training import Callback
    from twotower.workflows.compare_models import compare
    from twotower.workflows.cross_validation import cross_validate

    __version__: str

__all__ = [
    "Callback",
    "Dataset",
    "FeatureKind",
    "Kind",
    "Queries",
    "Query",
    "Ray",
    "Recommender",
    "Schema",
    "TwoTower",
    "TwoTowerError",
    "compare",
    "cross_validate",
    "datasets",
    "evaluate_rating",
    "load",
    "read_dataset",
    "read_table",
    "split",
]

_HOME = {
    "Callback": "twotower.training",
    "Dataset": "twotower.data.dataset",
    "FeatureKind": "twotower.config.kinds",
    "Kind": "twotower.config.kinds",
    "Queries": "twotower.recommender.queries",
    "Query": "twotower.recommender.query",
    "Ray": "twotower.distributed",
    "Recommender": "twotower.recommender.recommender",
    "Schema": "twotower.config.schema",
    "TwoTower": "twotower.estimator",
    "TwoTowerError": "twotower.errors",
    "compare": "twotower.workflows.compare_models",
    "cross_validate": "twotower.workflows.cross_validation",
    "evaluate_rating": "twotower.evaluation",
    "read_dataset": "twotower.data.tables",
    "read_table": "twotower.data.tables",
    "split": "twotower.data.splitting",
}
"""The module of each public class and function that is not defined here."""


def load(directory: str | Path, *, index: bool | str = True) -> Recommender:
    """Load what `Recommender.save` wrote: a bundle, or a run, which has one in it.

    Every part is checked against its hash, and nothing in it is executed. An index that is in it is searched
    unless ``index`` is false; then every item is. With an address, such as ``milvus://HOST/COLLECTION``, the
    vector database that the run was published to is asked.

    Raises:
        BundleError: there is none, or its parts are damaged, of different bundles, or too new.
        MissingExtraError: the index in it needs a library that is not installed.
    """
    _forking.check_process(works=False)
    from twotower.recommender import Recommender  # noqa: PLC0415  (brings torch)

    return Recommender.load(directory, index=index)


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        value = import_module("importlib.metadata").version("twotower")
    elif name == "datasets":
        value = import_module("twotower.datasets")
    elif name in _HOME:
        if name != "TwoTowerError":
            _forking.check_process(works=False)
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'twotower' has no attribute {name!r}")
    globals()[name] = value  # so that this is asked once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
