"""Converts indexes of format 1, saved as FAISS writes them, to arrays, in a separate process.

FAISS does not validate what it reads: a changed file can crash the process or use all its memory. So a child
process reads it, and the arrays that it returns are checked like any others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from twotower.retrieval._faiss import faiss, from_bytes

SECONDS = 300.0
"""Time limit of reading."""
_MEMORY = 16 << 30  # address space besides that of the file
_CODE = "from twotower.retrieval._legacy import main; main()"


def arrays_of(kind: str, payload: bytes) -> bytes:
    """Return the arrays of an index of format 1, as `tensors.parse` reads them.

    Raises:
        ValueError: it can't be read.
        MissingExtraError: FAISS is not installed.
    """
    faiss()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""}
    try:
        # -P: nothing is imported from the working directory
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CODE, kind],
            input=payload,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"FAISS could not read it within {SECONDS:g} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"FAISS could not read it: {lines[-1][:300] if lines else 'its process died'}")
    return done.stdout


def main() -> None:
    """Convert an index on stdin to arrays on stdout; what the child process runs."""
    from twotower.retrieval.hnsw import graph_arrays  # noqa: PLC0415
    from twotower.retrieval.ivfpq import list_arrays  # noqa: PLC0415

    kind, payload = sys.argv[1], sys.stdin.buffer.read()
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = _MEMORY + 8 * len(payload)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if kind == "hnsw":
        written = graph_arrays(from_bytes(payload, faiss().IO_FLAG_SKIP_STORAGE))
    else:
        written = list_arrays(from_bytes(payload))
    sys.stdout.buffer.write(written)
