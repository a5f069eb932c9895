"""Connections to one Redis, to the master that Sentinels name, or to a Redis Cluster, by its address."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from twotower.errors import ConfigError

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
"""The kinds of addresses; those with ``rediss`` are encrypted."""
FORMS: Final = (
    "redis://HOST:PORT/DATABASE, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE or "
    "redis+cluster://HOST:PORT"
)
_SENTINEL_PORT: Final = 26379


def connected(address: str, options: dict[str, Any]) -> Any:
    """Return a client of an address, which connects when it is used.

    Args:
        address: one of `FORMS`; user and password before an ``@``.
        options: of the client.

    Raises:
        ConfigError: it has another form. The address may hold a password, and is not shown.
        ModuleNotFoundError: the package redis is not installed.
    """
    import redis.asyncio as client  # noqa: PLC0415
    from redis.asyncio.cluster import RedisCluster  # noqa: PLC0415

    scheme, _, rest = address.partition("://")
    plain, _, kind = scheme.partition("+")
    try:
        if kind == "sentinel":
            return _by_sentinel(address, options, encrypted=plain == "rediss")
        if kind == "cluster":
            return RedisCluster.from_url(f"{plain}://{rest}", **options)
        return client.from_url(address, **options)
    except ValueError as error:
        raise ConfigError(f"--store must be a file or {FORMS}: {error}") from None


def _by_sentinel(address: str, options: dict[str, Any], *, encrypted: bool) -> Any:
    from redis.asyncio.sentinel import Sentinel  # noqa: PLC0415

    found = urlsplit(address)
    given, _, hosts = found.netloc.rpartition("@")
    user, _, password = given.partition(":")
    service, _, database = found.path.strip("/").partition("/")
    places = [_place(one) for one in hosts.split(",")]
    if not service or not all(host for host, _ in places):
        raise ValueError("an address of Sentinels names their hosts and the service")
    own: dict[str, Any] = {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "ssl": encrypted,
    }
    own = {name: value for name, value in own.items() if value}
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    sentinels: Any = Sentinel(places, sentinel_kwargs=timeouts)  # type: ignore[no-untyped-call]
    return sentinels.master_for(unquote(service), db=int(database or 0), **options, **own)


def _place(text: str) -> tuple[str, int]:
    found = urlsplit(f"//{text}")
    return found.hostname or "", found.port or _SENTINEL_PORT
