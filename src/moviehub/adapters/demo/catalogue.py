"""A catalogue of well-known films in a file of ours, with their real titles, dates and genres.

Votes, averages and popularity are invented: made from each film's id, so that they are the same at every start.
"""

import csv
import random
import zlib
from collections.abc import Iterable, Iterator
from datetime import date
from importlib.resources import files
from typing import get_args

from moviehub.application.ports import Catalogue
from moviehub.domain.listings import (
    PAGE_SIZE,
    CataloguePage,
    Listing,
    Popular,
    Recommended,
    Search,
    TopRated,
    Trending,
    Window,
)
from moviehub.domain.movies import GENRES, Genre, MovieFacts, MovieNotFound
from moviehub.domain.text import folded

FIRST_ID = 900_000_001
LAST_ID = 999_999_999
"""TMDb's own ids are far below, so that a hub may move from the demo to TMDb."""

_WINDOWS = get_args(Window)
_NUMBERS = {genre.name: genre.id for genre in GENRES}


class DemoCatalogue(Catalogue):
    """Tells of the films in `films.tsv`, with no key and no network."""

    def __init__(self) -> None:
        films = sorted(_films(), key=lambda film: (-film.popularity, film.tmdb_id))
        self._films = {film.tmdb_id: film for film in films}
        if len(self._films) < len(films):
            raise ValueError("two films of films.tsv have the same title and year, or the same id by chance")
        self._keys = {film.tmdb_id: film.title_key for film in films}
        self._popular = films
        self._top_rated = sorted(films, key=lambda film: (-film.vote_average, -film.vote_count, film.tmdb_id))
        self._trending = {window: sorted(films, key=lambda film: _chance(film.tmdb_id, window)) for window in _WINDOWS}

    async def page(self, listing: Listing) -> CataloguePage:
        films = self._listed(listing)
        start = max(0, listing.page - 1) * PAGE_SIZE
        return CataloguePage(tuple(films[start : start + PAGE_SIZE]), len(films))

    async def movie(self, tmdb_id: int) -> MovieFacts:
        if tmdb_id not in self._films:
            raise MovieNotFound()
        return self._films[tmdb_id]

    async def genres(self) -> tuple[Genre, ...]:
        return GENRES

    async def changed(self, since: date, until: date) -> frozenset[int]:
        return frozenset()  # the file is as it is

    def _listed(self, listing: Listing) -> list[MovieFacts]:
        match listing:
            case Popular():
                return self._popular
            case TopRated():
                return self._top_rated
            case Trending():
                return self._trending[listing.window]
            case Search():
                return self._found(folded(listing.query), listing.year)
            case Recommended() if listing.tmdb_id in self._films:
                return self._recommended(self._films[listing.tmdb_id])
            case Recommended():
                raise MovieNotFound()
            case _:
                raise TypeError(f"no such list is kept here: {listing!r}")

    def _found(self, query: str, year: int | None) -> list[MovieFacts]:
        """The films whose title has every word of the query: the same title first, then what begins so."""
        words = query.split()
        found = [
            film
            for film in self._popular
            if words
            and all(word in self._keys[film.tmdb_id] for word in words)
            and (year is None or _year(film) == year)
        ]

        def distance(film: MovieFacts) -> int:
            key = self._keys[film.tmdb_id]
            return 0 if key == query else 1 if key.startswith(query) else 2 if query in key else 3

        return sorted(found, key=distance)

    def _recommended(self, liked: MovieFacts) -> list[MovieFacts]:
        """The other films that share a genre: those that share most, and of those the nearest in time."""
        genres, year = set(liked.genre_ids), _year(liked)
        shared = {film.tmdb_id: len(genres.intersection(film.genre_ids)) for film in self._popular}
        others = [film for film in self._popular if shared[film.tmdb_id] and film is not liked]
        return sorted(others, key=lambda film: (-shared[film.tmdb_id], abs(_year(film) - year) // 10))


def _films() -> Iterator[MovieFacts]:
    with files(__package__).joinpath("films.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield _film(row["title"], row["original_language"], row["release_date"], row["genres"], row["overview"])


def _film(title: str, language: str, released: str, genres: str, overview: str) -> MovieFacts:
    # By title and year and not by place, so that a film keeps its id when others are added around it.
    name = f"{title} {released[:4]}".encode()
    tmdb_id = FIRST_ID + zlib.crc32(name) % (LAST_ID - FIRST_ID + 1)
    chance = random.Random(tmdb_id)  # noqa: S311
    votes = int(40 * 500 ** chance.random())
    return MovieFacts(
        tmdb_id=tmdb_id,
        title=title,
        overview=overview,
        release_date=date.fromisoformat(released) if released else None,
        popularity=round(3 * 200 ** chance.random(), 3),
        vote_average=round(5 + 4 * chance.random() ** 1.2, 3),
        vote_count=votes,
        original_language=language,
        genre_ids=_genre_ids(genres.split("|")),
    )


def _genre_ids(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(_NUMBERS[name] for name in names if name)


def _year(film: MovieFacts) -> int:
    return film.release_date.year if film.release_date else 0


def _chance(tmdb_id: int, window: str) -> float:
    """A number that orders films in a way that nothing we know of them tells."""
    return zlib.crc32(f"{window} {tmdb_id}".encode())
