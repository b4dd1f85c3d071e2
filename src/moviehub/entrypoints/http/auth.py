"""Who is calling: a bearer token (RFC 6750) becomes a signed-in person before a handler runs."""

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from moviehub.application.sessions import Authenticate
from moviehub.domain.errors import Unauthenticated
from moviehub.domain.sessions import BadToken, SignedIn
from moviehub.entrypoints.http.calls import Call
from moviehub.entrypoints.http.exchange import exchange_of

SignedInRequest = Request[SignedIn, Any, Any]
PublicRequest = Request[SignedIn | None, Any, Any]


@dataclass(frozen=True)
class BearerAuth(ASGIMiddleware):
    """Sets `request.user` as the call's `auth` says; a bad token is refused on public calls too."""

    authenticate: Authenticate

    def __deepcopy__(self, _: object) -> "BearerAuth":
        """Itself: Litestar copies routers, and there is one storage to ask."""
        return self

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Find the caller, or refuse them."""
        call: Call | None = scope["route_handler"].opt.get("call")
        auth = call.auth if call is not None else "required"  # who forgets to say gets nobody in
        scope["user"] = None
        if auth != "none":
            header = exchange_of(scope).authorization
            if header is not None:
                kind, _, token = header.partition(" ")
                if kind.lower() != "bearer" or not token.strip():
                    raise BadToken()
                scope["user"] = await self.authenticate(access=token.strip())
            elif auth == "required":
                raise Unauthenticated("Sign in, and send the access token as Authorization: Bearer …")
        await next_app(scope, receive, send)


def viewer_id(request: PublicRequest) -> int | None:
    """The id of the caller, if they are signed in."""
    return request.user.user.id if request.user else None
