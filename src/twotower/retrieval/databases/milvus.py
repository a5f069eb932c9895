"""`Milvus`: a Milvus server or cluster, or milvus-lite in a file. The only module that imports pymilvus."""

from __future__ import annotations

import importlib
import logging
import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.errors import ConfigError, IndexUnavailable, MissingExtraError
from twotower.retrieval.databases.address import Address
from twotower.retrieval.databases.columns import ROW, VECTOR, Columns
from twotower.retrieval.databases.database import Items, VectorDatabase, Version
from twotower.retrieval.databases.milvus_conditions import among, condition
from twotower.retrieval.databases.milvus_rows import blocks, schema_of
from twotower.retrieval.databases.published import PublishedIndex
from twotower.retrieval.index import Parameters

SECONDS, SECONDS_HERE = 10.0, 120.0
"""Within which a search or a short question must be answered, by a server and by a file of this process."""
WORK_SECONDS = 3600.0
"""Within which a collection must be indexed and loaded."""
TOKEN, TOKEN_FILE = "TWOTOWER_MILVUS_TOKEN", "TWOTOWER_MILVUS_TOKEN_FILE"
EXACT_UP_TO = 100_000
"""Items up to which a search looks at each unless ``nlist`` is given."""
_USERS = 128
"""Of one search."""


@dataclass(frozen=True)
class MilvusParameters(Parameters):
    """Parameters of the search structure.

    Attributes:
        nlist: clusters that the items are divided into (IVF_FLAT). With 1 every item is scored (FLAT), which
            is exact and the default up to 100,000 items; then 4 times the root of their number.
        nprobe: clusters searched for a query; by default an eighth.
    """

    of_search: ClassVar[tuple[str, ...]] = ("nprobe",)

    nlist: int = 0
    nprobe: int = 0


