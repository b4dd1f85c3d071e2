"""What each call takes and answers, declared once beside its handler: read at run time, told by OpenAPI."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from litestar import Response

from moviehub.entrypoints.http.inputs import Body, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation. `answers` gives the shape of each good status, `refusals` the statuses of its own errors."""

    answers: Mapping[int, Any]
    auth: Literal["none", "optional", "required"] = "required"
    body: Body[Any] | None = None
    query: Query[Any] | None = None
    refusals: tuple[int, ...] = ()

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


_NO_STORE = {"cache-control": "no-store"}


def answer(value: Any, status: int = 200, headers: Mapping[str, str] = _NO_STORE) -> Response[bytes]:
    """A JSON answer; unless `headers` say otherwise, one that nobody may store."""
    return Response(_encoder.encode(value), status_code=status, media_type="application/json", headers=headers)


def nothing() -> Response[bytes]:
    """204: done, and nothing to say."""
    return Response(b"", status_code=204, media_type="text/plain", headers=_NO_STORE)
