"""`RedisStore`: events and items in Redis, for several servers that share them."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar, TypeVar

from twotower.errors import ConfigError, MissingExtraError
from twotower.server.store.events import Event, EventStore, Placed, StoredItem, StoreUnavailable

T = TypeVar("T")

VERSION = "1"
"""Version of the keys; a store of another one is refused."""
_SECONDS = 2.0
"""How long a connection or an answer may take."""
_PER_CALL = 1000  # events of one script call, which nobody else's call can run beside
# One slot of a cluster, as scripts need: the part in braces decides.
_KEYS = {name: f"{{twotower}}:{name}" for name in ("version", "ids", "items", "versions", "last", "user")}

# Keeps events that are not known yet. KEYS: ids, prefix of the users' lists. ARGV: id, user, event, ...
_APPEND = """
local new = 0
for i = 1, #ARGV, 3 do
  if redis.call('sadd', KEYS[1], ARGV[i]) == 1 then
    redis.call('rpush', KEYS[2] .. ':' .. ARGV[i + 1], ARGV[i + 2])
    new = new + 1
  end
end
return new
"""
# Keeps an item with the number of its change. KEYS: items, their versions, the last version. ARGV: key, item.
_PUT = """
local version = redis.call('incr', KEYS[3])
redis.call('hset', KEYS[1], ARGV[1], ARGV[2])
redis.call('zadd', KEYS[2], version, ARGV[1])
return version
"""
# Returns key, item, version of the items changed since. KEYS: items, their versions. ARGV: the version.
_SINCE = """
local changed = redis.call('zrangebyscore', KEYS[2], '(' .. ARGV[1], '+inf', 'withscores')
local found = {}
for i = 1, #changed, 2 do
  table.insert(found, changed[i])
  table.insert(found, redis.call('hget', KEYS[1], changed[i]))
  table.insert(found, changed[i + 1])
end
return found
"""

log = logging.getLogger("twotower.server")


class RedisStore(EventStore):
    """A Redis server, or several behind one address.

    A user's events are a list, so that an event's place is its index from 1. It is as durable as the Redis
    server is told to be: ``appendonly yes`` and ``appendfsync always`` for "on the disk before the answer"; a
    weaker setting is said in the log when the store is opened.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, url: str) -> None:
        try:
            import redis.asyncio as client  # noqa: PLC0415
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415
            from redis.exceptions import RedisError  # noqa: PLC0415
        except ModuleNotFoundError:
            raise MissingExtraError(
                "--store redis://... needs the package redis, which is not installed; install it with: "
                "pip install 'twotower[redis]'"
            ) from None
        self._errors = (RedisError, OSError, TimeoutError)
        try:
            self._redis: Any = client.from_url(
                url,
                decode_responses=True,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                # once more at once: a connection from before Redis was started again is found dead in use,
                # and whatever is asked here may be asked twice
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[RedisConnectionError],
            )
        except ValueError as error:
            # The address itself may hold a password, and is not shown.
            raise ConfigError(f"--store must be a file or redis://HOST:PORT/DATABASE: {error}") from None
        self._append = self._redis.register_script(_APPEND)
        self._put = self._redis.register_script(_PUT)
        self._since = self._redis.register_script(_SINCE)

    async def open(self) -> None:
        """Connect, and look at what is there; see `EventStore.open`."""
        await self._do(self._redis.set(_KEYS["version"], VERSION, nx=True))
        found = await self._do(self._redis.get(_KEYS["version"]))
        if found != VERSION:
            raise ConfigError(
                f"the Redis store has version {found}, this twotower reads {VERSION}; upgrade the older side"
            )
        try:
            append = await self._redis.config_get("append*")
        except self._errors:
            append = {}  # a hosted Redis does not show its settings
        if append and (append.get("appendonly") != "yes" or append.get("appendfsync") != "always"):
            log.warning(
                "Redis may lose the events of its last moments in a crash: appendonly is %s and appendfsync "
                "%s; events are durable before they are answered with 'yes' and 'always'",
                append.get("appendonly"),
                append.get("appendfsync"),
            )

    async def append(self, events: Sequence[Event]) -> int:
        """Keep events; see `EventStore.append`.

        A long list is kept in parts. If the connection breaks between them some are kept; none was answered,
        and sending all again keeps the rest.
        """
        new = 0
        for start in range(0, len(events), _PER_CALL):
            values = [
                value
                for e in events[start : start + _PER_CALL]
                for value in (e.id, e.user, json.dumps([e.id, e.item, e.kind, e.value, e.time]))
            ]
            new += await self._do(self._append(keys=[_KEYS["ids"], _KEYS["user"]], args=values))
        return new

    async def events_of(self, user: str, after: int = 0) -> list[Placed]:
        """Return a user's events; see `EventStore.events_of`."""
        found = await self._do(self._redis.lrange(f"{_KEYS['user']}:{user}", after, -1))
        placed = []
        for place, text in enumerate(found, after + 1):
            name, item, kind, value, time = json.loads(text)
            placed.append(Placed(place, Event(name, user, item, kind, value, time)))
        return placed

    async def put_item(self, item: StoredItem) -> None:
        """Keep an item; see `EventStore.put_item`."""
        text = "" if item.columns is None else item.columns
        await self._do(
            self._put(keys=[_KEYS["items"], _KEYS["versions"], _KEYS["last"]], args=[item.key, text])
        )

    async def items_since(self, version: int = 0) -> list[StoredItem]:
        """Return changed items; see `EventStore.items_since`."""
        found = await self._do(self._since(keys=[_KEYS["items"], _KEYS["versions"]], args=[version]))
        return [
            StoredItem(key, text or None, int(number))
            for key, text, number in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _do(self, command: Awaitable[T]) -> T:
        try:
            return await command
        except self._errors as error:
            raise StoreUnavailable(f"the event store (Redis) does not answer: {error}") from None