class Milvus(VectorDatabase):
    """A Milvus server, or a file of milvus-lite, which one process at a time can have open."""

    scheme = "milvus"
    example = "milvus://HOST:PORT/COLLECTION or milvus:FILE.db"
    most = 16_384

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        if address.path is not None and address.path.suffix != ".db":
            raise ConfigError(f"a file of milvus-lite must end in .db; got {str(address.path)!r}")
        self._lock = threading.Lock()
        self._connected: Any = None
        self._token = ""

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["address"])  # type: ignore[misc]

    @classmethod
    def embedded(cls) -> Milvus:
        """Return milvus-lite in a file that goes when the process ends."""
        _library()
        return cls(Address.parse(f"milvus:{Path(_folder().name) / 'items.db'}"))

    @property
    def local(self) -> bool:
        """Whether it is a file."""
        return self.address.path is not None

    @property
    def _seconds(self) -> float:
        return SECONDS_HERE if self.local else SECONDS

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                at = self.address
                if at.path is not None and not at.path.parent.is_dir():
                    raise ConfigError(
                        f"the file of {at} must lie in a folder that exists; create {at.path.parent}"
                    )
                uri = (
                    str(at.path) if at.path is not None else f"{'https' if at.tls else 'http'}://{_host(at)}"
                )
                self._token = _token()
                # The server of milvus-lite takes the pings that keep a connection alive for an attack.
                quiet = {"grpc_options": {"grpc.keepalive_time_ms": 2**31 - 1}} if self.local else {}
                self._connected = _library().MilvusClient(
                    uri=uri, token=self._token, db_name=at.database, timeout=self._seconds, **quiet
                )
            return self._connected

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """Give the client, and turn its errors into ours."""
        library = _library()
        try:
            yield self._client
        except (library.MilvusException, _grpc().RpcError) as error:
            reason = _reason(error)
            if self._token:
                reason = reason.replace(self._token, "***")
            fix = f"Check the address, that it runs, and {TOKEN}"
            if self.address.path is not None and "Open local milvus failed" in reason:
                reason, fix = _closed(self.address.path)
            raise IndexUnavailable(
                f"{self.address} must be a vector database that answers; it failed: {reason[:300]}. {fix}"
            ) from None

    def versions(self) -> list[Version]:
        """Return all versions, the oldest first, also incomplete ones."""
        name = self.address.collection
        with self._asked() as client:
            found = []
            for collection in client.list_collections(timeout=self._seconds):
                match = re.fullmatch(rf"{name}_(\d{{14}})_([0-9a-f]{{12}})", collection)
                if match:
                    aliases = client.list_aliases(collection, timeout=self._seconds)["aliases"]
                    complete = self.name_of(match[2]) in aliases
                    found.append(Version(match[1], match[2], collection, complete, name in aliases))
        return sorted(found)

    def name_of(self, version: str) -> str:
        """Return the alias of a version."""
        return f"{self.address.collection}_{version}"

    def fill(
        self, collection: str, items: Items, parameters: Mapping[str, int], told: Callable[[int], None]
    ) -> None:
        """Write, index and load a new collection, and count its items."""
        with self._asked() as client:
            client.create_collection(
                collection,
                schema=schema_of(_library(), items),
                consistency_level="Bounded",
                timeout=self._seconds,
            )
            done = 0
            for rows in blocks(items):
                client.insert(collection, rows, timeout=WORK_SECONDS)
                done += len(rows)
                told(done)
            client.flush(collection, timeout=WORK_SECONDS)
            index = client.prepare_index_params()
            flat = parameters["nlist"] == 1
            index.add_index(
                VECTOR,
                index_type="FLAT" if flat else "IVF_FLAT",
                metric_type="IP",
                # Milvus reads both forms; milvus-lite this one.
                params={} if flat else {"params": {"nlist": parameters["nlist"]}},
            )
            client.create_index(collection, index, timeout=WORK_SECONDS, sync=not self.local)
        count = self.count(collection)
        if count != len(items.vectors):
            raise IndexUnavailable(
                f"{self.address} must have {len(items.vectors):,} items after they were written; it has "
                f"{count:,} in {collection}. Another program may write there; publish again"
            )

    def complete(self, version: Version) -> None:
        """Give the collection the alias ``COLLECTION_VERSION``."""
        self._alias(self.name_of(version.version), version.collection)

    def switch(self, version: Version) -> None:
        """Point the alias ``COLLECTION`` to the version's collection."""
        self._alias(self.address.collection, version.collection)

    def _alias(self, alias: str, collection: str) -> None:
        with self._asked() as client:
            if client.has_collection(alias, timeout=self._seconds):
                if alias in client.list_collections(timeout=self._seconds):
                    raise ConfigError(
                        f"{alias!r} must be free for an alias, but there is a collection of this name; "
                        "choose another COLLECTION in the address"
                    )
                client.alter_alias(collection, alias, timeout=self._seconds)
            else:
                client.create_alias(collection, alias, timeout=self._seconds)

    def remove(self, collection: str) -> None:
        """Drop a collection and its aliases."""
        with self._asked() as client:
            if client.has_collection(collection, timeout=self._seconds):
                for alias in client.list_aliases(collection, timeout=self._seconds)["aliases"]:
                    client.drop_alias(alias, timeout=self._seconds)
                client.drop_collection(collection, timeout=self._seconds)

    def count(self, collection: str) -> int:
        """Load a collection and count its items."""
        with self._asked() as client:
            client.load_collection(collection, timeout=WORK_SECONDS)
            (found,) = client.query(
                collection,
                filter="",
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=self._seconds,
            )
            return int(found["count(*)"])

    def built(self, collection: str) -> dict[str, int]:
        """Return the number of clusters; 1 where every item is scored."""
        with self._asked() as client:
            (name,) = client.list_indexes(collection, VECTOR, timeout=self._seconds)
            found = client.describe_index(collection, name, timeout=self._seconds)
        nested = found.get("params") or {}
        return {"nlist": int(found.get("nlist", nested.get("nlist", 1)))}

    def check(self, collection: str) -> None:
        """Check that the collection is there and loaded."""
        with self._asked() as client:
            state = client.get_load_state(collection, timeout=self._seconds / 5)["state"]
        if "Loaded" not in str(state).replace("NotLoad", ""):
            raise IndexUnavailable(
                f"the collection {collection} of {self.address} must be loaded; it is {state}. Load it, or "
                "publish the run again"
            )

    def condition(self, columns: Columns, name: str, choice: Any) -> str | None:
        """Return a condition as Milvus writes it."""
        column = columns.get(name)
        return None if column is None else condition(column, choice)

    def among(self, rows: NDArray[np.int32], *, apart: bool = False) -> str:
        """Return a condition on the primary key."""
        return among(rows, apart=apart)

    def nearest(
        self,
        collection: str,
        users: NDArray[np.float32],
        fetch: int,
        conditions: list[str],
        parameters: Mapping[str, int],
    ) -> NDArray[np.int64]:
        """Search by inner product; see `VectorDatabase.nearest`."""
        found = np.full((len(users), fetch), -1, dtype=np.int64)
        search = (
            {} if parameters["nlist"] == 1 else {"nprobe": min(parameters["nprobe"], parameters["nlist"])}
        )
        for start in range(0, len(users), _USERS):
            with self._asked() as client:
                answers = client.search(
                    collection,
                    data=list(users[start : start + _USERS]),
                    anns_field=VECTOR,
                    limit=fetch,
                    filter=" and ".join(f"({one})" for one in conditions),
                    output_fields=[ROW],
                    search_params={"metric_type": "IP", "params": search},
                    timeout=self._seconds,
                )
            for at, hits in enumerate(answers, start):
                rows = hits.ids
                found[at, : len(rows)] = rows
        return found


