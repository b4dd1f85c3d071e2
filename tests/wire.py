"""A client that sends what no honest one does, byte for byte, and what it may expect."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from moviehub.entrypoints.http.app import openapi_document
from tests.api import PASSWORD, Api, film

Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
DOCUMENT: dict[str, Any] = json.loads(openapi_document())["paths"]
OPERATIONS = [(method.upper(), path, told) for path, item in DOCUMENT.items() for method, told in item.items()]
GOOD: dict[str, dict[str, Any]] = {
    "/users/": {"username": "zoe", "email": "zoe@example.org", "password": PASSWORD, "bio": "x", "first_name": "x"},
    "/update_profile/": {"email": "new@example.org", "first_name": "x", "last_name": "x", "bio": "x"},
    "/change_password/": {"current_password": PASSWORD, "new_password": "another good phrase"},
    "/me/": {"password": PASSWORD},
    "/{user_id}/": {"is_active": True, "is_staff": True},
    "/rate/": {"rating": 5, "review": "x"},
    "/token/": {"username": "alice", "password": PASSWORD},
    "/verify/": {"token": "x"},
    "/refresh/": {"refresh": "x"},
    "/revoke/": {"refresh": "x"},
    "/blacklist/": {"refresh": "x"},
}
KNOWN = {"movie_id": 1, "tmdb_id": 1_001, "session_id": 1, "user_id": 2, "slug": "not-found", "name": "start.js"}
BREAK = bytes(bytearray(b"break"))
"""The last piece of a body that comes to no end."""


@dataclass(frozen=True)
class Answer:
    """What came back, byte for byte."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Wire:
    """A client that sends anything: targets, headers and bodies are bytes, as a server would hand them on."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.app: Any = api.app
        self.token = b""

    async def __call__(
        self, method: str, target: bytes, *headers: tuple[bytes, bytes], body: bytes | Iterable[bytes] = b""
    ) -> Answer:
        path, _, query = target.partition(b"?")
        chunks = [body] if isinstance(body, bytes) else list(body)
        pending: list[Any] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if chunks[-1] is not BREAK:
            pending[-1]["more_body"] = False
        sent: list[Any] = []
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": _unquoted(path),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(headers) if b"host" in dict(headers) else [(b"host", b"hub.test"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def receive() -> Any:
            return pending.pop(0) if pending else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), b"".join(part["body"] for part in sent[1:]))

    @property
    def signed(self) -> tuple[bytes, bytes]:
        return b"authorization", b"Bearer " + self.token

    async def kept(self) -> Any:
        """Everything that the storage holds now."""
        tables = self.api.container.storage()._committed
        return {name: dict(getattr(tables, name)) for name in ("users", "sessions", "movies", "favorites", "ratings")}

    @classmethod
    async def over(cls, api: Api) -> Self:
        """Such a client for a hub with some films, one of them rated, and a superuser signed in, who may ask all."""
        wire = cls(api)
        await api.knows(film(1), film(2, title="100% Wolf"), film(3, title="a_b"), film(4, title="back\\slash"))
        token = await api.superuser("alice")
        await api.register("bob")
        assert (await api.post("/api/movies/1/rate/", {"rating": 5}, token=token)).status_code == 201
        wire.token = token.encode()
        return wire


def refused(answer: Answer, *statuses: int, field: str | None = None) -> dict[str, Any]:
    """The problem document that an answer must be: of this status, short, and naming the field at fault."""
    assert answer.status in statuses, answer
    assert answer.headers[b"content-type"] == b"application/problem+json"
    assert len(answer.body) < 4_096
    document: dict[str, Any] = json.loads(answer.body)
    members = {"type", "title", "status", "detail", "instance", "request_id"}
    assert document.keys() - {"errors"} == members
    assert (document["status"], document["request_id"].encode()) == (answer.status, answer.headers[b"x-request-id"])
    if field is not None:
        assert field in {fault["field"] for fault in document["errors"]}, document
    return document


def _unquoted(path: bytes) -> str:
    return unquote_to_bytes(path).decode(errors="replace")


def calls_with_a_body() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Method, target and a good body of each call that takes one."""
    for method, path, told in OPERATIONS:
        if "requestBody" in told:
            good = next(body for end, body in GOOD.items() if path.endswith(end))
            yield method, path.format(**KNOWN).encode(), good


def targets(parameter: str) -> Iterator[tuple[str, bytes]]:
    """Method and target, with `{}` in place of the value, of each call that has this parameter."""
    for method, path, told in OPERATIONS:
        if any(each["name"] == parameter for each in told["parameters"]):
            if "{" + parameter + "}" in path:
                yield method, path.replace("{" + parameter + "}", "{}").encode()
            else:
                needed = "" if parameter == "q" or "/search/" not in path else "q=a&"
                yield method, f"{path.format(**KNOWN)}?{needed}{parameter}={{}}".encode()
