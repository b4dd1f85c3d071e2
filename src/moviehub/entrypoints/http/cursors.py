"""How a place in a list is told as text that leads on from there, in that list alone."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from moviehub.domain.errors import Invalid
from moviehub.domain.pages import Cursor
from moviehub.entrypoints.http.inputs import LARGEST_ID

_TOLD = "Where to go on: the `next_cursor` of an answer from this very list, with its filters and order, and no `page`."
CursorText = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9_-]+$", "description": _TOLD})]

Moment = Annotated[datetime, Meta(tz=True)]
"""The type of an instant that a list is ordered by."""
Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]


@dataclass(frozen=True, slots=True)
class Whole:
    """A list that can be read on by cursor: what tells it from all others, and the type that it is ordered by.

    A cursor says where its list goes on, and carries a mark of that list. It is no secret and not signed: whoever makes
    one up reads from a place of their choice what they may read anyway.
    """

    told_by: tuple[object, ...]
    key: Any = Moment
    mark: str = field(init=False)

    def __post_init__(self) -> None:
        digest = blake2b(repr(self.told_by).encode(errors="backslashreplace"), digest_size=6).digest()
        object.__setattr__(self, "mark", urlsafe_b64encode(digest).decode())

    def tell(self, place: Cursor) -> str:
        """The text for a place."""
        told = msgspec.json.encode((self.mark, place.key, place.id))
        return urlsafe_b64encode(told).rstrip(b"=").decode()

    def place(self, text: str | None) -> Cursor | None:
        """The place of a text that `tell` gave, if there is one; Invalid for any other text."""
        if text is None:
            return None
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            _, key, number = _decoder(self.key).decode(raw)
            place = Cursor(key, number)
            # There is one text for each place of a list: with its mark, and no number or blank in another form.
            good = _is_storable(key) and self.tell(place) == text
        except (ValueError, RecursionError, msgspec.MsgspecError):
            good = False
        if not good:
            raise Invalid.field("cursor", "foreign", "expected the next_cursor of a page of this very list")
        return place


@lru_cache(16)
def _decoder(key: Any) -> "msgspec.json.Decoder[tuple[str, Any, int]]":
    return msgspec.json.Decoder(tuple[str, key, Id])


def _is_storable(key: object) -> bool:
    if isinstance(key, datetime):
        return not key.utcoffset()
    return not (isinstance(key, str) and "\0" in key)
