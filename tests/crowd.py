"""Many who call a server at once, and what is in its database afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx

from tests.servers import PATIENCE, Server

MANY = 50

Call = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


async def at_once(server: Server, call: Call, many: int = MANY) -> list[httpx.Response]:
    """The answers to so many calls, each on a connection of its own, so that both workers have their share."""
    limits = httpx.Limits(max_connections=many, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=PATIENCE, verify=False) as client:
        return await asyncio.gather(*(call(client, number) for number in range(many)))


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    """How many answers had each status."""
    return {
        status: sum(one.status_code == status for one in answers) for status in {one.status_code for one in answers}
    }


async def rows(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    link = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await link.fetch(query, *values)]
    finally:
        await link.close()
