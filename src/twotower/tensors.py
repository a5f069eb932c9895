"""Arrays out of the bytes of a safetensors file, without a copy; a header that does not fit is refused.

The library's own reader maps the file, so what it returns may change after it was hashed, and the process
ends if the file becomes shorter. This one reads bytes that are in memory already.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

MOST_HEADER = 100_000_000
"""Bytes of a header, as in the library."""
_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I32": "<i4",
    "I64": "<i8",
    "F32": "<f4",
    "F64": "<f8",
}


def check_size(start: bytes, size: int) -> int:
    """Return the length of the header of a file that begins with these 8 bytes.

    Raises:
        ValueError: it can't be one.
    """
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 2 <= length <= min(size - 8, MOST_HEADER):
        raise ValueError(f"a file of {size} bytes can't have a header of {length}")
    return length


def parse(content: NDArray[np.uint8] | bytes) -> Arrays:
    """Return the arrays of a safetensors file by name; they share memory with ``content``.

    Raises:
        ValueError: the header is damaged, or does not say of every byte what it is.
    """
    buffer = np.frombuffer(content, dtype=np.uint8) if isinstance(content, bytes) else content
    length = check_size(buffer[:8].tobytes(), len(buffer))
    first, arrays = 8 + length, {}
    spans = []
    for name, dtype, shape, begin, end in entries(buffer[8:first].tobytes(), len(buffer)):
        values = buffer[first + begin : first + end]
        if dtype == np.bool_ and len(values) and values.max() > 1:
            raise ValueError(f"the tensor {name!r} holds what is neither true nor false")
        if values.ctypes.data % dtype.itemsize:
            values = values.copy()
        arrays[name] = values.view(dtype).reshape(shape)
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise ValueError("the tensors overlap, or leave bytes out")
        at = end
    if at != len(buffer) - first:
        raise ValueError(f"the tensors have {at} bytes, the file {len(buffer) - first}")
    return arrays


def entries(header: bytes, size: int) -> list[tuple[str, np.dtype[Any], tuple[int, ...], int, int]]:
    """Return name, dtype, shape, begin and end of each tensor of a header.

    Raises:
        ValueError: one that can't be, or that a file of ``size`` bytes can't hold.
    """
    described = json.loads(header)
    if not isinstance(described, dict):
        raise ValueError("the header must be an object")
    found = []
    for name, entry in described.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            raise ValueError(f"the tensor {name!r} has an unknown type")
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        if not (_counts(shape) and _counts(offsets) and len(offsets) == 2):  # type: ignore[arg-type]
            raise ValueError(f"the tensor {name!r} has no shape, or no place")
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        begin, end = offsets  # type: ignore[misc]
        if end > size or end - begin != math.prod(shape) * dtype.itemsize:  # type: ignore[arg-type]
            raise ValueError(f"the tensor {name!r} of shape {shape} can't have {end - begin} bytes")
        if len(shape) > 8 or max(shape, default=0) >= 2**62:  # type: ignore[arg-type]
            raise ValueError(f"the tensor {name!r} has the shape {shape}")
        found.append((str(name), dtype, tuple(shape), begin, end))  # type: ignore[arg-type]
    return found


def exactly(arrays: Arrays, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Refuse arrays that are not the ones expected.

    Args:
        arrays: by name.
        shapes: the dtype ("float32", ...) and the shape of each.

    Raises:
        ValueError: one is missing, one too many, or of another dtype or shape.
    """
    for name in {*arrays, *shapes}:
        if name not in shapes:
            raise ValueError(f"there is a tensor {name!r} that does not belong there")
        dtype, shape = shapes[name]
        if name not in arrays:
            raise ValueError(f"the tensor {name!r} is missing")
        found = arrays[name]
        if found.dtype.name != dtype or found.shape != tuple(shape):
            raise ValueError(
                f"the tensor {name!r} must be {dtype} of shape {list(shape)}, and is {found.dtype.name} of "
                f"shape {list(found.shape)}"
            )


def finite(name: str, array: NDArray[Any]) -> None:
    """Refuse an array with a number that is not finite.

    Raises:
        ValueError: there is one.
    """
    # a sum is not finite if a number is not; and may be so without, by overflow
    if not np.isfinite(array.sum(dtype=np.float64)) and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, and hold nan or infinity")


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
