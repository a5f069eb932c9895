"""What every event store promises, and what each adds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from redis_process import RedisProcess

from twotower.core.erasure import keyed, new_key
from twotower.errors import ConfigError
from twotower.server.store import (
    Event,
    EventConflict,
    EventStore,
    Placed,
    Record,
    RedisStore,
    SqliteStore,
    StoredItem,
    StoreUnavailable,
    make_store,
)

T = TypeVar("T")


def event(name: str, user: str = "ann", item: str = "7", **other: Any) -> Event:
    values: dict[str, Any] = {"kind": "interaction", "value": 1.5, "time": 1_700_000_000.25, **other}
    return Event(name, user, item, **values)


def using(store: EventStore, work: Callable[[EventStore], Awaitable[T]]) -> T:
    """Open the store, do the work, close it."""

    async def whole() -> T:
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


async def _named(store: EventStore) -> str:
    """Return the name of the data, as a store that is opened again has it."""
    await store.last()
    return store.data


class StoreContract:
    """What every store promises; ``make`` gives a store object on the same place each time."""

    @pytest.fixture
    def make(self) -> Callable[[], EventStore]:
        raise NotImplementedError

    async def delete(self, store: Any, name: str, place: int) -> None:
        """Delete an event by hand."""
        raise NotImplementedError

    async def empty(self, store: Any) -> None:
        """Lose all data, while the store is open."""
        raise NotImplementedError

    async def turn_back(self, store: Any) -> None:
        """Put an older copy in the place of the data, with one change of an item less."""
        raise NotImplementedError

    def test_events_come_back_as_they_were_sent_in_their_order(self, make):
        sent = [
            event("b", item="1"),
            event("a", item="-2", value=None, kind="skip"),
            event("c\n\"'", user="编号 \x01", item="é\\", value=-0.125, time=0.0),
        ]

        async def work(store):
            assert await store.append(sent) == 3
            return await store.events_of("ann"), await store.events_of("编号 \x01")

        ann, other = using(make(), work)
        assert [placed.event for placed in ann] == sent[:2]
        assert [placed.event for placed in other] == sent[2:]
        assert ann[0].place < ann[1].place

    def test_a_record_is_kept_once_by_its_kind_and_key(self, make):
        first = [Record("a", "k 1", '{"x": 1}', "编号"), Record("a", "k2", ""), Record("b", "k2", "other")]

        async def work(store):
            assert await store.records("a") == []
            await store.record([*first, Record("a", "k2", "too late")])
            await store.record([Record("a", "k2", "too late", "eve"), Record("a", "k3", "new")])
            return await store.records("a"), await store.records("b"), await store.events_of("eve")

        a, b, events = using(make(), work)
        assert a == [*first[:2], Record("a", "k3", "new")]
        assert (b, events) == ([first[2]], [])
        assert using(make(), lambda store: store.records("a")) == a  # in another process

    def test_an_event_is_kept_once_however_often_it_is_sent(self, make):
        async def work(store):
            first = await store.append([event("a"), event("b"), event("a", time=1.0)])
            again = await store.append([event("b"), event("c"), event("a", time=2.0)])
            return first, again, await store.events_of("ann"), await store.events_of("eve")

        first, again, ann, eve = using(make(), work)
        assert (first, again) == (2, 1)
        assert [(p.event.id, p.event.item) for p in ann] == [("a", "7"), ("b", "7"), ("c", "7")]
        assert eve == []

    @pytest.mark.parametrize(
        "other", [{"item": "8"}, {"user": "eve"}, {"kind": "skip"}, {"value": 1.25}, {"value": None}]
    )
    def test_an_id_with_other_content_is_a_conflict_and_nothing_is_kept(self, make, other):
        async def work(store):
            await store.append([event("a"), event("same")])
            for events in (
                [event("b"), event("a", **other)],  # differs from what is kept
                [event("b"), event("c"), event("c", **other)],  # differ among themselves
                [*(event(str(n)) for n in range(2500)), event("a", **other)],  # in a later part
            ):
                with pytest.raises(EventConflict) as conflict:
                    await store.append(events)
                assert conflict.value.id in ("a", "c")
            results = await asyncio.gather(
                store.append([event("d")]),
                store.append([event("a", **other)]),
                store.append([event("e"), event("same")]),
                return_exceptions=True,
            )
            return results, await store.events_of("ann"), await store.events_of("eve")

        (one, two, three), ann, eve = using(make(), work)
        assert (one, three) == (1, 1)
        assert isinstance(two, EventConflict)
        assert sorted(p.event.id for p in ann) == ["a", "d", "e", "same"]
        assert eve == []

    def test_places_are_never_given_again(self, make):
        """Not even if the last event is deleted by hand; else the next one is taken for what was read."""

        async def work(store):
            await store.append([event("a"), event("b")])
            seen = await store.events_of("ann")
            await self.delete(store, "b", seen[-1].place)
            await store.append([event("c")])
            return seen, await store.events_of("ann"), await store.events_of("ann", seen[-1].place)

        seen, ann, later = using(make(), work)
        assert [p.event.id for p in ann] == ["a", "c"]
        assert [p.event.id for p in later] == ["c"]
        assert later[0].place > seen[-1].place

    def test_all_events_up_to_a_place_are_read_and_no_later_ones(self, make):
        async def work(store):
            empty = await store.last()
            await store.append([event("a"), event("b", user="eve"), event("c", kind="skip", value=None)])
            last = await store.last()
            await store.append([event("late", time=0.0)])
            parts = [one async for part in store.between(0, last) for one in part]
            rest = [one async for part in store.between(last, await store.last()) for one in part]
            return empty, last, parts, rest, store.data

        empty, last, parts, rest, name = using(make(), work)
        assert empty == 0
        assert {(one.event.id, one.event.user) for one in parts} == {("a", "ann"), ("b", "eve"), ("c", "ann")}
        assert max(one.place for one in parts) == last
        assert [(one.event.id, one.place > last) for one in rest] == [("late", True)]
        assert name == using(make(), _named)

    def test_a_user_is_forgotten_and_the_record_does_not_say_who(self, make):
        async def work(store):
            await store.append([event("a"), event("b", user="eve"), event("c")])
            kept = await store.events_of("eve")
            before = store.removals
            gone = await store.forget("ann"), await store.forget("nobody"), await store.forget("ann")
            await store.items_since()
            later = await store.append([event("a", item="8"), event("late")])
            found = await store.erased(), await store.erased(2), await store.events_of("ann")
            return gone, store.removals - before, later, found, (kept, await store.events_of("eve"))

        gone, removals, later, (every, last, ann), (before, after) = using(make(), work)
        assert gone == (2, 0, 0)
        assert removals == 3
        assert later == 2  # the ids are free again
        assert [(placed.event.id, placed.place) for placed in ann] == [("a", 4), ("late", 5)]
        assert before == after
        assert [(one.number, one.events, one.place) for one in every.users] == [
            (1, 2, 3),
            (2, 0, 3),
            (3, 0, 3),
        ]
        assert [one.number for one in last.users] == [3]
        assert every.places(pl.Series(["eve", "ann"])).tolist() == [-1, 3]
        assert every.users[0].digest == keyed(every.key, "ann") != keyed(new_key(), "ann")
        assert "ann" not in str(every.state)
        assert using(make(), lambda store: store.erased()) == every

    def test_old_events_expire(self, make):
        async def work(store):
            await store.append(
                [event("a", time=5.0), event("b", time=10.0), event("c", user="eve", time=9.0)]
            )
            gone = await store.expire(10.0)
            found = await store.events_of("ann"), await store.events_of("eve")
            return gone, store.removals, await store.expire(10.0), found, await store.append([event("a")])

        gone, removals, again, (ann, eve), new = using(make(), work)
        assert (gone, again, new) == (2, 0, 1)
        assert removals >= 1
        assert [placed.event.id for placed in ann] == ["b"]
        assert eve == []

    def test_the_generation_stays_as_long_as_the_data(self, make):
        async def work(store):
            one = store.generation
            await store.append([event("a")])
            await store.put_item(StoredItem("x", "{}"))
            await store.check()
            await store.items_since()
            return one, store.generation

        first = using(make(), work)
        second = using(make(), work)
        assert len({*first, *second}) == 1
        assert first[0]

    def test_a_store_that_lost_its_data_has_another_generation(self, make):
        async def work(store):
            await store.append([event("a"), event("b")])
            for _ in range(3):
                await store.put_item(StoredItem("x", "{}"))
            changed = await store.items_since()
            before = store.generation
            await self.empty(store)
            await store.put_item(StoredItem("y", None))
            missed = await store.items_since(changed[-1].version)
            after = store.generation
            again = await store.append([event("a", item="other")])
            return before, after, missed, await store.items_since(), again, await store.events_of("ann")

        before, after, missed, items, again, ann = using(make(), work)
        assert before != after
        assert missed == []  # which is why there are generations
        assert [(item.key, item.columns) for item in items] == [("y", None)]
        assert again == 1
        assert [p.event.item for p in ann] == ["other"]

    def test_numbers_can_be_skipped_and_never_go_back(self, make):
        async def work(store):
            await store.append([event("a")])
            await store.forget("bob")
            for numbers in ((5, 3), (2, 1)):
                await store.go_on_from(*numbers)
                assert await store.last() == 5
                assert (await store.erased()).last == 3
            await store.append([event("b")])
            await store.forget("cleo")
            found = await store.erased(3)
            return await store.last(), [(one.number, one.digest) for one in found.users], found.key

        place, deleted, key = using(make(), work)
        assert (place, deleted) == (6, [(4, keyed(key, "cleo"))])

    def test_an_older_copy_has_another_generation(self, make):
        async def work(store):
            await store.put_item(StoredItem("x", "{}"))
            await store.put_item(StoredItem("x", "{}"))
            await store.items_since()
            before = store.generation
            await self.turn_back(store)
            await store.items_since()
            return before, store.generation

        before, after = using(make(), work)
        assert before != after

    def test_nothing_is_appended_to_nothing(self, make):
        async def work(store):
            return await store.append([]), await store.events_of("ann")

        assert using(make(), work) == (0, [])

    def test_only_what_came_after_a_place(self, make):
        async def work(store):
            await store.append([event("a"), event("other", user="eve"), event("b")])
            seen = await store.events_of("ann")
            await store.append([event("c"), event("other 2", user="eve"), event("d")])
            return seen, await store.events_of("ann", seen[-1].place), await store.events_of("ann", 10**9)

        seen, later, none = using(make(), work)
        assert [p.event.id for p in seen] == ["a", "b"]
        assert [p.event.id for p in later] == ["c", "d"]
        assert later[0].place > seen[-1].place
        assert none == []

    def test_all_of_it_is_there_after_opening_again(self, make):
        async def fill(store):
            await store.append([event(str(i)) for i in range(5)])
            await store.put_item(StoredItem("x", '{"title": "é"}'))

        async def read(store):
            again = await store.append([event("3"), event("5")])
            return again, len(await store.events_of("ann")), await store.items_since()

        using(make(), fill)
        assert using(make(), read) == (1, 6, [StoredItem("x", '{"title": "é"}', 1)])

    def test_items_are_replaced_and_taken_away(self, make):
        async def work(store):
            assert await store.items_since() == []
            await store.put_item(StoredItem("b", "{}"))
            await store.put_item(StoredItem("a", '{"k": 1}'))
            first = await store.items_since()
            await store.put_item(StoredItem("b", '{"k": 2}'))
            await store.put_item(StoredItem("a", None))
            return first, await store.items_since(), await store.items_since(first[-1].version)

        first, second, later = using(make(), work)
        assert [(item.key, item.columns) for item in first] == [("b", "{}"), ("a", '{"k": 1}')]
        assert [(item.key, item.columns) for item in second] == [("b", '{"k": 2}'), ("a", None)]
        assert later == second
        versions = [item.version for item in first + second]
        assert versions == sorted(set(versions))
        assert versions[0] > 0

    def test_many_at_once_lose_and_double_nothing(self, make):
        async def work(store):
            batches = [[event(f"{i % 40}/{j}", user=f"u{j % 3}") for j in range(5)] for i in range(60)]
            new = await asyncio.gather(*(store.append(batch) for batch in batches))
            return sum(new), [await store.events_of(f"u{u}") for u in range(3)]

        new, lists = using(make(), work)
        assert new == 200
        ids = [placed.event.id for found in lists for placed in found]
        assert sorted(ids) == sorted(f"{i}/{j}" for i in range(40) for j in range(5))

    def test_a_long_list_is_kept_whole(self, make):
        async def work(store):
            new = await store.append([event(str(i), user=f"u{i % 2}") for i in range(2500)])
            return new, await store.events_of("u1")

        new, found = using(make(), work)
        assert new == 2500
        assert [placed.event.id for placed in found] == [str(i) for i in range(1, 2500, 2)]


class TestSqlite(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], EventStore]:
        return lambda: SqliteStore(tmp_path / "events.db")

    async def delete(self, store: Any, name: str, place: int) -> None:
        with sqlite3.connect(store._path) as by_hand:
            by_hand.execute("delete from events where place = ?", (place,))
        by_hand.close()

    async def empty(self, store: Any) -> None:
        new = store._path.with_name("new.db")
        await asyncio.to_thread(using, SqliteStore(new), lambda s: s.items_since())
        for suffix in ("-wal", "-shm"):  # which belong to the old file
            os.unlink(f"{store._path}{suffix}")
        os.replace(new, store._path)

    async def turn_back(self, store: Any) -> None:
        with sqlite3.connect(store._path) as by_hand:
            by_hand.execute("update counters set value = value - 1 where name = 'version'")
            by_hand.execute("update items set version = version - 1")
        by_hand.close()

    def test_a_file_that_is_removed_keeps_nothing_until_it_is_back(self, make):
        async def work(store):
            await store.append([event("a")])
            kept = store._path.with_name("kept.db")
            for suffix in ("", "-wal", "-shm"):
                os.rename(f"{store._path}{suffix}", f"{kept}{suffix}")
            for ask in (
                store.append([event("b")]),
                store.events_of("ann"),
                store.items_since(),
                store.check(),
            ):
                with pytest.raises(StoreUnavailable, match="No such file"):
                    await ask
            assert not store._path.exists()  # none is made in its place, which would hide the loss
            for suffix in ("", "-wal", "-shm"):
                os.rename(f"{kept}{suffix}", f"{store._path}{suffix}")
            new = await store.append([event("a"), event("b")])
            await store.check()
            return new, [placed.event.id for placed in await store.events_of("ann")]

        assert using(make(), work) == (1, ["a", "b"])

    def test_an_empty_file_in_its_place_is_not_taken_for_a_store(self, make):
        async def work(store):
            await store.append([event("a")])
            store._path.unlink()
            store._path.touch()
            for ask in (store.append([event("b")]), store.events_of("ann"), store.check()):
                with pytest.raises(StoreUnavailable, match="empty file"):
                    await ask

        using(make(), work)

    def test_a_disk_that_can_not_be_written_is_found_by_a_check(self, make):
        async def work(store):
            await store.check()
            lock = sqlite3.connect(store._path, isolation_level=None)
            lock.execute("begin exclusive")
            await store.items_since()  # can still be read
            with pytest.raises(StoreUnavailable, match="can't be written"):
                await store.check()
            lock.execute("rollback")
            lock.close()
            await store.check()

        store = make()
        store._busy = 0.05
        using(store, work)

    def test_a_store_of_version_1_is_brought_up(self, tmp_path):
        path = tmp_path / "old.db"
        old = sqlite3.connect(path)
        old.executescript(
            """
            create table events (place integer primary key, id text not null unique, user text not null,
                item text not null, kind text not null, value real, time real not null);
            create index events_of_user on events (user, place);
            create table items (version integer primary key, key text not null unique, columns text);
            insert into events values (1, 'a', 'ann', '7', 'interaction', 1.5, 2.0);
            insert into events values (5, 'b', 'ann', '8', 'skip', null, 3.0);
            insert into items values (3, 'x', '{}');
            pragma application_id = 1953984372;
            pragma user_version = 1;
            """
        )
        old.close()

        async def work(store):
            with pytest.raises(EventConflict):
                await store.append([event("a", item="9")])
            new = await store.append([event("a"), event("c")])
            await store.put_item(StoredItem("y", None))
            found = await store.events_of("ann")
            return new, [(p.place, p.event.id) for p in found], await store.items_since()

        new, places, items = using(SqliteStore(path), work)
        assert new == 1
        assert places == [(1, "a"), (5, "b"), (6, "c")]
        assert items == [StoredItem("x", "{}", 3), StoredItem("y", None, 4)]
        assert using(SqliteStore(path), lambda s: s.append([event("c")])) == 0

    def test_two_servers_may_share_the_file(self, make):
        async def work(store):
            other = make()
            await other.open()
            await asyncio.gather(*(s.append([event(f"{i}")]) for i in range(20) for s in (store, other)))
            found = await other.events_of("ann")
            await other.close()
            return found

        assert len(using(make(), work)) == 20

    def test_a_commit_is_flushed_to_the_disk(self, make):
        async def work(store):
            journal = store._read("pragma journal_mode", ())
            return journal, store._connect().execute("pragma synchronous").fetchone()

        assert using(make(), work) == ([("wal",)], (2,))

    def test_what_is_no_store_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 20)
        other = sqlite3.connect(tmp_path / "other.db")
        other.executescript("create table t (a); insert into t values (1); pragma user_version = 7")
        other.close()
        newer = sqlite3.connect(tmp_path / "newer.db")
        newer.executescript("pragma user_version = 99")
        newer.close()
        for name, reason in (("text", "not a database"), ("other", "another"), ("newer", "upgrade")):
            before = (tmp_path / f"{name}.db").read_bytes()
            with pytest.raises(ConfigError, match=reason):
                asyncio.run(SqliteStore(tmp_path / f"{name}.db").open())
            assert (tmp_path / f"{name}.db").read_bytes() == before

    def test_a_store_that_can_not_be_written_says_so_and_comes_back(self, make):
        async def work(store):
            await store.append([event("a")])
            lock = sqlite3.connect(store._path, isolation_level=None)
            lock.execute("begin exclusive")
            with pytest.raises(StoreUnavailable, match="can't be written"):
                await store.append([event("b")])
            lock.execute("rollback")
            return await store.append([event("a"), event("b")])

        store = make()
        store._busy = 0.05
        assert using(store, work) == 1

    def test_a_closed_store_says_so(self, make):
        store = make()
        using(store, lambda s: s.append([event("a")]))
        for ask in (store.append([event("b")]), store.events_of("ann"), store.items_since()):
            with pytest.raises(StoreUnavailable, match="closed"):
                asyncio.run(ask)

    @pytest.mark.slow
    def test_what_was_answered_survives_kill_9(self, tmp_path):
        code = """
