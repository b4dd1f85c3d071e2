"""Passwords under bcrypt, a few at a time in threads of their own."""

import asyncio
import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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

    At most `threads` work at once and `waiting` more wait; the rest get Unavailable. Plain bcrypt hashes verify too.
    """

    def __init__(self, *, cost: int = 12, threads: int = 2, waiting: int = 16) -> None:
        self._cost = cost
        # Of the right form and cost, and the hash of nothing known: comparing with it takes as long as any comparing.
        self._nobody = f"$2b${cost:02}${'.' * 53}".encode()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._places = threading.BoundedSemaphore(threads + waiting)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: SCHEME + bcrypt.hashpw(_digest(password), bcrypt.gensalt(self._cost)).decode())

    async def verify(self, password: str, password_hash: str | None) -> bool:
        return await self._run(lambda: self._matches(password, password_hash))

    def is_current(self, password_hash: str) -> bool:
        found = _PLAIN.fullmatch(password_hash.removeprefix(SCHEME))
        return password_hash.startswith(SCHEME) and found is not None and int(found[1]) == self._cost

    async def close(self) -> None:
        """Take no more work; what was taken is finished."""
        self._pool.shutdown(wait=False)

    def _matches(self, password: str, password_hash: str | None) -> bool:
        plain = (password_hash or "").removeprefix(SCHEME)
        if password_hash is not None and _PLAIN.fullmatch(plain):
            # Hashes made elsewhere are of the first 72 bytes, where bcrypt 4 and older stopped reading.
            secret = _digest(password) if plain != password_hash else _encoded(password)[:BCRYPT_BYTES]
            try:
                return bcrypt.checkpw(secret, plain.encode())
            except ValueError:
                pass  # the form of a hash, and yet none
        bcrypt.checkpw(_digest(password), self._nobody)
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many people are signing in just now.", retry_after=1)
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._places.release()
            raise Unavailable("The server is going down.", retry_after=1) from None
        # The place is free when the thread is done, not when the one who waited has gone away.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # a log-in may hold anything


def _digest(password: str) -> bytes:
    return base64.b64encode(hmac.digest(LABEL, _encoded(password), hashlib.sha256))
