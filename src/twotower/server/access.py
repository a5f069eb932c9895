"""Access control: tokens and their scopes, allowed host names, requests from other sites."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from twotower.errors import ConfigError, nearest
from twotower.server.errors import ApiError, shown

if TYPE_CHECKING:
    from twotower.server.settings import Settings

log = logging.getLogger("twotower.server")

ADMIN = "admin"
SCOPES = ("read", "events", "items", "metrics", ADMIN)
"""What a token may be for: reading, telling events, changing items, reading metrics, reloading."""
OPEN = "open"
"""Declared by routes that need no token: the page's files, which hold no data."""
HEALTH = "health"
"""Declared by routes that need no token, whatever the host name, and that are never turned away."""
ANYONE = "anyone"
"""Who asks without a token."""
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers of reverse proxies: the client is another one than the connection says, or than it claims here."""
_LONG = 16
_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Token:
    """A secret that requests send as ``Authorization: Bearer SECRET``, and what it is for.

    Attributes:
        secret: printable ASCII, without a space at either end.
        scopes: of `SCOPES`, at least one.

    Raises:
        ConfigError: a secret or a scope that can't be one.
    """

    secret: str = field(repr=False)
    scopes: frozenset[str]

    def __post_init__(self) -> None:
        checked_secret(self.secret, "a token")
        object.__setattr__(self, "scopes", frozenset(self.scopes))
        for scope in self.scopes:
            if scope not in SCOPES:
                raise ConfigError(
                    f"a token's scopes must be among {', '.join(SCOPES)}, got {scope!r}."
                    f"{nearest(scope, SCOPES)}"
                )
        if not self.scopes:
            raise ConfigError(f"a token needs at least one of the scopes {', '.join(SCOPES)}, got none")


def checked_secret(secret: str, what: str) -> str:
    """Return a token's text if it is valid; error messages don't show it.

    Raises:
        ConfigError: it is empty, not printable ASCII, or has a space at an end.
    """
    if not secret.strip():
        raise ConfigError(f"{what} must not be empty or blank; unset it, or set it to a secret")
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"{what} must be printable ASCII, which headers can carry; choose another secret")
    if secret != secret.strip():
        raise ConfigError(f"{what} must not begin or end with a space; remove it")
    return secret


def read_tokens(path: Path) -> list[Token]:
    """Read a file of tokens: a line each, ``scope[,scope...] SECRET``; lines that begin with # are comments.

    Raises:
        ConfigError: it can't be read, or a line is not so; the message names the line and not the secret.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _FILE_BYTES:
            raise ConfigError(f"--token-file must be a regular file of at most 1 MiB, got '{path}'")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"--token-file '{path}' can't be read: {reason}") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        scopes, _, secret = text.partition(" ")
        named = frozenset(scopes.split(","))
        try:
            if not all(name in SCOPES or nearest(name, SCOPES) for name in named):
                # This may be the secret, in the wrong place, so it is not shown.
                raise ConfigError(f"a token's scopes must be of {', '.join(SCOPES)}, and stand first")
            tokens.append(Token(secret.strip(), named))
        except ConfigError as error:
            raise ConfigError(
                f"--token-file '{path}', line {number}: {error}. A line is: scope[,scope] TOKEN"
            ) from None
    if not tokens:
        raise ConfigError(f"--token-file '{path}' has no token; a line is: scope[,scope] TOKEN")
    return tokens


