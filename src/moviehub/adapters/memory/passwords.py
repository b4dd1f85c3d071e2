"""Password hashes that are quick to make, for tests alone: they are no protection."""

import hashlib
import hmac
import secrets

from moviehub.application.ports import Passwords

SCHEME = "salted-sha256$"


class MemoryPasswords(Passwords):
    """Hashes with a salt and one round of SHA-256."""

    async def hash(self, password: str) -> str:
        salt = secrets.token_hex(8)
        return f"{SCHEME}{salt}${_digest(salt, password)}"

    async def verify(self, password: str, password_hash: str | None) -> bool:
        if password_hash is None or not self.is_current(password_hash):
            return False
        salt, _, digest = password_hash.removeprefix(SCHEME).partition("$")
        return hmac.compare_digest(_digest(salt, password).encode(), digest.encode("utf-8", "surrogatepass"))

    def is_current(self, password_hash: str) -> bool:
        return password_hash.startswith(SCHEME)


def _digest(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}${password}".encode("utf-8", "surrogatepass")).hexdigest()
