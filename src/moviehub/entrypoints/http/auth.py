"""Who is calling: a bearer token (RFC 6750) becomes a signed-in person before a handler runs."""

from dataclasses import dataclass
from typing import Any

from litestar import Request

from moviehub.application.sessions import Authenticate
from moviehub.domain.errors import Forbidden, Unauthenticated
from moviehub.domain.sessions import BadToken, SignedIn
from moviehub.entrypoints.http.calls import Auth
from moviehub.entrypoints.http.exchange import Exchange
from moviehub.entrypoints.http.limits import UNLIMITED, Gate

SignedInRequest = Request[SignedIn, Any, Any]
PublicRequest = Request[SignedIn | None, Any, Any]


class NotStaff(Forbidden):
    """Only staff may do this."""


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """Lets callers in as a call's `auth` says; a bad token is refused on public calls too."""

    authenticate: Authenticate
    gate: Gate

    async def admit(self, exchange: Exchange, auth: Auth) -> SignedIn | None:
        """Who is calling, None if that is nobody's business or a stranger; or what keeps them out."""
        if exchange.authorization is None:  # a stranger, whom the edge has counted
            if auth in ("required", "staff"):
                raise Unauthenticated("Sign in, and send the access token as Authorization: Bearer …")
            return None
        if auth == "none":
            if exchange.path not in UNLIMITED:
                await self.gate.pass_stranger(exchange)
            return None
        caller = await self._caller(exchange)
        exchange.user_id = caller.user.id
        await self.gate.pass_user(exchange, caller.user.id)
        if auth == "staff" and not caller.user.is_staff:
            raise NotStaff("Only staff may do this.")
        return caller

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
