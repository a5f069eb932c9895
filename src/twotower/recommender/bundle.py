"""The saved form of a `Recommender`: safetensors and JSON in a directory, every part hashed; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException
from safetensors import SafetensorError

from twotower.config.parts import classes_of
from twotower.core.atomic import folder_place, replacing_folder
from twotower.core.fingerprint import Fingerprint
from twotower.core.forking import check_process
from twotower.core.parts import Part, opened
from twotower.core.tensors import Arrays
from twotower.core.tensors import write as write_tensors
from twotower.core.warn import warn
from twotower.errors import BundleError, MissingExtraError
from twotower.recommender.display import as_plain
from twotower.recommender.forgetting import versions_of
from twotower.recommender.left_out import check_left_out, kept_of
from twotower.recommender.saved_histories import check_histories, saved_histories
from twotower.recommender.saved_ranker import RANKER_PARTS, ranker_parts, with_stages
from twotower.recommender.state import RecommenderState
from twotower.recommender.unpacking import (
    ENCODER,
    INDEX,
    PARTS,
    STATE,
    TABLES,
    TOWERS,
    VECTORS,
    check_sizes,
    check_vectors,
    check_weights,
    unpacked,
)
from twotower.retrieval import index_from_bytes
from twotower.retrieval.databases import open_index

FORMAT = 7
"""The newest version of the saved form; it is written where there is a second stage, or rules for lists."""
ONE_STAGE = 6
"""The version that is written where there are none."""
_READABLE = (2, 3, 4, 5, ONE_STAGE, FORMAT)
"""Versions that are read: 2 had the old names of settings, 3 no kind of towers, 4 no histories that towers
read; in 5 linear towers took the mean of a list; 6 has no second stage. Others are refused."""
MANIFEST = "bundle.json"
BUNDLE, CONFIG = "bundle", "config.toml"
"""Names in a run directory: the bundle, and the config."""
OPTIONAL = (INDEX, *RANKER_PARTS)
_SHOWN = 5
_TRIES = 10
"""How often a bundle is opened that is replaced meanwhile, 10 ms apart."""
State = TypeVar("State", bound=RecommenderState)

_OWN = (
    "format",
    "schema",
    "model",
    "target",
    "positive",
    "objective",
    "classes",
    "least_squares",
    "exclude_seen",
    "kinds",
    "diversity",
    "history",
    "written_by",
    "parts",
    "hash",
)
"""Keys of the manifest itself; the others are facts."""
_SCRIPTS: Final = re.compile('"(__main__:[^"]+)"')


def save_bundle(recommender: RecommenderState, directory: Path, facts: dict[str, Any]) -> None:
    """Write a bundle under a temporary name and rename it into place when it is complete.

    Raises:
        BundleError: the model has numbers that aren't finite, so that it could not be loaded; or it can't be
            written (a full disk, no permission), or something that is not a bundle is there. What was there
            before is unchanged.
    """
    try:
        with replacing_folder(directory, MANIFEST, "bundle") as temporary:
            _write_parts(recommender, temporary)
            parts = list(PARTS)
            if recommender.index is not None:
                recommender.index.save(temporary / INDEX)
                parts.append(INDEX)
            if recommender.ranker is not None:
                for name, content in ranker_parts(recommender.ranker).items():
                    if isinstance(content, str):
                        _write_text(temporary / name, content)
                    else:
                        _save(temporary / name, content)
                parts += RANKER_PARTS
            classes = classes_of(recommender.model.config, recommender.objective)
            rules = recommender.diversity
            manifest: dict[str, Any] = {
                "format": ONE_STAGE if recommender.ranker is None and rules is None else FORMAT,
                "schema": recommender.encoder.schema.model_dump(mode="json"),
                "model": recommender.model.config.model_dump(mode="json"),
                "target": recommender.target.state(),
                "positive": recommender.positive.state(),
                "objective": recommender.objective.model_dump(mode="json"),
                **({"classes": classes} if classes else {}),
                "least_squares": asdict(recommender.least_squares),
                "exclude_seen": recommender.exclude_seen,
                "kinds": None if recommender.kinds is None else asdict(recommender.kinds),
                **({} if rules is None else {"diversity": rules.model_dump(mode="json")}),
                "history": recommender.history,
                **facts,
                "written_by": version("twotower"),
                "parts": {name: _digest(temporary / name) for name in parts},
            }
            manifest = json.loads(json.dumps(manifest))  # as it will be read: every key a string
            for own in _SCRIPTS.findall(json.dumps(manifest)):
                warn(
                    f"{own} is a class of this script, which other programs can't import: they load the "
                    "bundle only if they define and register it; define it in a module"
                )
            manifest["hash"] = _manifest_hash(manifest)
            _write_text(temporary / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"could not write the bundle {directory.absolute()}: {error}; what was there is unchanged. "
            "Free some space, or choose another folder"
        ) from None


def read_facts(directory: Path) -> dict[str, Any]:
    """Return the facts that `save_bundle` was given.

    Raises:
        BundleError: as `read_manifest`.
    """
    return {name: value for name, value in read_manifest(directory).items() if name not in _OWN}


def bundle_in(directory: Path) -> Path:
    """Return where the bundle is: the directory itself, or its ``bundle`` if it is a run.

    Raises:
        BundleError: it is a run without a bundle, or contains several runs.
    """
    inner = directory / BUNDLE
    if (folder_place(directory, MANIFEST) / MANIFEST).exists():
        return directory
    if (folder_place(inner, MANIFEST) / MANIFEST).exists():
        return inner
    if (directory / CONFIG).exists():
        raise BundleError(
            f"the run in {directory} is not finished, so it has no bundle; resume it with "
            f"`twotower train CONFIG --out {directory} --resume`"
        )
    within = sorted(directory.glob(f"*/{CONFIG}"))[:_SHOWN]
    if within:
        raise BundleError(
            f"{directory} contains several runs; choose one: {', '.join(str(one.parent) for one in within)}"
        )
    return directory


def read_bundle(
    directory: Path, kind: type[State], *, index: bool | str = True, mapped: bool = False
) -> tuple[State, dict[str, Any]]:
    """Read a bundle as a ``kind``, and its manifest; check all hashes, and that the parts fit one another.

    Without ``index``, an index in the bundle is checked but not used, and every search is exact; an address
    of a vector database is used in its place. With ``mapped``, arrays are mapped, and the files must never
    change. If a save was killed between its two renames, the bundle before is read where it was moved to.

    Raises:
        BundleError: a part is missing, truncated, from another bundle, not a regular file or invalid; or the
            bundle has another format.
        ConfigError: ``index`` is not an address.
        IndexUnavailable: the vector database does not answer.
        MissingExtraError: the index needs a library that is not installed.
    """
    check_process()
    with _opened(directory, (MANIFEST, *PARTS, *OPTIONAL)) as files:
        manifest = _manifest(directory, files)
        with _refusing(directory):
            check_sizes({name: files.get(name) for name in manifest["parts"]})
        contents = {}
        for name, digest in manifest["parts"].items():
            contents[name], found = _content(directory, files, name, mapped=mapped)
            if found != digest:
                raise BundleError(
                    f"part {name} of bundle {directory} is not the one saved with it (truncated, changed or "
                    "from another bundle); copy the whole bundle again, or train again"
                )
    with _refusing(directory):
        recommender = kind(*unpacked(manifest, contents))
        recommender = with_stages(recommender, manifest, contents)
        if index is True and INDEX in contents:
            content = contents[INDEX].tobytes()
            recommender = replace(
                recommender, index=index_from_bytes(content, directory / INDEX, recommender.items.vectors)
            )
    if isinstance(index, str):
        items, display = recommender.items.vectors, recommender.display.drop(recommender.encoder.schema.item)
        recommender = replace(recommender, index=open_index(index, items, display, *versions_of(manifest)))
    return recommender, manifest


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return a bundle's manifest after checking its hash and format."""
    with _opened(directory, (MANIFEST,)) as files:
        return _manifest(directory, files)


