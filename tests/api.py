"""A client that speaks to the whole HTTP application in this process, over any container."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.http.app import create_app

PASSWORD = "a long enough phrase"


class Api:
    """Calls in few words. `token` signs a call; every answer is an httpx.Response."""

    def __init__(self, client: httpx.AsyncClient, container: Container) -> None:
        self.client = client
        self.container = container

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
        await self.register(username)
        access: str = (await self.sign_in(username))["access"]
        return access


@asynccontextmanager
async def api_over(container: Container) -> AsyncIterator[Api]:
    """The application over a container, driven without a server; requests may run side by side."""
    transport = httpx.ASGITransport(create_app(container), client=("127.0.0.1", 12345))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        yield Api(client, container)
