"""`Client` and `AsyncClient`: the calls of `routes` over httpx, which is imported here alone."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from itertools import count
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from twotower.client import routes
from twotower.client.calls import Call
from twotower.client.errors import ApiError, Unavailable, error_of, shown
from twotower.errors import ConfigError, DataError, MissingExtraError

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "the client needs the package httpx, which is not installed; install it with: "
        "pip install 'twotower[client]'"
    ) from error

P = ParamSpec("P")
T = TypeVar("T")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)

LONGEST_WAIT = 10.0
"""Seconds; a server that asks for a longer wait gets no retry."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_BROKEN = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)


class _Shared(ABC, Generic[Http, Transport]):
    """All that the two clients have in common: everything but sending and waiting."""

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        backoff: float = 0.1,
        transport: Transport | None = None,
    ) -> None:
        if not (timeout > 0 and retries >= 0 and 0 <= backoff < float("inf")):
            raise ConfigError(
                "timeout must be above 0, retries and backoff at least 0, got "
                f"timeout={timeout!r}, retries={retries!r}, backoff={backoff!r}"
            )
        if token is not None and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", token):
            raise ConfigError(
                "a token is printable ASCII without spaces around it; leave it out if there is none"
            )
        self._address, self._retries, self._backoff = _address(address), retries, backoff
        self._headers = {"accept": "application/json", "user-agent": f"twotower/{version('twotower')}"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._http: Http = self._new(timeout, transport)

    @staticmethod
    @abstractmethod
    def _new(timeout: float, transport: Transport | None) -> Http:
        """Return a client of httpx."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r})"

    def traced(self, traceparent: str | None = None, *, request_id: str | None = None) -> Self:
        """Return this client for one trace or request of yours; the connections are shared.

        Args:
            traceparent: W3C trace context, as the server's traces and log have it then.
            request_id: what the server's log calls each request, instead of a random one.

        Raises:
            ConfigError: one is malformed.
        """
        found = copy.copy(self)
        found._headers = dict(self._headers)
        for name, given, form in (
            ("traceparent", traceparent, _TRACEPARENT),
            ("x-request-id", request_id, _REQUEST_ID),
        ):
            if given is not None:
                if not form.match(given):
                    raise ConfigError(f"{name} must match {form.pattern[:-2]}, got {given!r}")
                found._headers[name] = given
        return found

    def _request(self, call: Call[Any]) -> httpx.Request:
        content = call.content()
        headers = self._headers | ({} if content is None else {"content-type": "application/json"})
        try:
            return self._http.build_request(
                call.method,
                self._address + call.path,
                params=call.query() or None,
                content=content,
                headers=headers,
            )
        except httpx.InvalidURL as error:
            raise DataError(f"an id or a query is too long for an address; {error}") from None

    def _wait(
        self, call: Call[Any], outcome: httpx.Response | httpx.RequestError, attempt: int
    ) -> float | None:
        """Return how many seconds to wait before the next attempt; None for no other attempt."""
        if not call.repeatable or attempt >= self._retries:
            return None
        own = min(LONGEST_WAIT, self._backoff * 2**attempt) * random.uniform(0.5, 1.0)
        if not isinstance(outcome, httpx.Response):
            return own if isinstance(outcome, _BROKEN) else None
        asked = _seconds(outcome.headers.get("retry-after")) if outcome.status_code == 503 else None
        return None if asked is None or asked > LONGEST_WAIT else asked + own

    def _result(self, call: Call[T], outcome: httpx.Response | httpx.RequestError) -> T:
        if not isinstance(outcome, httpx.Response):
            none = "no answer" if isinstance(outcome, httpx.TransportError) else "no readable answer"
            unknown = "" if call.method == "GET" else "; whether it was done is not known"
            raise Unavailable(
                None,
                f"{none} from {self._address} to {call.method} {call.path}"
                f"{unknown}: {str(outcome) or type(outcome).__name__}",
            ) from outcome
        status, content = outcome.status_code, outcome.content
        request_id = outcome.headers.get("x-request-id")
        if not outcome.is_success:
            raise error_of(status, content, request_id)
        try:
            return call.read(content)
        except ValueError as error:
            raise ApiError(
                status,
                f"not an answer of this version of twotower: {shown(content)}",
                request_id=request_id,
            ) from error


def _address(given: str) -> str:
    try:
        url = httpx.URL(given)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"the address is like http://127.0.0.1:8000, got {given!r}: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ConfigError(f"the address is like http://127.0.0.1:8000, got {given!r}")
    if url.userinfo:
        raise ConfigError("the address must hold no user name and password; give a token")
    return str(url).rstrip("/")


def _seconds(retry_after: str | None) -> float | None:
    """Return how long an answer asks to wait: seconds, or until a date; None if it does not say."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _method(build: Callable[..., Call[Any]], ask: Callable[..., Any]) -> Any:
    """Return ``ask`` with the name, the docstring and the signature of a route."""
    functools.update_wrapper(ask, build)
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    answer = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
    ask.__dict__["__signature__"] = signature.replace(
        parameters=[own, *signature.parameters.values()], return_annotation=answer
    )
    return ask


def _now(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    def ask(self: Client, /, *args: P.args, **given: P.kwargs) -> T:
        return self._ask(build(*args, **given))

    found: Callable[Concatenate[Client, P], T] = _method(build, ask)
    return found


def _awaited(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def ask(self: AsyncClient, /, *args: P.args, **given: P.kwargs) -> T:
        return await self._ask(build(*args, **given))

    found: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]] = _method(build, ask)
    return found


class Client(_Shared[httpx.Client, httpx.BaseTransport]):
    """A client of ``twotower serve``; use it in ``with``, or `close` it. Threads may share it.

    Connections are kept and reused. A request that may be sent again without harm is, up to ``retries``
    times: after a broken connection, and after a 503 that says when (``Retry-After``). A timeout is not
    retried.

    Args:
        address: such as ``http://127.0.0.1:8000``; a path in it is kept.
        token: sent as ``Authorization: Bearer``.
        timeout: seconds to connect, and to wait for a part of the answer.
        retries: most attempts after the first.
        backoff: seconds before the second attempt, doubled for each further one, at most 10; up to a half
            less by chance.
        transport: of httpx, such as ``httpx.HTTPTransport(proxy=...)``.

    Raises:
        ConfigError: the address, the token or a number is malformed.
        ApiError: (of the methods) the request was refused, or got no answer.
    """

    @staticmethod
    def _new(timeout: float, transport: httpx.BaseTransport | None) -> httpx.Client:
        return httpx.Client(timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, also those of `traced` copies."""
        self._http.close()

    def _ask(self, call: Call[T]) -> T:
        request = self._request(call)
        outcome: httpx.Response | httpx.RequestError
        for attempt in count():
            try:
                outcome = self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            if (wait := self._wait(call, outcome, attempt)) is None:
                break
            time.sleep(wait)
        return self._result(call, outcome)

    recommend = _now(routes.recommend)
    recommend_one = _now(routes.recommend_one)
    similar_items = _now(routes.similar_items)
    similar_items_among = _now(routes.similar_items_among)
    users_for = _now(routes.users_for)
    score = _now(routes.score)
    send_events = _now(routes.send_events)
    put_item = _now(routes.put_item)
    delete_item = _now(routes.delete_item)
    delete_user = _now(routes.delete_user)
    find_users = _now(routes.find_users)
    user = _now(routes.user)
    find_items = _now(routes.find_items)
    item = _now(routes.item)
    item_map = _now(routes.item_map)
    places = _now(routes.places)
    model = _now(routes.model)
    models = _now(routes.models)
    set_traffic = _now(routes.set_traffic)
    reload = _now(routes.reload)
    alive = _now(routes.alive)
    ready = _now(routes.ready)
    metrics = _now(routes.metrics)


class AsyncClient(_Shared[httpx.AsyncClient, httpx.AsyncBaseTransport]):
    """`Client` for asyncio: the same arguments, methods and errors; each method is awaited.

    Use it in ``async with``, or await `close`.
    """

    @staticmethod
    def _new(timeout: float, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, also those of `traced` copies."""
        await self._http.aclose()

    async def _ask(self, call: Call[T]) -> T:
        request = self._request(call)
        outcome: httpx.Response | httpx.RequestError
        for attempt in count():
            try:
                outcome = await self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            if (wait := self._wait(call, outcome, attempt)) is None:
                break
            await asyncio.sleep(wait)
        return self._result(call, outcome)

    recommend = _awaited(routes.recommend)
    recommend_one = _awaited(routes.recommend_one)
    similar_items = _awaited(routes.similar_items)
    similar_items_among = _awaited(routes.similar_items_among)
    users_for = _awaited(routes.users_for)
    score = _awaited(routes.score)
    send_events = _awaited(routes.send_events)
    put_item = _awaited(routes.put_item)
    delete_item = _awaited(routes.delete_item)
    delete_user = _awaited(routes.delete_user)
    find_users = _awaited(routes.find_users)
    user = _awaited(routes.user)
    find_items = _awaited(routes.find_items)
    item = _awaited(routes.item)
    item_map = _awaited(routes.item_map)
    places = _awaited(routes.places)
    model = _awaited(routes.model)
    models = _awaited(routes.models)
    set_traffic = _awaited(routes.set_traffic)
    reload = _awaited(routes.reload)
    alive = _awaited(routes.alive)
    ready = _awaited(routes.ready)
    metrics = _awaited(routes.metrics)