import asyncio, sys
from pathlib import Path
from twotower.server.store import Event, SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    for i in range(10**6):
        await store.append([Event(f"{i}", "ann", "7", "interaction", None, 0.0)])
        print(i, flush=True)

asyncio.run(main())
"""
        path = tmp_path / "events.db"
        answered = -1
        for _ in range(3):
            process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
            for line in process.stdout:
                answered = max(answered, int(line))
                if int(line) >= answered and int(line) % 50 == 49:
                    break
            os.kill(process.pid, signal.SIGKILL)
            rest, _ = process.communicate()
            answered = max([answered, *map(int, rest.split())])
        found: list[Placed] = using(SqliteStore(path), lambda s: s.events_of("ann"))
        ids = [int(placed.event.id) for placed in found]
        assert answered >= 49
        assert sorted(set(ids)) == sorted(ids)
        assert set(range(answered + 1)) <= set(ids)


class TestRedis(StoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory) -> Iterator[RedisProcess]:
        process = RedisProcess(tmp_path_factory.mktemp("redis"))
        yield process
        process.stop()

    @pytest.fixture
    def make(self, server: RedisProcess) -> Callable[[], EventStore]:
        async def empty(store):
            await store._redis.flushdb()

        using(RedisStore(server.url), empty)
        return lambda: RedisStore(server.url)

    async def delete(self, store: Any, name: str, place: int) -> None:
        assert await store._redis.zremrangebyscore("{twotower}:events:ann", place, place) == 1

    async def empty(self, store: Any) -> None:
        await store._redis.flushall()

    async def turn_back(self, store: Any) -> None:
        await store._redis.decr("{twotower}:last")

    def test_a_store_of_version_1_is_brought_up(self, server, make):
        async def fill(store):
            await store._redis.flushdb()
            await store._redis.set("{twotower}:version", "1")
            for name, item in (("a", "7"), ("b", "8")):
                await store._redis.sadd("{twotower}:ids", name)
                text = json.dumps([name, item, "interaction", 1.5, 2.0])
                await store._redis.rpush("{twotower}:user:ann", text)
            await store._redis.rpush("{twotower}:user:编 号", json.dumps(["c", "7", "skip", None, 2.0]))
            await store._redis.hset("{twotower}:items", "x", "{}")
            await store._redis.zadd("{twotower}:versions", {"x": 3})
            await store._redis.set("{twotower}:last", 3)

        async def work(store):
            with pytest.raises(EventConflict):
                await store.append([event("a", item="9")])
            new = await store.append([event("a"), event("d")])
            other = await store.events_of("编 号")
            await store.put_item(StoredItem("y", None))
            return new, await store.events_of("ann"), other, await store.items_since()

        using(make(), fill)
        new, ann, other, items = using(RedisStore(server.url), work)
        assert new == 1
        assert [p.event.id for p in ann] == ["a", "b", "d"]
        assert [p.event.kind for p in other] == ["skip"]
        assert items == [StoredItem("x", "{}", 3), StoredItem("y", None, 4)]

    def test_a_redis_that_can_only_be_read_is_found_by_a_check(self, make):
        async def work(store):
            await store.check()
            await store._redis.config_set("min-replicas-to-write", 1)
            try:
                with pytest.raises(StoreUnavailable, match="replicas"):
                    await store.check()
            finally:
                await store._redis.config_set("min-replicas-to-write", 0)
            await store.check()

        using(make(), work)

    def test_stopped_and_started_again(self, server, make):
        async def work(store):
            await store.append([event("a")])
            await asyncio.to_thread(server.stop)
            for ask in (store.append([event("b")]), store.events_of("ann"), store.items_since()):
                with pytest.raises(StoreUnavailable, match="is not responding"):
                    await ask
            await asyncio.to_thread(server.start)
            new = await store.append([event("a"), event("b")])
            return new, [placed.event.id for placed in await store.events_of("ann")]

        assert using(make(), work) == (1, ["a", "b"])

    def test_a_redis_that_may_lose_events_is_said(self, make, caplog):
        async def work(store):
            await store._redis.config_set("appendfsync", "everysec")
            await store.open()
            await store._redis.config_set("appendfsync", "always")

        using(make(), work)
        assert "appendfsync everysec" in caplog.text
        caplog.clear()
        using(make(), lambda s: s.items_since())
        assert caplog.text == ""

    def test_a_store_of_another_version_is_refused(self, make):
        async def change(store):
            await store._redis.set("{twotower}:version", "99")

        using(make(), change)
        with pytest.raises(ConfigError, match="version 99"):
            using(make(), lambda s: s.items_since())

    def test_an_address_that_nothing_listens_on(self):
        with pytest.raises(StoreUnavailable):
            asyncio.run(RedisStore("redis://127.0.0.1:1/0").open())


@pytest.mark.parametrize("address", ["mysql://x", "redis://:secret@[bad", "/no/such/folder/e.db", "/"])
def test_an_address_that_is_none(address):
    with pytest.raises(ConfigError, match="--store must be") as error:
        make_store(address)
    assert "secret" not in str(error.value)


def test_the_kind_of_store_follows_from_the_address(tmp_path):
    assert isinstance(make_store("redis://localhost:6379/0"), RedisStore)
    assert isinstance(make_store(str(tmp_path / "e.db")), SqliteStore)
