"""`Index`: whatever finds the k items of highest score for a user, exactly or nearly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.core.fingerprint import Fingerprint
from twotower.core.lists import AnyLists, Lists
from twotower.errors import BundleError, ConfigError, DataError, nearest
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.exact import check_k
from twotower.retrieval.filters import Where, candidate_rows
from twotower.retrieval.registry import INDEXES
from twotower.retrieval.storage import Header, check_vectors, read_index, write_index


@dataclass(frozen=True)
class Parameters:
    """The parameters of an index: whole numbers of at least 1 (0: chosen by the index).

    Attributes:
        of_search: names of those that can be changed without rebuilding.
    """

    of_search: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def given(cls, values: dict[str, Any]) -> Self:
        """Return the defaults, updated with ``values``.

        Raises:
            ConfigError: an unknown parameter, or a value that is not a whole number of at least 1.
        """
        names = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in names:
                raise ConfigError(
                    f"an index of this kind takes {', '.join(names) or 'no parameters'}; got {name!r}."
                    f"{nearest(name, names)}"
                )
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ConfigError(f"{name!r} must be a whole number of at least 1; got {value!r}.")
        return cls(**{name: int(value) for name, value in values.items()})


class Index(ABC):
    """The items of a catalogue, ready to be searched by inner product.

    An index is never changed once it is built, and may be searched from many threads at once. A user's answer
    is the same alone or in a batch.

    A search needs the item vectors themselves, which are not copied: in every kind of index, scores are the
    float32 dot products of `exact_top_k`, bit for bit. Don't change the vectors afterwards.

    Attributes:
        name: name of the kind, in tables and in the saved form.
        tried: whether `tune_index` tries the kind where none is named.
        waits: whether a search waits for another program.
        items: (n_items, dim) float32.
    """

    name: ClassVar[str]
    tried: ClassVar[bool] = True
    waits: ClassVar[bool] = False
    _kind: ClassVar[type[Parameters]] = Parameters

    def __init__(self, items: NDArray[np.float32], parameters: Parameters) -> None:
        self.items = items
        self._parameters = parameters

    def __repr__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self.parameters().items())
        return f"{type(self).__name__}({self.n_items:,} items, dim={self.dim}{given})"

    @classmethod
    def build(cls, items: NDArray[np.float32], **parameters: int) -> Self:
        """Build an index of item vectors.

        Args:
            items: (n_items, dim) float32, at least one of each, all finite.
            parameters: parameters of the kind; those left out have good defaults.

        Raises:
            DataError: the vectors are not a matrix, empty, or not finite.
            ConfigError: an unknown parameter, or one out of range.
            MissingExtraError: the kind needs a library that is not installed.
        """
        given = cls._kind.given(parameters)
        return cls._build(_checked_items(items), given)

    def search(
        self,
        users: NDArray[np.float32],
        k: int,
        *,
        seen: AnyLists | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        where: Where | None = None,
    ) -> Candidates:
        """Find each user's k items of highest score; lists are full wherever k candidates exist.

        Args:
            users: (n_users, dim) float32. One that is not finite is given the items whose score is a number,
                exactly.
            k: at least 1; where it exceeds a user's candidates the rest of the row is -1.
            seen: item rows that each user is never given; `Lists`, or ``(indptr, item)``, (n_users + 1,) and
                (n,).
            allow, deny: the items that may be given to anyone, and those that may not: a mask (n_items,)
                bool, or item rows, in any order. None allows all and denies none; an empty ``allow`` gives
                empty lists.
            where: conditions on columns that the items must meet too; None for none.

        Returns:
            Best first, equal scores by lower item row.

        Raises:
            ConfigError: ``k`` below 1.
            DataError: ``users`` of another width; ``seen``, ``allow`` or ``deny`` of the wrong shape or kind,
                or naming an item that does not exist.
            IndexUnavailable: the index is in a vector database that does not answer.
        """
        check_k(k)
        users = np.ascontiguousarray(users, dtype=np.float32)
        if users.ndim != 2 or users.shape[1] != self.dim:
            raise DataError(
                f"user vectors must have the width of the items', {self.dim}; got shape {users.shape}. "
                "Encode them with the model that the items come from."
            )
        lists = Lists.check("`seen`", seen, users.shape[0], self.n_items)
        return self._found(users, int(k), lists, candidate_rows(allow, deny, self.n_items), where)

    def check(self) -> None:  # noqa: B027  (nothing to do for most kinds)
        """Check that the index can be searched now; one that is in this process always can.

        Raises:
            IndexUnavailable: the vector database that has it does not answer.
        """

    def parameters(self) -> dict[str, int]:
        """Return the parameters of building and of searching, with chosen values filled in."""
        return asdict(self._parameters)

    def with_search(self, **parameters: int) -> Self:
        """Return the same index with other search parameters; nothing is built or copied.

        Raises:
            ConfigError: a parameter that needs a rebuild, or one out of range.
        """
        for name in parameters:
            if name not in self._kind.of_search:
                raise ConfigError(
                    f"{', '.join(self._kind.of_search) or 'nothing'} can be changed after an {self.name} "
                    f"index is built; got {name!r}.{nearest(name, self._kind.of_search)} Build another."
                )
        given = asdict(self._kind.given(parameters))
        other = copy(self)
        other._parameters = replace(self._parameters, **{name: given[name] for name in parameters})
        return other

    @classmethod
    def structures(cls, n_items: int, dim: int, threads: int) -> Iterator[dict[str, int]]:
        """Yield the parameters to build with that `tune_index` tries: sizes around the usual good ones.

        Args:
            n_items, dim: of the item vectors.
            threads: to build with, for kinds that can use several.
        """
        del n_items, dim, threads
        yield {}

    def efforts(self, k: int) -> Iterator[Self]:
        """Yield the same structure with growing search effort, as `tune_index` tries them for lists of k."""
        del k
        yield self

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.items)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.items.shape[1])

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes that the index needs besides the item vectors."""

    def save(self, path: str | Path) -> None:
        """Write the index, without the item vectors, as one file, atomically.

        Raises:
            BundleError: it can't be written.
        """
        kind = INDEXES.name_of(type(self))
        header = Header(
            kind, self.parameters(), self.n_items, self.dim, Fingerprint().matrix(self.items).hex()
        )
        write_index(Path(path), header, self._payload())

    @classmethod
    def load(cls, path: str | Path, items: NDArray[np.float32]) -> Self:
        """Read an index of this kind that was saved for these item vectors; `load_index` reads any kind.

        Raises:
            BundleError: the file is missing, truncated, changed, of a newer format, of another kind, or was
                built from other vectors.
            DataError: ``items`` is not a matrix of finite numbers.
        """
        path = Path(path)
        header, payload = read_index(path)
        if header.kind != INDEXES.name_of(cls):
            raise BundleError(
                f"the index {path} is of the kind {header.kind!r}, not {cls.name!r}; load it with "
                "`twotower.retrieval.load_index`"
            )
        return cls.restore(path, header, payload, items)

    @classmethod
    def restore(cls, path: Path, header: Header, payload: bytes, items: NDArray[np.float32]) -> Self:
        """Return the index of a file that has been read; raises as `load` does."""
        items = _checked_items(items)
        check_vectors(path, header, items)
        try:
            return cls._restore(items, cls._kind(**header.parameters), payload)
        except (ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
            raise BundleError(
                f"the index {path} can't be read: {type(error).__name__}: {error}; build the index again"
            ) from None

    def _found(
        self,
        users: NDArray[np.float32],
        k: int,
        seen: Lists,
        rows: NDArray[np.int32] | None,
        where: Where | None,
    ) -> Candidates:
        """Search with checked arguments and conditions on columns."""
        return self._search(users, k, seen, rows if where is None else where.among(rows))

    @classmethod
    @abstractmethod
    def _build(cls, items: NDArray[np.float32], parameters: Any) -> Self:
        """Build from checked vectors and parameters."""

    @abstractmethod
    def _search(
        self, users: NDArray[np.float32], k: int, seen: Lists, rows: NDArray[np.int32] | None
    ) -> Candidates:
        """Search with checked arguments; ``rows`` are the candidates, ascending, None for all."""

    @abstractmethod
    def _payload(self) -> bytes:
        """Return the data to save after the header."""

    @classmethod
    @abstractmethod
    def _restore(cls, items: NDArray[np.float32], parameters: Any, payload: bytes) -> Self:
        """Undo `_payload`; may raise the errors that `restore` catches."""


def _checked_items(items: NDArray[np.float32]) -> NDArray[np.float32]:
    array = np.asarray(items)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiu":
        raise DataError(
            "item vectors must be a matrix of numbers (n_items, dim), at least one of each; got "
            f"{array.dtype} of shape {array.shape}."
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise DataError(
            f"item vectors must be finite; {np.count_nonzero(~finite)} of {len(array)} are not, the first in "
            f"row {int(np.argmin(finite))}. Train again with a lower learning rate, or leave them out."
        )
    return array
