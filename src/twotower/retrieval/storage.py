"""An index on disk: one file with a header and a hash.

The first line names the format, the second is the SHA-256 of all that follows, the third is the header in
JSON, and the rest is what the kind of index needs besides the item vectors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.atomic import replacing
from twotower.core.fingerprint import Fingerprint
from twotower.core.parts import Part, opened
from twotower.errors import BundleError
from twotower.retrieval._legacy import arrays_of

FORMAT = 2
"""Version of the saved form; newer files are refused. Format 1 contained what FAISS writes."""
_MAGIC = b"twotower index "
_AGAIN = "build the index again"
_OF_FAISS = ("hnsw", "ivfpq")
"""Kinds that format 1 saved as FAISS writes them."""


@dataclass(frozen=True)
class Header:
    """What a saved index is, and which vectors it belongs to.

    Attributes:
        kind: name of the kind of index.
        parameters: the parameters of building and of searching.
        n_items, dim: shape of the item vectors it was built from.
        vectors: `Fingerprint` of the item vectors.
    """

    kind: str
    parameters: dict[str, int]
    n_items: int
    dim: int
    vectors: str


def write_index(path: Path, header: Header, payload: bytes) -> None:
    """Write the file under a temporary name and rename it into place when it is complete.

    Raises:
        BundleError: it can't be written; what was there before is unchanged.
    """
    body = json.dumps(asdict(header), sort_keys=True).encode() + b"\n"
    digest = hashlib.sha256(body)
    digest.update(payload)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in (_MAGIC, f"{FORMAT}\n{digest.hexdigest()}\n".encode(), body, payload):
            file.write(part)


def read_index(path: Path) -> tuple[Header, bytes]:
    """Return the header and the rest of a saved index after checking its hash.

    Raises:
        BundleError: the file is missing, not an index, of a newer format, truncated or changed.
    """
    try:
        with opened(path.parent, (path.name,)) as files:
            part = files.get(path.name, "No such file")
            content = part.read()[0].tobytes() if isinstance(part, Part) else None
            reason = str(part)
    except (OSError, ValueError) as error:
        content, reason = None, str(getattr(error, "strerror", None) or error)
    if content is None:
        raise BundleError(f"the index {path} can't be read: {reason}; {_AGAIN}")
    return parsed(path, content)


def parsed(path: Path, content: bytes) -> tuple[Header, bytes]:
    """Do as `read_index` with the bytes of a file; ``path`` is for messages.

    Raises:
        BundleError: as `read_index`.
    """
    first, _, rest = content.partition(b"\n")
    number = first.removeprefix(_MAGIC)
    if not first.startswith(_MAGIC) or not number.isdigit() or len(number) > 9:
        raise BundleError(
            f"{path} is not a saved index: it doesn't begin like one; give the path of an index"
        )
    if int(number) > FORMAT:
        raise BundleError(
            f"the index {path} has format {int(number)}, this version reads up to "
            f"{FORMAT}; upgrade twotower, or {_AGAIN}"
        )
    digest, _, body = rest.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise BundleError(
            f"the index {path} was changed or truncated since it was saved: its hash does not match; copy "
            f"it again, or {_AGAIN}"
        )
    text, _, payload = body.partition(b"\n")
    header = _header(path, text)
    if int(number) == 1 and header.kind in _OF_FAISS:
        try:
            payload = arrays_of(header.kind, payload)
        except ValueError as error:
            raise BundleError(f"the index {path} can't be read: {error}; {_AGAIN}") from None
    return header, payload


def check_vectors(path: Path, header: Header, items: NDArray[np.float32]) -> None:
    """Refuse an index that was built from other vectors.

    Raises:
        BundleError: the item vectors are not the ones that the index was built from.
    """
    if items.shape != (header.n_items, header.dim):
        raise BundleError(
            f"the index {path} was built for {header.n_items} items of dim {header.dim}, the item vectors "
            f"given have shape {items.shape}; load it with the vectors it was built from, or {_AGAIN}"
        )
    if Fingerprint().matrix(items).hex() != header.vectors:
        raise BundleError(
            f"the index {path} was built for other item vectors of the same shape {items.shape}; load it "
            f"with the vectors it was built from, or {_AGAIN}"
        )


def _header(path: Path, text: bytes) -> Header:
    try:
        fields: dict[str, Any] = json.loads(text)
        header = Header(**fields)
        counts = [header.n_items, header.dim, *header.parameters.values()]
        whole = isinstance(header.kind, str) and isinstance(header.vectors, str)
        whole &= all(type(count) is int and 1 <= count < 2**31 for count in counts)
    except (ValueError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise BundleError(f"the index {path} has a header that can't be read; {_AGAIN}")
    return header
