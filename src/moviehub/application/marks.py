"""Films as one person sees them: marked with what that person has said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moviehub.application.storage import Storage
from moviehub.domain.movies import Mark, MarkedMovie, Movie
from moviehub.domain.pages import Page

UNMARKED = Mark()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMarks:
    """What the person has said of these films, by film, of those that they have said something of."""

    storage: Storage

    async def __call__(self, *, user_id: int, movie_ids: Sequence[int]) -> Mapping[int, Mark]:
        if not movie_ids:
            return {}
        async with self.storage.reading(by=user_id) as uow:
            return await uow.movies.marks(user_id, movie_ids)


async def seen_by(storage: Storage, page: Page[Movie], user_id: int | None) -> Page[MarkedMovie]:
    """The page as this person sees it, a stranger if None: one question for all its films."""
    marks: Mapping[int, Mark] = {}
    if user_id is not None:
        marks = await ReadMarks(storage=storage)(user_id=user_id, movie_ids=[movie.id for movie in page.items])
    if not marks:
        return page.map(MarkedMovie)
    return page.map(lambda movie: MarkedMovie(movie, marks.get(movie.id, UNMARKED)))
