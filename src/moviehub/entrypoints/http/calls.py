"""What each call takes and answers, declared once beside its handler: read at run time, told by OpenAPI."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response
from litestar.types import Receive, Scope, Send
from msgspec import Meta

from moviehub.entrypoints.http.inputs import Body, Query
from moviehub.entrypoints.http.negotiation import Headers

Instant = Annotated[datetime, Meta(tz=True)]
"""A moment as it is answered: RFC 3339, in UTC."""


Auth = Literal["none", "optional", "required", "staff"]
"""Who may call: anybody, anybody with more for who is signed in, who is signed in, or staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation. `answers` gives the shape of each good status, `refusals` the statuses of its own errors.

    A shape is a wire struct, None for no body, or the media type of a page. Of a GET, `tagged` says whether its answer
    has an `ETag`.
    """

    answers: Mapping[int, Any]
    auth: Auth = "required"
    body: Body[Any] | None = None
    query: Query[Any] | None = None
    refusals: tuple[int, ...] = ()
    tagged: bool = True

    def __deepcopy__(self, _: object) -> "Call":
        """Itself: Litestar copies handlers, and a declaration never changes."""
        return self


def call(**declared: Any) -> dict[str, Call]:
    """The `opt` of a handler."""
    return {"call": Call(**declared)}


class MessageOut(msgspec.Struct):
    """What was done."""

    message: str


_encoder = msgspec.json.Encoder()
_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")


class Answer(Response[bytes]):
    """An encoded answer that is its own ASGI application, which spares half of what the framework spends on one."""

    def __init__(self, body: bytes, status: int, headers: Headers) -> None:
        self._whole = status, headers, body

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Itself."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send_whole(send, *self._whole)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer in the two messages that ASGI wants."""
    start: Any = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    end: Any = {"type": "http.response.body", "body": body, "more_body": False}
    await send(end)


def named(headers: Mapping[str, str]) -> Headers:
    """Headers as they are sent."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer; unless `headers` say otherwise, one that nobody may store."""
    return Answer(_encoder.encode(value), status, [_JSON, *([_NO_STORE] if headers is None else named(headers))])


def nothing() -> Answer:
    """204: done, and nothing to say."""
    return Answer(b"", 204, [_NO_STORE])
