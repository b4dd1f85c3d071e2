"""Tokens and sessions over HTTP."""

from typing import Literal

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency

from moviehub.application.limits import AdmitAttempt
from moviehub.application.sessions import (
    EndOtherSessions,
    EndSession,
    Grant,
    ListSessions,
    RefreshSession,
    RevokeToken,
    SignIn,
    VerifyToken,
)
from moviehub.entrypoints.http.auth import PublicRequest, SignedInRequest
from moviehub.entrypoints.http.calls import Instant, answer, call, nothing
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import Body, Query, path_id
from moviehub.entrypoints.http.limits import admitted
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, PageOut, envelope


class SignInIn(msgspec.Struct):
    """An account's name or e-mail address, and its password."""

    username: str
    password: str


class RefreshIn(msgspec.Struct):
    """A refresh token."""

    refresh: str


class TokenIn(msgspec.Struct):
    """A token of either kind."""

    token: str


class EmptyOut(msgspec.Struct):
    """Nothing to say."""


class SignedInUserOut(msgspec.Struct):
    """Who has signed in."""

    id: int
    username: str
    email: str


class TokensOut(msgspec.Struct, kw_only=True):
    """An access token, good for `expires_in` seconds, and the refresh token that gets the next pair."""

    access: str
    refresh: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind of token, no secret
    expires_in: int


class SignInOut(TokensOut, kw_only=True):
    """A pair of tokens and whose they are."""

    user: SignedInUserOut


class SessionOut(msgspec.Struct):
    """One sign-in: `client` is what the program called itself, `current` whether this request belongs to it."""

    id: int
    created_at: Instant
    last_used_at: Instant
    client: str
    address: str
    current: bool


SIGN_IN = Body(SignInIn, form=True)
REFRESH = Body(RefreshIn)
TOKEN = Body(TokenIn)
PAGE = Query(PageIn, PAGE_RULES)


def _tokens(grant: Grant) -> TokensOut:
    return TokensOut(access=grant.access, refresh=grant.refresh, expires_in=grant.expires_in)


class TokensController(Controller):
    """Tokens."""

    path = "/api/auth/token"
    tags = ["Tokens"]

    @post("/", status_code=200, opt=call(auth="none", body=SIGN_IN, answers={200: SignInOut}, refusals=(401,)))
    async def sign_in(
        self, request: PublicRequest, sign_in: NamedDependency[SignIn], admit_attempt: NamedDependency[AdmitAttempt]
    ) -> Response[bytes]:
        """Sign in with a username or e-mail address and a password."""
        given = await SIGN_IN.read(request)
        address = await admitted(request, admit_attempt, given.username)
        grant = await sign_in(login=given.username, password=given.password, client=_client(request), address=address)
        user = SignedInUserOut(grant.user.id, grant.user.username, grant.user.email)
        return answer(SignInOut(access=grant.access, refresh=grant.refresh, expires_in=grant.expires_in, user=user))

    @post("/refresh", status_code=200, opt=call(auth="none", body=REFRESH, answers={200: TokensOut}, refusals=(401,)))
    async def refresh(
        self, request: PublicRequest, refresh_session: NamedDependency[RefreshSession]
    ) -> Response[bytes]:
        """Change a refresh token for the next pair of tokens; it is dead from then on."""
        given = await REFRESH.read(request)
        grant = await refresh_session(refresh=given.refresh, address=exchange_of(request.scope).address)
        return answer(_tokens(grant))

    @post("/verify", status_code=200, opt=call(auth="none", body=TOKEN, answers={200: EmptyOut}, refusals=(401,)))
    async def verify(self, request: PublicRequest, verify_token: NamedDependency[VerifyToken]) -> Response[bytes]:
        """Tell whether a token is good now."""
        given = await TOKEN.read(request)
        await verify_token(token=given.token)
        return answer(EmptyOut())

    @post(["/revoke", "/blacklist"], status_code=200, opt=call(auth="none", body=REFRESH, answers={200: EmptyOut}))
    async def revoke(self, request: PublicRequest, revoke_token: NamedDependency[RevokeToken]) -> Response[bytes]:
        """End the session of a refresh token, its access tokens too. An unknown token is fine (RFC 7009)."""
        given = await REFRESH.read(request)
        await revoke_token(refresh=given.refresh)
        return answer(EmptyOut())


class SessionsController(Controller):
    """The caller's sign-ins."""

    path = "/api/auth/sessions"
    tags = ["Sessions"]

    @get("/", opt=call(query=PAGE, answers={200: PageOut[SessionOut]}, refusals=(404,), tagged=False))
    async def list_mine(
        self, request: SignedInRequest, list_sessions: NamedDependency[ListSessions]
    ) -> Response[bytes]:
        """List the caller's live sessions, latest used first."""
        here = request.user
        page = await list_sessions(user_id=here.user.id, page=PAGE.read(request).request_of(request))
        results = [
            SessionOut(s.id, s.created_at, s.last_used_at, s.client, s.address, s.id == here.session.id)
            for s in page.items
        ]
        return answer(PageOut(**envelope(request, page), results=results))  # type: ignore[arg-type]

    @delete("/{session_id:str}", status_code=200, opt=call(answers={204: None}, refusals=(404,)))
    async def end(self, request: SignedInRequest, end_session: NamedDependency[EndSession]) -> Response[bytes]:
        """End one of the caller's sessions."""
        await end_session(user_id=request.user.user.id, session_id=path_id(request, "session_id"))
        return nothing()

    @delete("/", status_code=200, opt=call(answers={204: None}))
    async def end_others(
        self, request: SignedInRequest, end_other_sessions: NamedDependency[EndOtherSessions]
    ) -> Response[bytes]:
        """End all of the caller's sessions but this one."""
        await end_other_sessions(user_id=request.user.user.id, session_id=request.user.session.id)
        return nothing()


def _client(request: PublicRequest) -> str:
    """What the client's program calls itself, without what cannot be shown."""
    return "".join(c for c in request.headers.get("user-agent", "")[:200] if c.isprintable())