@contextmanager
def _opened(directory: Path, names: Sequence[str]) -> Iterator[dict[str, Part | str]]:
    """Open the files of one bundle, although a save may replace it at the same time."""
    with ExitStack() as stack:
        for last in (*(False,) * (_TRIES - 1), True):
            place = folder_place(directory, MANIFEST)
            try:
                before = os.stat(place)
                files = stack.enter_context(opened(place, names))
                if last or set(names) - {*OPTIONAL} <= set(files) or os.path.samestat(before, os.stat(place)):
                    break
            except (FileNotFoundError, NotADirectoryError):
                files = {}
            except OSError as error:
                raise BundleError(f"bundle {directory} can't be read: {error}") from None
            stack.close()
            if not last:
                time.sleep(0.01)
        yield files


def _content(
    directory: Path, files: Mapping[str, Part | str], name: str, *, mapped: bool = False
) -> tuple[NDArray[np.uint8], str]:
    """Return a file's content and its hash."""
    part = files.get(name)
    if part is None:
        raise BundleError(f"bundle {directory} lacks its part {name}; copy it again, or train again")
    reason = part
    if isinstance(part, Part):
        try:
            return part.mapped() if mapped else part.read()
        except (OSError, ValueError) as error:
            reason = str(error)
        except MemoryError:
            reason = f"its {part.size:,} bytes don't fit into memory"
    raise BundleError(f"part {name} of bundle {directory} can't be read: {reason}")


