"""Films at hand: what was read of them once is used again for as long as their rows are the very same."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Label, func, literal_column, select

from moviehub.adapters.postgres.rows import MOVIE, movie_of
from moviehub.adapters.postgres.statements import Row, Runs, Statement, ids
from moviehub.adapters.postgres.tables import movies
from moviehub.domain.movies import Movie
from moviehub.domain.pages import Page

T = TypeVar("T")

MOST_AT_HAND = 2_000

VERSIONED: tuple[Label[int], Label[int]] = (
    movies.c.id.label("movies_id"),
    literal_column("movies.xmin").label("version"),
)
"""What a list reads of its films: which they are, and the version of each row, which every update changes."""

READ = Statement(select(*MOVIE, VERSIONED[1]).where(movies.c.id == func.any(ids("movie_ids"))))


class IdentityMap:
    """Films by id, each with the version of its row; at most `most`, and the one unused for longest goes first.

    One is used only for a row that was just seen to be of that version, so none is ever out of date. As long as it is
    at hand the same version is the very same object.
    """

    def __init__(self, most: int = MOST_AT_HAND) -> None:
        self._most = most
        self._at_hand: OrderedDict[int, tuple[int, Movie]] = OrderedDict()

    async def fill(self, run: Runs, page: Page[Row], shown: Callable[[Row, Movie], T]) -> Page[T]:
        """The page of what is `shown` of each row and its film, without films that have vanished since it was read."""
        films = [self._find(row) for row in page.items]
        if missing := [row["movies_id"] for row, film in zip(page.items, films, strict=True) if film is None]:
            read = await self._read(run, missing)
            films = [film or read.get(row["movies_id"]) for row, film in zip(page.items, films, strict=True)]
        items = tuple(shown(row, film) for row, film in zip(page.items, films, strict=True) if film is not None)
        return Page(items, page.total, page.request, page.end)

    def forget(self, movie_ids: Iterable[int]) -> None:
        """Somebody writes these films. To a transaction that does so twice both versions would look the same."""
        for movie_id in movie_ids:
            self._at_hand.pop(movie_id, None)

    async def _read(self, run: Runs, movie_ids: Sequence[int]) -> dict[int, Movie]:
        # What somebody else has read meanwhile is used.
        return {
            row["movies_id"]: self._find(row) or self._kept(row) for row in await run.rows(READ, movie_ids=movie_ids)
        }

    def _find(self, row: Row) -> Movie | None:
        """The film at hand, if it is of this row's version."""
        movie_id = row["movies_id"]
        known = self._at_hand.get(movie_id)
        if known is None or known[0] != row["version"]:
            return None
        self._at_hand.move_to_end(movie_id)
        return known[1]

    def _kept(self, row: Row) -> Movie:
        movie = movie_of(row)
        self._at_hand[movie.id] = (row["version"], movie)
        self._at_hand.move_to_end(movie.id)  # it may have been there in another version
        if len(self._at_hand) > self._most:
            self._at_hand.popitem(last=False)
        return movie
