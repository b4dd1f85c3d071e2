"""The edge with a trace of each request around it: only where traces are wanted."""

from litestar.types import HTTPScope, Message, Receive, Send

from moviehub.entrypoints.http.edge import Edge
from moviehub.entrypoints.http.limits import UNLIMITED
from moviehub.entrypoints.http.metrics import METHODS
from moviehub.entrypoints.logs import REQUEST
from moviehub.entrypoints.tracing import Tracing


class TracedEdge:
    """Serves as the edge does. What orchestrators and Prometheus ask all the time is not traced.

    A span is named by the method and the template of the route; its name is the method alone where there is no route.
    """

    def __init__(self, edge: Edge, tracing: Tracing) -> None:
        self._edge = edge
        self._tracing = tracing

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in UNLIMITED:
            await self._edge(scope, receive, send)
            return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        sent = scope["method"]  # the edge may ask the router by another
        method, name = (sent, sent) if sent in METHODS else ("_OTHER", "HTTP")
        told = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracing.request(name, scope["headers"], told) as traced:
            await self._edge(scope, receive, noted)
            span = traced.span
            if template := scope.get("path_template"):
                span.update_name(f"{name} {template}")
                span.set_attribute("http.route", template)
            # The header of the answer by which the lines of the log are found.
            span.set_attribute("http.response.header.x-request-id", (REQUEST.get()[0],))
            traced.answered(status)