class Access:
    """Decides what a request may do. A scope that no token has is refused.

    Where no token for reading, events, items or metrics is given at all, clients on this machine may do
    these, and clients elsewhere only if the settings say ``open``. ``admin`` always needs a token.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hosts = {_name(host) for host in ("localhost", *settings.hosts)}
        self._tokens: list[tuple[bytes, frozenset[str]]] = []
        self.load()

    def load(self) -> None:
        """Read the tokens, also again later; if they are valid, they replace the old ones.

        Raises:
            ConfigError: a token, or the file of tokens, is not as it must be.
        """
        settings, tokens = self._settings, list(self._settings.tokens)
        if settings.token is not None:
            secret = checked_secret(settings.token, "the token (--token, TWOTOWER_TOKEN)")
            tokens.append(Token(secret, frozenset(SCOPES) - {ADMIN}))
        if settings.admin_token is not None:
            secret = checked_secret(
                settings.admin_token, "the admin token (--admin-token, TWOTOWER_ADMIN_TOKEN)"
            )
            tokens.append(Token(secret, frozenset({ADMIN})))
        if settings.token_file is not None:
            tokens += read_tokens(settings.token_file)
        tokenless = all(token.scopes <= {ADMIN} for token in tokens)
        if settings.open and not tokenless:
            raise ConfigError("open means without tokens; leave --open out, or the tokens")
        short = min((len(token.secret) for token in tokens), default=_LONG)
        if short < _LONG:
            log.warning(
                "a token of %d characters can be guessed; use %d or more, as of: openssl rand -hex 16",
                short,
                _LONG,
            )
        self._tokens = [(_digest(token.secret), token.scopes) for token in tokens]
        self.tokenless = tokenless

    def check(self, scope: Scope, needs: str) -> str:
        """Refuse a request that may not use a route; return who asks, as an audit log names it.

        That is ``token`` and the first digits of the SHA-256 of the token, or ``anyone``.

        Args:
            scope: of ASGI.
            needs: what the route declared.

        Raises:
            ApiError: 401 without a token, 403 with one that is not for this, from another site's page, or
                for another host.
        """
        if needs == HEALTH:
            return ANYONE
        headers = Headers(scope=scope)
        self._check_host(headers.getlist("host"))
        if needs == OPEN:
            return ANYONE
        self._check_site(headers)
        if needs != ADMIN and self.tokenless:
            local = _is_local(scope.get("client")) and not any(name in headers for name in _FORWARDED)
            if not (self._settings.open or local):
                raise ApiError(
                    403,
                    "without a token this server answers only clients on its own machine, and none through "
                    "a proxy; start it with TWOTOWER_TOKEN set, or with --open to let everyone in",
                )
            return ANYONE
        if needs == ADMIN and not any(ADMIN in scopes for _, scopes in self._tokens):
            raise ApiError(
                403, "administration is off; set TWOTOWER_ADMIN_TOKEN when starting the server to turn it on"
            )
        return self._check_token(headers, needs)

    def _check_token(self, headers: Headers, needs: str) -> str:
        if len(headers.getlist("authorization")) > 1:
            raise ApiError(400, "a request may have only one Authorization header")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest, allowed = _digest(given.strip()), set[str]()
        for known, scopes in self._tokens:
            # All are compared, each in constant time: how long it takes tells nothing of any.
            if hmac.compare_digest(digest, known):
                allowed |= scopes
        if scheme.lower() != "bearer" or not allowed:
            name = "TWOTOWER_ADMIN_TOKEN" if needs == ADMIN else "TWOTOWER_TOKEN"
            raise ApiError(
                401,
                f"this request needs the header 'Authorization: Bearer TOKEN' with the server's {name}, or "
                f"a token of the scope {needs!r}",
                headers={"www-authenticate": "Bearer"},
            )
        if needs not in allowed:
            raise ApiError(
                403,
                f"this token is for {', '.join(sorted(allowed))}; a token of the scope {needs!r} is needed",
            )
        return f"token {digest.hex()[:8]}"

    def _check_host(self, given: Sequence[str]) -> None:
        """Refuse unknown host names (DNS rebinding: a name of another site that resolves to this server).

        An address in numbers can't be made to lead elsewhere, and is always accepted.
        """
        if len(given) > 1:
            raise ApiError(400, "a request must have exactly one Host header")
        if not given or "*" in self._hosts:
            return
        name = _host_of(given[0])
        if name is None or not (name in self._hosts or _address(name)):
            raise ApiError(
                403,
                f"this server does not answer for the host {shown(given[0])}; start it with "
                "--allow-host NAME to allow one",
            )

    def _check_site(self, headers: Headers) -> None:
        """Refuse cross-site requests, with and without a token."""
        origin = headers.get("origin")
        own = headers.get("sec-fetch-site") != "cross-site"
        if origin is not None:
            place = urlsplit(origin).netloc
            # A proxy may have given the request another Host; the page's own name is then one allowed.
            named = _name(place) in self._hosts - {"localhost", "*"}
            own = bool(place) and (place == headers.get("host") or named)
        if not own:
            raise ApiError(403, "requests from pages of other sites are refused")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _name(host: str) -> str:
    return host.lower().rstrip(".")


@lru_cache(1024)
def _host_of(given: str) -> str | None:
    """Return the name in ``name:port``; None if it has another form."""
    try:
        found = urlsplit(f"//{given}")
        _ = found.port
    except ValueError:
        return None
    return None if "@" in given or found.hostname is None else _name(found.hostname)


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(client: Sequence[object] | None) -> bool:
    """Return whether a client is on this machine: it has a loopback address, or none (a Unix socket)."""
    return client is None or _is_loopback(str(client[0]))


@lru_cache(1024)
def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def exposed(host: str) -> bool:
    """Return whether an address can be reached from other machines; False for an invalid one.

    An empty one is every interface.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return not all(_is_loopback(str(address[0])) for *_, address in found)


def names_of(host: str, others: Iterable[str]) -> tuple[str, ...]:
    """Return the allowed host names: the name that the server listens at, if it is one, and others."""
    return (*others, *(() if _address(host) else (host,)))
