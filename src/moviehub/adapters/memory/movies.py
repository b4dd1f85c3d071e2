"""Films in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from moviehub.adapters.memory.tables import Ids, Tables, page_of, refuse_beyond, refuse_unstorable, scrolled
from moviehub.application.storage import Movies
from moviehub.domain.movies import Mark, Movie, MovieDetail, MovieFacts, MovieFilter, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, Cursor, Page, PageRequest
from moviehub.domain.ratings import Score
from moviehub.domain.text import is_like, likeness


class MemoryMovies(Movies):
    """Films in dicts."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def remember(self, facts: Sequence[MovieFacts], at: datetime) -> tuple[Movie, ...]:
        told: dict[int, MovieFacts] = {}
        for one in facts:
            told.setdefault(one.tmdb_id, one)
        for one in told.values():
            refuse_unstorable(one.title, one.overview, one.poster_path, one.backdrop_path, one.original_language)
            refuse_beyond(64, (one.tmdb_id, one.vote_count))
            refuse_beyond(32, one.genre_ids)
        movies = {tmdb_id: self._remember(told[tmdb_id], at) for tmdb_id in sorted(told)}
        return tuple(movies[one.tmdb_id] for one in facts)

    def _remember(self, facts: MovieFacts, at: datetime) -> Movie:
        known = self._tables.tmdb_ids.get(facts.tmdb_id)
        if known is None:
            movie = Movie(id=next(self._ids.movies), facts=facts, created_at=at, updated_at=at, fetched_at=at)
        else:
            movie = self._tables.movies[known]
            if not movie.needs_rewrite(facts, at):
                return movie
            updated_at = movie.updated_at if facts == movie.facts else at
            movie = replace(movie, facts=facts, updated_at=updated_at, fetched_at=at, dropped_at=None)
        self._tables.tmdb_ids[facts.tmdb_id] = movie.id
        self._tables.movies[movie.id] = movie
        return movie

    async def get(self, movie_id: int) -> Movie:
        if movie_id not in self._tables.movies:
            raise MovieNotFound()
        return self._tables.movies[movie_id]

    async def find_by_tmdb(self, tmdb_id: int) -> Movie | None:
        return self._tables.movies.get(self._tables.tmdb_ids.get(tmdb_id, 0)) if tmdb_id > 0 else None

    async def drop(self, movie_id: int, at: datetime) -> None:
        movie = await self.get(movie_id)
        self._tables.movies[movie_id] = replace(movie, fetched_at=at, dropped_at=movie.dropped_at or at)

    async def outdated(
        self, fetched_before: datetime, most: int, *, tmdb_ids: Sequence[int] | None = None
    ) -> Sequence[Movie]:
        wanted = None if tmdb_ids is None else frozenset(tmdb_ids)
        found = [
            movie
            for movie in self._tables.movies.values()
            if movie.fetched_at < fetched_before and (wanted is None or movie.facts.tmdb_id in wanted)
        ]
        return tuple(sorted(found, key=lambda movie: (movie.fetched_at, movie.id))[:most])

    async def detail(self, movie_id: int) -> MovieDetail:
        movie = await self.get(movie_id)
        scores = [each.opinion.score for each in self._tables.ratings.values() if each.movie_id == movie_id]
        return MovieDetail(movie, Score(sum(scores) / len(scores), len(scores)) if scores else Score())

    async def list(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        found = wanted.sorted(movie for movie in self._tables.movies.values() if wanted.matches(movie))
        return scrolled(
            found,
            page,
            lambda movie: Cursor(wanted.key(movie), movie.id),
            most=MOST_COUNTED,
            descending=wanted.descending,
        )

    async def closest(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        page.refuse_past(MOST_COUNTED)
        sought, narrowed = wanted.search_key, replace(wanted, search="")
        found = [
            (likeness(sought, movie.facts.title_key), movie)
            for movie in self._tables.movies.values()
            if is_like(sought, movie.facts.title_key) and narrowed.matches(movie)
        ]
        found.sort(key=lambda each: (-each[0], -each[1].facts.popularity, each[1].id))
        return page_of([movie for _, movie in found], page, most=MOST_COUNTED)

    async def marks(self, user_id: int, movie_ids: Sequence[int]) -> dict[int, Mark]:
        marks = {
            movie_id: Mark(
                self._tables.favorites.get((user_id, movie_id)), self._tables.ratings.get((user_id, movie_id))
            )
            for movie_id in movie_ids
        }
        return {movie_id: mark for movie_id, mark in marks.items() if mark != Mark()}
