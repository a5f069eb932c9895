"""Columns of a scratch folder go with it, whatever fails."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from twotower.core.columns import ColumnWriter
from twotower.core.scratch import Scratch


def test_a_full_disk_leaves_no_folder_and_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[ColumnWriter] = []

    def full(self: ColumnWriter) -> None:
        closed.append(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ColumnWriter, "close", full)
    with pytest.raises(OSError, match="No space left on device") as found, Scratch(tmp_path) as scratch:
        columns = [scratch.column(name, np.int32) for name in ("a", "b")]
    assert set(closed) == set(columns)
    assert list(tmp_path.iterdir()) == []
    assert found.value.filename == str(tmp_path)  # which disk it is that needs space


@pytest.mark.parametrize(("number", "named"), [(errno.EFBIG, True), (errno.EPERM, False)])
def test_the_error_of_a_full_disk_names_the_folder(tmp_path: Path, number: int, named: bool) -> None:
    with pytest.raises(OSError, match="as the system says") as found, Scratch(tmp_path):
        raise OSError(number, "as the system says")
    assert found.value.filename == (str(tmp_path) if named else None)
