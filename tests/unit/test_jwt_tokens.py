"""Tokens as JSON Web Tokens: everything that others may try with them."""

import base64
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest

from moviehub.adapters.jwt.tokens import MOST_REMEMBERED, JwtTokens, key_id
from moviehub.application.ports import AccessClaim, Tokens
from moviehub.domain.sessions import BadToken
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.settings import Settings
from moviehub.entrypoints.use_cases import use_cases
from tests import promises
from tests.contracts.tokens import NOW, SESSION, TokensContract

SECRET = b"a secret of at least thirty-two bytes"
NEW = b"another secret of thirty-two bytes and more"
THIRD = b"the secret of somebody who is none of us"
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


def signed(
    claims: dict[str, Any], typ: str = "at+jwt", secret: bytes = SECRET, algorithm: str = "HS256", **header: Any
) -> str:
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"typ": typ, **header})


def sealed(header: object, payload: object, secret: bytes = SECRET) -> str:
    """A token with a header that no library writes, and a signature that is right."""
    text = raw(header, payload).rstrip(".")
    signature = hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def raw(header: object, payload: object) -> str:
    """A token without a signature."""
    parts = (json.dumps(part).encode() for part in (header, payload))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])


class TestJwtTokens(TokensContract):
    @pytest.fixture
    def tokens(self) -> Tokens:
        return JwtTokens(secrets=[SECRET])

    def test_a_token_of_these_claims_is_good(self, tokens: Tokens) -> None:
        assert tokens.read_access(signed(CLAIMS), NOW).session_id == 41
        assert tokens.read_refresh(signed(CLAIMS | {"cnt": 0}, "rt+jwt"), NOW).counter == 0

    @promises.bad_tokens
    @pytest.mark.parametrize("claim", [*CLAIMS, "cnt"])
    def test_a_token_without_one_of_its_claims_is_bad(self, tokens: Tokens, claim: str) -> None:
        claims = CLAIMS | {"cnt": 0}
        del claims[claim]
        with pytest.raises(BadToken):
            tokens.read_refresh(signed(claims, "rt+jwt"), NOW)
        if claim != "cnt":
            with pytest.raises(BadToken):
                tokens.read_access(signed(claims), NOW)

    @promises.bad_tokens
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
            {"sub": ""},
            {"sub": "0"},
            {"sub": "-7"},
            {"sub": "07"},
            {"sub": "7 "},
            {"sub": "7.0"},
            {"sub": "\N{ARABIC-INDIC DIGIT SEVEN}"},
            {"sub": str(2**63)},
            {"sub": "9" * 500},
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

    @promises.bad_tokens
    @pytest.mark.parametrize("typ", ["JWT", "rt+jwt", "AT+JWT", "", "application/at+jwt"])
    def test_the_header_must_name_the_kind(self, tokens: Tokens, typ: str) -> None:
        with pytest.raises(BadToken):
            tokens.read_access(signed(CLAIMS, typ), NOW)

    @promises.bad_tokens
    def test_another_key_or_algorithm_is_bad(self, tokens: Tokens) -> None:
        for token in (
            signed(CLAIMS, secret=THIRD),
            signed(CLAIMS, secret=THIRD, kid=key_id(SECRET)),
            signed(CLAIMS, secret=SECRET * 2, algorithm="HS512"),
            signed(CLAIMS, secret=SECRET * 2, algorithm="HS384"),
        ):
            with pytest.raises(BadToken):
                tokens.read_access(token, NOW)

    @promises.bad_tokens
    @pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", None, 5, ["HS256"]])
    @pytest.mark.parametrize("extra", [{}, {"crit": ["exp"]}, {"b64": False}, {"kid": 5}])
    def test_a_token_without_a_signature_is_bad(self, tokens: Tokens, algorithm: object, extra: dict[str, Any]) -> None:
        token = raw({"alg": algorithm, "typ": "at+jwt", **extra}, CLAIMS)
        for text in (token, token + "AAAA", token + signed(CLAIMS).rpartition(".")[2]):
            with pytest.raises(BadToken):
                tokens.read_access(text, NOW)

    @pytest.mark.parametrize(
        "more",
        [
            {"crit": ["exp"]},
            {"b64": True},
            {"jwk": {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).decode()}},
            {"jku": "https://hub.test/keys"},
            {"x5u": "https://hub.test/key.pem"},
        ],
        ids=str,
    )
    def test_a_header_that_says_more_than_it_must_is_bad(self, tokens: Tokens, more: dict[str, Any]) -> None:
        header = {"alg": "HS256", "typ": "at+jwt", "kid": key_id(SECRET)}
        assert tokens.read_access(sealed(header, CLAIMS), NOW).session_id == 41
        with pytest.raises(BadToken):
            tokens.read_access(sealed(header | more, CLAIMS), NOW)

    def test_a_key_that_the_token_brings_along_is_not_used(self, tokens: Tokens) -> None:
        brought = {"kty": "oct", "k": base64.urlsafe_b64encode(THIRD).decode().rstrip("=")}
        for kid in ({}, {"kid": key_id(SECRET)}, {"kid": key_id(THIRD)}):
            with pytest.raises(BadToken):
                tokens.read_access(signed(CLAIMS, secret=THIRD, jwk=brought, **kid), NOW)

    def test_a_deep_header_is_bad_and_no_crash(self, tokens: Tokens) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 1_470).decode().rstrip("=")
        assert len(deep) < 2_000
        with pytest.raises(BadToken):
            tokens.read_access(f"{deep}.e30.AAAA", NOW)

    def test_a_long_token_is_bad_however_well_signed(self, tokens: Tokens) -> None:
        with pytest.raises(BadToken):
            tokens.read_access(signed(CLAIMS | {"pad": "x" * 1_500}), NOW)

    def test_a_short_secret_is_refused_and_not_told(self) -> None:
        short = b"thirty-one bytes are not enough"
        for secrets in ([short], [SECRET, short], [short, SECRET], []):
            with pytest.raises(ValueError, match="32 bytes") as refused:
                JwtTokens(secrets=secrets)
            assert "enough" not in str(refused.value)

    def test_the_key_is_the_secret_s_own_bytes(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(access, SECRET, algorithms=["HS256"], audience="moviehub", options=options)
        assert (claims["sid"], claims["sub"], claims["exp"] - claims["iat"]) == (41, "7", 301)
        header = {"alg": "HS256", "kid": key_id(SECRET), "typ": "at+jwt"}
        assert jwt.get_unverified_header(access) == header

    def test_the_secret_is_not_in_what_others_see(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        assert "secret" not in repr(tokens) + access + tokens.write_refresh(SESSION)

    def test_a_remembered_token_still_ends(self) -> None:
        tokens = JwtTokens(secrets=[SECRET], access_ttl=5)
        token, seconds = tokens.write_access(SESSION, NOW)
        assert seconds == 5
        assert tokens.read_access(token, NOW).session_id == 41
        with pytest.raises(BadToken):
            tokens.read_access(token, NOW + timedelta(seconds=6))
        assert tokens.read_access(token, NOW).session_id == 41

    def test_a_remembered_token_costs_little(self, tokens: Tokens) -> None:
        token, _ = tokens.write_access(SESSION, NOW)

        def spent(times: int, *, fresh: bool) -> float:
            started = time.process_time()
            for _ in range(times):
                (JwtTokens(secrets=[SECRET]) if fresh else tokens).read_access(token, NOW)
            return time.process_time() - started

        spent(1, fresh=False)
        assert spent(500, fresh=False) < spent(500, fresh=True) / 3

    def test_no_more_than_some_thousands_are_remembered(self) -> None:
        tokens = JwtTokens(secrets=[SECRET])
        first = signed(CLAIMS | {"jti": "first"})
        assert tokens.read_access(first, NOW).session_id == 41
        tokens._remembered.update(
            {str(number): (AccessClaim(1, 1, NOW), 1, 1) for number in range(MOST_REMEMBERED - 1)}
        )
        assert tokens.read_access(signed(CLAIMS | {"jti": "last"}), NOW).session_id == 41
        assert len(tokens._remembered) == MOST_REMEMBERED
        assert first not in tokens._remembered
        assert tokens.read_access(first, NOW).session_id == 41


class TestRotation:
    """A key is followed by another: `NEW` signs, and what `SECRET` has signed is good as long as it is listed."""

    before = JwtTokens(secrets=[SECRET])
    after = JwtTokens(secrets=[NEW, SECRET])

    def test_tokens_of_the_previous_key_are_good_until_it_is_dropped(self) -> None:
        access, refresh = self.before.write_access(SESSION, NOW)[0], self.before.write_refresh(SESSION)
        assert self.after.read_access(access, NOW).session_id == 41
        assert self.after.read_refresh(refresh, NOW).session_id == 41
        dropped = JwtTokens(secrets=[NEW])
        with pytest.raises(BadToken):
            dropped.read_access(access, NOW)
        with pytest.raises(BadToken):
            dropped.read_refresh(refresh, NOW)

    def test_the_first_key_signs(self) -> None:
        access, refresh = self.after.write_access(SESSION, NOW)[0], self.after.write_refresh(SESSION)
        for token in (access, refresh):
            assert jwt.get_unverified_header(token)["kid"] == key_id(NEW)
        only = JwtTokens(secrets=[NEW])
        assert only.read_access(access, NOW).session_id == 41
        assert only.write_refresh(SESSION) == refresh

    def test_who_knows_the_next_key_already_reads_what_it_signs(self) -> None:
        access, refresh = self.after.write_access(SESSION, NOW)[0], self.after.write_refresh(SESSION)
        with pytest.raises(BadToken):
            self.before.read_access(access, NOW)
        told = JwtTokens(secrets=[SECRET, NEW])
        assert told.read_access(access, NOW).session_id == 41
        assert told.read_refresh(refresh, NOW).session_id == 41

    def test_a_token_that_names_no_key_is_the_current_one_s(self) -> None:
        assert self.after.read_access(signed(CLAIMS, secret=NEW), NOW).session_id == 41
        with pytest.raises(BadToken):
            self.after.read_access(signed(CLAIMS, secret=SECRET), NOW)

    @pytest.mark.parametrize("secret", [NEW, SECRET, THIRD], ids=["current", "previous", "strange"])
    @pytest.mark.parametrize(
        "kid",
        [key_id(NEW), key_id(SECRET), key_id(THIRD), key_id(NEW).upper(), key_id(NEW)[:8], "", "0", "../key", "\0"],
    )
    def test_no_key_is_tried_but_the_one_that_is_named(self, secret: bytes, kid: str) -> None:
        token = signed(CLAIMS, secret=secret, kid=kid)
        if secret != THIRD and kid == key_id(secret):
            assert self.after.read_access(token, NOW).session_id == 41
        else:
            with pytest.raises(BadToken):
                self.after.read_access(token, NOW)

    @pytest.mark.parametrize("kid", [None, 5, True, 1.5, [], [key_id(NEW)], {}, {"kid": key_id(NEW)}], ids=str)
    def test_a_key_is_named_by_text_alone(self, kid: object) -> None:
        for secret in (NEW, SECRET):
            with pytest.raises(BadToken):
                self.after.read_access(sealed({"alg": "HS256", "typ": "at+jwt", "kid": kid}, CLAIMS, secret), NOW)

    def test_a_key_that_is_listed_again_changes_nothing(self) -> None:
        twice = JwtTokens(secrets=[NEW, SECRET, NEW, SECRET])
        assert twice.write_refresh(SESSION) == self.after.write_refresh(SESSION)
        for tokens in (self.before, self.after):
            assert twice.read_access(tokens.write_access(SESSION, NOW)[0], NOW).session_id == 41

    def test_the_name_of_a_key_stays_the_same(self) -> None:  # for with another one every session would end
        assert key_id(SECRET) == "f5baf53caeb47360"

    async def test_a_session_goes_on_over_a_new_key_also_for_who_lost_a_reply(self) -> None:
        old, new = SECRET.decode(), NEW.decode()
        container = in_memory(Settings(database_url="memory://", secret_key=old))
        rotated = in_memory(Settings(database_url="memory://", secret_key=new, previous_secret_keys=(old,)))
        rotated.storage.override(container.storage)
        rotated.clock.override(container.clock)
        before, after = use_cases(container), use_cases(rotated)
        await before["register"](username="alice", email="alice@example.org", password="correct horse battery")
        grant = await before["sign_in"](login="alice", password="correct horse battery")
        lost = await before["refresh_session"](refresh=grant.refresh)

        again = await after["refresh_session"](refresh=grant.refresh)
        assert (await after["authenticate"](access=lost.access)).user.id == grant.user.id
        assert (await after["authenticate"](access=again.access)).user.id == grant.user.id
        for refresh in (again.refresh, lost.refresh):  # one token by its number, signed with each key
            assert (await after["refresh_session"](refresh=refresh)).user.id == grant.user.id
        with pytest.raises(BadToken):
            await after["refresh_session"](refresh=grant.refresh)
