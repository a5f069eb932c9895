"""Addresses of files that are not on a local disk, such as ``s3://bucket/events/*.parquet``.

A secret in an address is kept in this process alone: everything else, such as configs, logs and messages, has
the address without it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_URL: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_LOGINS: Final = (
    re.compile(r"(?P<scheme>s3a?)://(?P<user>[^/@:]*):(?P<secret>.*?)@(?=[^/@]+)"),  # may contain slashes
    re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/@:]*):(?P<secret>[^/@]*)@"),
    re.compile(r"(?P<scheme>https?)://(?P<user>[^/@:?]+)(?P<secret>)@"),
)
"""A name and a secret, or a secret alone, before the host."""
_SIGNED: Final = re.compile(
    r"(?i)[?&](?:[^=&]*(?:sig|token|key|secret|passw|credential|auth|expires)[^=&]*)=[^&]*"
)
_BUCKETS: Final = ("s3", "s3a")
_signed: dict[str, str] = {}
"""Address without a signature -> the one with it."""
_logins: dict[str, tuple[str, dict[str, str]]] = {}
"""Address up to its host or bucket -> the name and secret before it, or options of fsspec."""


def is_url(place: object) -> bool:
    """Return whether a place is an address such as ``s3://bucket/key``, not a path.

    >>> is_url("s3://bucket/key"), is_url("events/*.csv"), is_url("zip://t.csv::https://host/t.zip")
    (True, False, True)
    """
    return isinstance(place, str) and _URL.match(place) is not None


def without_secrets(place: str) -> str:
    """Return an address without passwords, keys and signatures, which `with_secrets` knows from then on.

    >>> without_secrets("s3://AKIA:a/b+c@bucket/events.csv")
    's3://bucket/events.csv'
    >>> without_secrets("https://host/t.csv?version=2&sig=abc")
    'https://host/t.csv?version=2'
    """
    if not is_url(place):
        return place
    return "::".join(_apart(part) for part in place.split("::"))


def with_secrets(plain: str) -> tuple[str, dict[str, str]]:
    """Return the address to open, and the options of fsspec for it."""
    if plain in _signed:
        return _signed[plain], {}
    opened, options = [], dict[str, str]()
    for part in plain.split("::"):
        login, own = _logins.get(_host(part), ("", {}))
        opened.append(part.replace("://", f"://{login}", 1))
        options |= own
    return "::".join(opened), options


def _apart(url: str) -> str:
    login = next((found for login in _LOGINS if (found := login.match(url))), None)
    whole = url
    if login is not None:
        url = f"{login['scheme']}://{url[login.end() :]}"
        if login["scheme"] in _BUCKETS:
            keys = {"key": unquote(login["user"]), "secret": unquote(login["secret"])}
            _logins[_host(url)] = "", keys
        else:
            _logins[_host(url)] = login[0].partition("://")[2], {}
    if "?" in url and "=" in url and not url.startswith(_BUCKETS):
        plain = _SIGNED.sub("", url)
        if "?" not in plain and "&" in plain:  # the first parameter is gone
            plain = plain.replace("&", "?", 1)
        if plain != url:
            _signed[plain] = whole
        return plain
    return url


def _host(url: str) -> str:
    """Return an address up to the end of its host or bucket."""
    return "/".join(url.split("/")[:3])
