"""Films as one person sees them: marked with what that person has said of them."""

from moviehub.application.storage import Storage
from moviehub.domain.movies import Mark, MarkedMovie, Movie
from moviehub.domain.pages import Page

UNMARKED = Mark()


async def seen_by(storage: Storage, page: Page[Movie], user_id: int | None) -> Page[MarkedMovie]:
    """The page as this person sees it, a stranger if None: one question for all its films."""
    marks: dict[int, Mark] = {}
    if user_id is not None and page.items:
        async with storage.reading(by=user_id) as uow:
            marks = await uow.movies.marks(user_id, [movie.id for movie in page.items])
    if not marks:
        return page.map(MarkedMovie)
    return page.map(lambda movie: MarkedMovie(movie, marks.get(movie.id, UNMARKED)))