def _manifest(directory: Path, files: Mapping[str, Part | str]) -> dict[str, Any]:
    if MANIFEST not in files:
        raise BundleError(
            f"{directory} is not a bundle: it has no {MANIFEST}; give the directory that train wrote"
        )
    content, _ = _content(directory, files, MANIFEST)
    try:
        manifest = json.loads(content.tobytes())
        number = manifest["format"]
        if type(number) is int and number not in _READABLE:
            writer = manifest.get("written_by") or manifest.get("version") or "of an unknown version"
            raise BundleError(
                f"bundle {directory} has format {number}, this version reads formats {_READABLE[0]} to "
                f"{FORMAT}; it was written by twotower {str(writer)[:20]}, this is {version('twotower')}: "
                + (
                    "upgrade twotower"
                    if number > FORMAT
                    else "load it with the version that wrote it, or train again"
                )
            )
        parts = manifest["parts"]
        whole = (
            type(number) is int
            and manifest["hash"] == _manifest_hash(manifest)
            and set(parts) - {INDEX} in ({*PARTS}, {*PARTS, *(RANKER_PARTS if number > ONE_STAGE else ())})
            and all(isinstance(digest, str) for digest in parts.values())
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise BundleError(
            f"{directory / MANIFEST} is damaged: its hash does not match; copy the bundle again, or train "
            "again"
        )
    return dict(manifest)


@contextmanager
def _refusing(directory: Path) -> Iterator[None]:
    """Turn any fault of a bundle whose hashes match into one error."""
    try:
        yield
    except (MissingExtraError, BundleError):
        raise
    except KeyError as error:
        raise BundleError(f"bundle {directory} can't be read: it lacks {error}") from None
    except (Exception, PanicException) as error:
        reason = str(error).strip() or type(error).__name__
        raise BundleError(f"bundle {directory} can't be read: {reason[:500]}") from None


def _write_parts(recommender: RecommenderState, directory: Path) -> None:
    state: dict[str, Any] = {}
    arrays: Arrays = {}
    own = recommender.encoder
    for which in ("users", "items", "context"):
        columns = {}
        for name, encoder in getattr(own, which).columns.items():
            columns[name] = encoder.state()
            arrays |= {f"{which}.{name}.{key}": array for key, array in encoder.arrays().items()}
        state[which] = {"columns": columns}
    for which, side in (("users", own.users), ("items", own.items)):
        state[which] |= {"column": side.column, "warm_ids": _column(side.warm_ids)}
    _write_text(directory / STATE, json.dumps(state, ensure_ascii=False))
    _save(directory / ENCODER, arrays)
    towers = {name: t.detach().cpu().numpy() for name, t in recommender.model.state_dict().items()}
    kept = {"users": recommender.users.vectors}
    if not recommender.training.user_vectors:
        check_left_out(own.schema, read=recommender.model.users.reads_history)
        kept = kept_of(recommender.folding)
    vectors: Arrays = {
        **kept,
        "users.warm": recommender.users.warm,
        "items": recommender.items.vectors,
        "items.warm": recommender.items.warm,
        "seen.indptr": recommender.seen.indptr,
        "seen.item": recommender.seen.values,
    }
    if recommender.seen_label is not None:
        vectors["seen.label"] = recommender.seen_label
    if recommender.item_duration is not None:
        vectors["items.duration"] = recommender.item_duration
    read = saved_histories(recommender.catalogue, recommender.interactions)
    n_users, n_items = len(recommender.users), len(recommender.items)
    sizes = {"users": n_users, "items": n_items}
    try:
        check_weights(towers)
        check_vectors(vectors, n_users, n_items, recommender.model.dim)
        check_histories(
            read, recommender.model.users, recommender.encoder, len(recommender.seen.values), sizes
        )
    except ValueError as error:
        raise BundleError(
            f"this model can't be saved, as it could not be loaded: {error}; train again"
        ) from None
    _save(directory / TOWERS, towers)
    _save(directory / VECTORS, vectors | read)
    tables = {
        "users": _column(recommender.users.ids),
        "items": _column(recommender.items.ids),
        "display": [
            {"name": c.name, **_column(c)}
            for c in as_plain(recommender.display.drop(recommender.encoder.schema.item))
        ],
    }
    _write_text(directory / TABLES, json.dumps(tables, ensure_ascii=False))


def _column(column: pl.Series) -> dict[str, Any]:
    return {"type": str(column.dtype), "values": column.to_list()}


def _save(path: Path, arrays: Arrays) -> None:
    write_tensors(arrays, path)
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
    return Fingerprint().json(content).hex()
