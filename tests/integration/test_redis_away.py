"""The shared cache and the shared counters while Redis is away, hangs, hangs up or comes back."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from structlog.testing import capture_logs

from moviehub.adapters.embedded import PrivateValkey
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.redis.counters import PREFIX, RedisCounters
from moviehub.adapters.system.clock import SystemClock
from moviehub.application.limits import Limiter
from moviehub.application.ports import Cached
from moviehub.domain.errors import Unavailable
from moviehub.domain.limits import Limit
from moviehub.domain.movies import MovieFacts
from tests import promises
from tests.contracts.cache import FACTS
from tests.proxy import Proxy

Open = Callable[..., RedisCache]
OpenLimiter = Callable[[str], Limiter]
TEN = Limit("ten", 10, 60)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
async def opened(clock: MemoryClock) -> AsyncIterator[Open]:
    """Opens caches and closes them after the test."""
    connections: list[Connection] = []

    def opened(url: str, *, local_for: float, timeout: float = 0.2) -> RedisCache:
        connections.append(Connection(url, timeout=timeout))
        return RedisCache(connections[-1], prefix="test:", clock=clock, local_for=local_for)

    yield opened
    for connection in connections:
        await connection.close()


@pytest.fixture
async def limiting() -> AsyncIterator[OpenLimiter]:
    """Opens limiters, each as of a process of its own, and closes them after the test."""
    opened: list[Connection | Limiter] = []

    def limiting(url: str) -> Limiter:
        connection = Connection(url)
        limiter = Limiter(RedisCounters(connection), SystemClock())
        opened.extend((limiter, connection))
        return limiter

    yield limiting
    for each in opened:
        await each.close()


@pytest.fixture
def free_port() -> int:
    return free()


def free() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@asynccontextmanager
async def serving(serve: Serve, port: int = 0) -> AsyncIterator[str]:
    """A server on loopback that does with each connection what `serve` says; its URL."""
    running: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            running.discard(task)
            writer.close()

    listener = await asyncio.start_server(one, "127.0.0.1", port)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def forwarding(url: str, answering: asyncio.Event | None = None) -> Serve:
    """Hands everything on; what is answered to additions only while `answering` is set."""
    at = urlsplit(url)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(at.hostname, at.port)
        adding = False

        async def ask() -> None:
            nonlocal adding
            while data := await reader.read(65_536):
                adding = adding or b"EVALSHA" in data
                back.write(data)
            back.close()

        async def answer() -> None:
            while data := await there.read(65_536):
                if adding and answering:
                    await answering.wait()
                writer.write(data)
            writer.close()

        try:
            await asyncio.gather(ask(), answer())
        finally:
            back.close()

    return forward


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(-1)


def facts_for(clock: MemoryClock, seconds: float = 60) -> Cached[MovieFacts]:
    return Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=seconds))


async def reached(cache: RedisCache) -> None:
    """Return when Redis answers; fail if it does not for long."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await cache.ping()
            except Unavailable:
                await asyncio.sleep(0.02)


@promises.redis_away
async def test_where_nobody_listens_nothing_fails_and_nothing_takes_long(
    opened: Open, free_port: int, clock: MemoryClock
) -> None:
    cache = opened(f"redis://127.0.0.1:{free_port}", local_for=0)
    started = time.perf_counter()
    with capture_logs() as logs:
        for number in range(20):
            assert await cache.find(str(number), MovieFacts) is None
            await cache.keep(str(number), facts_for(clock))
        for ask in (cache.flush, cache.ping):
            with pytest.raises(Unavailable):
                await ask()
    assert time.perf_counter() - started < 0.5
    assert [log["event"] for log in logs] == ["redis_failed", "redis_skipped"]


@promises.redis_hangs
async def test_where_somebody_listens_and_never_answers_all_of_redis_takes_half_a_second(
    opened: Open, clock: MemoryClock
) -> None:
    async with serving(hang) as url:
        cache = opened(url, local_for=0)
        started = time.perf_counter()
        for number in range(20):
            assert await cache.find(str(number), MovieFacts) is None
            await cache.keep(str(number), facts_for(clock))
        spent = time.perf_counter() - started
        assert 0.2 < spent < 0.6
        started = time.perf_counter()
        for number in range(100):
            assert await cache.find(f"other {number}", MovieFacts) is None
        assert time.perf_counter() - started < 0.1


