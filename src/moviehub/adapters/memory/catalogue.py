"""A catalogue that a test sets, film by film."""

from collections.abc import Iterable
from datetime import date

from moviehub.application.ports import Catalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import (
    PAGE_SIZE,
    CataloguePage,
    Listing,
    Popular,
    Recommended,
    Search,
    TopRated,
    Trending,
)
from moviehub.domain.movies import GENRES, Genre, MovieFacts, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED
from moviehub.domain.text import folded


class MemoryCatalogue(Catalogue):
    """Tells of `films`, popular ones in the order given, unless it is `out`; `calls` is what it was asked.

    It is out for the questions in `out_for` alone, too.
    The films in `changes` changed on whatever days one asks for.
    """

    def __init__(self, facts: Iterable[MovieFacts] = ()) -> None:
        self.films: list[MovieFacts] = list(facts)
        self.changes: set[int] = set()
        self.out = False
        self.out_for: set[Listing | int | str] = set()
        self.calls: list[Listing | int | str] = []

    async def page(self, listing: Listing) -> CataloguePage:
        self._asked(listing)
        films = self._listed(listing)
        start = (listing.page - 1) * PAGE_SIZE
        return CataloguePage(tuple(films[start : start + PAGE_SIZE]), len(films))

    async def movie(self, tmdb_id: int) -> MovieFacts:
        self._asked(tmdb_id)
        return self._film(tmdb_id)

    async def genres(self) -> tuple[Genre, ...]:
        self._asked("genres")
        return GENRES

    async def changed(self, since: date, until: date) -> frozenset[int]:
        self._asked("changes")
        return frozenset(self.changes)

    def _asked(self, question: Listing | int | str) -> None:
        self.calls.append(question)
        if self.out or question in self.out_for:
            raise Unavailable("The film catalogue cannot be reached now.")

    def _film(self, tmdb_id: int) -> MovieFacts:
        for film in self.films:
            if film.tmdb_id == tmdb_id:
                return film
        raise MovieNotFound()

    def _listed(self, listing: Listing) -> list[MovieFacts]:
        match listing:
            case Popular():
                films = self.films
            case Trending():
                films = sorted(self.films, key=lambda film: -film.popularity)
            case TopRated():
                films = sorted(self.films, key=lambda film: (-film.vote_average, film.tmdb_id))
            case Search():
                films = [film for film in self.films if _is_found(film, listing)]
            case Recommended():
                films = self._recommended(self._film(listing.tmdb_id))
            case _:
                raise TypeError(f"no such list is kept here: {listing!r}")
        return films[:MOST_COUNTED]

    def _recommended(self, liked: MovieFacts) -> list[MovieFacts]:
        def shared(film: MovieFacts) -> int:
            return len(set(film.genre_ids) & set(liked.genre_ids))

        others = [film for film in self.films if film.tmdb_id != liked.tmdb_id and shared(film)]
        return sorted(others, key=lambda film: (-shared(film), film.tmdb_id))


def _is_found(film: MovieFacts, search: Search) -> bool:
    year = film.release_date.year if film.release_date else None
    return folded(search.query) in film.title_key and search.year in (None, year)
