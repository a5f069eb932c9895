"""Read arrays from the bytes of a safetensors file without copying; an inconsistent header is refused.

The library's own reader memory-maps the file: its arrays may change after they were hashed, and the process
crashes if the file is truncated. This one reads bytes that are already in memory.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.columns import spans

Arrays = dict[str, NDArray[Any]]

MOST_HEADER = 100_000_000
"""Maximum size of a header in bytes, as in the library."""
_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I32": "<i4",
    "I64": "<i8",
    "F32": "<f4",
    "F64": "<f8",
}
_ORDER = ("I64", "F64", "F32", "I32", "U8", "BOOL")
"""Of the tensors in a file: by type, then by name."""


def check_size(start: bytes, size: int) -> int:
    """Return the length of the header of a file that begins with these 8 bytes.

    Raises:
        ValueError: it can't be a header.
    """
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 2 <= length <= min(size - 8, MOST_HEADER):
        raise ValueError(f"a file of {size} bytes can't have a header of {length}")
    return length


def parse(content: NDArray[np.uint8] | bytes) -> Arrays:
    """Return the arrays of a safetensors file by name; they share memory with ``content``.

    Raises:
        ValueError: the header is damaged, or does not account for every byte.
    """
    buffer = np.frombuffer(content, dtype=np.uint8) if isinstance(content, bytes) else content
    length = check_size(buffer[:8].tobytes(), len(buffer))
    first, arrays = 8 + length, {}
    spans = []
    for name, dtype, shape, begin, end in entries(buffer[8:first].tobytes(), len(buffer)):
        values = buffer[first + begin : first + end]
        if dtype == np.bool_ and len(values) and values.max() > 1:
            raise ValueError(f"the tensor {name!r} must hold booleans, and has other bytes")
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
        raise ValueError(f"the tensors have {at} bytes, and the file has {len(buffer) - first}")
    return arrays


def write(arrays: Arrays, path: Path) -> None:
    """Write a safetensors file, the same bytes as the library does; memory-mapped arrays part by part.

    Raises:
        ValueError: an array is of another type than those above.
    """
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    types = {name: names.get(array.dtype) for name, array in arrays.items()}
    if other := [name for name, dtype in types.items() if dtype is None]:
        raise ValueError(f"the tensor {other[0]!r} has the type {arrays[other[0]].dtype}, which is not saved")
    order = sorted(arrays, key=lambda name: (_ORDER.index(str(types[name])), name))
    described, end = {}, 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        described[name] = {"dtype": types[name], "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in order:
            flat = np.ascontiguousarray(arrays[name]).reshape(-1)
            for part in spans(len(flat)):
                file.write(flat[part].data)


def entries(header: bytes, size: int) -> list[tuple[str, np.dtype[Any], tuple[int, ...], int, int]]:
    """Return the name, dtype, shape, begin and end of each tensor in a header.

    Raises:
        ValueError: a tensor is invalid, or does not fit in a file of ``size`` bytes.
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
            raise ValueError(f"the tensor {name!r} has no valid shape or offsets")
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        begin, end = offsets  # type: ignore[misc]
        if end > size or end - begin != math.prod(shape) * dtype.itemsize:  # type: ignore[arg-type]
            raise ValueError(f"the tensor {name!r} of shape {shape} can't have {end - begin} bytes")
        if len(shape) > 8 or max(shape, default=0) >= 2**62:  # type: ignore[arg-type]
            raise ValueError(f"the tensor {name!r} has the invalid shape {shape}")
        found.append((str(name), dtype, tuple(shape), begin, end))  # type: ignore[arg-type]
    return found


def exactly(arrays: Arrays, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Check that the arrays are the expected ones.

    Args:
        arrays: by name.
        shapes: the dtype ("float32", ...) and the shape of each.

    Raises:
        ValueError: an array is missing, unexpected, or of another dtype or shape.
    """
    for name in {*arrays, *shapes}:
        if name not in shapes:
            raise ValueError(f"unexpected tensor {name!r}")
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
    """Check that all numbers of an array are finite.

    Raises:
        ValueError: one is not.
    """
    # a sum is not finite if a number is not, but it may also overflow
    if not np.isfinite(array.sum(dtype=np.float64)) and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, and contain nan or infinity")


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
