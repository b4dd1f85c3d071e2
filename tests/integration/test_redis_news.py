"""News over a real Valkey, and without one."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from moviehub.adapters.redis import news as module
from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.redis.news import RedisNews
from moviehub.application.ports import News
from tests import promises
from tests.contracts.news import NewsContract, until_heard
from tests.proxy import Proxy
from tests.servers import free_port


class TestRedisNews(NewsContract):
    @pytest.fixture
    async def two(self, valkey_url: str) -> AsyncIterator[tuple[News, News]]:
        connections = Connection(valkey_url, timeout=5), Connection(valkey_url, timeout=5)
        first, second = (RedisNews(connection) for connection in connections)
        yield first, second
        for each in (first, second, *connections):
            await each.close()


async def test_who_is_alone_hears_what_they_tell_without_asking_the_server(valkey_url: str) -> None:
    connection = Connection(valkey_url, timeout=5)
    news = RedisNews(connection)
    heard: list[str | None] = []
    news.listen(heard.append)
    await news.tell("a film")
    assert heard == ["a film"]
    await connection.close()


@promises.redis_away
async def test_while_redis_is_away_nothing_is_heard_and_telling_takes_no_time() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    connection = Connection(url)
    news = RedisNews(connection)
    heard: list[str | None] = []
    news.listen(heard.append)
    begun = time.monotonic()
    for _ in range(20):
        await news.tell("a film")
    assert time.monotonic() - begun < 0.5
    assert not news.are_heard()
    assert set(heard) == {"a film"}
    await news.close()
    await connection.close()


@pytest.mark.parametrize("fault", ["reset", "hang"])
@promises.redis_away
async def test_who_is_cut_off_knows_it_soon_and_hears_again_when_redis_is_back(
    valkey_url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_EVERY", 0.1)
    teller = Connection(valkey_url, timeout=5)
    with Proxy(valkey_url) as proxy:
        connection = Connection(proxy.url)
        news = RedisNews(connection)
        heard: list[str | None] = []
        news.listen(heard.append)
        await until_heard(news, heard, 1)
        getattr(proxy, fault)()
        async with asyncio.timeout(2):
            while news.are_heard():  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.001)
        assert heard == [None, None]  # connected; cut off
        await RedisNews(teller).tell("a film")
        proxy.well()
        await until_heard(news, heard, 3)
        assert heard == [None, None, None]  # whatever was told meanwhile
        await news.close()
        await connection.close()
    await teller.close()