async def test_while_redis_is_away_what_the_process_has_is_good_to_its_end(
    opened: Open, free_port: int, clock: MemoryClock
) -> None:
    cache = opened(f"redis://127.0.0.1:{free_port}", local_for=0)
    await cache.keep("facts", facts_for(clock, seconds=30))
    clock.advance(seconds=29)
    assert await cache.find("facts", MovieFacts) is not None
    clock.advance(seconds=1)
    assert await cache.find("facts", MovieFacts) is None


async def test_a_flush_that_cannot_reach_redis_says_so_and_forgets_its_own(
    opened: Open, free_port: int, clock: MemoryClock
) -> None:
    cache = opened(f"redis://127.0.0.1:{free_port}", local_for=60)
    await cache.keep("facts", facts_for(clock))
    with pytest.raises(Unavailable):
        await cache.flush()
    assert await cache.find("facts", MovieFacts) is None


@promises.redis_back
async def test_when_redis_comes_back_it_is_used_again_within_two_seconds(
    opened: Open, valkey_url: str, free_port: int, clock: MemoryClock
) -> None:
    cache = opened(f"redis://127.0.0.1:{free_port}{urlsplit(valkey_url).path}", local_for=0)
    with capture_logs() as logs:
        for _ in range(10):
            assert await cache.find("facts", MovieFacts) is None
        async with serving(forwarding(valkey_url), free_port):
            came_back = time.perf_counter()
            await reached(cache)
            assert time.perf_counter() - came_back < 2
            await cache.keep("facts", facts_for(clock))
            assert await cache.find("facts", MovieFacts) is not None
    assert [log["event"] for log in logs] == ["redis_failed", "redis_skipped", "redis_is_back"]


@promises.redis_away
@pytest.mark.parametrize(
    "says", ["LOADING it is loading", "MASTERDOWN no link", "NOAUTH who are you", "CLUSTERDOWN no"]
)
async def test_a_redis_that_answers_nothing_but_what_it_lacks_is_one_that_is_away(
    opened: Open, clock: MemoryClock, says: str
) -> None:
    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(b"-%b\r\n" % says.encode() * data.count(b"*"))

    async with serving(complain) as url:
        cache = opened(url, local_for=0)
        with capture_logs() as logs:
            for number in range(20):
                await cache.keep(str(number), facts_for(clock))
                assert await cache.find(f"other {number}", MovieFacts) is None
            with pytest.raises(Unavailable):
                await cache.ping()
        assert [log["event"] for log in logs] == ["redis_failed", "redis_skipped"]


@promises.redis_refuses
async def test_a_full_redis_is_read_on_and_told_once_until_it_takes_writes_again(
    opened: Open, clock: MemoryClock
) -> None:
    with PrivateValkey() as url, redis.Redis.from_url(url) as link, capture_logs() as logs:
        cache = opened(url, local_for=0)
        await cache.keep("facts", facts_for(clock))
        link.config_set("maxmemory", "1")
        for number in range(20):
            await cache.keep(str(number), facts_for(clock))
            assert await cache.find("facts", MovieFacts) is not None
        with pytest.raises(Unavailable):
            await cache.ping()
        assert [(log["event"], log["why"]) for log in logs] == [("redis_refuses", "OutOfMemoryError")]
        link.config_set("maxmemory", "0")
        was_full = time.perf_counter()
        await reached(cache)
        assert time.perf_counter() - was_full < 2
        assert [log["event"] for log in logs] == ["redis_refuses", "redis_takes_writes_again"]


