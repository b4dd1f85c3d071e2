"""Problem documents (RFC 9457): the only place where errors become numbers."""

from collections.abc import Callable, Collection
from functools import lru_cache
from urllib.parse import quote

import msgspec
import structlog

from moviehub.domain import errors
from moviehub.domain.errors import FieldError, MovieHubError
from moviehub.entrypoints.http.exchange import Exchange

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[MovieHubError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
LONGEST_DETAIL = 500
log = structlog.get_logger()


NOTHING = "Nothing is served at this path; /docs/ lists what is."


class HttpError(MovieHubError):
    """A failure that only HTTP knows."""


class NoSuchPath(HttpError):
    """Nothing is served at this path; `/docs/` lists what is."""

    slug = "no-such-path"
    title = "No such path"


class MethodNotAllowed(HttpError):
    """The path exists, but not with this method; `Allow` lists those that it has."""

    slug = "method-not-allowed"
    title = "Method not allowed"

    def __init__(self, allowed: Collection[str]) -> None:
        super().__init__("This path does not have this method.")
        self.allowed = sorted({*allowed, "OPTIONS"} | ({"HEAD"} if "GET" in allowed else set()))


class TooLarge(HttpError):
    """The body is larger than 64 KiB."""

    slug = "too-large"
    title = "Body too large"


class TargetTooLong(HttpError):
    """The path with its query is longer than 8 KiB."""

    slug = "target-too-long"
    title = "Target too long"


class HeadersTooLarge(HttpError):
    """The headers together are larger than 32 KiB."""

    slug = "headers-too-large"
    title = "Headers too large"


class UnsupportedMediaType(HttpError):
    """The body is of a kind that is not read here."""

    slug = "unsupported-media-type"
    title = "Unsupported media type"


class Broken(HttpError):
    """Something unexpected went wrong on our side; `request_id` finds it in the logs."""

    slug = "internal-error"
    title = "Internal error"


HTTP_STATUS: dict[type[HttpError], int] = {
    NoSuchPath: 404,
    MethodNotAllowed: 405,
    TooLarge: 413,
    TargetTooLong: 414,
    UnsupportedMediaType: 415,
    HeadersTooLarge: 431,
    Broken: 500,
}


class FieldFaultOut(msgspec.Struct):
    """One thing that is wrong with one field."""

    field: str
    code: str
    message: str


class ProblemOut(msgspec.Struct, omit_defaults=True):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[FieldFaultOut, ...] = ()


def status_of(error: type[MovieHubError]) -> int:
    """The number of a kind of error."""
    for kind in error.__mro__:
        if kind in STATUS:
            return STATUS[kind]
        if kind in HTTP_STATUS:
            return HTTP_STATUS[kind]
    return 500


def known_problems() -> dict[str, type[MovieHubError]]:
    """Every error that a client may meet, by the last part of its `type`."""
    found: dict[str, type[MovieHubError]] = {}
    waiting: list[type[MovieHubError]] = [*STATUS, *HTTP_STATUS]
    while waiting:
        error = waiting.pop(0)
        found.setdefault(error.slug, error)
        waiting.extend(error.__subclasses__())
    return dict(sorted(found.items()))


def document(error: MovieHubError, exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
    """An error as status, extra headers and body."""
    status = status_of(type(error))
    exchange.refusal = error.slug
    headers: dict[str, str] = {"cache-control": "no-store"}
    if isinstance(error, errors.Unauthenticated):
        given = error.slug == "invalid-token"
        headers["www-authenticate"] = 'Bearer realm="moviehub"' + (', error="invalid_token"' if given else "")
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if retry_after := getattr(error, "retry_after", None):
        headers["retry-after"] = str(retry_after)
    faults: tuple[FieldError, ...] = getattr(error, "errors", ())
    body = msgspec.json.encode(
        ProblemOut(
            type=f"/problems/{error.slug}",
            title=error.title,
            status=status,
            detail=error.detail[:LONGEST_DETAIL],
            instance=_instance_of(exchange),
            request_id=exchange.request_id,
            errors=tuple(FieldFaultOut(fault.field, fault.code, fault.message) for fault in faults),
        )
    )
    return status, headers, body


def prebuilt(error: MovieHubError) -> Callable[[Exchange], bytes]:
    """The body that `document` makes of an error, but for `instance` and `request_id` made once for all."""
    about = (f"/problems/{error.slug}", error.title, status_of(type(error)), error.detail)
    start = msgspec.json.encode(ProblemOut(*about, instance="", request_id="")).removesuffix(b'","request_id":""}')

    def filled(exchange: Exchange) -> bytes:
        # Neither of the two can hold anything that JSON would have escaped.
        return b'%b%b","request_id":"%b"}' % (start, _instance_of(exchange).encode(), exchange.request_id.encode())

    return filled


def _instance_of(exchange: Exchange) -> str:
    return _quoted(exchange.path[:200])


@lru_cache(256)
def _quoted(path: str) -> str:
    return quote("/" + path.lstrip("/"), safe="/:@!$&'()*+,;=~", errors="replace")


def fault_of(raised: Exception, exchange: Exchange, template: str | None) -> MovieHubError:
    """What is answered to whatever was raised by a handler; operators read of what should not be."""
    if isinstance(raised, errors.Forbidden):
        log.warning(
            "forbidden",
            user_id=exchange.user_id,
            address=exchange.address,
            method=exchange.method,
            route=template,
        )
    if isinstance(raised, MovieHubError):
        return raised
    log.error("unexpected error", method=exchange.method, route=template, exc_info=raised)
    return Broken("Something unexpected went wrong; the request id finds it in the logs.")
