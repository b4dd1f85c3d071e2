"""A client that speaks to the whole HTTP application in this process, over any container."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import httpx

from moviehub.domain.movies import MovieFacts
from moviehub.entrypoints.bootstrap import Container, in_memory
from moviehub.entrypoints.http.app import create_app
from moviehub.entrypoints.http.edge import Edge
from moviehub.entrypoints.settings import UNLIMITED, Settings
from moviehub.entrypoints.use_cases import use_cases

PASSWORD = "a long enough phrase"


class Api:
    """Calls in few words. `token` signs a call; every answer is an httpx.Response."""

    def __init__(self, client: httpx.AsyncClient, container: Container, app: Edge) -> None:
        self.client = client
        self.container = container
        self.app = app
        self.clock: Any = container.clock()
        self.catalogue: Any = container.catalogue()

    async def __call__(
        self, method: str, path: str, json: Any = None, *, token: str | None = None, **more: Any
    ) -> httpx.Response:
        headers = {**more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if json is not None:
            more["json"] = json
        return await self.client.request(method, path, headers=headers, **more)

    async def get(self, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        return await self("GET", path, token=token, **more)

    async def post(self, path: str, json: Any = None, *, token: str | None = None, **more: Any) -> httpx.Response:
        return await self("POST", path, json, token=token, **more)

    async def register(self, username: str = "alice", **more: Any) -> dict[str, Any]:
        """A new account, as JSON."""
        account = {"username": username, "email": f"{username}@example.org", "password": PASSWORD, **more}
        answer = await self.post("/api/auth/users/", account)
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()["user"]
        return user

    async def sign_in(self, username: str = "alice", password: str = PASSWORD) -> dict[str, Any]:
        """A pair of tokens, as JSON."""
        answer = await self.post("/api/auth/token/", {"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def joined(self, username: str = "alice") -> str:
        """The access token of a new account."""
        access: str = (await self.tokens(username))["access"]
        return access

    async def tokens(self, username: str = "alice") -> dict[str, Any]:
        """A pair of tokens of a new account, as JSON."""
        await self.register(username)
        return await self.sign_in(username)

    async def superuser(self, username: str = "root") -> str:
        """The access token of a new superuser."""
        register = use_cases(self.container)["register"]
        await register(username=username, email=f"{username}@example.org", password=PASSWORD, is_superuser=True)
        access: str = (await self.sign_in(username))["access"]
        return access

    async def knows(self, *facts: MovieFacts) -> list[int]:
        """The ids of films that the catalogue tells of and the hub has met."""
        self.catalogue.films.extend(facts)
        async with self.container.storage().transaction() as uow:
            return [movie.id for movie in await uow.movies.remember(facts, self.clock.now())]


def film(number: int, **facts: Any) -> MovieFacts:
    """A film like others; the greater its number, the less popular and the worse it is."""
    usual: dict[str, Any] = {
        "tmdb_id": 1_000 + number,
        "title": f"Film {number:03}",
        "overview": f"What happens in film {number}.",
        "release_date": date(1990 + number % 30, 1 + number % 12, 1),
        "poster_path": f"/p{number}.jpg",
        "backdrop_path": f"/b{number}.jpg",
        "popularity": 1_000.0 - number,
        "vote_average": round(9.9 - number % 99 / 10, 1),
        "vote_count": 10 * number,
        "original_language": "en",
        "genre_ids": (18,),
    }
    return MovieFacts(**{**usual, **facts})


def memory_settings(**chosen: Any) -> Settings:
    """Settings for a hub in memory."""
    return Settings(**{"database_url": "memory://", "secret_key": "k" * 32, **UNLIMITED, **chosen})


@asynccontextmanager
async def api_in_memory(**chosen: Any) -> AsyncIterator[Api]:
    """The application on memory adapters, with these settings."""
    async with api_over(in_memory(memory_settings(**chosen))) as api:
        yield api


@asynccontextmanager
async def api_over(container: Container) -> AsyncIterator[Api]:
    """The application over a container, driven without a server; requests may run side by side."""
    app = create_app(container)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 12345))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        yield Api(client, container, app)


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem document that an answer must be, as JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document.keys() - {"errors"} == {"type", "title", "status", "detail", "instance", "request_id"}
    assert (document["type"], document["status"]) == (f"/problems/{slug}", status)
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def fields(answer: httpx.Response, status: int = 400, slug: str = "invalid-request") -> dict[str, str]:
    """The fields at fault with their codes, of an answer that must be a problem."""
    errors = problem(answer, status, slug).get("errors", [])
    assert all(error.keys() == {"field", "code", "message"} for error in errors)
    named = {error["field"]: error["code"] for error in errors}
    assert len(named) == len(errors), "a field is named once"
    return named
