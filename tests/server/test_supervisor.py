"""What workers ask of each other goes through the supervisor; here the workers are the ends of pipes."""

from __future__ import annotations

from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from twotower.server import sharing
from twotower.server.merged_metrics import merged
from twotower.server.plan import Plan
from twotower.server.settings import Settings
from twotower.server.supervisor import Supervisor, _Worker


@pytest.fixture
def pair(bundle, tmp_path, monkeypatch):
    """Return a supervisor and the ends of the pipes of its two workers."""
    monkeypatch.setattr(sharing, "_IN_MEMORY", tmp_path)
    settings = Settings(bundle=bundle, store=str(tmp_path / "events.db"))
    supervisor = Supervisor(Plan(settings, 2, "127.0.0.1", 0, "info", ""))
    ends = []
    for slot in range(2):
        ours, theirs = Pipe()
        never, _ends = Pipe()
        process = SimpleNamespace(sentinel=never, is_alive=lambda: True, end=_ends)
        supervisor._workers.append(_Worker(slot, process, ours, 0.0, dict(supervisor._used), ready=True))
        ends.append(theirs)
    yield supervisor, ends
    supervisor.copies.close()
    for one in supervisor._sockets:
        one.close()


def asked(supervisor, ends, what):
    """Take the question that all workers are asked, and return its number and value."""
    supervisor._wait()
    (number, value), *others = [(number, value) for end in ends for _, number, value in [end.recv()]]
    assert others == [(number, value)]
    assert supervisor._rounds[number].what == what
    return number, value


def test_metrics_are_those_of_the_workers_that_answer_in_time(pair):
    supervisor, (one, two) = pair
    one.send(("ask", 7, "metrics", None))
    number, _ = asked(supervisor, (one, two), "metrics")
    one.send(("answer", number, True, "# TYPE a_total counter\na_total 3.0\n"))
    supervisor._wait()
    assert not one.poll()  # the other one may still answer
    supervisor._rounds[number].until = 0.0
    supervisor._wait()
    result, asker, texts = one.recv()
    assert (result, asker) == ("result", 7)
    assert "a_total 3.0" in merged(texts).splitlines()


@pytest.mark.parametrize("refusal", ["can't be read", None])
def test_a_bundle_is_served_by_all_workers_or_none(pair, refusal):
    supervisor, (one, two) = pair
    before = dict(supervisor._used)
    one.send(("ask", 7, "reload", None))
    number, copies = asked(supervisor, (one, two), "prepare")
    one.send(("answer", number, True, None))
    two.send(("answer", number, refusal is None, refusal))
    number, value = asked(supervisor, (one, two), "take" if refusal is None else "drop")
    if refusal is None:
        assert value == copies
        for end in (one, two):
            end.send(("answer", number, True, {"run": {"model": "new"}}))
        supervisor._wait()
    assert one.recv() == ("result", 7, refusal or {"run": {"model": "new"}})
    assert (supervisor._used == before) is (refusal is not None)
    assert all(copy.is_dir() for copy in supervisor._used.values())
