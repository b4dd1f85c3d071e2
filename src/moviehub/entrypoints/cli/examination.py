"""What `moviehub doctor` asks of each part, what the answers mean, and what to do where all is not well."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.bootstrap.database import Diagnosis
from moviehub.entrypoints.checks import Check, Finding, checks_of, told

OLDEST_POSTGRES = 15
OLDEST_REDIS = 7
LARGEST_SKEW = timedelta(seconds=3)
MORE_TRIES = 2
"""For what the hub can do without: it waits for that only as long as a request can, and who is late once is not ill."""

ADVICE = {
    "database": "is it running, and is MOVIEHUB_DATABASE_URL right?",
    "replica": "all reads go to the primary meanwhile; is MOVIEHUB_DATABASE_REPLICA_URL right, and does it follow?",
    "cache": "the hub goes on without, slower; is it running, and is MOVIEHUB_REDIS_URL right?",
    "catalogue": "films that are stored are served; is MOVIEHUB_TMDB_URL right, and may this machine reach it?",
}
WELL = {"migrations": "all done", "replica": "shows what the primary has"}
INDEX = "CREATE INDEX CONCURRENTLY ix_movies_title_key_trigrams ON movies USING gin (title_key gin_trgm_ops)"


async def examination(container: Container) -> AsyncIterator[Finding]:
    """How each part is, one after another. A part that gives no answer is asked nothing more."""
    for check in checks_of(container, thorough=True):
        if check.part != "catalogue":
            finding = await _advised(check)
            yield finding
            if finding.state == "ok" and check.part in _MORE:
                async for more in _MORE[check.part](container):
                    yield more
    async for finding in _catalogue(container):
        yield finding


async def _advised(check: Check) -> Finding:
    finding = await check()
    for _ in range(MORE_TRIES):
        if finding.state == "degraded":
            finding = await check()
    if finding.state == "ok":
        return replace(finding, reason=WELL.get(check.part, "answers"))
    if check.part not in ADVICE:
        return finding
    return replace(finding, reason=f"{finding.reason}: {ADVICE[check.part]}")


async def _database(container: Container) -> AsyncIterator[Finding]:
    diagnosis = getattr(container.storage(), "diagnosis", None)
    if diagnosis is None:
        return
    before = container.clock().now()
    try:
        facts: Diagnosis = await diagnosis()
    except Exception as fault:  # whatever it is, the rest is still to be examined
        yield Finding("server", "degraded", told(fault))
        return
    for finding in of_database(facts, before, container.clock().now()):
        yield finding


def of_database(facts: Diagnosis, before: datetime, after: datetime) -> Iterator[Finding]:
    """What these facts mean that were told between two moments of our clock."""
    name = f"PostgreSQL {facts.version}"
    if facts.version >= OLDEST_POSTGRES:
        yield Finding("server", "ok", name)
    else:
        yield Finding("server", "unavailable", f"{name}: moviehub needs {OLDEST_POSTGRES} or newer")
    yield from _of_titles(facts)
    skew = max(facts.told_at - after, before - facts.told_at)
    if skew <= LARGEST_SKEW:
        yield Finding("clock", "ok", "agrees with the database's")
    else:
        how = "ahead of" if facts.told_at > after else "behind"
        advice = "tokens and sessions end too soon or too late; keep every machine in time, by NTP"
        seconds = skew.total_seconds()
        yield Finding("clock", "degraded", f"the database's is {seconds:.0f} s {how} ours: {advice}")
    yield _of_connections(facts.wanted, facts.allowed)


def _of_titles(facts: Diagnosis) -> Iterator[Finding]:
    if facts.indexes_titles is None:
        return  # moviehub migrate makes it, if it can
    if not facts.compares_titles:
        why = "there is no pg_trgm: title searches are slow, and typing errors in them are not forgiven"
        advice = f"as a superuser, in this database: CREATE EXTENSION pg_trgm; then {INDEX}"
        yield Finding("extensions", "degraded", f"{why}; {advice}")
    elif not facts.indexes_titles:
        yield Finding("extensions", "degraded", f"pg_trgm has no index here: title searches are slow; {INDEX}")
    else:
        yield Finding("extensions", "ok", "pg_trgm")


def _of_connections(wanted: int, allowed: int | None) -> Finding:
    if allowed is None:
        return Finding("connections", "ok", f"up to {wanted}, by the leave of a pooler between")
    if wanted <= allowed:
        return Finding("connections", "ok", f"up to {wanted} of {allowed}; each further server or worker takes its own")
    advice = (
        "lower MOVIEHUB_DATABASE_POOL_SIZE or MOVIEHUB_WORKERS, or raise max_connections or the connection limit of the"
        " role or the database"
    )
    return Finding("connections", "degraded", f"up to {wanted} may be wanted, and {allowed} can be had: {advice}")


async def _redis(container: Container) -> AsyncIterator[Finding]:
    keyspace = container.redis()
    if keyspace is None:
        return
    try:
        infos = {server.name: await server.info() for server in await keyspace.servers()}
    except Exception as fault:
        yield Finding("redis", "degraded", f"it does not tell its version: {told(fault)}")
        return
    for node, info in infos.items():
        for finding in of_redis(info, alone=not node):
            yield replace(finding, reason=f"{node}: {finding.reason}") if node else finding


def of_redis(info: Mapping[str, Any], *, alone: bool = True) -> Iterator[Finding]:
    """What the account means that a server gives of itself: the only one, or one of a cluster."""
    version = str(info.get("redis_version", "0"))
    if info.get("server_name") == "valkey":
        yield Finding("redis", "ok", f"Valkey {info.get('valkey_version', version)}")
    elif int(version.partition(".")[0]) >= OLDEST_REDIS:
        yield Finding("redis", "ok", f"Redis {version}")
    else:
        advice = "rate limits are not shared by servers and workers; use 7 or newer, or Valkey"
        yield Finding("redis", "degraded", f"Redis {version}: {advice}")
    if info.get("maxmemory") and info.get("maxmemory_policy") == "noeviction":
        advice = "when its memory is full it takes nothing new; set maxmemory-policy to allkeys-lru"
        yield Finding("redis", "degraded", f"noeviction: {advice}")
    if alone and info.get("cluster_enabled"):
        advice = "begin MOVIEHUB_REDIS_URL with redis+cluster:// or rediss+cluster://"
        yield Finding("redis", "degraded", f"a node of a cluster, and most keys are on others: {advice}")


async def _catalogue(container: Container) -> AsyncIterator[Finding]:
    catalogue = container.catalogue()
    if not hasattr(catalogue, "takes_key"):
        yield Finding("catalogue", "ok", "films of our own: set MOVIEHUB_TMDB_TOKEN for TMDb's")
        return
    kind = catalogue.key_kind
    try:
        if await catalogue.takes_key():
            yield Finding("catalogue", "ok", f"TMDb takes the {kind or 'key'}")
        else:
            form = f"by its form a {kind}" if kind else "which has the form of neither a v4 read token nor a v3 key"
            advice = "copy it again from the API settings of the account at themoviedb.org"
            yield Finding("catalogue", "unavailable", f"TMDb refuses MOVIEHUB_TMDB_TOKEN, {form}: {advice}")
    except Exception as fault:
        yield Finding("catalogue", "degraded", f"{told(fault)}: {ADVICE['catalogue']}")


_MORE = {"database": _database, "cache": _redis}
