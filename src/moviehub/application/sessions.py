"""What people can do with their sessions: sign in, stay signed in, see and end them."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from moviehub.application.kept import Kept, about_session, about_user
from moviehub.application.ports import AccessClaim, Clock, News, Passwords, RefreshClaim, Tokens
from moviehub.application.storage import Storage
from moviehub.domain.audit import Entry, Event
from moviehub.domain.errors import Invalid
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.sessions import (
    BadCredentials,
    BadToken,
    Presented,
    Session,
    SessionNotFound,
    SignedIn,
)
from moviehub.domain.text import checked
from moviehub.domain.users import User, UserNotFound, normalized_password

ENDED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long a session lasts without use, and how long at most."""

    idle: timedelta = timedelta(days=30)
    whole: timedelta = timedelta(days=90)

    def end_of(self, created_at: datetime, now: datetime) -> datetime:
        """When a session used now ends if it is not used again."""
        return min(now + self.idle, created_at + self.whole)


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens for a session: `access` is good for `expires_in` seconds, `refresh` gets the next pair."""

    access: str
    refresh: str
    expires_in: int
    user: User


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A new session for who knows an account's name or address and its password."""

    storage: Storage
    passwords: Passwords
    tokens: Tokens
    clock: Clock
    lifetimes: Lifetimes

    async def __call__(self, *, login: str, password: str, client: str = "", address: str = "") -> Grant:
        user = await self._find(login)
        right = await self.passwords.verify(normalized_password(password), user.password_hash if user else None)
        if user is None or not right or not user.is_active:
            why = "no such account" if user is None else "the account is deactivated" if right else "wrong password"
            await self._note_failure(user, why, address)
            raise BadCredentials()
        renewed = None
        if not self.passwords.is_current(user.password_hash):
            renewed = await self.passwords.hash(normalized_password(password))
        grant = await self._begin(user, renewed, client, address)
        if grant is None:
            await self._note_failure(user, "the account changed meanwhile", address)
            raise BadCredentials()
        return grant

    async def _begin(self, user: User, renewed: str | None, client: str, address: str) -> Grant | None:
        """A session, perhaps with a hash that is renewed; None if the account changed while we were hashing."""
        now = self.clock.now()
        async with self.storage.transaction() as uow:
            try:
                fresh = await uow.users.get(user.id)
            except UserNotFound:
                return None
            if fresh.password_hash != user.password_hash or not fresh.is_active:
                return None
            if renewed:
                fresh = fresh.with_password(renewed, fresh.updated_at)
                await uow.users.save(fresh)
            session = await uow.sessions.add(
                user.id, at=now, expires_at=self.lifetimes.end_of(now, now), client=client[:200], address=address
            )
            await uow.audit.add(Entry(at=now, event=Event.SIGN_IN, user_id=user.id, actor_id=user.id, address=address))
        return _grant(self.tokens, session, fresh, now)

    async def _note_failure(self, user: User | None, why: str, address: str) -> None:
        entry = Entry(
            at=self.clock.now(),
            event=Event.FAILED_SIGN_IN,
            user_id=user.id if user else None,
            address=address,
            detail=why,
        )
        async with self.storage.autocommit() as uow:
            await uow.audit.add(entry)

    async def _find(self, login: str) -> User | None:
        try:
            checked("username", login, most=600)
        except Invalid:
            return None  # no account can have such a name
        async with self.storage.reading() as uow:
            return await uow.users.find_by_login(login)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshSession:
    """The next pair of tokens for a refresh token, which is dead from then on.

    A client that lost the reply may repeat itself for ten seconds and gets the same refresh token; any other reuse ends
    the session, as RFC 9700 section 4.14.2 advises.
    """

    storage: Storage
    tokens: Tokens
    clock: Clock
    news: News
    lifetimes: Lifetimes

    async def __call__(self, *, refresh: str, address: str = "") -> Grant:
        now = self.clock.now()
        claim = self.tokens.read_refresh(refresh, now)
        async with self.storage.transaction() as uow:
            for _ in range(2):  # the second time, somebody was quicker with the same token
                found = _live(await uow.sessions.find(claim.session_id), claim, now)
                session: Session | None = found.session
                presented = found.session.judge(claim.counter, now)
                if presented is Presented.NEWEST:
                    expires_at = self.lifetimes.end_of(found.session.created_at, now)
                    session = await uow.sessions.rotate(claim.session_id, claim.counter, at=now, expires_at=expires_at)
                elif presented is Presented.REUSED:
                    await uow.sessions.end(claim.session_id, now)
                    await uow.audit.add(
                        Entry(at=now, event=Event.REFRESH_REUSE, user_id=found.user.id, address=address)
                    )
                    break
                if session is not None:
                    return _grant(self.tokens, session, found.user, now)
        # Outside the transaction, so that the end of the family is kept.
        await self.news.tell(about_session(claim.session_id))
        raise BadToken()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """Who is calling with this access token, as the storage has them.

    What was read a moment ago still holds unless the news say otherwise, so an ended session is refused at once.
    """

    storage: Storage
    tokens: Tokens
    clock: Clock
    callers: Kept[int, SignedIn]

    async def __call__(self, *, access: str) -> SignedIn:
        now = self.clock.now()
        claim = self.tokens.read_access(access, now)
        kept = self.callers.find(claim.session_id)
        with suppress(BadToken):  # the storage has the last word
            return _live(kept, claim, now)
        moment = self.callers.moment
        async with self.storage.reading() as uow:
            found = _live(await uow.sessions.find(claim.session_id), claim, now)
        topics = about_session(claim.session_id), about_user(found.user.id)
        self.callers.keep(claim.session_id, found, topics, moment=moment)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyToken:
    """Nothing, if an access or refresh token is good now; else BadToken."""

    storage: Storage
    tokens: Tokens
    clock: Clock

    async def __call__(self, *, token: str) -> None:
        now = self.clock.now()
        try:
            claim = self.tokens.read_access(token, now)
        except BadToken:
            claim = self.tokens.read_refresh(token, now)
        async with self.storage.reading() as uow:
            session = _live(await uow.sessions.find(claim.session_id), claim, now).session
        if isinstance(claim, RefreshClaim) and claim.counter != session.counter:
            raise BadToken()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """The session of a refresh token ended, its access tokens with it. An unknown token is nothing to end."""

    storage: Storage
    tokens: Tokens
    clock: Clock
    news: News

    async def __call__(self, *, refresh: str) -> None:
        now = self.clock.now()
        try:
            claim = self.tokens.read_refresh(refresh, now)
        except BadToken:
            return
        async with self.storage.autocommit() as uow:
            await uow.sessions.end(claim.session_id, now, user_id=claim.user_id)
        await self.news.tell(about_session(claim.session_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSessions:
    """A page of the person's live sessions, latest used first."""

    storage: Storage
    clock: Clock

    async def __call__(self, *, user_id: int, page: PageRequest) -> Page[Session]:
        async with self.storage.reading() as uow:
            return await uow.sessions.list(user_id, page, self.clock.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    """One of the person's own sessions ended; SessionNotFound if there is no such live one."""

    storage: Storage
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, session_id: int) -> None:
        async with self.storage.autocommit() as uow:
            if not await uow.sessions.end(session_id, self.clock.now(), user_id=user_id):
                raise SessionNotFound()
        await self.news.tell(about_session(session_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOtherSessions:
    """All of the person's sessions ended but the one they are using."""

    storage: Storage
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, session_id: int) -> None:
        async with self.storage.autocommit() as uow:
            await uow.sessions.end_all(user_id, self.clock.now(), but=session_id)
        await self.news.tell(about_user(user_id))


def _live(found: SignedIn | None, claim: AccessClaim, now: datetime) -> SignedIn:
    if found is None or not found.session.is_live(now) or not found.user.is_active:
        raise BadToken()
    if not found.session.wrote(claim.user_id, claim.issued_at):
        raise BadToken()
    return found


def _grant(tokens: Tokens, session: Session, user: User, now: datetime) -> Grant:
    access, expires_in = tokens.write_access(session, now)
    return Grant(access, tokens.write_refresh(session), expires_in, user)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndExpiredSessions:
    """Every session whose time is over, ended for good; how many that were."""

    storage: Storage
    clock: Clock

    async def __call__(self) -> int:
        ended, at = 0, self.clock.now()
        while True:  # a few at a time, for they stay locked meanwhile
            async with self.storage.autocommit() as uow:
                some = await uow.sessions.end_expired(at, ENDED_AT_ONCE)
            ended += some
            if some < ENDED_AT_ONCE:
                return ended
