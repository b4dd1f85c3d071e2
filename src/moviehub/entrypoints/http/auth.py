"""Who is calling: a bearer token (RFC 6750) becomes a signed-in person before a handler runs."""

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from moviehub.application.sessions import Authenticate
from moviehub.domain.errors import Forbidden, Unauthenticated
from moviehub.domain.sessions import BadToken, SignedIn
from moviehub.entrypoints.http.calls import Call
from moviehub.entrypoints.http.exchange import Exchange, exchange_of
from moviehub.entrypoints.http.limits import Gate

SignedInRequest = Request[SignedIn, Any, Any]
PublicRequest = Request[SignedIn | None, Any, Any]


class NotStaff(Forbidden):
    """Only staff may do this."""


@dataclass(frozen=True)
class BearerAuth(ASGIMiddleware):
    """Sets `request.user` as the call's `auth` says; a bad token is refused on public calls too."""

    authenticate: Authenticate
    gate: Gate

    def __deepcopy__(self, _: object) -> "BearerAuth":
        """Itself: Litestar copies routers, and there is one storage to ask."""
        return self

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Find the caller, or refuse them."""
        call: Call | None = scope["route_handler"].opt.get("call")
        auth = call.auth if call is not None else "required"  # who forgets to say gets nobody in
        scope["user"] = None
        exchange = exchange_of(scope)
        if exchange.authorization is None:  # a stranger, whom the edge has counted
            if auth in ("required", "staff"):
                raise Unauthenticated("Sign in, and send the access token as Authorization: Bearer …")
        elif auth == "none":
            await self.gate.pass_stranger(exchange)
        else:
            caller = await self._caller(exchange)
            exchange.user_id = caller.user.id
            await self.gate.pass_user(exchange, caller.user.id)
            scope["user"] = caller
            if auth == "staff" and not caller.user.is_staff:
                raise NotStaff("Only staff may do this.")
        await next_app(scope, receive, send)

    async def _caller(self, exchange: Exchange) -> SignedIn:
        kind, _, token = (exchange.authorization or "").partition(" ")
        try:
            if kind.lower() != "bearer" or not token.strip():
                raise BadToken()
            return await self.authenticate(access=token.strip())
        except BadToken:
            await self.gate.pass_stranger(exchange)  # as one of whom nobody knows who they are
            raise


def viewer_id(request: PublicRequest) -> int | None:
    """The id of the caller, if they are signed in."""
    return request.user.user.id if request.user else None
