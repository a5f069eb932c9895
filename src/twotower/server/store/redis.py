"""`RedisStore`: events and items in Redis, for several servers that share them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from twotower.core.erasure import Erased, Erasures, keyed, new_key
from twotower.errors import ConfigError, MissingExtraError
from twotower.server.store.events import (
    Event,
    EventConflict,
    EventStore,
    Placed,
    Record,
    StoredItem,
    StoreUnavailable,
    distinct,
    new_generation,
)
from twotower.server.store.redis_address import connected
from twotower.server.store.redis_scripts import (
    APPEND,
    BRING_UP,
    EVENTS,
    EXPIRE,
    FORGET,
    GO_ON,
    KEYS,
    LAST,
    OF_ERASED,
    PUT,
    RECORD,
    SINCE,
    VERSION,
)

T = TypeVar("T")

_SECONDS = 2.0
"""How long a connection or an answer may take."""
_PER_CALL = 1000  # events of one script call, which nobody else's call can run beside
log = logging.getLogger("twotower.server")


class RedisStore(EventStore):
    """A Redis server, or several behind one address.

    A user's events are a sorted set by their place. It is as durable as the Redis server is told to be:
    ``appendonly yes`` and ``appendfsync always`` for "on the disk before the answer"; the log says so if it
    is set to less when the store is opened.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, url: str) -> None:
        super().__init__()
        try:
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415
            from redis.exceptions import RedisClusterException, RedisError  # noqa: PLC0415
        except ModuleNotFoundError:
            raise MissingExtraError(
                "--store redis://... needs the package redis, which is not installed; install it with: "
                "pip install 'twotower[redis]'"
            ) from None
        self._errors = (RedisError, RedisClusterException, OSError, TimeoutError)
        self._everywhere = {"target_nodes": "primaries"} if "+cluster://" in url else {}
        options = {
            "decode_responses": True,
            "socket_timeout": _SECONDS,
            "socket_connect_timeout": _SECONDS,
            # once more at once: a connection from before Redis was started again is found dead in use,
            # and whatever is asked here may be asked twice
            "retry": Retry(NoBackoff(), 1),
            "retry_on_error": [RedisConnectionError],
        }
        self._redis: Any = connected(url, options)
        scripts = {"append": APPEND, "events": EVENTS, "last": LAST, "put": PUT}
        scripts |= {"record": RECORD, "forget": FORGET, "expire": EXPIRE}
        scripts |= {"since": SINCE, "up": BRING_UP, "go on": GO_ON}
        self._scripts = {name: self._redis.register_script(text) for name, text in scripts.items()}

    async def open(self) -> None:
        """Connect, and check the version of the data; see `EventStore.open`."""
        await self._do(self._redis.set(KEYS["version"], VERSION, nx=True))
        found = await self._do(self._redis.get(KEYS["version"]))
        if found == "1":
            await self._bring_up()
        elif found != VERSION:
            raise ConfigError(
                f"the Redis store has version {found}, this twotower reads {VERSION}; upgrade the older one"
            )
        await self.items_since(0)
        try:
            settings = await self._redis.config_get("append*") | await self._redis.config_get("maxmemory*")
        except self._errors:
            settings = {}  # a hosted Redis does not show its settings
        if settings and (settings.get("appendonly"), settings.get("appendfsync")) != ("yes", "always"):
            log.warning(
                "Redis may lose its most recent events in a crash: appendonly is %s and appendfsync "
                "%s; events are durable before they are answered with 'yes' and 'always'",
                settings.get("appendonly"),
                settings.get("appendfsync"),
            )
        if settings.get("maxmemory-policy", "noeviction") != "noeviction":
            log.warning(
                "Redis may drop events when its memory is full: maxmemory-policy is %s; set it to noeviction",
                settings["maxmemory-policy"],
            )

    async def append(self, events: Sequence[Event]) -> int:
        """Store events; see `EventStore.append`.

        A long list is kept in parts. If the connection breaks between them some are kept; none was answered,
        and sending all again keeps the rest.
        """
        fresh = distinct(events)
        parts = [fresh[start : start + _PER_CALL] for start in range(0, len(fresh), _PER_CALL)]
        if len(parts) > 1:  # all are looked at before one is kept
            for part in parts:
                known = await self._do(self._redis.hmget(KEYS["contents"], [e.id for e in part]))
                for event, digest in zip(part, known, strict=True):
                    if digest not in (None, _digest(event)):
                        raise EventConflict(event.id)
        new = 0
        for part in parts:
            values = [value for e in part for value in (e.id, _digest(e), e.user, _text(e))]
            kept, conflict = await self._run("append", ("contents", "place", "events"), *values)
            if kept < 0:
                raise EventConflict(conflict)
            new += kept
        return new

    async def events_of(self, user: str, after: int = 0) -> list[Placed]:
        """Return a user's events; see `EventStore.events_of`."""
        return await self._events(user, after, "+inf")

    async def last(self) -> int:
        """Return the last place; see `EventStore.last`."""
        (place,) = await self._run("last", ("place",))
        return int(place)

    async def between(self, after: int, last: int) -> AsyncIterator[list[Placed]]:
        """Yield events user by user; see `EventStore.between`."""
        async for user in self._users():
            if found := await self._events(user, after, last):
                yield found

    async def _users(self) -> AsyncIterator[str]:
        """Yield every user with events, once."""
        prefix, seen = f"{KEYS['events']}:", set[str]()
        with self._responding():
            async for key in self._redis.scan_iter(match=f"{prefix}*", count=1000):
                if key not in seen:  # a key may come twice
                    seen.add(key)
                    yield key.removeprefix(prefix)

    async def _events(self, user: str, after: int, last: int | str) -> list[Placed]:
        found, removals = await self._run("events", (f"events:{user}", "removals"), after, last)
        self.removals = int(removals)
        placed = []
        for text, place in zip(found[::2], found[1::2], strict=True):
            name, item, kind, value, time = json.loads(text)
            placed.append(Placed(int(float(place)), Event(name, user, item, kind, value, time)))
        return placed

    async def put_item(self, item: StoredItem) -> None:
        """Store an item; see `EventStore.put_item`."""
        text = "" if item.columns is None else item.columns
        await self._run("put", ("items", "versions", "last"), item.key, text)

    async def items_since(self, version: int = 0) -> list[StoredItem]:
        """Return changed items; see `EventStore.items_since`."""
        keys = ("items", "versions", "last", "place", "removals")
        found, (last, place, removals) = await self._run("since", keys, version)
        self._counted(int(last), int(place))
        self.removals = int(removals)
        return [
            StoredItem(key, text or None, int(float(number)))
            for key, text, number in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    async def forget(self, user: str) -> int:
        """Delete a user's events; see `EventStore.forget`.

        Redis keeps them in its append-only file until it rewrites it, which this starts.
        """
        digest = keyed(await self._key(), user)
        await self._forget_records(user)
        (gone,) = await self._run("forget", (f"events:{user}", *OF_ERASED), "", digest, time.time())
        try:
            await self._redis.execute_command("BGREWRITEAOF", **self._everywhere)
        except self._errors as error:
            log.warning(
                "Redis could not start to rewrite its append-only file; deleted events may still be in it",
                extra={"fields": {"reason": str(error)}},
            )
        return int(gone)

    async def expire(self, before: float) -> int:
        """Delete old events, user by user; see `EventStore.expire`."""
        gone = 0
        async for user in self._users():
            (more,) = await self._run("expire", (f"events:{user}", "contents", "removals"), before)
            gone += int(more)
        return gone

    async def erased(self, after: int = 0) -> Erasures:
        """Return deleted users; see `EventStore.erased`."""
        key = await self._key()
        rows = await self._do(self._redis.lrange(KEYS["erased"], after, -1))
        return Erasures(key, [Erased(*json.loads(row)) for row in rows], self.data)

    async def go_on_from(self, place: int, deletion: int) -> None:
        """Skip numbers; see `EventStore.go_on_from`."""
        await self._run("go on", ("place", "erased"), place, deletion)

    async def _key(self) -> str:
        """Return the key of hashes of ids, made on first use."""
        (key,) = await self._run("forget", ("events:", *OF_ERASED), new_key(), "", 0)
        return str(key)

    async def record(self, records: Sequence[Record]) -> None:
        """Keep records; see `EventStore.record`."""
        for kind in dict.fromkeys(one.kind for one in records):
            own = [one for one in records if one.kind == kind]
            for start in range(0, len(own), _PER_CALL):
                part = own[start : start + _PER_CALL]
                values = [text for one in part for text in (one.key, json.dumps([one.value, one.user]))]
                await self._run("record", (f"records:{kind}",), *values)

    async def records(self, kind: str) -> list[Record]:
        """Return records; see `EventStore.records`."""
        found: dict[str, Record] = {}
        with self._responding():
            async for key, text in self._redis.hscan_iter(f"{KEYS['records']}:{kind}", count=1000):
                found[key] = Record(kind, key, *json.loads(text))
        return [found[key] for key in sorted(found)]

    async def _forget_records(self, user: str) -> None:
        """Delete the records of a user."""
        with self._responding():
            async for kind in self._redis.scan_iter(match=f"{KEYS['records']}:*", count=1000):
                async for key, text in self._redis.hscan_iter(kind, count=1000):
                    if json.loads(text)[1] == user:
                        await self._redis.hdel(kind, key)

    async def check(self) -> None:
        """Write and read; see `EventStore.check`."""
        name = new_generation()
        await self._do(self._redis.set(f"{KEYS['checked']}:{name}", name, ex=60))
        if await self._do(self._redis.get(f"{KEYS['checked']}:{name}")) != name:
            raise StoreUnavailable("the event store (Redis) does not keep what is written to it")

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _run(self, script: str, keys: Sequence[str], *values: str | int | float) -> list[Any]:
        """Run a script whose answer begins with the name of the data, and return the rest."""
        names = [KEYS["version"], KEYS["generation"], *(f"{{twotower}}:{key}" for key in keys)]
        arguments: list[str | int | float] = [VERSION, new_generation(), *values]
        answer: list[Any] = await self._do(self._scripts[script](keys=names, args=arguments))
        self._called(answer[0])
        return answer[1:]

    async def _bring_up(self) -> None:
        """Migrate a store of version 1; an interrupted migration continues where it stopped."""
        users = self._redis.scan_iter(match=f"{KEYS['user']}:*", count=1000)
        with self._responding():
            async for key in users:
                user = key.removeprefix(f"{KEYS['user']}:")
                values: list[str] = []
                for text in await self._redis.lrange(key, 0, -1):
                    name, item, kind, value, time = json.loads(text)
                    values += [name, _digest(Event(name, user, item, kind, value, time)), text]
                names = [key, KEYS["contents"], KEYS["place"], f"{KEYS['events']}:{user}"]
                await self._scripts["up"](keys=names, args=values)
            await self._redis.delete(KEYS["ids"])
            await self._redis.set(KEYS["version"], VERSION)

    async def _do(self, command: Awaitable[T]) -> T:
        with self._responding():
            return await command

    @contextlib.contextmanager
    def _responding(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise StoreUnavailable(f"the event store (Redis) is not responding: {error}") from None


def _text(event: Event) -> str:
    return json.dumps([event.id, event.item, event.kind, event.value, event.time])


def _digest(event: Event) -> str:
    content = [*event.content[:3], None if event.value is None else float(event.value)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
