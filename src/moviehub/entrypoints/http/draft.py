"""An answer before it is sent."""

from collections.abc import Mapping, Sequence

from litestar.types import Message

from moviehub.domain.errors import MovieHubError
from moviehub.domain.movies import Mark
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.exchange import Exchange
from moviehub.entrypoints.http.movies import marked_body
from moviehub.entrypoints.http.negotiation import Headers
from moviehub.entrypoints.http.public_pages import PublicPage

PRIVATE = (b"cache-control", b"private, max-age=0")


class Draft:
    """What will be answered. It is taken whole from the router, for our answers are small and never streamed."""

    __slots__ = ("body", "etag", "headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: Headers = []
        self.body = b""
        self.etag = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = ((name.lower(), value) for name, value in message["headers"])
            self.headers = [pair for pair in named if pair[0] != b"content-length"]
        elif message["type"] == "http.response.body":
            self.body += message["body"]

    def recall(self, page: PublicPage, exchange: Exchange) -> None:
        """Be what the router answered a moment ago."""
        self.status, self.headers, self.body = 200, [*page.headers, *page.headers_now()], page.body
        exchange.movie_ids, exchange.cache = page.movie_ids, "kept"

    def mark(self, movie_ids: Sequence[int], marks: Mapping[int, Mark]) -> None:
        """Be for one person alone, with what they have said of these films."""
        self.body, self.etag = marked_body(self.body, movie_ids, marks), b""
        self.headers = [pair for pair in self.headers if pair[0] != b"cache-control"]
        self.headers.append(PRIVATE)

    @property
    def is_secret(self) -> bool:
        """Whether nobody may keep it."""
        return any(name == b"cache-control" and b"no-store" in value for name, value in self.headers)

    def problem(self, fault: MovieHubError, exchange: Exchange) -> None:
        self.status, headers, self.body = problems.document(fault, exchange)
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.headers.append((b"content-type", problems.MEDIA_TYPE.encode()))
