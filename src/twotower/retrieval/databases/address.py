"""`Address`: where a collection of a vector database is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from twotower.errors import ConfigError, nearest

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_OPTIONS: Final = ("db", "tls")


@dataclass(frozen=True)
class Address:
    """The parts of an address; it contains no secret.

    >>> str(Address.parse("milvus://vectors.local/films?tls=yes"))
    'milvus://vectors.local/films?tls=yes'
    >>> Address.parse("milvus:films.db").collection
    'films'

    Attributes:
        scheme: says which database it is.
        host: of a server; empty for a file.
        port: of a server; None for the usual one.
        path: of the file of an embedded database; None for a server.
        collection: the name under which the current version is found.
        database: of a server that has several; empty for its default.
        tls: whether the connection is encrypted.
    """

    scheme: str
    host: str
    port: int | None
    path: Path | None
    collection: str
    database: str = ""
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``SCHEME://HOST[:PORT]/COLLECTION[?db=NAME&tls=yes]`` or ``SCHEME:PATH``.

        The file of an embedded database has one collection, named like the file.

        Raises:
            ConfigError: a part is missing or invalid, or there is a secret; the message doesn't have it.
        """
        parts = urlsplit(text)
        scheme = parts.scheme
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"an address must not contain a user, password or token; got one in '{scheme}://...'. Set "
                f"TWOTOWER_{scheme.upper()}_TOKEN, or TWOTOWER_{scheme.upper()}_TOKEN_FILE to a file with it"
            )
        if not parts.hostname:
            path = Path(unquote(parts.path)).expanduser()
            if not path.name or parts.query:
                raise ConfigError(
                    f"the address of a file must be {scheme}:PATH, without options; got {text!r}"
                )
            return cls(scheme, "", None, path, _checked(path.stem, "the file's name"))
        try:
            port = parts.port
        except ValueError:
            raise ConfigError(f"a port must lie between 1 and 65535; got {text!r}") from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(
                    f"the options of an address are {', '.join(_OPTIONS)}; got {name!r}."
                    f"{nearest(name, _OPTIONS)}"
                )
        tls = options.get("tls", "no")
        if tls not in ("yes", "no"):
            raise ConfigError(f"tls must be yes or no; got {tls!r}")
        collection = _checked(parts.path.strip("/"), f"COLLECTION in {scheme}://HOST:PORT/COLLECTION")
        database = options.get("db", "")
        return cls(scheme, parts.hostname, port, None, collection, database, tls == "yes")

    def __str__(self) -> str:
        if self.path is not None:
            return f"{self.scheme}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = [f"db={self.database}"] * bool(self.database) + ["tls=yes"] * self.tls
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}/{self.collection}" + ("?" + "&".join(options)) * bool(options)


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} must be letters, digits and underscores, at most 200, not a digit first; got {name!r}"
        )
    return name
