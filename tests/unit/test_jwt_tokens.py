"""Tokens as JSON Web Tokens: everything that others may try with them."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest

from moviehub.adapters.jwt.tokens import MOST_REMEMBERED, JwtTokens
from moviehub.application.ports import Tokens
from moviehub.domain.sessions import BadToken
from tests.contracts.tokens import NOW, SESSION, TokensContract

SECRET = b"a secret of at least thirty-two bytes"
START = int(NOW.timestamp())
CLAIMS: dict[str, Any] = {
    "iss": "moviehub",
    "aud": "moviehub",
    "sub": "7",
    "sid": 41,
    "jti": "x",
    "iat": START,
    "exp": START + 300,
}


def signed(claims: dict[str, Any], typ: str = "at+jwt", secret: bytes = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"typ": typ})


def raw(header: object, payload: object) -> str:
    """A token without a signature."""
    parts = (json.dumps(part).encode() for part in (header, payload))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])


class TestJwtTokens(TokensContract):
    @pytest.fixture
    def tokens(self) -> Tokens:
        return JwtTokens(secret=SECRET)

    def test_a_token_of_these_claims_is_good(self, tokens: Tokens) -> None:
        assert tokens.read_access(signed(CLAIMS), NOW) == 41
        assert tokens.read_refresh(signed(CLAIMS | {"cnt": 0}, "rt+jwt"), NOW).counter == 0

    @pytest.mark.parametrize("claim", [*CLAIMS, "cnt"])
    def test_a_token_without_one_of_its_claims_is_bad(self, tokens: Tokens, claim: str) -> None:
        claims = CLAIMS | {"cnt": 0}
        del claims[claim]
        with pytest.raises(BadToken):
            tokens.read_refresh(signed(claims, "rt+jwt"), NOW)
        if claim != "cnt":
            with pytest.raises(BadToken):
                tokens.read_access(signed(claims), NOW)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"iss": "somebody else"},
            {"aud": "somebody else"},
            {"aud": ["moviehub"]},
            {"sid": 0},
            {"sid": -1},
            {"sid": True},
            {"sid": "41"},
            {"sid": 41.0},
            {"sid": 2**63},
            {"exp": True},
            {"exp": str(START + 300)},
            {"exp": float(START + 300)},
            {"exp": START},
            {"iat": None},
            {"iat": "now"},
            {"iat": START + 60},
            {"jti": 5},
            {"sub": 7},
            {"cnt": -1},
            {"cnt": True},
            {"cnt": "0"},
            {"cnt": 2**63},
        ],
        ids=str,
    )
    def test_a_token_with_a_wrong_claim_is_bad(self, tokens: Tokens, wrong: dict[str, Any]) -> None:
        claims = {**CLAIMS, "cnt": 0, **wrong}
        with pytest.raises(BadToken):
            tokens.read_refresh(signed(claims, "rt+jwt"), NOW)
        if "cnt" not in wrong:
            with pytest.raises(BadToken):
                tokens.read_access(signed(claims), NOW)

    @pytest.mark.parametrize("typ", ["JWT", "rt+jwt", "AT+JWT", "", "application/at+jwt"])
    def test_the_header_must_name_the_kind(self, tokens: Tokens, typ: str) -> None:
        with pytest.raises(BadToken):
            tokens.read_access(signed(CLAIMS, typ), NOW)

    def test_another_key_or_algorithm_is_bad(self, tokens: Tokens) -> None:
        for token in (
            signed(CLAIMS, secret=b"some other key of thirty-two bytes!!"),
            signed(CLAIMS, secret=SECRET * 2, algorithm="HS512"),
            signed(CLAIMS, secret=SECRET * 2, algorithm="HS384"),
        ):
            with pytest.raises(BadToken):
                tokens.read_access(token, NOW)

    @pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", None, 5, ["HS256"]])
    @pytest.mark.parametrize("extra", [{}, {"crit": ["exp"]}, {"b64": False}, {"kid": 5}])
    def test_a_token_without_a_signature_is_bad(self, tokens: Tokens, algorithm: object, extra: dict[str, Any]) -> None:
        token = raw({"alg": algorithm, "typ": "at+jwt", **extra}, CLAIMS)
        for text in (token, token + "AAAA", token + signed(CLAIMS).rpartition(".")[2]):
            with pytest.raises(BadToken):
                tokens.read_access(text, NOW)

    def test_a_deep_header_is_bad_and_no_crash(self, tokens: Tokens) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 1_470).decode().rstrip("=")
        assert len(deep) < 2_000
        with pytest.raises(BadToken):
            tokens.read_access(f"{deep}.e30.AAAA", NOW)

    def test_a_long_token_is_bad_however_well_signed(self, tokens: Tokens) -> None:
        with pytest.raises(BadToken):
            tokens.read_access(signed(CLAIMS | {"pad": "x" * 1_500}), NOW)

    def test_a_short_secret_is_refused_and_not_told(self) -> None:
        with pytest.raises(ValueError, match="32 bytes") as refused:
            JwtTokens(secret=b"thirty-one bytes are not enough")
        assert "enough" not in str(refused.value)

    def test_the_key_is_the_secret_s_own_bytes(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(access, SECRET, algorithms=["HS256"], audience="moviehub", options=options)
        assert (claims["sid"], claims["sub"], claims["exp"] - claims["iat"]) == (41, "7", 301)
        assert jwt.get_unverified_header(access) == {"alg": "HS256", "typ": "at+jwt"}

    def test_the_secret_is_not_in_what_others_see(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        assert "secret" not in repr(tokens) + access + tokens.write_refresh(SESSION)

    def test_a_remembered_token_still_ends(self) -> None:
        tokens = JwtTokens(secret=SECRET, access_ttl=5)
        token, seconds = tokens.write_access(SESSION, NOW)
        assert seconds == 5
        assert tokens.read_access(token, NOW) == 41
        with pytest.raises(BadToken):
            tokens.read_access(token, NOW + timedelta(seconds=6))
        assert tokens.read_access(token, NOW) == 41

    def test_a_remembered_token_costs_little(self, tokens: Tokens) -> None:
        token, _ = tokens.write_access(SESSION, NOW)

        def spent(times: int, *, fresh: bool) -> float:
            started = time.process_time()
            for _ in range(times):
                (JwtTokens(secret=SECRET) if fresh else tokens).read_access(token, NOW)
            return time.process_time() - started

        spent(1, fresh=False)
        assert spent(500, fresh=False) < spent(500, fresh=True) / 3

    def test_no_more_than_some_thousands_are_remembered(self) -> None:
        tokens = JwtTokens(secret=SECRET)
        first = signed(CLAIMS | {"jti": "first"})
        assert tokens.read_access(first, NOW) == 41
        tokens._remembered.update({str(number): (1, 1, 1) for number in range(MOST_REMEMBERED - 1)})
        assert tokens.read_access(signed(CLAIMS | {"jti": "last"}), NOW) == 41
        assert len(tokens._remembered) == MOST_REMEMBERED
        assert first not in tokens._remembered
        assert tokens.read_access(first, NOW) == 41
