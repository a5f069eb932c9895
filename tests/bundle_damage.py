"""Bundles damaged on purpose, with every hash made to fit again, as whoever can write a bundle could."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load, save

from twotower.errors import BundleError
from twotower.recommender.queries import Queries
from twotower.recommender.query import Query

MANIFEST, INDEX = "bundle.json", "index.bin"
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 10**6, 2**31, 2**63, 2**70, -(2**70), 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), "", "x", "\x00", "nan", "💥" * 50, [], {}, [None], [[]],
    [[[[[[]]]]]], {"a": {}}, [1, "a", None], list(range(1000)), "List(String)", "Int64", "Float64",
]  # fmt: skip


def rehash(folder: Path) -> None:
    """Write the hashes of a bundle as if it had been saved as it is now."""
    if not (folder / MANIFEST).is_file():
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for name in manifest["parts"]:
            if (folder / name).is_file():
                manifest["parts"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        content = {key: value for key, value in manifest.items() if key != "hash"}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        manifest["hash"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        pass  # what is left of it has no hashes


def rehash_index(folder: Path) -> None:
    """Write the hash of an index as if it had been saved as it is now."""
    magic, _, body = (folder / INDEX).read_bytes().split(b"\n", 2)
    digest = hashlib.sha256(body).hexdigest().encode()
    (folder / INDEX).write_bytes(b"\n".join([magic, digest, body]))


def as_format_1(folder: Path, index: Any) -> None:
    """Write an HNSW or IVF-PQ index as format 1 kept it: as FAISS does."""
    import faiss

    header = (folder / INDEX).read_bytes().split(b"\n", 3)[2]
    own = index._graph if index.name == "hnsw" else index._lists
    flags = faiss.IO_FLAG_SKIP_STORAGE if index.name == "hnsw" else 0
    payload = bytes(faiss.serialize_index(own, flags))
    (folder / INDEX).write_bytes(b"\n".join([b"twotower index 1", b"", header, payload]))
    rehash_index(folder)


def change_json(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change what a JSON part holds."""
    path = folder / name
    value = json.loads(path.read_text(encoding="utf-8"))
    changed = change(value)
    path.write_text(json.dumps(value if changed is None else changed, ensure_ascii=False), encoding="utf-8")


