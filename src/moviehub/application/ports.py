"""The sockets in the wall of the hexagon, with what a plug owes written on each method; the storage's in `storage.py`.

Promises that hold for all: a failure is a MovieHubError, never a driver's exception; what cannot be reached now is
Unavailable. Instants are aware and in UTC.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Protocol, TypeVar

from moviehub.domain.listings import CataloguePage, Listing
from moviehub.domain.movies import Genre, MovieFacts
from moviehub.domain.sessions import Session

T = TypeVar("T")

BACKGROUND: ContextVar[bool] = ContextVar("background", default=False)
"""Whether nobody waits for what this task does, so that whoever somebody waits for goes first."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """This instant, in UTC."""
        ...

    def seconds(self) -> float:
        """The same as seconds since 1970, for who asks at every request."""
        return self.now().timestamp()


class Passwords(Protocol):
    """Hashes passwords slowly, few at a time, off the event loop. Raises Unavailable when too many wait."""

    async def hash(self, password: str) -> str:
        """A hash of all of `password`, behind a prefix that names the scheme."""
        ...

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the hash is of this password. None stands for nobody's: False, and it takes as long."""
        ...

    def is_current(self, password_hash: str) -> bool:
        """Whether `hash` would make a hash of this scheme and cost today."""
        ...


@dataclass(frozen=True, slots=True)
class AccessClaim:
    """What an access token says: of which session it is, whose that is, and when the token was written."""

    session_id: int
    user_id: int
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class RefreshClaim(AccessClaim):
    """What a refresh token says besides: which of its session's tokens it is."""

    counter: int


class Tokens(Protocol):
    """Writes and reads signed tokens. Whatever is wrong with one that is read, it is BadToken."""

    def write_access(self, session: Session, at: datetime) -> tuple[str, int]:
        """An access token of this session, and for how many seconds from `at` it is good."""
        ...

    def write_refresh(self, session: Session) -> str:
        """The newest refresh token of this session; the same session value gives the same text."""
        ...

    def read_access(self, token: str, at: datetime) -> AccessClaim:
        """What this access token claims."""
        ...

    def read_refresh(self, token: str, at: datetime) -> RefreshClaim:
        """What this refresh token claims."""
        ...


class Catalogue(Protocol):
    """The outside source of films. Raises Unavailable when it cannot be asked or answers nonsense."""

    async def page(self, listing: Listing) -> CataloguePage:
        """This page of a listing, at most 20 films in the catalogue's order; past its end an empty one.

        A film with a fault is left out. MovieNotFound for recommendations of a film that the catalogue does not have.
        """
        ...

    async def movie(self, tmdb_id: int) -> MovieFacts:
        """One film, or MovieNotFound."""
        ...

    async def genres(self) -> tuple[Genre, ...]:
        """Every genre, in the language of the catalogue."""
        ...

    async def changed(self, since: date, until: date) -> frozenset[int]:
        """The ids of the films whose facts changed on these days, both included; at most 14 of them."""
        ...


class Budget(Protocol):
    """How often the catalogue may be asked, over every process that shares it.

    It does not fail: without the others, each process keeps to it by itself.
    """

    def place(self, patience: float) -> AbstractAsyncContextManager[None]:
        """A question's place: entered when it may be asked, left when it was answered.

        Whoever somebody waits for goes before what runs in the background. Unavailable if that would take more than
        `patience` seconds, or while all have to pause.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """Nobody gets a place for so long."""
        ...


@dataclass(frozen=True, slots=True)
class Cached(Generic[T]):
    """Something kept from `since` until `until`, and fresh until `fresh_until`, or all the time if that is None."""

    value: T
    since: datetime
    until: datetime
    fresh_until: datetime | None = None

    @property
    def best_before(self) -> datetime:
        """Until when it is fresh; from then on it is better than nothing."""
        return self.fresh_until or self.until


class Cache(Protocol):
    """Keeps values for a while. It never fails: what it cannot reach it has not."""

    async def find(self, key: str, kind: type[T]) -> Cached[T] | None:
        """What was last kept under `key` as a `kind`, unless its time is over or it was lost."""
        ...

    async def keep(self, key: str, entry: Cached[T]) -> None:
        """Keep a value under `key` until its time is over."""
        ...

    async def flush(self, tell: Callable[[int], object] = lambda _: None) -> None:
        """Forget everything of this hub and nothing else. Unavailable if that cannot be done.

        `tell` hears now and then how much was forgotten so far.
        """
        ...


class Leases(Protocol):
    """Who may do a thing now, over every process that shares them. Never fails: without the others, everybody may."""

    async def take(self, name: str, seconds: float) -> str | None:
        """A proof that the lease is ours for so long, or None while it is somebody else's."""
        ...

    async def renew(self, name: str, owner: str, seconds: float) -> bool:
        """Keep a lease for so long from now; False if it is not ours any more."""
        ...

    async def give_back(self, name: str, owner: str) -> None:
        """End a lease, if it is still ours."""
        ...


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added to a counter, and for how many seconds it lives if this is its first addition."""

    amount: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Count:
    """What a counter stands at after an addition, and for how long it lives on."""

    total: int
    seconds_left: float


class Counters(Protocol):
    """Counts things for a while, over every process that shares them. A lost counter begins again at nothing."""

    async def add(self, additions: Mapping[str, Addition], once: str) -> Mapping[str, Count]:
        """Add to each of these counters at once; of many who add one, each gets a total of its own.

        Unavailable if they cannot be reached; perhaps it was counted then. A caller whose next call is the same again,
        under the same name `once`, has it counted once.
        """
        ...


class News(Protocol):
    """What changed, by topic, told to every process that shares it, so that nobody goes on with what they kept of it.

    It never fails. Whoever cannot be reached is cut off, knows it within two seconds, and keeps nothing meanwhile.
    """

    async def tell(self, *topics: str) -> None:
        """Tell that something of these topics has changed, once it can be read; who hears it has when this returns."""
        ...

    def listen(self, listener: Callable[[str | None], object]) -> None:
        """Have `listener` called with each topic of which something is told, or None if any may have been missed."""
        ...

    def are_heard(self) -> bool:
        """Whether what others tell is heard here now. Begins to listen when it is first asked."""
        ...
