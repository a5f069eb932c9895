"""Exposures of users that are deleted, before they are written."""

from __future__ import annotations

import asyncio
from pathlib import Path

from twotower.server.exposures import EXPOSURES, Exposures
from twotower.server.store import SqliteStore
from twotower.server.traffic import Traffic


def test_only_the_deleted_user_s_exposures_are_dropped_whatever_the_ids(tmp_path: Path) -> None:
    async def work() -> set[str]:
        store = SqliteStore(tmp_path / "store.db")
        await store.open()
        exposures = Exposures(store)
        for user in ("b", "a b", "ab"):
            exposures.saw(user, "one", "1", Traffic({"one": 50.0, "two": 50.0}))
        exposures.forget("b")
        await exposures.flush()
        found = {record.user for record in await store.records(EXPOSURES)}
        await store.close()
        return found

    assert asyncio.run(work()) == {"a b", "ab"}
