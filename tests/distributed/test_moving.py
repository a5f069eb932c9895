"""`send` and `fetched`: rows of tables to workers and back, in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from local_team import LocalTeam

from twotower.distributed import moving
from twotower.distributed.block import Block
from twotower.distributed.moving import fetched, send
from twotower.distributed.team import LostWorkerError
from twotower.errors import TrainingError

BOUNDS = np.array([0, 5, 5, 12])  # the second worker has no rows
WHOLE = torch.arange(36, dtype=torch.float32).view(12, 3)


class Holder(Block):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.got: dict[str, dict[int, Any]] = {}

    def put(self, name: str, first: int, values: Any) -> None:
        self.got.setdefault(name, {})
        self.got[name] |= {first + at: row for at, row in enumerate(values)}

    def rows(self, name: str, first: int, last: int, like: Any) -> Any:
        return np.array([self.got[name][row] for row in range(first, last)], like[1])


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> LocalTeam:
    monkeypatch.setattr(moving, "PART", 30)  # two rows of 12 bytes
    team = LocalTeam(3)
    team.start(Holder)
    return team


def test_rows_go_to_their_workers_and_come_back(team: LocalTeam, tmp_path: Path) -> None:
    tensors = {"whole": WHOLE, "count": WHOLE[:, 0]}
    send(team, {name: (of, BOUNDS) for name, of in tensors.items()})
    assert [len(block.got.get("whole", ())) for block in team.blocks] == [5, 0, 7]
    assert team.calls == 3 + 4 + 1 + 1  # two rows at a time; all counts of a worker at once
    found = fetched(
        team,
        {"whole": (((3,), "float32"), BOUNDS), "count": (((), "float32"), BOUNDS)},
        tmp_path,
    )
    for name, of in tensors.items():
        torch.testing.assert_close(found[name], of, rtol=0, atol=0)
    assert not list(tmp_path.iterdir())  # the files have no names
    found["whole"][3] = 7.0  # and can be written to, as any tensor
    assert found["whole"][3].tolist() == [7.0] * 3


def test_few_parts_are_on_their_way_at_once(team: LocalTeam, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the program needs memory for these, and not for a table."""
    waiting, get = [], team.get

    def taken(references: list[Any]) -> list[Any]:
        waiting.append(team.calls - len(waiting))
        return get(references)

    monkeypatch.setattr(team, "get", taken)
    send(team, {"whole": (WHOLE, BOUNDS)})
    assert len(waiting) == team.calls == 7
    assert max(waiting) == moving.AHEAD + 1 == 3


def test_a_lost_worker_leaves_no_file(team: LocalTeam, tmp_path: Path) -> None:
    send(team, {"whole": (WHOLE, BOUNDS)})
    team.losses = (team.calls + 5,)
    with pytest.raises(LostWorkerError):
        fetched(team, {"whole": (((3,), "float32"), BOUNDS)}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_can_not_be_written_to_is_an_error(team: LocalTeam, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"must fit on the disk of .*nowhere.*set TMPDIR .*--resume"):
        fetched(team, {"whole": (((3,), "float32"), BOUNDS)}, tmp_path / "nowhere")
