"""What one person thinks of one film: a score of 1 to 10 and, if they like, a review."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from moviehub.domain.errors import Invalid, NotFound
from moviehub.domain.text import checked, faults

LONGEST_REVIEW = 5_000


class RatingNotFound(NotFound):
    """This person has not rated this film."""

    slug = "rating-not-found"
    title = "No such rating"


def check_score(score: int) -> int:
    """`score`, if it is an integer from 1 to 10."""
    if isinstance(score, bool) or not isinstance(score, int) or not 1 <= score <= 10:
        raise Invalid.field("rating", "out_of_range", "expected an integer from 1 to 10")
    return score


def check_review(review: str) -> str:
    """`review`, if it is text of at most 5,000 characters."""
    return checked("review", review, most=LONGEST_REVIEW, lines=True)


RULES: Mapping[str, Callable[[Any], object]] = {"rating": check_score, "review": check_review}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """A score and perhaps a review; an empty review is none."""

    score: int
    review: str | None = None

    def __post_init__(self) -> None:
        score = 0 if self.score is None else self.score  # a rule is not asked about what is not there
        if found := faults({"rating": score, "review": self.review}, RULES):
            raise Invalid(found)
        if self.review == "":
            object.__setattr__(self, "review", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """An opinion that is kept: one a person and film."""

    id: int
    user_id: int
    movie_id: int
    opinion: Opinion
    created_at: datetime
    updated_at: datetime

    def revised(self, at: datetime, **changes: Any) -> "Rating":
        """The same rating with `score` or `review` changed."""
        return replace(self, opinion=replace(self.opinion, **changes), updated_at=at)


@dataclass(frozen=True, slots=True)
class Score:
    """What all of this hub's people together think of a film."""

    average: float | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Review:
    """A rating with a review, as everybody may read it."""

    username: str
    score: int
    review: str
    updated_at: datetime
