"""The FastAPI application: its parts, routes, static page, start and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
from collections.abc import AsyncIterator
from importlib.metadata import version
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from twotower.core.colours import css
from twotower.errors import ConfigError, IndexUnavailable, TwoTowerError
from twotower.retrieval.databases import database_at
from twotower.server import (
    routes_change,
    routes_forget,
    routes_look,
    routes_recommend,
    routes_traffic,
)
from twotower.server.access import OPEN, Access
from twotower.server.audit import Audit
from twotower.server.compression import Compression
from twotower.server.errors import ApiError, error_response, from_faults
from twotower.server.exposures import Exposures
from twotower.server.metrics import Metrics
from twotower.server.middleware import RequestMiddleware
from twotower.server.models import Models
from twotower.server.openapi import describe
from twotower.server.repeating import repeat
from twotower.server.request_models import (
    EventsBody,
    ItemBody,
    PlacesBody,
    RecommendBody,
    ScoreBody,
    SimilarBody,
    TrafficBody,
)
from twotower.server.retention import EVERY_SECONDS, expire
from twotower.server.scoped_routes import check_declared, needs, scoped_router
from twotower.server.service import Service
from twotower.server.settings import Settings
from twotower.server.shadow import Shadow
from twotower.server.store import StoreUnavailable, make_store
from twotower.server.tracing import Tracing
from twotower.server.user_events import UserEvents
from twotower.server.watched_store import watch
from twotower.server.workers import Workers

log = logging.getLogger("twotower.server")

_DESCRIPTION = (
    'Recommendations of a two-tower model. All errors have one form, `{"error": {...}}`; the message says '
    "what to fix. Ids are as in the training data: integers or strings."
)
_SCRIPTS = ("api", "app", "docs", "elements", "item", "map", "search")
_PAGE = {"": "index.html", "docs": "docs.html", "style.css": "style.css"} | {
    f"{name}.js": f"{name}.js" for name in _SCRIPTS
}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it loads the bundle when it is started.

    Raises:
        ConfigError: an address or a token can't be one.
        MissingExtraError: the store needs a library that is not installed.
    """
    access = Access(settings)
    metrics = Metrics()
    tracing = None if settings.traces is None else Tracing.to(settings.traces)
    store = make_store(settings.store)
    if settings.index is not None:
        database_at(settings.index)
    models = Models(settings, store)
    serve_without = settings.without_store == "serve"
    events = UserEvents(store, settings.limits.user_events, serve_without=serve_without)
    workers, exposures = Workers(settings.limits), Exposures(store)
    audit = Audit(settings.audit_log)
    service = Service(settings, store, models, events, metrics, access, workers, exposures, audit)
    service.tracing = tracing
    watch(store, service)
    if settings.shadow is not None:
        service.shadow = Shadow(settings, metrics)
    app = FastAPI(
        title="twotower",
        version=version("twotower"),
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from other hosts; /docs is ours
        redoc_url=None,
        openapi_url=None,  # it is a route like others, see `routes_look`
        redirect_slashes=False,
    )
    app.state.service = service
    app.add_middleware(Compression)
    app.add_middleware(RequestMiddleware, service=service)
    modules = (routes_recommend, routes_change, routes_forget, routes_traffic, routes_look)
    routers = (*(module.router for module in modules), routes_look.about, _page())
    app.router.routes[:] = [route for router in routers for route in router.routes]
    check_declared(app.routes)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(StoreUnavailable, _passed_on)
    app.add_exception_handler(IndexUnavailable, _passed_on)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    bodies = (RecommendBody, SimilarBody, ScoreBody, EventsBody, ItemBody, PlacesBody, TrafficBody)
    describe(app, access, bodies, _DESCRIPTION)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    check_declared(app.routes)
    tasks: list[asyncio.Task[None]] = []
    waiting: set[asyncio.Task[None]] = set()
    try:
        await service.models.start(without_store=service.settings.without_store == "serve")
        service.started = True
        tasks.append(asyncio.create_task(service.models.poll()))
        if service.models.several:
            tasks.append(asyncio.create_task(service.exposures.poll()))
        if service.shadow is not None:
            await service.shadow.start()
            tasks.append(asyncio.create_task(service.shadow.work()))
        if (keep := service.settings.keep) is not None:
            work = functools.partial(expire, service.store, keep)
            tasks.append(asyncio.create_task(repeat(work, EVERY_SECONDS, "old events can't be removed")))
        loop = asyncio.get_running_loop()

        def hang_up() -> None:
            if service.link is not None:
                return  # the supervisor tells all workers
            task = asyncio.create_task(_reload_by_signal(service))
            waiting.add(task)
            task.add_done_callback(waiting.discard)

        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # no signals here
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        service.ready = True
        for model in service.models:
            log.info("ready", extra={"fields": {"run": model.run, **model.state.info()}})
        yield
    finally:
        service.started = service.ready = False
        tasks += waiting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.workers.close()
        await service.store.close()
        if service.tracing is not None:
            await service.tracing.close()
        service.audit.close()
        log.info("stopped")


async def _reload_by_signal(service: Service) -> None:
    try:
        service.access.load()
        service.audit.write("read tokens", "SIGHUP", outcome="done")
    except ConfigError as error:
        service.audit.write("read tokens", "SIGHUP", outcome="refused")
        log.error("tokens refused, the old ones are kept", extra={"fields": {"reason": str(error)}})
    for run in routes_change.runs_of(service):
        try:
            done = await routes_change.reload_now(service, run, queue=True)
            if done is not None:
                service.audit.write(
                    "reload", "SIGHUP", outcome="done", run=run, previous=done[0], model=done[1]
                )
        except (TwoTowerError, ApiError, StoreUnavailable) as error:
            service.audit.write("reload", "SIGHUP", outcome="refused", run=run)
            fields = {"run": run, "reason": str(error)}
            log.error("reload refused, the old model is kept", extra={"fields": fields})


def _page() -> APIRouter:
    """Return the routes of the page's files: open to all, since they hold no data and ask for the token."""
    router, folder = scoped_router(), files("twotower.server") / "page"
    contents = {path: (name, (folder / name).read_bytes()) for path, name in _PAGE.items()}
    contents["colours.css"] = ("colours.css", css().encode())
    for path, (name, content) in contents.items():

        @needs(OPEN)
        async def answer(content: bytes = content, kind: str = _KINDS[name.rsplit(".", 1)[1]]) -> Response:
            return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

        router.add_api_route(
            f"/{path}", answer, methods=["GET"], include_in_schema=False, response_class=Response
        )
    return router


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, _request_id(request))


async def _passed_on(request: Request, error: Exception) -> Response:
    raise error  # the middleware answers, and logs why


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: "there is nothing at this path; see /docs",
        405: "this path needs another method",
    }
    message = messages.get(error.status_code, str(error.detail))
    return error_response(ApiError(error.status_code, message, headers=error.headers), _request_id(request))


async def _wrong_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(from_faults(error.errors()), _request_id(request))
