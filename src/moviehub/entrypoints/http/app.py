"""The HTTP application: controllers, errors and use cases put together for one worker."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Router
from litestar.di import Provide

from moviehub.application.tracing import untraced
from moviehub.entrypoints import logs, reports, tracing
from moviehub.entrypoints.bootstrap import Container, running
from moviehub.entrypoints.bootstrap.figures import figures_of
from moviehub.entrypoints.checks import checks_of
from moviehub.entrypoints.http import openapi
from moviehub.entrypoints.http.audit import AuditController
from moviehub.entrypoints.http.auth import BearerAuth
from moviehub.entrypoints.http.cache import CacheController
from moviehub.entrypoints.http.dispatch import Dispatcher
from moviehub.entrypoints.http.docs import DocsController
from moviehub.entrypoints.http.edge import Edge
from moviehub.entrypoints.http.favorites import FavoritesController
from moviehub.entrypoints.http.health import HealthController, keep_looking
from moviehub.entrypoints.http.limits import Gate
from moviehub.entrypoints.http.listings import ListingsController
from moviehub.entrypoints.http.metrics import Metrics
from moviehub.entrypoints.http.movies import MoviesController
from moviehub.entrypoints.http.overload import Overload
from moviehub.entrypoints.http.public_pages import PublicPages
from moviehub.entrypoints.http.ratings import RatingsController
from moviehub.entrypoints.http.sessions import SessionsController, TokensController
from moviehub.entrypoints.http.traced import TracedEdge
from moviehub.entrypoints.http.users import GovernedUsersController, UsersController
from moviehub.entrypoints.settings import Settings
from moviehub.entrypoints.use_cases import USE_CASES, use_cases

log = structlog.get_logger()


HANDLERS = (
    UsersController,
    GovernedUsersController,
    TokensController,
    SessionsController,
    ListingsController,
    MoviesController,
    FavoritesController,
    RatingsController,
    AuditController,
    CacheController,
    DocsController,
    HealthController,
)


@cache
def declared() -> Litestar:
    """Every handler, checked by the framework: once, for it takes longer than all the rest of a start."""
    names = *USE_CASES, "checks", "metrics", "document"
    # That there is a thing of this name is all that the framework must know.
    given = {name: Provide(lambda: None, sync_to_thread=False) for name in names}
    router = Router("/", route_handlers=HANDLERS)  # which lets two controllers share a path
    return Litestar([router], dependencies=given, openapi_config=None, logging_config=None)


@cache
def openapi_document() -> bytes:
    """The OpenAPI document, which needs no server."""
    return msgspec.json.encode(openapi.build(declared()))


def create_app(container: Container) -> Edge:
    """The whole ASGI application over a container that somebody else closes."""
    metrics = Metrics()
    settings, flights, clock, cases = container.settings(), container.flights(), container.clock(), use_cases(container)
    auth = BearerAuth(cases["authenticate"], Gate(container.limiter(), container.limits()))
    overload = Overload(settings.concurrency, flights)
    metrics.figures.watch(figures_of(container))
    metrics.figures.watch(
        {
            "moviehub_requests_under_way": lambda: overload.under_way,
            "moviehub_waiting_for_catalogue": lambda: flights.waiting,
        }
    )
    given = {**cases, "checks": checks_of(container), "metrics": metrics, "document": openapi_document()}
    dispatcher = Dispatcher(declared(), auth, given)
    pages = PublicPages(container.news(), clock)
    return Edge(dispatcher, settings, clock, metrics, auth, cases["read_marks"], overload, pages)


class Worker:
    """What the server runs: the application, made when the worker starts and closed when it ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app: Edge | TracedEdge | None = None

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """Serve one connection, or the worker's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and self.app is not None:
            await self.app(scope, receive, send)

    async def _live(self, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await receive()
        async with self._started():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _started(self) -> AsyncIterator[None]:
        async with (
            reports.begun(self.settings),
            tracing.begun() as traces,
            running(self.settings, traces.asked if traces else untraced) as container,
        ):
            edge = create_app(container)
            self.app = TracedEdge(edge, traces) if traces else edge
            metrics = edge.metrics
            # What is alive now stays alive: collections need not walk it again (a full one stalls a worker for 80 ms).
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 50, 100)
            async with metrics.figures.kept():
                looking = asyncio.create_task(keep_looking(checks_of(container), metrics))
                try:
                    yield
                finally:
                    looking.cancel()


def create() -> Worker:
    """The worker, from the environment: what the server calls in each of its processes."""
    settings = Settings.read()
    logs.configure(settings)
    return Worker(settings)
