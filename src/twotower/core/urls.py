"""Addresses of files that are not on a local disk, such as ``s3://bucket/events/*.parquet``.

A secret in an address is kept in this process alone: everything else, such as configs, logs and messages, has
the address without it.
"""

from __future__ import annotations

import re
from typing import Any, Final
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
_known: dict[str, tuple[str, dict[str, Any]]] = {}
"""Address (of buckets: their beginning) without a secret -> the one with it, and options for fsspec."""


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
    parts = [_apart(part) for part in place.split("::")]
    plain = "::".join(part for part, _ in parts)
    options: dict[str, Any] = {}
    for _, own in parts:
        options |= own
    if plain != place:
        if options:  # for all of a bucket
            _known[_bucket(plain)] = plain, options
        else:
            _known[plain] = place, {}
    return plain


def with_secrets(plain: str) -> tuple[str, dict[str, Any]]:
    """Return the address to open, and the options of fsspec for it."""
    if plain in _known:
        return _known[plain]
    _, options = _known.get(_bucket(plain), ("", {}))
    return plain, options


def _apart(url: str) -> tuple[str, dict[str, Any]]:
    login = next((found for login in _LOGINS if (found := login.match(url))), None)
    options: dict[str, Any] = {}
    if login is not None:
        scheme = login["scheme"]
        if scheme in _BUCKETS:
            options = {"key": unquote(login["user"]), "secret": unquote(login["secret"])}
        url = f"{scheme}://{url[login.end() :]}"
    if "?" in url and "=" in url and not url.startswith(_BUCKETS):
        url = _SIGNED.sub("", url)
        if "?" not in url and "&" in url:  # the first parameter is gone
            url = url.replace("&", "?", 1)
    return url, options


def _bucket(url: str) -> str:
    """Return an address up to the end of its bucket."""
    return "/".join(url.rsplit("::", maxsplit=1)[-1].split("/")[:3])