def change_tensors(folder: Path, name: str, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the tensors of a part."""
    path = folder / name
    arrays = {key: np.array(value) for key, value in load(path.read_bytes()).items()}
    change(arrays)
    path.write_bytes(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))


def damaged(folder: Path, rng: random.Random) -> str:
    """Damage a bundle in one to three ways at random, make its hashes fit, and return what was done."""
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        way = rng.choice(WAYS)
        try:
            done.append(way(folder, rng))
        except Exception:  # what an earlier way left can't be damaged so
            done.append(f"{way.__name__} left")
    rehash(folder)
    return "; ".join(done)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())


def _bytes(folder: Path, rng: random.Random) -> str:
    path = rng.choice(_files(folder))
    content = bytearray(path.read_bytes())
    how = rng.choice(["flip", "cut", "grow", "zeros", "repeat"])
    if how == "flip" and content:
        for _ in range(rng.choice([1, 1, 3, 20])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del content[rng.randrange(len(content) + 1) :]
    elif how == "grow":
        content += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 100)))
    elif how == "zeros" and content:
        at = rng.randrange(len(content))
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    else:
        content = content * 2
    path.write_bytes(bytes(content))
    return f"{how} {path.name}"


def _header(folder: Path, rng: random.Random) -> str:
    """Change the header of a part of tensors, whose length is made to fit or not."""
    path = rng.choice(
        [p for p in _files(folder) if p.suffix == ".safetensors"] or [folder / "towers.safetensors"]
    )
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        name = rng.choice(sorted(header))
        key = rng.choice(["dtype", "shape", "data_offsets", "name", "all"])
        if key == "name":
            header[rng.choice(sorted(header)) + rng.choice(["", "x"])] = header.pop(name)
        elif key == "all":
            header[name] = rng.choice(ODD)
        elif key == "dtype":
            header[name][key] = rng.choice(["F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", 3, None])
        else:
            header[name][key] = rng.choice(
                [*ODD, [0, 2**62], [2**40, 4], [10**12, 10**12], [-1, -4], [1] * 40]
            )
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
    except (ValueError, KeyError, TypeError, IndexError):
        return "header left"
    size = rng.choice([len(text)] * 5 + [0, 1, 2**62, 2**64 - 1, len(text) + 1])
    path.write_bytes(struct.pack("<Q", size) + text + content[8 + length :])
    return f"header of {path.name}: {name} {key}"


def _tensor(folder: Path, rng: random.Random) -> str:
    """Change numbers, the shape or the type of one tensor."""
    path = rng.choice(
        [p for p in _files(folder) if p.suffix == ".safetensors"] or [folder / "towers.safetensors"]
    )
    said = ""

    def change(arrays: dict[str, np.ndarray]) -> None:
        nonlocal said
        if not arrays:
            arrays["x"] = np.zeros(3, np.float32)
            return
        name = rng.choice(sorted(arrays))
        array = arrays[name]
        how = rng.choice(
            ["value", "value", "fill", "shape", "type", "drop", "more", "less", "shuffle", "other"]
        )
        said = f"{how} {name}"
        if how in ("value", "fill") and array.size:
            values = [0, 1, -1, 5, 2**31 - 1, -(2**31)]
            if array.dtype.kind == "f":
                values += [np.nan, np.inf, -np.inf, 1e30, -1e38, 1e-40]
            value = np.array(rng.choice(values)).astype(array.dtype)
            if how == "fill":
                array[...] = value
            else:
                array.reshape(-1)[rng.randrange(array.size)] = value
        elif how == "shape":
            arrays[name] = array.reshape(rng.choice([(-1,), (1, *array.shape), array.shape[::-1]]))
        elif how == "type":
            arrays[name] = array.astype(
                rng.choice([np.float64, np.float32, np.int64, np.int32, np.bool_, np.uint8])
            )
        elif how == "drop":
            del arrays[name]
        elif how == "more":
            arrays[name] = np.concatenate([array, array]) if array.ndim else array
        elif how == "less":
            arrays[name] = array[: rng.randrange(len(array) + 1)] if array.ndim else array
        elif how == "shuffle":
            order = list(range(len(array))) if array.ndim else []
            rng.shuffle(order)
            arrays[name] = array[order] if array.ndim else array
        else:
            arrays[name] = arrays[rng.choice(sorted(arrays))].copy()

    try:
        change_tensors(folder, path.name, change)
    except Exception:  # damaged already
        return "tensor left"
    return f"{path.name}: {said}"


def _value(folder: Path, rng: random.Random) -> str:
    """Change a value somewhere in a JSON part."""
    name = rng.choice([MANIFEST, MANIFEST, "encoder.json", "tables.json"])
    try:
        whole = json.loads((folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else "")
    except (ValueError, RecursionError):
        return "value left"
    own = whole
    if name == MANIFEST and isinstance(whole, dict):  # what is read, not what is only kept
        keys = [key for key in whole if key not in ("hash", "metrics", "data", "history")] or list(whole)
        own = whole[rng.choice(keys)] if rng.random() < 0.9 else whole
        if not isinstance(own, dict | list) or not own:
            own = whole
    way = [name]
    for _ in range(rng.randrange(1, 6)):
        keys_here: list[Any] = sorted(own) if isinstance(own, dict) else list(range(len(own)))
        if not keys_here:
            break
        key = rng.choice(keys_here)
        way.append(str(key))
        if isinstance(own[key], dict | list) and own[key] and rng.random() < 0.8:
            own = own[key]
            continue
        how = rng.choice(["odd", "odd", "odd", "drop", "add", "twice"])
        if how == "odd":
            own[key] = copy.deepcopy(rng.choice(ODD))
        elif how == "drop":
            del own[key]
        elif how == "add" and isinstance(own, dict):
            own["added"] = copy.deepcopy(rng.choice(ODD))
        elif isinstance(own, list):
            own.append(copy.deepcopy(own[key]))
        else:
            own[rng.choice(sorted(own))] = copy.deepcopy(own[key])
        break
    try:
        (folder / name).write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    except ValueError:
        return "value left"
    return " ".join(way)


def _text(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice([MANIFEST, "encoder.json", "tables.json"])
    if not path.is_file():
        return "text left"
    texts = [b"", b"null", b"[]", b"{}", b'{"format": 1e999}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000]
    texts.append(b"1" * 5000)
    path.write_bytes(rng.choice(texts))
    return f"another text as {path.name}"


def _kind(folder: Path, rng: random.Random) -> str:
    """Put something that is no regular file in the place of a part."""
    path = rng.choice(_files(folder))
    how = rng.choice(["pipe", "folder", "link", "dead link", "loop", "gone", "device"])
    kept = path.with_name(f"kept {path.name}")
    path.rename(kept)
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(kept.name)
    elif how == "dead link":
        path.symlink_to("no such file")
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "device":
        path.symlink_to("/dev/zero")
    return f"{how} as {path.name}"


def _index(folder: Path, rng: random.Random) -> str:
    """Change the index, with its own hash made to fit."""
    path = folder / INDEX
    if not path.is_file() or path.is_symlink():
        return "no index"
    try:
        first, _, header, payload = path.read_bytes().split(b"\n", 3)
    except ValueError:
        return "index left"
    how = rng.choice(["flip", "flip", "int", "int", "cut", "grow", "zeros", "header"])
    changed = bytearray(payload)
    if how == "flip" and changed:
        for _ in range(rng.choice([1, 1, 4])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif how == "int" and len(changed) > 8:
        at = rng.randrange(len(changed) // 4) * 4
        at = min(at, len(changed) - 4)
        changed[at : at + 4] = struct.pack(
            "<i", rng.choice([0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(10**6)])
        )
    elif how == "cut":
        del changed[rng.randrange(len(changed) + 1) :]
    elif how == "grow":
        changed += bytes(rng.randrange(256) for _ in range(40))
    elif how == "zeros" and changed:
        at = rng.randrange(len(changed))
        changed[at : at + 64] = bytes(len(changed[at : at + 64]))
    elif how == "header":
        try:
            fields = json.loads(header)
            own = fields["parameters"] if rng.random() < 0.6 and fields.get("parameters") else fields
            own[rng.choice(sorted(own))] = rng.choice([*ODD, "hnsw", "ivf", "ivfpq", "exact"])
            header = json.dumps(fields).encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            return "index left"
    path.write_bytes(b"\n".join([first, b"", header, bytes(changed)]))
    rehash_index(folder)
    return f"index {how}"


WAYS: list[Callable[[Path, random.Random], str]] = [
    _bytes, _bytes, _header, _tensor, _tensor, _tensor, _value, _value, _value, _value, _text, _kind,
    _index, _index,
]  # fmt: skip


def copied(bundle: Path, folder: Path) -> Path:
    """Return a fresh copy of a bundle at ``folder``, whatever was there."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(bundle, folder))


def check_answers(model: Any) -> None:
    """Ask a recommender everything; each score must be finite and each id known."""
    users, items = set(model.user_ids.to_list()), set(model.item_ids.to_list())
    k = min(5, len(items))
    tables = [
        model.recommend(model.user_ids.to_list(), k),
        model.recommend(model.user_ids.to_list(), k, exclude_seen=False),
        model.recommend([Query(history=model.item_ids.to_list()[:2]), Query(history=[])], k),
    ]
    for table in tables:
        assert np.isfinite(table["score"].to_numpy()).all()
        assert set(table[model.encoder.schema.item].to_list()) <= items
    assert set(tables[0][model.encoder.schema.user].to_list()) <= users
    if len(items) > 1:
        assert np.isfinite(model.similar_items(model.item_ids.to_list()[:2], 1)["score"].to_numpy()).all()
    assert np.isfinite(model.encode_queries(Query(history=model.item_ids.to_list()[:3]))).all()
    nobody = pl.DataFrame({model.encoder.schema.user: [0, 1]})
    with contextlib.suppress(BundleError):  # weights that are numbers, and whose products are none
        assert np.isfinite(model.encode_queries(Queries.of(features=nobody))).all()
