"""`ApiError`: a request to the server that was refused, or got no answer."""

from __future__ import annotations

from pydantic import ValidationError

from twotower.errors import TwoTowerError
from twotower.server.response_models import ErrorAnswer

_SHOWN = 200


class ApiError(TwoTowerError):
    """A request that was refused, or got no answer; `str` of it is the message with status and request id.

    Attributes:
        status: of HTTP; None if no answer came.
        code: the server's word for it, such as ``not_found``.
        message: the server's; it says what to fix.
        request_id: under which the server's log has the request; None if no answer came.
        where: the part of the request that is wrong, such as ``events.3.time``.
    """

    def __init__(
        self,
        status: int | None,
        message: str,
        *,
        code: str = "",
        request_id: str | None = None,
        where: str | None = None,
    ) -> None:
        start = " ".join(str(part) for part in (status, code) if part)
        super().__init__(
            (f"{start}: {message}" if start else message) + (f" (request {request_id})" if request_id else "")
        )
        self.status, self.message, self.code = status, message, code
        self.request_id, self.where = request_id, where


class InvalidRequest(ApiError):
    """400, 408, 413, 422: the request is wrong, too large or too slow; ``where`` says which part."""


class Refused(ApiError):
    """401, 403: the token is missing, wrong, or lacks the scope."""


class NotFound(ApiError):
    """404: there is no such user, item or model."""


class Conflict(ApiError):
    """409: against the current state, such as an event id that another event has."""


class Unavailable(ApiError):
    """503, or no answer at all (``status`` is None): try again later."""


_KINDS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Refused,
    403: Refused,
    404: NotFound,
    408: InvalidRequest,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    503: Unavailable,
}


def error_of(status: int, content: bytes, request_id: str | None) -> ApiError:
    """Return the error in an answer: the server's own, or that of a proxy in front of it."""
    kind = _KINDS.get(status, ApiError)
    try:
        error = ErrorAnswer.model_validate_json(content).error
    except ValidationError:
        return kind(status, f"not an answer of twotower: {shown(content)}", request_id=request_id)
    return kind(status, error.message, code=error.code, request_id=error.request_id, where=error.where)


def shown(content: bytes) -> str:
    """Return the beginning of an answer, as a message shows it."""
    text = content[: 4 * _SHOWN].decode(errors="replace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...") if text else "an empty body"
