"""Which earlier versions of a catalogue are removed."""

from __future__ import annotations

import pytest

from twotower.retrieval.databases.database import Version
from twotower.retrieval.databases.publishing import _outdated


@pytest.mark.parametrize("earlier", range(6))
@pytest.mark.parametrize("keep", range(1, 9))
def test_the_last_complete_versions_are_kept(earlier: int, keep: int) -> None:
    """Beside the new one keep - 1 stay, or all if there are fewer; what was given up goes."""
    old = [Version(f"{2 * n:014}", f"{n:012}", f"films_{n}") for n in range(earlier)]
    failed = Version("00000000000001", "f" * 12, "failed", complete=False)
    being_written = Version("99999999999999", "e" * 12, "writing", complete=False)
    new = Version("00000000000100", "a" * 12, "new", current=True)
    removed = _outdated([*old, failed, new, being_written], new, keep)
    assert removed == (*(one.collection for one in old[: max(0, earlier - (keep - 1))]), "failed")
