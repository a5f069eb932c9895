"""What the supervisor does when workers come and go during a reload or a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_server import HERE

from twotower.server import supervisor
from twotower.server.plan import Plan
from twotower.server.settings import Settings
from twotower.server.supervisor import Supervisor, _Worker


class Process:
    """A process that only notes what it is told."""

    exitcode = 0

    def __init__(self) -> None:
        self.told = ""

    def terminate(self) -> None:
        self.told = "terminate"

    def kill(self) -> None:
        self.told = "kill"

    def join(self) -> None:
        pass


@pytest.fixture
def two(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor of two workers that are ready; it starts no processes."""
    monkeypatch.setattr(supervisor, "listening", lambda host, port, n: [SimpleNamespace()] * n)
    monkeypatch.setattr(supervisor, "address_of", lambda socket: "http://here/")
    settings = Settings(bundle=bundle, store=str(tmp_path / "store.db"), **HERE)
    made = Supervisor(Plan(settings, 2, "127.0.0.1", 0, "info", "serving {}"))

    def begin(slot: int) -> _Worker:
        worker = _Worker(slot, Process(), Pipe()[0], 0.0, dict(made._used))
        made._workers.append(worker)
        made._due.pop(slot, None)
        return worker

    monkeypatch.setattr(made, "_begin", begin)
    for worker in (begin(0), begin(1)):
        made._took(worker, "ready")
    answer(made, "forget", value=False)
    yield made
    made.copies.close()


def answer(
    made: Supervisor, what: str, right: Callable[[_Worker], bool] = lambda one: True, value: Any = None
) -> None:
    """Answer a question for all workers that were asked it."""
    (round_,) = [one for one in made._rounds.values() if one.what == what]
    for worker in [one for one in made._workers if one.slot in round_.waiting and one.ready]:
        made._took(worker, "answer", round_.number, right(worker), value)


def test_a_worker_that_starts_during_a_reload_does_not_go_on_with_the_old_bundle(two):
    said: list[Any] = []
    two._reload(None, said.append)
    crashed, other = two._workers
    two._ended(crashed)
    assert said == []
    answer(two, "prepare", value=None)
    assert "ended" in said[0]  # all or none
    two._reload(None, said.append)
    late = two._begin(crashed.slot)
    answer(two, "prepare")
    two._took(late, "ready")
    answer(two, "take", value={"run": {"model": "b", "previous": "a"}})
    assert said[1] == {"run": {"model": "b", "previous": "a"}}
    assert other.used == two._used
    assert (late.process.told, other.process.told) == ("terminate", "")
    two._ended(late)
    assert two._begin(late.slot).used == two._used
    assert all(copy.exists() for copy in two._used.values())


def test_a_worker_that_could_not_take_the_new_bundle_is_replaced_and_if_none_could_all_stay(two):
    said: list[Any] = []
    before = dict(two._used)
    two._reload(None, said.append)
    answer(two, "prepare")
    answer(two, "take", lambda one: False, "the store does not respond")
    assert said == ["the store does not respond"]
    assert two._used == before
    assert [one.process.told for one in two._workers] == ["", ""]
    two._reload(None, said.append)
    answer(two, "prepare")
    answer(two, "take", lambda one: one.slot == 0, {"run": {}})
    assert [one.process.told for one in two._workers] == ["", "terminate"]
    assert two._workers[0].used == two._used != before


def test_a_worker_that_dies_while_it_is_being_replaced_does_not_stop_the_others_replacement(two):
    first, second = two._workers
    two._signalled(signal.SIGUSR2)
    new = two._next
    two._ended(first)
    assert not two._due  # the new one takes its place
    two._took(new, "ready")
    assert two._next is not None
    assert two._next.slot == second.slot
    two._took(two._next, "ready")
    assert second.process.told == "terminate"
    two._ended(second)
    assert [one.slot for one in two._workers] == [0, 1]
    assert not two._restarts


def test_bundles_that_still_had_deleted_users_are_copied_anew(two):
    said: list[Any] = []
    two._reload(None, said.append)
    answer(two, "prepare")
    answer(two, "take", value={"run": {}})
    (round_,) = two._rounds.values()
    assert (round_.what, len(round_.waiting)) == ("forget", 1)
    answer(two, "forget", value=True)
    assert [one.what for one in two._rounds.values()] == ["prepare"]
