"""What the hub promises when things go wrong: each a mark for the tests that prove it, in the order of the table."""

import pytest

PROMISES: list[tuple[str, str]] = []
"""Every fault with what happens then."""


def _promise(fault: str, promise: str) -> pytest.MarkDecorator:
    PROMISES.append((fault, promise))
    return pytest.mark.promise(fault, promise)


_REDIS_AWAY = "Redis refuses connections, at the start or later"
redis_away = _promise(
    _REDIS_AWAY, "it starts and says degraded; reads, log-in, refresh, ratings and favourites go on without a 5xx"
)
redis_back = _promise(_REDIS_AWAY, "all as before within 2 s of its return, without a restart")

_REDIS_SLOW = "Redis hangs or is slow"
redis_hangs = _promise(
    _REDIS_SLOW, "it costs a request 0.5 s at most; after five failures it is skipped until a ping is answered again"
)
redis_slow = _promise(_REDIS_SLOW, "a read waits for a round trip or two, however many films it shows")

redis_refuses = _promise(
    "Redis is full, or only reads after a failover",
    "it says degraded; what Redis has is read on, and there is no 5xx; writes go on within 2 s once they are taken, by "
    "whichever server has the name then",
)

_REDIS_EMPTY = "Redis loses all its data"
redis_forgets_access = _promise(_REDIS_EMPTY, "nothing that was ended comes back to life")
redis_forgets_limits = _promise(_REDIS_EMPTY, "limits start at zero")
redis_forgets_pages = _promise(_REDIS_EMPTY, "TMDb is asked once for a page, however many want it")

redis_reply_lost = _promise(
    "A reply of Redis is lost after it did its work", "nothing counts twice, and no refresh token is taken for a copy"
)

_POSTGRES_LATE = "Postgres is down at the start"
postgres_late = _promise(
    _POSTGRES_LATE, "it starts; live is 200, ready 503; cached public pages are 200, all else is a problem within 1 s"
)
postgres_comes = _promise(_POSTGRES_LATE, "all as usual within 3 s of its coming, without a restart")

postgres_drops = _promise(
    "Postgres drops connections", "what only reads is done once more and nobody notices; a write is whole or a 503"
)
postgres_read_only = _promise(
    "Postgres fails over and only reads for a while", "reads go on; a write is a problem within 2 s; heals within 3 s"
)
postgres_hangs = _promise("Postgres hangs", "a problem within 2 s; heals within 3 s; no write is kept by halves")
postgres_conflict = _promise(
    "Deadlocks and serialization failures", "a lone statement is tried three times in all; nothing is done twice"
)
postgres_states = _promise(
    "Any SQLSTATE", "a value at fault is 400, a broken constraint its own error, all else 503; never a 500"
)

_POOL = "All connections to Postgres are lent"
pool_exhausted = _promise(_POOL, "a problem as soon as one was waited for 0.5 s")
pool_arithmetic = _promise(_POOL, "more workers and connections than Postgres allows are warned of at the first one")

_REPLICA = "A read replica is away, hangs or is behind"
replica_away = _promise(_REPLICA, "no read fails; without the primary, strangers read on")
replica_late = _promise(_REPLICA, "nobody misses what they did themselves, and others no more than two seconds")

fifty_at_once = _promise(
    "Fifty at once send the same favourite, rating or registration",
    "one row, no 5xx, a value that was sent, and averages that equal a recount",
)

_TMDB = "TMDb is refused, broken, hung, dripping, cut short, nonsense, huge or over its limit"
tmdb_stale = _promise(_TMDB, "a page that the cache has is shown within 0.3 s, old or not")
tmdb_local = _promise(_TMDB, 'else the hub\'s own films answer, as `"source": "local"`')
tmdb_nothing = _promise(_TMDB, "else a problem with `Retry-After`; never an empty list in place of an answer")
tmdb_deadline = _promise(
    _TMDB, "3 s in all; two attempts at most for each of its pages, and six pages a request, fetched side by side"
)
tmdb_circuit = _promise(
    _TMDB, "after five failures in a row it is not asked: answers within 50 ms, and one probe every 5 s"
)
tmdb_nonsense = _promise(
    _TMDB, "at most 2 MiB are read, no redirect is followed, nothing bad is kept and no key is told"
)

