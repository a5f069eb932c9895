"""What can go wrong with an address: trying again, and one clear error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from twotower.core.urls import with_secrets, without_secrets
from twotower.errors import DataError

_TRIES: Final = 5
_WAIT = 0.2
"""Seconds before the second try; each further one waits twice as long."""
_DENIED: Final = re.compile(
    r"(?i)credential|access.?denied|forbidden|unauthori|permission|signature|InvalidAccessKey|accesskey"
)
_ABSENT: Final = re.compile(r"(?i)NoSuchBucket|NO_SUCH_BUCKET|bucket does not exist|NoSuchKey")

Found = TypeVar("Found")


@contextmanager
def access_errors(address: str) -> Iterator[None]:
    """Turn a failure of a file system into one clear message.

    Raises:
        DataError: there is no such file or bucket, it may not be read, or there is no connection.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # each library has exceptions of its own
        raise access_error(address, error) from None


def trying(call: Callable[[], Found]) -> Found:
    """Return what a call returns; call again if the connection fails."""
    for attempt in range(_TRIES):
        try:
            return call()
        except Exception as error:
            if attempt + 1 == _TRIES or not _may_pass(error):
                raise
            time.sleep(_WAIT * 2**attempt)
    raise AssertionError


def _may_pass(error: Exception) -> bool:
    """Return whether an error may be gone at the next try."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotImplementedError):
        return False
    said = f"{type(error).__name__} {error}"
    return not (isinstance(error, DataError) or _DENIED.search(said) or _ABSENT.search(said))


def access_error(address: str, error: Exception) -> DataError:
    """Return the error for an address that can't be read."""
    said = f"{type(error).__name__} {error}"
    if isinstance(error, FileNotFoundError) or _ABSENT.search(said):
        return DataError(f"there is no file {address}. Check the address.")
    reason = reason_of(error, address)
    if isinstance(error, PermissionError) or _DENIED.search(said):
        return DataError(
            f"{address} may not be read ({reason}). Check the credentials, which are taken from the "
            "environment or the address (a run does not keep those of an address), and the permissions."
        )
    return DataError(
        f"{address} can't be read ({reason}). Check the address and the connection, and try again."
    )


def reason_of(error: Exception, address: str) -> str:
    """Return what an error says, in one line and without secrets."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    opened, options = with_secrets(without_secrets(address))
    text = re.sub(
        r"[A-Za-z][\w+.-]*://\S+", lambda url: without_secrets(url[0]), text.replace(opened, address)
    )
    for secret in options.values():
        text = text.replace(secret, "***")
    return text
