"""`Tracing`: spans of requests, lists and the event store, by OpenTelemetry. Needs the extra ``otel``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from twotower.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_QUIET = ("/healthz", "/readyz", "/metrics")
"""Routes that are asked all the time, and have no spans."""


def trace_of(traceparent: str) -> str:
    """Return the trace id of a ``traceparent`` header (W3C Trace Context); "" without a valid one."""
    match = _PARENT.match(traceparent)
    return match[1] if match and match[1].strip("0") else ""


class Tracing:
    """Makes spans and sends them.

    A span of a request is a child of its ``traceparent``; those of lists and of the store are its children.

    Args:
        processor: takes ended spans.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        named = {"service.name": "twotower", "service.version": version("twotower")}
        self._provider = TracerProvider(resource=Resource(named).merge(Resource.create()))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("twotower.server")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, address: str) -> Tracing:
        """Send spans to an OTLP/HTTP receiver, such as ``http://localhost:4318``.

        Raises:
            ConfigError: the address is of another kind.
            MissingExtraError: OpenTelemetry is not installed.
        """
        if not address.startswith(("http://", "https://")):
            raise ConfigError(
                f"--traces must be the address of an OTLP/HTTP receiver, such as http://localhost:4318, got "
                f"{address!r}"
            )
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"--traces needs the package {error.name}, which is not installed; install it with: pip "
                "install 'twotower[otel]'"
            ) from None
        path = "" if address.rstrip("/").endswith("/v1/traces") else "/v1/traces"
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=address.rstrip("/") + path)))

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """Make the span of a request; see `ended`. None for a route that has none."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        if path in _QUIET:
            yield None
            return
        with self._tracer.start_as_current_span(
            method, context=self._propagator.extract(dict(headers)), kind=SpanKind.SERVER
        ) as span:
            yield span

    @staticmethod
    def ended(span: Any, method: str, route: str, status: int, request_id: str) -> str:
        """Say how a request ended, and return its trace id."""
        from opentelemetry.trace import StatusCode, format_trace_id  # noqa: PLC0415

        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "twotower.request_id": request_id,
            }
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        return format_trace_id(span.get_span_context().trace_id)

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[None]:
        """Make a span within that of the request; without a request make none."""
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        if not get_current_span().get_span_context().is_valid:
            yield
            return
        with self._tracer.start_as_current_span(
            name, attributes={f"twotower.{key}": value for key, value in attributes.items()}
        ):
            yield

    async def close(self) -> None:
        """Send what waits."""
        await asyncio.to_thread(self._provider.shutdown)
