"""What is plugged in: the only module that knows the adapters and the injector."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dependency_injector import containers
from dependency_injector.providers import Callable, Dependency, Object, Selector, Singleton

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.demo.catalogue import DemoCatalogue
from moviehub.adapters.embedded import EmbeddedError, PrivatePostgres, default_data_dir
from moviehub.adapters.jwt.tokens import JwtTokens
from moviehub.adapters.memory.cache import MemoryCache
from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.counters import MemoryCounters
from moviehub.adapters.memory.leases import MemoryLeases
from moviehub.adapters.memory.passwords import MemoryPasswords
from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.adapters.postgres import migrations
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.redis.counters import RedisCounters
from moviehub.adapters.redis.leases import RedisLeases
from moviehub.adapters.system.clock import SystemClock
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.application import flights, limits, listings, sessions
from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints.settings import PREFIX, SHORTEST_SECRET, UNLIMITED, Settings, SettingsError

newest_revision = migrations.head

CACHE_VERSION = "2"
"""Counted on when the shape of what is cached changes."""


def cache_prefix(settings: Settings) -> str:
    """What stands before every key: the hub, the shape's version, the language and region of the catalogue."""
    return f"moviehub:{CACHE_VERSION}:{settings.catalogue}:{settings.language}:{settings.region}:"


def _secrets(settings: Settings) -> list[bytes]:
    return [secret.encode() for secret in (settings.secret_key, *settings.previous_secret_keys)]


def _seconds(number: int) -> timedelta:
    return timedelta(seconds=number)


class Container(containers.DeclarativeContainer):
    """One provider a port, chosen by the settings, and one a use case. Every provider is synchronous."""

    settings = Dependency(instance_of=Settings)
    chosen = settings.provided

    clock = Singleton(SystemClock)
    storage = Selector(
        chosen.storage,
        memory=Singleton(MemoryStorage),
        postgres=Singleton(
            PostgresStorage,
            chosen.database_url,
            max_size=chosen.database_pool_size,
            statement_cache=chosen.database_statement_cache,
            workers=chosen.workers,
        ),
    )
    redis = Selector(chosen.cache, memory=Object(None), redis=Singleton(Connection, chosen.redis_url))
    cache = Selector(
        chosen.cache,
        memory=Singleton(MemoryCache, clock),
        redis=Singleton(RedisCache, redis, prefix=Callable(cache_prefix, settings), clock=clock),
    )
    counters = Selector(chosen.cache, memory=Singleton(MemoryCounters, clock), redis=Singleton(RedisCounters, redis))
    leases = Selector(chosen.cache, memory=Singleton(MemoryLeases), redis=Singleton(RedisLeases, redis))
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
            language=chosen.language,
            region=chosen.region,
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
        flights=flights,
        ttl=ttl,
        stale=stale,
    )


def plugged_in(settings: Settings) -> Container:
    """A container whose adapters are made; SettingsError names the setting with which one of them cannot be."""
    container = Container(settings=settings)
    for name, port in (("REDIS_URL", container.cache), ("TMDB_TOKEN", container.catalogue)):
        try:
            port()
        except ValueError as fault:
            raise SettingsError(f"{PREFIX}{name}: {fault}") from None
    return container


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Container]:
    """A container whose adapters are closed at the end, whatever happens."""
    container = plugged_in(settings)
    async with AsyncExitStack() as stack:
        for port in (
            *(container.storage, container.redis, container.limiter),  # the last is closed first
            *(container.catalogue, container.passwords, container.flights),
        ):
            if close := getattr(port(), "close", None):
                stack.push_async_callback(close)
        yield container


def in_memory(settings: Settings | None = None) -> Container:
    """A container for tests: memory adapters all round, a clock and a catalogue that the test sets."""
    container = Container(settings=settings or Settings(database_url="memory://", secret_key="k" * 32, **UNLIMITED))
    container.clock.override(Singleton(MemoryClock))
    container.catalogue.override(Singleton(MemoryCatalogue))
    container.passwords.override(Singleton(MemoryPasswords))
    return container


class StartError(RuntimeError):
    """Something without which nothing can start; one line that says what to do."""


@contextmanager
def private_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that runs. An embedded one is started here and stopped at the end."""
    if not settings.database_url.startswith("embedded:"):
        yield settings
        return
    folder = settings.folder or default_data_dir()
    try:
        with PrivatePostgres(folder / "postgres") as url:
            yield replace(settings, database_url=url, secret_key=settings.secret_key or _kept_secret(folder))
    except EmbeddedError as fault:
        raise StartError(str(fault)) from None


def _kept_secret(folder: Path) -> str:
    """The secret kept beside the data, made the first time; nobody else can read it."""
    path, half = folder / "secret_key", folder / "secret_key.half"  # renamed when whole: a start may be cut short
    if not path.exists():
        half.touch(0o600)
        half.write_text(secrets.token_urlsafe(48))
        half.rename(path)
    secret = path.read_text().strip()
    if len(secret) < SHORTEST_SECRET:
        raise StartError(f"{path} is too short for a secret: remove it, and another is made; sessions end with it")
    return secret


def with_secret(settings: Settings) -> Settings:
    """The settings with a secret: the one that is set, else one made now for this run."""
    return settings if settings.secret_key else replace(settings, secret_key=secrets.token_urlsafe(48))


def migrate(settings: Settings) -> str:
    """Bring the database to the newest schema; the revision it has then."""
    try:
        migrations.upgrade(settings.database_url)
    except MovieHubError as fault:
        raise StartError(f"{PREFIX}DATABASE_URL: {str(fault).splitlines()[0]}") from None
    return newest_revision()