class MilvusIndex(PublishedIndex):
    """Items in Milvus: a server that several programs share, or milvus-lite in a file or in this process."""

    name = "milvus"
    kind = Milvus
    _kind = MilvusParameters

    @classmethod
    def structures(cls, n_items: int, dim: int, threads: int) -> Iterator[dict[str, int]]:
        """Yield the exact structure, and clusters where there are many items."""
        del dim, threads
        yield {"nlist": 1}
        if n_items > EXACT_UP_TO:
            yield {"nlist": _clusters(n_items)}

    def efforts(self, k: int) -> Iterator[MilvusIndex]:
        """Yield the collection with ``nprobe`` doubled each time."""
        del k
        nlist = self.parameters()["nlist"]
        probes = max(1, nlist // 64)
        while probes < nlist:
            yield self.with_search(nprobe=probes)
            probes *= 2
        yield self.with_search(nprobe=nlist)

    @classmethod
    def chosen(cls, parameters: Any, n_items: int) -> MilvusParameters:
        """Fill in what was left to be chosen."""
        nlist = parameters.nlist or (1 if n_items <= EXACT_UP_TO else _clusters(n_items))
        if nlist > min(n_items, 65_536):
            raise ConfigError(
                f"'nlist' must not exceed the number of items, {n_items:,}, and 65,536; got {nlist}"
            )
        return MilvusParameters(nlist, parameters.nprobe or max(1, nlist // 8))


def _clusters(n_items: int) -> int:
    return min(65_536, 4 * math.isqrt(n_items))


def _closed(path: Path) -> tuple[str, str]:
    """Return why milvus-lite, which does not say it, could not open its data, and what to do."""
    place = path if path.is_dir() else path.parent  # it makes a folder
    if path.is_file():
        return "it is a file, and milvus-lite keeps a folder", "Give another name"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return (
            f"{place} can't be written to ({error.strerror})",
            "Choose another folder, or change its permissions",
        )
    return "another process has it open", "End that process, or give another name"


def _reason(error: Any) -> str:
    details = error.details() if isinstance(error, _grpc().RpcError) else error.message
    return str(details or error).strip().split("\n", 1)[0]


@cache
def _grpc() -> Any:
    return importlib.import_module("grpc")


def _host(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{19530 if address.port is None else address.port}"


def _token() -> str:
    """Return the token of the environment or of a file; empty without one."""
    own, file = os.environ.get(TOKEN, ""), os.environ.get(TOKEN_FILE, "")
    if own or not file:
        return own
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"{TOKEN_FILE} must name a file that can be read; {file!r}: {reason}") from None


@cache
def _library() -> Any:
    """Return pymilvus, imported on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        library = importlib.import_module("pymilvus")
        importlib.import_module("milvus_lite")
    except ImportError:
        raise MissingExtraError(
            "Milvus needs the libraries pymilvus and milvus-lite, which are not installed; install them "
            "with: pip install 'twotower[milvus]'"
        ) from None
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what it raises
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    return library


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="twotower-", ignore_cleanup_errors=True)
