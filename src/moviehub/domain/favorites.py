"""Favourites: the films that a person wants to find again."""

from dataclasses import dataclass
from datetime import datetime

from moviehub.domain.errors import NotFound


class FavoriteNotFound(NotFound):
    """This film is not among this person's favourites."""

    slug = "favorite-not-found"
    title = "No such favourite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Favorite:
    """A film that a person keeps: one a person and film."""

    id: int
    user_id: int
    movie_id: int
    created_at: datetime
