"""What is plugged in: the only package that knows the adapters, and the only module that knows the injector."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from dependency_injector import containers
from dependency_injector.providers import Callable, Dependency, Factory, Object, Selector, Singleton

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.demo.catalogue import DemoCatalogue
from moviehub.adapters.jwt.tokens import JwtTokens
from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.memory.cache import MemoryCache
from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.counters import MemoryCounters
from moviehub.adapters.memory.leases import MemoryLeases
from moviehub.adapters.memory.news import MemoryNews
from moviehub.adapters.memory.passwords import MemoryPasswords
from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.adapters.postgres.replica import HASTE
from moviehub.adapters.postgres.replicated import ReplicatedStorage
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.redis.budget import RedisBudget
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.redis.cluster import keyspace_at
from moviehub.adapters.redis.counters import RedisCounters
from moviehub.adapters.redis.leases import RedisLeases
from moviehub.adapters.redis.news import RedisNews
from moviehub.adapters.system.clock import SystemClock
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.application import flights, kept, limits, listings, sessions
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.sessions import SignedIn
from moviehub.entrypoints.settings import PREFIX, UNLIMITED, Settings, SettingsError

CACHE_VERSION = "3"
"""Counted on when the shape of what is cached changes."""


def cache_prefix(settings: Settings) -> str:
    """What stands before every key: the hub, the shape's version, the language and region of the catalogue."""
    return f"moviehub:{CACHE_VERSION}:{settings.catalogue}:{settings.language}:{settings.region}:"


def _secrets(settings: Settings) -> list[bytes]:
    return [secret.encode() for secret in (settings.secret_key, *settings.previous_secret_keys)]


def _storage(settings: Settings) -> str:
    return "replicated" if settings.storage == "postgres" and settings.database_replica_url else settings.storage


def _seconds(number: int) -> timedelta:
    return timedelta(seconds=number)


class Container(containers.DeclarativeContainer):
    """One provider a port, chosen by the settings, and one a use case. Every provider is synchronous."""

    settings = Dependency(instance_of=Settings)
    chosen = settings.provided
    spans: Dependency[Spans] = Dependency(default=Object(untraced))

    clock = Singleton(SystemClock)
    redis = Selector(chosen.cache, memory=Object(None), redis=Singleton(keyspace_at, chosen.redis_url, spans=spans))
    cache = Selector(
        chosen.cache,
        memory=Singleton(MemoryCache, clock),
        redis=Singleton(RedisCache, redis, prefix=Callable(cache_prefix, settings), clock=clock),
    )
    news = Selector(chosen.cache, memory=Singleton(MemoryNews), redis=Singleton(RedisNews, redis))
    callers: Singleton[kept.Kept[int, SignedIn]] = Singleton(kept.Kept, news, clock)
    _postgres = Factory(
        PostgresStorage,
        max_size=chosen.database_pool_size,
        statement_cache=chosen.database_statement_cache,
        workers=chosen.workers,
        slow_query_ms=chosen.slow_query_ms,
        spans=spans,
    )
    primary = Singleton(_postgres, chosen.database_url)
    replica = Singleton(_postgres, chosen.database_replica_url, **HASTE)
    storage = Selector(
        Callable(_storage, settings),
        memory=Singleton(MemoryStorage),
        postgres=primary,
        replicated=Singleton(ReplicatedStorage, primary, replica, cache, clock),
    )
    counters = Selector(chosen.cache, memory=Singleton(MemoryCounters, clock), redis=Singleton(RedisCounters, redis))
    leases = Selector(chosen.cache, memory=Singleton(MemoryLeases), redis=Singleton(RedisLeases, redis))
    alone = Singleton(MemoryBudget, chosen.tmdb_rate, chosen.tmdb_connections)
    budget = Selector(
        chosen.cache,
        memory=alone,
        redis=Singleton(RedisBudget, redis, alone, rate=chosen.tmdb_rate, connections=chosen.tmdb_connections),
    )
    flights = Singleton(flights.Flights, leases)
    limiter = Singleton(limits.Limiter, counters, clock)
    limits = Singleton(
        limits.Limits,
        anonymous=chosen.rate_limit_anonymous,
        user=chosen.rate_limit_user,
        auth=chosen.rate_limit_auth,
        everyone=chosen.rate_limit_auth_everyone,
    )
    catalogue = Selector(
        chosen.catalogue,
        demo=Singleton(DemoCatalogue),
        tmdb=Singleton(
            TmdbCatalogue,
            url=chosen.catalogue_url,
            token=chosen.tmdb_token,
            budget=budget,
            connections=chosen.tmdb_connections,
            language=chosen.language,
            region=chosen.region,
            spans=spans,
        ),
    )
    passwords = Singleton(
        BcryptPasswords, cost=chosen.bcrypt_cost, threads=chosen.password_threads, waiting=chosen.password_queue
    )
    tokens = Singleton(JwtTokens, secrets=Callable(_secrets, settings), access_ttl=chosen.access_token_ttl)
    lifetimes = Singleton(
        sessions.Lifetimes,
        idle=Callable(_seconds, chosen.refresh_token_ttl),
        whole=Callable(_seconds, chosen.session_ttl),
    )
    ttl = Callable(_seconds, chosen.cache_ttl)
    stale = Callable(_seconds, chosen.cache_stale)
    shelf = Singleton(
        listings.Shelf,
        catalogue=catalogue,
        cache=cache,
        storage=storage,
        clock=clock,
        news=news,
        flights=flights,
        ttl=ttl,
        stale=stale,
    )


def plugged_in(settings: Settings, spans: Spans = untraced) -> Container:
    """A container whose adapters are made; SettingsError names the setting with which one of them cannot be."""
    container = Container(settings=settings, spans=Object(spans))
    for name, port in (("REDIS_URL", container.cache), ("TMDB_TOKEN", container.catalogue)):
        try:
            port()
        except ValueError as fault:
            raise SettingsError(f"{PREFIX}{name}: {fault}") from None
    return container


@asynccontextmanager
async def closing(container: Container) -> AsyncIterator[Container]:
    """The container; its adapters are closed at the end, whatever happens."""
    async with AsyncExitStack() as stack:
        for port in (
            # The last is closed first.
            *(container.redis, container.news, container.storage, container.limiter),
            *(container.catalogue, container.passwords, container.flights),
        ):
            if close := getattr(port(), "close", None):
                stack.push_async_callback(close)
        yield container


@asynccontextmanager
async def running(settings: Settings, spans: Spans = untraced) -> AsyncIterator[Container]:
    """A container whose adapters are closed at the end."""
    async with closing(plugged_in(settings, spans)) as container:
        yield container


def in_memory(settings: Settings | None = None) -> Container:
    """A container for tests: memory adapters all round, a clock and a catalogue that the test sets."""
    container = Container(settings=settings or Settings(database_url="memory://", secret_key="k" * 32, **UNLIMITED))
    container.clock.override(Singleton(MemoryClock))
    container.catalogue.override(Singleton(MemoryCatalogue))
    container.passwords.override(Singleton(MemoryPasswords))
    return container
