"""From a request straight to its handler.

Litestar wires the handlers and checks them when the application starts. What it does for each request serves much that
ours have no use for: they take the request and use cases that never change, and answer with bytes. So what a path leads
to is found here, and the handler is called with nothing between.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request
from litestar.routes import HTTPRoute
from litestar.types import Receive, Scope, Send
from litestar.utils import normalize_path

from moviehub.entrypoints.http.auth import BearerAuth
from moviehub.entrypoints.http.calls import Answer, Auth
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.problems import NOTHING, MethodNotAllowed, NoSuchPath

ANYTHING = "*"
"""In place of the part of a path that a request fills in."""


@dataclass(frozen=True, slots=True)
class Target:
    """A handler and what it is given, with the request if it `asks` for that; `name` is of what fills its path."""

    function: Callable[..., Awaitable[Answer]]
    auth: Auth
    given: Mapping[str, Any]
    asks: bool
    template: str
    name: str


class Dispatcher:
    """The handlers of an application by path and method, as an ASGI application.

    `given` are the things by name that handlers may ask for. Whatever a handler raises goes up to the edge.
    """

    def __init__(self, app: Litestar, auth: BearerAuth, given: Mapping[str, Any]) -> None:
        self.app = app
        self._auth = auth
        self._targets: dict[str, dict[str, Target]] = {}
        self._places: dict[int, set[int]] = {}  # by the number of a path's parts, which of them requests fill in
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                self._add(route, given)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or raise what keeps it from being served."""
        exchange = exchange_of(scope)
        target, filled = self._find(scope["path"], scope["method"])  # type: ignore[typeddict-item]
        scope["path_template"] = target.template
        scope["path_params"] = {target.name: filled} if filled else {}
        scope["app"] = scope["litestar_app"] = self.app
        scope["user"] = await self._auth.admit(exchange, target.auth)
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        if target.asks:
            answer = await target.function(request=request, **target.given)
        else:
            answer = await target.function(**target.given)
        await answer(scope, receive, send)

    def _add(self, route: HTTPRoute, given: Mapping[str, Any]) -> None:
        parts = route.path_format.split("/")
        name = ""
        for place, part in enumerate(parts):
            if part.startswith("{"):  # in no path more than one
                name, parts[place] = part[1:-1], ANYTHING
                self._places.setdefault(len(parts), set()).add(place)
        methods = self._targets.setdefault("/".join(parts), {})
        for handler in route.route_handlers:
            if "OPTIONS" in handler.http_methods:
                continue  # the framework's own; here that is a method that nothing has
            asked = inspect.signature(handler.fn).parameters
            target = Target(
                function=handler.fn,
                auth=handler.opt["call"].auth,  # who forgets to declare the call is not served
                given={name: given[name] for name in asked if name != "request"},
                asks="request" in asked,
                template=route.path_format,
                name=name,
            )
            methods.update((str(method), target) for method in handler.http_methods)

    def _find(self, path: str, method: str) -> tuple[Target, str]:
        """What a path leads to and what fills it in, if anything; or NoSuchPath or MethodNotAllowed."""
        path, filled = normalize_path(path), ""
        methods = self._targets.get(path)
        if methods is None:
            parts = path.split("/")
            for place in self._places.get(len(parts), ()):
                filled, parts[place] = parts[place], ANYTHING
                methods = self._targets.get("/".join(parts))
                if methods is not None:
                    break
                parts[place] = filled
            else:
                raise NoSuchPath(NOTHING)
        target = methods.get(method)
        if target is None:
            raise MethodNotAllowed(methods)
        return target, filled
