"""The folder of a store: named by what it was built from, built by one process at a time, used by all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import polars as pl
from filelock import FileLock, Timeout

from twotower.config.schema import Schema
from twotower.core.atomic import disk_errors, replacing_folder
from twotower.core.columns import digest
from twotower.core.fingerprint import Fingerprint
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.data.store.build import Built
from twotower.data.store.events import StoredEvents
from twotower.data.store.train import StoredTrain
from twotower.errors import BundleError, DataError

SIGN: Final = "store.json"
"""Written last: a folder without it is not a store."""
VERSION: Final = 1
"""Version of the files; a store of another one is built again."""
Log = Callable[[str], None]


def default_folder() -> Path:
    """Return the folder of stores in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twotower"


def stored(folder: Path, what: str, write: Callable[[Path, Path], Built], log: Log) -> Parts:
    """Open the store in a folder; build it first if it is not there.

    Args:
        folder: of the store; its name says what it is built from.
        what: it is built from, for the log.
        write: builds the training set in the first folder, with the second one for files in between.
        log: called with what is done.

    Raises:
        BundleError: it can't be written; nothing is left then.
    """
    try:
        return _stored(folder, what, write, log)
    except BundleError as error:
        raise BundleError(f"{error} The store lies where data.store_dir says.") from None


def _stored(folder: Path, what: str, write: Callable[[Path, Path], Built], log: Log) -> Parts:
    with disk_errors(folder), _alone(folder, log):
        if (folder / SIGN).exists():
            try:
                parts = _opened(folder, verify=True)
            except DataError as error:
                log(f"note: {error}")
            else:
                log(f"reading the store of {what}: {_told(folder)}")
                return parts
        elif folder.exists():  # deleted while a training used it, which then wrote there
            shutil.rmtree(folder)
        log(f"building the store of {what} in {folder}")
        _clear(folder.parent)
        with replacing_folder(folder, SIGN, "store of interactions") as temporary:
            scratch = temporary / "scratch"
            scratch.mkdir()
            _save(write(temporary / "train", scratch), temporary)
            shutil.rmtree(scratch)
            _finish(temporary)
        log(f"built the store of {what}: {_told(folder)}")
        others = [path.parent for path in folder.parent.glob(f"*/{SIGN}") if path.parent != folder]
        if others:
            size = _size(sum(_bytes(other) for other in others))
            count = count_of(len(others), "other store")
            log(f"note: {count} in {folder.parent}, {size}; delete what you no longer need")
        return _opened(folder, verify=False)


def _save(built: Built, folder: Path) -> None:
    frames = {name: data.interactions for name, data in built.sets.items()}
    for name, frame in {**frames, "users": built.users, "items": built.items}.items():
        frame.write_ipc(folder / f"{name}.arrow")
    facts = {
        "version": VERSION,
        "hash": built.hash,
        "schema": built.schema.model_dump(mode="json"),
        "notes": {"train": built.notes, **{name: data.notes for name, data in built.sets.items()}},
        "files": {path.name: digest(path) for path in sorted(folder.glob("*.arrow"))},
    }
    told = {"facts": facts, "sha256": Fingerprint().json(facts).hex()}
    (folder / "facts.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def _finish(folder: Path) -> None:
    """Put the sign in its place, once all is on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    (folder / "facts.json").rename(folder / SIGN)


def _opened(folder: Path, *, verify: bool) -> Parts:
    """Open a store.

    Raises:
        DataError: it is damaged, or of another version.
    """
    again = "; it is built again"
    try:
        told = json.loads((folder / SIGN).read_text(encoding="utf-8"))
        facts: dict[str, Any] = told["facts"]
        if Fingerprint().json(facts).hex() != told["sha256"]:
            raise DataError(f"{SIGN} of the store in {folder} is damaged{again}")
        if facts["version"] != VERSION:
            raise DataError(f"{folder} is a store of version {facts['version']}, not {VERSION}{again}")
        changed = [name for name, told in facts["files"].items() if verify and digest(folder / name) != told]
        if changed:
            raise DataError(f"{changed[0]} of the store in {folder} is damaged{again}")
        tables = {name: pl.read_ipc(folder / f"{name}.arrow") for name in _TABLES}
        schema = Schema.parse(facts["schema"])
        notes = {name: tuple(said) for name, said in facts["notes"].items()}
        events = StoredEvents.open(folder / "train", verify=verify)
        sides = (tables["users"], tables["items"], schema)
        validation, test = (Dataset(tables[name], *sides, notes[name]) for name in ("validation", "test"))
        return Parts(StoredTrain(events, *sides, notes["train"]), validation, test, facts["hash"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"the store in {folder} is damaged ({reason}){again}") from None


_TABLES: Final = ("users", "items", "validation", "test")


def _told(folder: Path) -> str:
    return f"{folder}, {_size(_bytes(folder))}; it can be deleted at any time"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def _alone(folder: Path, log: Log) -> Iterator[None]:
    """Wait until no other process builds the store."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"waiting for another process that builds the store in {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _clear(folder: Path) -> None:
    """Delete what processes that were killed left of stores that were not finished."""
    for left in folder.glob(".*.writing"):
        lock = FileLock(_lock(folder / left.name.removeprefix(".").removesuffix(".writing")))
        with suppress(Timeout), lock.acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)