@promises.redis_refuses
async def test_when_another_server_becomes_the_primary_under_the_same_name_it_is_found(
    opened: Open, clock: MemoryClock
) -> None:
    with PrivateValkey() as old, PrivateValkey() as new, Proxy(old) as door, redis.Redis.from_url(old) as link:
        cache = opened(door.url, local_for=0)
        await cache.keep("facts", facts_for(clock))
        assert await cache.find("facts", MovieFacts) is not None
        link.execute_command("REPLICAOF", "127.0.0.1", str(free()))
        await cache.keep("facts", facts_for(clock))
        with pytest.raises(Unavailable):
            await cache.ping()
        assert await cache.find("facts", MovieFacts) is not None, "it is read on"
        door.lead_to(new)
        led = time.perf_counter()
        await reached(cache)
        assert time.perf_counter() - led < 2
        await cache.keep("more", facts_for(clock))
        with redis.Redis.from_url(new) as other:
            assert other.exists("test:more")


@promises.redis_reply_lost
async def test_a_read_is_tried_twice_and_a_write_once(opened: Open, clock: MemoryClock) -> None:
    seen: list[bytes] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greets, takes a command and hangs up without a reply."""
        while data := await reader.read(65_536):
            for command in (b"MGET", b"SET"):
                if b"\r\n" + command + b"\r\n" in data:
                    seen.append(command)
                    return
            writer.write(b"+OK\r\n" * data.count(b"SETINFO"))

    async with serving(drop) as url:
        cache = opened(url, local_for=0, timeout=5)
        await cache.keep("facts", facts_for(clock))
        assert seen == [b"SET"]
        assert await cache.find("nothing", MovieFacts) is None
        assert seen == [b"SET", b"MGET", b"MGET"]


async def passed(limiter: Limiter, many: int) -> int:
    standings = await asyncio.gather(*(limiter.take(TEN, "a") for _ in range(many)))
    return sum(not each.refused for each in standings)


async def counted(url: str, total: int) -> None:
    """Return when so much is counted in Redis; fail if that takes longer than it may."""
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as server, asyncio.timeout(2):
        while await server.get(f"{PREFIX}ten:60:a") != str(total):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@promises.redis_away
async def test_where_nobody_listens_each_process_lets_exactly_the_quota_pass_at_once(
    limiting: OpenLimiter, free_port: int
) -> None:
    started = time.perf_counter()
    for limiter in (limiting(f"redis://127.0.0.1:{free_port}") for _ in range(2)):
        assert await passed(limiter, 50) == TEN.quota
        assert await passed(limiter, 50) == 0
    assert time.perf_counter() - started < 0.5


@promises.redis_hangs
async def test_where_somebody_listens_and_never_answers_limits_cost_a_request_one_wait(limiting: OpenLimiter) -> None:
    async with serving(hang) as url:
        limiter = limiting(url)
        started = time.perf_counter()
        assert await passed(limiter, 50) == TEN.quota
        assert time.perf_counter() - started < 0.4
        for number in range(50):  # while it is asked again and again in the background
            started = time.perf_counter()
            assert not (await limiter.take(TEN, f"other {number}")).refused
            assert time.perf_counter() - started < 0.4
            await asyncio.sleep(0.01)


@promises.redis_back
async def test_when_redis_comes_back_it_is_told_and_limits_are_shared_within_two_seconds(
    limiting: OpenLimiter, valkey_url: str, free_port: int
) -> None:
    url = f"redis://127.0.0.1:{free_port}{urlsplit(valkey_url).path}"
    ours, theirs = limiting(url), limiting(url)
    assert (await passed(ours, 4), await passed(theirs, 5)) == (4, 5)
    async with serving(forwarding(valkey_url), free_port):
        await counted(valkey_url, 9)
        assert await passed(ours, 5) + await passed(theirs, 5) == 1


@promises.redis_reply_lost
async def test_an_answer_that_is_lost_after_redis_counted_counts_once(limiting: OpenLimiter, valkey_url: str) -> None:
    answering = asyncio.Event()
    answering.set()
    async with serving(forwarding(valkey_url, answering)) as url:
        limiter = limiting(url + urlsplit(valkey_url).path)
        assert await passed(limiter, 3) == 3
        answering.clear()
        assert await passed(limiter, 2) == 2  # Redis counts them, and again whenever it is asked
        assert await passed(limiter, 1) == 1
        await counted(valkey_url, 5)
        answering.set()
        await counted(valkey_url, 6)
        assert await passed(limiter, 20) == 4
        await counted(valkey_url, 10)
