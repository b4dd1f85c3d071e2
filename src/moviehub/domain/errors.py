"""The six kinds of failure that moviehub knows; every concrete error is one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field: `code` for programs, `message` for people."""

    field: str
    code: str
    message: str


class MovieHubError(Exception):
    """Base of all errors that a caller may see. `slug` and `title` are stable; `detail` tells this case."""

    slug: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title


class Invalid(MovieHubError):
    """Something that was given is not acceptable; `errors` names every field at fault."""

    slug = "invalid-request"
    title = "Invalid request"

    def __init__(self, errors: Iterable[FieldError] = (), detail: str = "") -> None:
        self.errors = tuple(errors)
        super().__init__(detail or "; ".join(f"{e.field}: {e.message}" for e in self.errors))

    @classmethod
    def field(cls, field: str, code: str, message: str) -> "Invalid":
        """One field at fault."""
        return cls([FieldError(field, code, message)])


class Unauthenticated(MovieHubError):
    """Who is calling is not known, or the proof of it is not good."""

    slug = "unauthenticated"
    title = "Authentication required"


class Forbidden(MovieHubError):
    """The caller is known and may not do this."""

    slug = "forbidden"
    title = "Not allowed"


class NotFound(MovieHubError):
    """There is no such thing, or it is somebody else's."""

    slug = "not-found"
    title = "Not found"


class TooMany(MovieHubError):
    """Too many requests; try again in `retry_after` seconds."""

    slug = "too-many-requests"
    title = "Too many requests"

    def __init__(self, detail: str = "", *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(MovieHubError):
    """Nothing true can be said now; try again in `retry_after` seconds."""

    slug = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str = "", *, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
