"""What the adapters count, by the name of the metric that tells it."""

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.figures import Source


def figures_of(container: Container) -> dict[str, Source]:
    """The numbers of the adapters that this container has plugged in; those in memory have none."""
    catalogue, cache, redis = container.catalogue(), container.cache(), container.redis()
    passwords = container.passwords()
    found: dict[str, Source] = _of_pools(container)
    if isinstance(catalogue, TmdbCatalogue):
        found["moviehub_tmdb_calls_total"] = lambda: catalogue.calls
        found["moviehub_tmdb_call_seconds_total"] = lambda: catalogue.seconds
        found["moviehub_tmdb_budget_wait_seconds_total"] = lambda: catalogue.waited
        found["moviehub_tmdb_circuit_open"] = lambda: catalogue.is_out
    if isinstance(cache, RedisCache):
        found["moviehub_cache_lookups_total"] = lambda: cache.lookups
    if redis is not None:
        found["moviehub_redis_skipped"] = lambda: redis.is_skipped
        found["moviehub_redis_failures_total"] = lambda: redis.failed
    if isinstance(passwords, BcryptPasswords):
        found["moviehub_passwords_under_way"] = lambda: passwords.under_way
        found["moviehub_passwords_refused_total"] = lambda: passwords.refused
    return found


def _of_pools(container: Container) -> dict[str, Source]:
    settings = container.settings()
    if settings.storage != "postgres":
        return {}
    storages: dict[str, PostgresStorage] = {"primary": container.primary()}
    if settings.database_replica_url:
        storages["replica"] = container.replica()
    pools = {name: storage.pool for name, storage in storages.items()}
    return {
        "moviehub_postgres_pool_limit": lambda: {name: pool.seats.most for name, pool in pools.items()},
        "moviehub_postgres_pool_open": lambda: {name: pool.size for name, pool in pools.items()},
        "moviehub_postgres_pool_in_use": lambda: {name: pool.seats.taken for name, pool in pools.items()},
        "moviehub_postgres_pool_waiting": lambda: {name: pool.seats.waiting for name, pool in pools.items()},
        "moviehub_postgres_pool_wait_seconds_total": lambda: {name: pool.seats.waited for name, pool in pools.items()},
        "moviehub_postgres_pool_refused_total": lambda: {name: pool.seats.refused for name, pool in pools.items()},
    }
