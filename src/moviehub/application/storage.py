"""The sockets for what must not be lost: one repository an aggregate, and the storage that ties them together.

What the ports of `ports.py` promise holds here too: `get` raises, `find` returns None, `list` returns a Page, `add`
refuses a duplicate, `save` upserts, `remove` raises when absent.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from moviehub.domain.audit import Entry, Event, Recorded
from moviehub.domain.movies import Mark, MarkedMovie, Movie, MovieDetail, MovieFacts, MovieFilter
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating, Review
from moviehub.domain.sessions import Session, SignedIn
from moviehub.domain.users import NewUser, User


class Users(Protocol):
    """Accounts. Names and addresses are unique without regard to case."""

    async def add(self, user: NewUser, at: datetime) -> User:
        """Keep a new account. Taken, naming each of `username` and `email` that somebody has."""
        ...

    async def get(self, user_id: int) -> User:
        """The account, or UserNotFound. In a transaction its row is locked until the end."""
        ...

    async def find_by_login(self, name: str) -> User | None:
        """The account of this username, else of this e-mail address."""
        ...

    async def list(self, search: str, page: PageRequest) -> Page[User]:
        """Accounts whose username or address contains `search`, without regard to case; the newest first.

        The total stops at 10,000, and so do the pages.
        """
        ...

    async def save(self, user: User) -> None:
        """Keep a changed account. Taken if its address is somebody else's, UserNotFound if it is gone."""
        ...

    async def remove(self, user_id: int) -> None:
        """Forget the account, its favourites, ratings and sessions. UserNotFound when absent."""
        ...


class Sessions(Protocol):
    """Sign-ins. They end and are kept; they are forgotten with their account."""

    async def add(self, user_id: int, *, at: datetime, expires_at: datetime, client: str, address: str) -> Session:
        """Begin a session with counter 0. BadToken if the account is gone."""
        ...

    async def find(self, session_id: int) -> SignedIn | None:
        """The session, live or not, with its account."""
        ...

    async def rotate(self, session_id: int, counter: int, *, at: datetime, expires_at: datetime) -> Session | None:
        """Count the session on from `counter`, if it stands there and has not ended; of many at once one succeeds."""
        ...

    async def list(self, user_id: int, page: PageRequest, at: datetime) -> Page[Session]:
        """The person's sessions that are live at `at`, latest used first."""
        ...

    async def end(self, session_id: int, at: datetime, *, user_id: int | None = None) -> bool:
        """End a session, of this person if one is named; whether it was live."""
        ...

    async def end_all(self, user_id: int, at: datetime, *, but: int | None = None) -> None:
        """End every session of a person, perhaps all but one."""
        ...

    async def end_expired(self, at: datetime, most: int) -> int:
        """End up to `most` of the sessions whose time was over at `at`, as of when it was over; how many that were."""
        ...


class Movies(Protocol):
    """Films that the hub has met. They stay for good."""

    async def remember(self, facts: Sequence[MovieFacts], at: datetime) -> tuple[Movie, ...]:
        """Keep what the catalogue told at `at`: one Movie for each of `facts`, in their order.

        Known films keep their id; a film whose facts are unchanged and were confirmed lately is not rewritten. Facts
        that come twice are kept once, the first wins.
        """
        ...

    async def get(self, movie_id: int) -> Movie:
        """The film, or MovieNotFound."""
        ...

    async def find_by_tmdb(self, tmdb_id: int) -> Movie | None:
        """The film that the catalogue knows by this id."""
        ...

    async def drop(self, movie_id: int, at: datetime) -> None:
        """Mark that the catalogue had the film no more at `at`; MovieNotFound. Told of it again, it loses the mark."""
        ...

    async def outdated(
        self, fetched_before: datetime, most: int, *, tmdb_ids: Sequence[int] | None = None
    ) -> Sequence[Movie]:
        """Up to `most` films that were last confirmed before then, of these ids or of all; the oldest first."""
        ...

    async def detail(self, movie_id: int) -> MovieDetail:
        """The film with the hub's own score, every committed rating counted; or MovieNotFound."""
        ...

    async def list(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        """The films that `wanted` matches, in its order; the total stops at 10,000, and so do the pages by number.

        It can be read on from the `end` of any page.
        """
        ...

    async def closest(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        """The films whose title is most like `wanted.search`, typing errors and all, best first.

        They match the rest of `wanted`; its order does not matter. Where titles cannot be compared there are none.
        The total stops at 10,000, and so do the pages.
        """
        ...

    async def marks(self, user_id: int, movie_ids: Sequence[int]) -> dict[int, Mark]:
        """What a person said of these films; those without a word may be missing."""
        ...


class Favorites(Protocol):
    """Which films people keep: one favourite a person and film."""

    async def add(self, user_id: int, movie_id: int, at: datetime) -> bool:
        """Make the film a favourite; False if it was. MovieNotFound, or BadToken if the account is gone."""
        ...

    async def remove(self, user_id: int, movie_id: int) -> None:
        """FavoriteNotFound when absent."""
        ...

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        """The person's favourites with their marks, newest first. It can be read on from the `end` of any page."""
        ...


class Ratings(Protocol):
    """What people think of films: one rating a person and film."""

    async def save(self, user_id: int, movie_id: int, opinion: Opinion, at: datetime) -> tuple[MarkedMovie, bool]:
        """Set the person's opinion of a film; the film with its marks, and whether the rating is new.

        MovieNotFound, or BadToken if the account is gone.
        """
        ...

    async def get(self, user_id: int, movie_id: int) -> Rating:
        """The person's rating of a film, or RatingNotFound. In a transaction its row is locked until the end."""
        ...

    async def remove(self, user_id: int, movie_id: int) -> None:
        """RatingNotFound when absent."""
        ...

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        """The films a person rated with their marks, newest change first.

        It can be read on from the `end` of any page.
        """
        ...

    async def reviews(self, movie_id: int, page: PageRequest) -> Page[Review]:
        """Everybody's reviews of a film, newest change first; MovieNotFound.

        The total stops at 10,000, and so do the pages by number. It can be read on from the `end` of any page.
        """
        ...


class Audit(Protocol):
    """The audit trail. What is on it stays, and each entry is logged once it is kept."""

    async def add(self, entry: Entry) -> None:
        """Put an entry at the end of the trail."""
        ...

    async def list(
        self, page: PageRequest, *, user_id: int | None = None, event: Event | None = None, before: int | None = None
    ) -> Page[Recorded]:
        """Entries, newest first: all, or those of one account, of one kind or before one id.

        The total stops at 10,000, and so do the pages: older ones are those before the last that was seen.
        """
        ...


class UnitOfWork(Protocol):
    """The repositories, seeing one and the same state of the storage."""

    users: Users
    sessions: Sessions
    movies: Movies
    favorites: Favorites
    ratings: Ratings
    audit: Audit


class Storage(Protocol):
    """Keeps everything that must not be lost. Never await the network, and never hash, inside a transaction.

    `by` is the person on whose behalf it is done: they see what they have done before.
    """

    def transaction(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """Everything done inside is kept on a clean exit; on any error, nothing."""
        ...

    def autocommit(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """For work of one call: each call is all or nothing by itself, and kept when it returns."""
        ...

    def reading(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """For reads alone. Accounts, sessions and the trail are as they are; films and opinions may be from a replica.

        A replica is two seconds behind at most, and never behind what the person of `by` did; a film is not missing
        for being new. Each read is of one moment, and the next may be of another. When all but the replica is away,
        reads on nobody's behalf are of the last moment that it knows.
        """
        ...