_HERD = "Two hundred at once want one page, over several processes"
herd_cold = _promise(_HERD, "not in the cache: one call to TMDb, and everybody is answered")
herd_expired = _promise(_HERD, "in the cache, but old: one call to TMDb, and everybody is answered at once")
herd_holder = _promise(_HERD, "whoever fetches it is killed: the next takes over within 3 s")

_FLEET = "More calls to TMDb are wanted than its limit allows"
fleet_rate = _promise(_FLEET, "all servers together keep to it in any second, each for itself while Redis is away")
fleet_pause = _promise(_FLEET, "what one is told to wait, all wait")

client_gone = _promise("A client goes away", "shared work goes on for the others; no connection, lock or file is left")

_SIGTERM = "SIGTERM under load"
sigterm = _promise(_SIGTERM, "ready is 503 first, what is begun is finished, and all is over within 10 s")
rolling_restart = _promise(_SIGTERM, "a rolling restart of two fails no request of those who ask the one that is ready")
rolling_nginx = _promise(_SIGTERM, "a rolling restart of two behind nginx fails no request that may be repeated")

worker_killed = _promise(
    "A worker is killed", "the others serve, it is back within 5 s, and no write is kept by halves"
)

job_killed = _promise(
    "The worker that keeps pages warm is killed or ends", "another takes over, and two never work at once"
)

_CROWD = "Four times the load that a worker can hold"
overload = _promise(
    _CROWD,
    "more than half of its best pace goes on; the rest is 503 with `Retry-After` within 50 ms; health within 100 ms",
)
overload_behind_nginx = _promise(
    _CROWD, "behind nginx, whose refusals cost a worker nothing, at least 85 % of its best pace goes on"
)
crowd_order = _promise(_CROWD, "searches are turned away first, then other reads, and what people write last")

log_in_flood = _promise(
    "A flood of log-ins", "popular's p99 stays under 250 ms, and log-ins beyond the queue are refused within 0.1 s"
)

hostile_input = _promise("Hostile input", "a problem of 4xx, never a 5xx; nothing long is echoed, nothing is kept")

bad_tokens = _promise(
    "Tokens with no or another algorithm, tampered, expired, early, of the wrong kind, without `exp`, of another key",
    "one 401 for all",
)
access_ends = _promise(
    "Log-out, a new password, deletion, deactivation, demotion",
    "refresh and access tokens end at once on all workers; rights are read from the database, not from the token",
)
_REUSE = "A refresh token is used twice"
refresh_lost_reply = _promise(_REUSE, "within 10 s, by who lost the reply: the same successor again")
refresh_reuse = _promise(_REUSE, "otherwise the whole session ends, and no other")

enumeration = _promise(
    "Somebody asks who has an account", "the same status, body and time for unknown, disabled and wrong password"
)
_GUESSING = "Somebody guesses passwords"
guessing = _promise(_GUESSING, "attempts are limited by the name that is tried and by address, over all workers")
forwarded = _promise(_GUESSING, "`X-Forwarded-For` is believed from a trusted proxy alone")

_SECRETS = "Secrets"
secrets_kept = _promise(_SECRETS, "are in no log, error, metric or cache")
secrets_weak = _promise(_SECRETS, "that are weak or missing stop a start in production with one line")

_MIGRATIONS = "Migrations"
migrations_back = _promise(_MIGRATIONS, "up, down and up again leave the schema equal")
migrations_at_once = _promise(_MIGRATIONS, "four at once: one works, the others wait")
migrations_ahead = _promise(_MIGRATIONS, "a hub that runs serves on while the schema becomes newer than it")
