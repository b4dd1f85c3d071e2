"""Ratings and reviews over HTTP."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, patch, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from msgspec import UNSET, Meta, UnsetType

from moviehub.application.ratings import ListRatings, ListReviews, RateMovie, RemoveRating, ReviseRating
from moviehub.domain.movies import MarkedMovie
from moviehub.domain.ratings import LONGEST_REVIEW, RULES
from moviehub.entrypoints.http.auth import PublicRequest, SignedInRequest
from moviehub.entrypoints.http.calls import Instant, answer, call, nothing
from moviehub.entrypoints.http.cursors import Whole
from moviehub.entrypoints.http.inputs import LINES, Body, Query, path_id
from moviehub.entrypoints.http.movies import MovieOut, movie_json, movie_out, own_headers
from moviehub.entrypoints.http.pages import PAGE_RULES, ScrollIn, ScrollOut, scroll_envelope

Score = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": 10})]
ReviewText = Annotated[str, Meta(extra_json_schema={"maxLength": LONGEST_REVIEW, "pattern": LINES})]


class RatingIn(msgspec.Struct):
    """A score of 1 to 10 and perhaps a review; without one, an earlier review goes."""

    rating: Score
    review: ReviewText | None = None


class RatingChangeIn(msgspec.Struct):
    """What of a rating changes."""

    rating: Score | UnsetType = UNSET
    review: ReviewText | UnsetType | None = UNSET


class RatingOut(msgspec.Struct):
    """What the caller thinks of a film."""

    id: int
    movie: MovieOut
    rating: int
    review: str | None
    created_at: Instant
    updated_at: Instant


class ReviewOut(msgspec.Struct):
    """What somebody wrote about a film."""

    username: str
    rating: int
    review: str
    updated_at: Instant


def rating_out(marked: MarkedMovie, movie: MovieOut) -> RatingOut:
    """A rated film as JSON."""
    rating = marked.mark.rating
    assert rating is not None
    opinion = rating.opinion
    return RatingOut(rating.id, movie, opinion.score, opinion.review, rating.created_at, rating.updated_at)


RATING = Body(RatingIn, RULES)
RATING_CHANGE = Body(RatingChangeIn, RULES)
PAGE = Query(ScrollIn, PAGE_RULES)


class RatingsController(Controller):
    """Ratings and reviews."""

    path = "/api/movies"
    tags = ["Ratings"]

    @route(
        "/{movie_id:str}/rate",
        http_method=[HttpMethod.POST, HttpMethod.PUT],
        opt=call(body=RATING, answers={200: RatingOut, 201: RatingOut}, refusals=(404,)),
    )
    async def rate(self, request: SignedInRequest, rate_movie: NamedDependency[RateMovie]) -> Response[bytes]:
        """Rate a film, or rate it anew: 201 the first time, 200 after."""
        movie_id, given = path_id(request, "movie_id"), await RATING.read(request)
        user_id = request.user.user.id
        marked, new = await rate_movie(user_id=user_id, movie_id=movie_id, score=given.rating, review=given.review)
        return answer(rating_out(marked, movie_out(marked)), 201 if new else 200)

    @patch("/{movie_id:str}/rate", opt=call(body=RATING_CHANGE, answers={200: RatingOut}, refusals=(404,)))
    async def revise(self, request: SignedInRequest, revise_rating: NamedDependency[ReviseRating]) -> Response[bytes]:
        """Change the score or the review of an existing rating."""
        movie_id, given = path_id(request, "movie_id"), await RATING_CHANGE.read(request)
        changes = {
            name: value for name, value in (("score", given.rating), ("review", given.review)) if value is not UNSET
        }
        marked = await revise_rating(user_id=request.user.user.id, movie_id=movie_id, **changes)
        return answer(rating_out(marked, movie_out(marked)))

    @delete("/{movie_id:str}/remove_rating", status_code=200, opt=call(answers={204: None}, refusals=(404,)))
    async def remove(self, request: SignedInRequest, remove_rating: NamedDependency[RemoveRating]) -> Response[bytes]:
        """Take a rating back."""
        await remove_rating(user_id=request.user.user.id, movie_id=path_id(request, "movie_id"))
        return nothing()

    @get("/ratings/my_ratings", opt=call(query=PAGE, answers={200: ScrollOut[RatingOut]}, refusals=(404,)))
    async def list_mine(self, request: SignedInRequest, list_ratings: NamedDependency[ListRatings]) -> Response[bytes]:
        """List the films that the caller rated, newest change first."""
        user_id, wanted = request.user.user.id, PAGE.read(request)
        whole = Whole(("ratings", user_id))
        page = await list_ratings(user_id=user_id, page=wanted.request_of(request, whole.place(wanted.cursor)))
        results: Sequence[RatingOut] = [rating_out(marked, movie_json(marked)) for marked in page.items]
        body = ScrollOut(**scroll_envelope(request, page, whole), results=results)  # type: ignore[arg-type]
        return answer(body, headers=own_headers(request))

    @get(
        "/{movie_id:str}/reviews",
        opt=call(auth="optional", query=PAGE, answers={200: ScrollOut[ReviewOut]}, refusals=(404,)),
    )
    async def reviews(self, request: PublicRequest, list_reviews: NamedDependency[ListReviews]) -> Response[bytes]:
        """List everybody's reviews of a film, newest first."""
        movie_id, wanted = path_id(request, "movie_id"), PAGE.read(request)
        whole = Whole(("reviews", movie_id))
        page = await list_reviews(movie_id=movie_id, page=wanted.request_of(request, whole.place(wanted.cursor)))
        results = [ReviewOut(r.username, r.score, r.review, r.updated_at) for r in page.items]
        body = ScrollOut(**scroll_envelope(request, page, whole), results=results)  # type: ignore[arg-type]
        return answer(body, headers=own_headers(request))
