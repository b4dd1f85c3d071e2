"""What goes wrong in a chaos run."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass

import asyncpg
import httpx
import redis

from tests.proxy import Proxy
from tests.servers import Server
from tests.soak.people import Log
from tests.tmdb_stand_in import Fault


@dataclass
class Parts:
    """What can fail."""

    server: Server
    postgres: Proxy
    redis: Proxy
    tmdb: Proxy
    stand_in: str
    database: str
    valkey: str
    log: Log


async def trouble(parts: Parts, chance: random.Random, until: float) -> None:
    """One fault after another, each for a while, with some peace in between."""
    while time.monotonic() < until:
        proxy = chance.choice([parts.postgres, parts.redis, parts.tmdb])
        name = {parts.postgres: "postgres", parts.redis: "redis", parts.tmdb: "tmdb"}[proxy]
        fault = chance.choice(["refuse", "reset", "hang", "delay", "swallow", "own", "kill"])
        lasting = chance.uniform(0.3, 4.0)
        parts.log.faults[fault if fault == "kill" else f"{name} {fault}"] += 1
        match fault:
            case "delay":
                proxy.delay(chance.uniform(0.05, 0.6))
            case "own":
                await _own_fault(parts, name, chance)
            case "kill":
                parts.log.killed_at = time.monotonic()
                os.kill(chance.choice(parts.server.workers()), signal.SIGKILL)
            case _:
                getattr(proxy, fault)()
        await asyncio.sleep(min(lasting, until - time.monotonic()))
        await asyncio.to_thread(proxy.well)
        if fault == "own" and name == "tmdb":
            await _control(parts, "fail")
        if fault == "own" and name == "redis":
            with redis.Redis.from_url(parts.valkey, socket_timeout=5) as link:
                link.config_set("maxmemory", "0")
        await asyncio.sleep(chance.uniform(0.5, 4.0))


async def _own_fault(parts: Parts, name: str, chance: random.Random) -> None:
    """What no network does."""
    match name:
        case "postgres":
            link = await asyncpg.connect(parts.database)
            mine = "pid <> pg_backend_pid() AND datname = current_database()"
            await link.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
            await link.close()
        case "redis":
            with redis.Redis.from_url(parts.valkey, socket_timeout=5) as link:
                if chance.random() < 0.5:
                    link.flushall()
                else:
                    link.config_set("maxmemory", "1")
        case "tmdb":
            await _control(parts, f"fail?fault={chance.choice(list(Fault)).value}")


async def _control(parts: Parts, order: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.get(parts.stand_in.removesuffix("/3") + f"/_control/{order}")
