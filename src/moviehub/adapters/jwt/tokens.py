"""Access and refresh tokens as JSON Web Tokens signed with HS256."""

import hashlib
import hmac
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import jwt

from moviehub.application.ports import AccessClaim, RefreshClaim, Tokens
from moviehub.domain.sessions import LEEWAY, BadToken, Session

ALGORITHM = "HS256"
ACCESS, REFRESH = "at+jwt", "rt+jwt"
COMMON = ("iss", "aud", "sub", "sid", "jti", "iat", "exp")
SHORTEST_KEY = 32
LONGEST_TOKEN = 2_048
MOST_REMEMBERED = 10_000
HEADER = {"alg", "kid", "typ"}
"""All that a header may hold. Others name keys and rules (jwk, jku, x5u, crit), which nobody but us is to choose."""

MOST_INTEGER = 2**63
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ID = re.compile("[1-9][0-9]{0,18}")


class JwtTokens(Tokens):
    """Signs with the first secret's own bytes, at least 32 of them, and checks every claim against the instant given.

    The header names the key that signed, and that key alone is tried: the first, or one that came before it, so that a
    new key ends no session.

    Access tokens that were found good are remembered, for decoding is most of what a request with one costs; their
    times are checked again whenever they are read.
    """

    def __init__(
        self, *, secrets: Sequence[bytes], access_ttl: int = 300, issuer: str = "moviehub", audience: str = "moviehub"
    ) -> None:
        if min(map(len, secrets), default=0) < SHORTEST_KEY:
            raise ValueError(f"each secret key must have at least {SHORTEST_KEY} bytes")
        self._secret = secrets[0]
        self._key_id = key_id(self._secret)
        self._secrets = {key_id(secret): secret for secret in secrets}
        self._access_ttl = access_ttl
        self._issuer = issuer
        self._audience = audience
        self._remembered: OrderedDict[str, tuple[AccessClaim, int, int]] = OrderedDict()

    def write_access(self, session: Session, at: datetime) -> tuple[str, int]:
        # Rounded so that the token is good for the whole of the seconds that are told.
        claims = {
            "jti": token_hex(8),
            "iat": math.floor(at.timestamp()),
            "exp": math.ceil(at.timestamp()) + self._access_ttl,
        }
        return self._write(ACCESS, session, claims), self._access_ttl

    def write_refresh(self, session: Session) -> str:
        name = f"refresh {session.id} {session.counter}".encode()
        claims = {
            "cnt": session.counter,
            "jti": hmac.digest(self._secret, name, hashlib.sha256).hex()[:32],
            "iat": math.floor(session.last_used_at.timestamp()),
            "exp": math.floor(session.expires_at.timestamp()),
        }
        return self._write(REFRESH, session, claims)

    def read_access(self, token: str, at: datetime) -> AccessClaim:
        known = self._remembered.get(token)
        if known is None:
            claims = self._read(token, ACCESS, COMMON)
            issued, expires = _times(claims, at)
            known = AccessClaim(*_whose(claims), _instant(issued)), issued, expires
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.popitem(last=False)
            self._remembered[token] = known
        else:
            _check_times(known[1], known[2], at)
        return known[0]

    def read_refresh(self, token: str, at: datetime) -> RefreshClaim:
        claims = self._read(token, REFRESH, (*COMMON, "cnt"))
        issued, _ = _times(claims, at)
        return RefreshClaim(*_whose(claims), _instant(issued), _integer(claims["cnt"]))

    def _write(self, kind: str, session: Session, claims: dict[str, Any]) -> str:
        whose = {"iss": self._issuer, "aud": self._audience, "sub": str(session.user_id), "sid": session.id}
        headers = {"typ": kind, "kid": self._key_id}
        return jwt.encode(whose | claims, self._secret, algorithm=ALGORITHM, headers=headers)

    def _read(self, token: str, kind: str, required: tuple[str, ...]) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN or not _FORM.fullmatch(token):
            raise BadToken()
        try:
            header = jwt.get_unverified_header(token)
            # Tokens that were written before they named their key are the current one's.
            secret = self._secrets.get(header.get("kid", self._key_id))
            if secret is None or header.get("typ") != kind or header.keys() - HEADER:
                raise BadToken()
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                # Times are checked against the instant given, below.
                options={
                    "require": list(required),
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            raise BadToken() from None
        return claims


def key_id(secret: bytes) -> str:
    """The name of a key in the header of what it signs (RFC 7515 section 4.1.4).

    Made from the key, so that every process has the same name for it and nobody has to give it one. A signature over
    fixed words tells no more of the key than that of any token does, which a plain hash would not promise.
    """
    return hmac.digest(secret, b"moviehub key id", hashlib.sha256).hex()[:16]


def _integer(claim: object, least: int = 0) -> int:
    if isinstance(claim, bool) or not isinstance(claim, int) or not least <= claim < MOST_INTEGER:
        raise BadToken()
    return claim


def _whose(claims: Mapping[str, Any]) -> tuple[int, int]:
    if not _ID.fullmatch(claims["sub"]):
        raise BadToken()
    return _integer(claims["sid"], 1), _integer(int(claims["sub"]))


def _times(claims: Mapping[str, Any], at: datetime) -> tuple[int, int]:
    issued, expires = _integer(claims["iat"]), _integer(claims["exp"])
    _check_times(issued, expires, at)
    return issued, expires


def _check_times(issued: int, expires: int, at: datetime) -> None:
    now = at.timestamp()
    if issued > now + LEEWAY.total_seconds() or now >= expires:
        raise BadToken()


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
