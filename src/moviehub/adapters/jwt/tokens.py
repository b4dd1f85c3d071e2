"""Access and refresh tokens as JSON Web Tokens signed with HS256."""

import hashlib
import hmac
import math
import re
import secrets
from datetime import datetime
from typing import Any

import jwt

from moviehub.application.ports import RefreshClaim, Tokens
from moviehub.domain.sessions import BadToken, Session

ALGORITHM = "HS256"
ACCESS, REFRESH = "at+jwt", "rt+jwt"
COMMON = ("iss", "aud", "sub", "sid", "jti", "iat", "exp")
SHORTEST_KEY = 32
LONGEST_TOKEN = 2_048
MOST_REMEMBERED = 10_000
LEEWAY = 10
"""Seconds by which the clock of the node that wrote a token may be ahead of ours."""

MOST_INTEGER = 2**63
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class JwtTokens(Tokens):
    """Signs with the secret's own bytes, at least 32 of them, and checks every claim against the instant given.

    Access tokens that were found good are remembered, for decoding is most of what a request with one costs; their
    times are checked again whenever they are read.
    """

    def __init__(
        self, *, secret: bytes, access_ttl: int = 300, issuer: str = "moviehub", audience: str = "moviehub"
    ) -> None:
        if len(secret) < SHORTEST_KEY:
            raise ValueError(f"the secret key must have at least {SHORTEST_KEY} bytes")
        self._secret = secret
        self._access_ttl = access_ttl
        self._issuer = issuer
        self._audience = audience
        self._remembered: dict[str, tuple[int, int, int]] = {}

    def write_access(self, session: Session, at: datetime) -> tuple[str, int]:
        # Rounded so that the token is good for the whole of the seconds that are told.
        claims = {
            "jti": secrets.token_hex(8),
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

    def read_access(self, token: str, at: datetime) -> int:
        known = self._remembered.get(token)
        if known is None:
            claims = self._read(token, ACCESS, COMMON)
            known = _integer(claims["sid"], 1), _integer(claims["iat"]), _integer(claims["exp"])
            _check_times(known[1], known[2], at)
            if len(self._remembered) >= MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[token] = known
        else:
            _check_times(known[1], known[2], at)
        return known[0]

    def read_refresh(self, token: str, at: datetime) -> RefreshClaim:
        claims = self._read(token, REFRESH, (*COMMON, "cnt"))
        _check_times(_integer(claims["iat"]), _integer(claims["exp"]), at)
        return RefreshClaim(_integer(claims["sid"], 1), _integer(claims["cnt"]))

    def _write(self, kind: str, session: Session, claims: dict[str, Any]) -> str:
        whose = {"iss": self._issuer, "aud": self._audience, "sub": str(session.user_id), "sid": session.id}
        return jwt.encode(whose | claims, self._secret, algorithm=ALGORITHM, headers={"typ": kind})

    def _read(self, token: str, kind: str, required: tuple[str, ...]) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN or not _FORM.fullmatch(token):
            raise BadToken()
        try:
            decoded = jwt.decode_complete(
                token,
                self._secret,
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
        if decoded["header"].get("typ") != kind:
            raise BadToken()
        claims: dict[str, Any] = decoded["payload"]
        return claims


def _integer(claim: object, least: int = 0) -> int:
    if isinstance(claim, bool) or not isinstance(claim, int) or not least <= claim < MOST_INTEGER:
        raise BadToken()
    return claim


def _check_times(issued: int, expires: int, at: datetime) -> None:
    now = at.timestamp()
    if issued > now + LEEWAY or now >= expires:
        raise BadToken()
