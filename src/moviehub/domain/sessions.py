"""Sessions: one sign-in and the family of refresh tokens that descends from it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from moviehub.domain.errors import NotFound, Unauthenticated
from moviehub.domain.users import User

LOST_REPLY = timedelta(seconds=10)
"""A client whose reply got lost may ask again this long and gets the same successor."""

LEEWAY = timedelta(seconds=10)
"""By how much the clocks of two nodes may differ."""


class BadCredentials(Unauthenticated):
    """No account has this name and this password. Says the same whatever was wrong."""

    slug = "bad-credentials"
    title = "Wrong username or password"


class BadToken(Unauthenticated):
    """A token that is malformed, expired, revoked or of the wrong kind. Says the same for all of them."""

    slug = "invalid-token"
    title = "Invalid token"

    def __init__(self) -> None:
        super().__init__("The token is malformed, expired, revoked or of the wrong kind; sign in again.")


class SessionNotFound(NotFound):
    """There is no such session of this person."""

    slug = "session-not-found"
    title = "No such session"


class Presented(Enum):
    """What a presented refresh token is to its session."""

    NEWEST = "the newest of its family: it may be rotated"
    LOST_REPLY = "the parent of the newest, which nobody has used yet: its holder never got the reply"
    REUSED = "an older one: somebody has a copy, and the family ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in. `counter` is the number of the newest refresh token, `last_used_at` when it was made."""

    id: int
    user_id: int
    counter: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    client: str = ""
    address: str = ""

    def is_live(self, now: datetime) -> bool:
        """Whether the session still lets its holder in."""
        return self.ended_at is None and now < self.expires_at

    def wrote(self, user_id: int, issued_at: datetime) -> bool:
        """Whether a token for `user_id` of this instant can be one of this session's.

        A storage that was restored gives out ids anew: a token of before may have the id of somebody else's session.
        """
        return user_id == self.user_id and issued_at >= self.created_at - LEEWAY

    def judge(self, counter: int, now: datetime) -> Presented:
        """What the refresh token of number `counter` is to this session."""
        if counter == self.counter:
            return Presented.NEWEST
        if counter == self.counter - 1 and now - self.last_used_at <= LOST_REPLY:
            return Presented.LOST_REPLY
        return Presented.REUSED


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session and the person it belongs to."""

    session: Session
    user: User
