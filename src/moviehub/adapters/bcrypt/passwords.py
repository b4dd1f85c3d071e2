"""Passwords under bcrypt, a few at a time in threads of their own."""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import bcrypt

from moviehub.application.ports import Passwords
from moviehub.domain.errors import Unavailable

T = TypeVar("T")

SCHEME = "hmac-sha256$"
LABEL = b"moviehub password"
"""Public and fixed for good: it tells our digests from others', and changing it would lock everybody out."""

BCRYPT_BYTES = 72
_PLAIN = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


class BcryptPasswords(Passwords):
    """Hashes an HMAC-SHA-256 of the password, so that none of it is cut off at bcrypt's 72 bytes.

    Comparing takes as long as `cost` tells for all but hashes of a greater one.

    At most `threads` work at once and `waiting` more wait; the rest get Unavailable and are counted in `refused`. Plain
    bcrypt hashes verify too.
    """

    def __init__(self, *, cost: int = 12, threads: int = 2, waiting: int = 16) -> None:
        self._cost = cost
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._most = threads + waiting
        self._work: set[Future[Any]] = set()
        self.refused = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: SCHEME + bcrypt.hashpw(_digest(password), bcrypt.gensalt(self._cost)).decode())

    async def verify(self, password: str, password_hash: str | None) -> bool:
        return await self._run(lambda: self._matches(password, password_hash))

    def is_current(self, password_hash: str) -> bool:
        found = _PLAIN.fullmatch(password_hash.removeprefix(SCHEME))
        return password_hash.startswith(SCHEME) and found is not None and int(found[1]) == self._cost

    @property
    def under_way(self) -> int:
        """How many are worked on or wait."""
        return len(self._work)

    async def close(self) -> None:
        """Take no more work; what was taken is finished."""
        self._pool.shutdown(wait=False)

    def _matches(self, password: str, password_hash: str | None) -> bool:
        plain = (password_hash or "").removeprefix(SCHEME)
        if password_hash is not None and _PLAIN.fullmatch(plain):
            # Hashes made elsewhere are of the first 72 bytes, where bcrypt 4 and older stopped reading.
            secret = _digest(password) if plain != password_hash else _encoded(password)[:BCRYPT_BYTES]
            with suppress(ValueError):  # the form of a hash, and yet none
                right = bcrypt.checkpw(secret, plain.encode())
                # Each step of the cost doubles the time: what is left up to ours makes it as long as for nobody.
                for cost in range(int(plain[4:6]), self._cost):
                    bcrypt.checkpw(_digest(password), _nobody(cost))
                return right
        bcrypt.checkpw(_digest(password), _nobody(self._cost))
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if len(self._work) >= self._most:
            self.refused += 1
            raise Unavailable("Too many people are signing in just now.", retry_after=1)
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            raise Unavailable("The server is going down.", retry_after=1) from None
        # The place is free when the thread is done, not when the one who waited has gone away.
        self._work.add(future)
        future.add_done_callback(self._work.discard)
        return await asyncio.wrap_future(future)


def _nobody(cost: int) -> bytes:
    """Of the right form, and the hash of nothing known: comparing with it takes as long as any comparing."""
    return f"$2b${cost:02}${'.' * 53}".encode()


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # a log-in may hold anything


def _digest(password: str) -> bytes:
    return base64.b64encode(hmac.digest(LABEL, _encoded(password), hashlib.sha256))
