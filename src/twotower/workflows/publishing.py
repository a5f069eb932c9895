"""Publish a finished run to a vector database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twotower.core.wording import count_of
from twotower.recommender.bundle import read_bundle
from twotower.recommender.recommender import Recommender
from twotower.retrieval.databases import Columns, Items, Publication, database_at, publish_items
from twotower.retrieval.databases.publishing import KEEP
from twotower.workflows.run import Run
from twotower.workflows.stages import Log, quiet

VERSION_DIGITS = 12
"""Digits of a bundle's hash that name its version, in servers too."""
_SAID = 100_000
"""Items after which progress is reported."""


def publish(
    path: str | Path,
    address: str,
    *,
    keep: int = KEEP,
    parameters: Mapping[str, int] | None = None,
    log: Log = quiet,
) -> Publication:
    """Write a run's items to a vector database, and make them its current version.

    A collection of its own gets the vector, the id and the display columns of each item. The address stands
    for it as soon as it is complete, so that no search ever sees a part. Servers and `twotower.load` take the
    collection of their own bundle's version.

    Args:
        path: of a finished run.
        address: ``milvus://HOST[:PORT]/COLLECTION[?db=NAME&tls=yes]``, or ``milvus:FILE.db`` for milvus-lite.
            A token comes from ``TWOTOWER_MILVUS_TOKEN``, or the file that ``TWOTOWER_MILVUS_TOKEN_FILE``
            names.
        keep: versions that stay, this one among them; older ones are deleted.
        parameters: of the search structure, such as ``{"nlist": 1024}``; chosen by default.
        log: called with lines on the progress.

    Raises:
        ConfigError: no finished run there, an invalid address, or a setting out of range.
        BundleError: the bundle can't be read.
        IndexUnavailable: the database does not answer; what it served before is unchanged.
        MissingExtraError: the library of the database is not installed.
    """
    database = database_at(address)
    run = Run.finished(path)
    recommender, manifest = read_bundle(run.bundle, Recommender, index=False)
    display = recommender.display.drop(recommender.encoder.schema.item)
    items = Items(recommender.items.vectors, recommender.item_ids, Columns(display))
    n = len(items.vectors)
    columns = count_of(len(items.columns), "column")
    log(f"{count_of(n, 'item')} of dim {items.vectors.shape[1]}, {columns} to {database.address}")
    last = 0

    def told(done: int) -> None:
        nonlocal last
        if done - last >= _SAID or done == n:
            last = done
            log(f"{done:,} of {n:,} items written")

    return publish_items(
        database, items, manifest["hash"][:VERSION_DIGITS], keep=keep, parameters=parameters, told=told
    )
