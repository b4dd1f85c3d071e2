"""What everything that writes and reads tokens owes; a subclass has a fixture `tokens`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moviehub.application.ports import AccessClaim, RefreshClaim, Tokens
from moviehub.domain.sessions import BadToken, Session

NOW = datetime(2030, 1, 1, 12, 0, 0, 654_321, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
SESSION = Session(
    id=41,
    user_id=7,
    counter=3,
    created_at=NOW - timedelta(days=2),
    last_used_at=NOW,
    expires_at=NOW + timedelta(days=30),
)


class TokensContract:
    def test_an_access_token_names_its_session_as_long_as_was_told(self, tokens: Tokens) -> None:
        token, seconds = tokens.write_access(SESSION, NOW)
        assert seconds > 0
        for _ in range(2):
            assert tokens.read_access(token, NOW).session_id == 41
            assert tokens.read_access(token, NOW + timedelta(seconds=seconds, microseconds=-1)).session_id == 41
            with pytest.raises(BadToken):
                tokens.read_access(token, NOW + timedelta(seconds=seconds + 1))

    def test_an_access_token_says_whose_session_it_is_of_and_when_it_was_written(self, tokens: Tokens) -> None:
        token, _ = tokens.write_access(SESSION, NOW)
        for _ in range(2):
            assert tokens.read_access(token, NOW) == AccessClaim(41, 7, SECOND)

    def test_two_access_tokens_differ(self, tokens: Tokens) -> None:
        assert tokens.write_access(SESSION, NOW) != tokens.write_access(SESSION, NOW)

    def test_a_refresh_token_names_its_session_and_its_number(self, tokens: Tokens) -> None:
        token = tokens.write_refresh(SESSION)
        assert tokens.read_refresh(token, NOW) == RefreshClaim(41, 7, SECOND, 3)
        first = tokens.write_refresh(replace(SESSION, counter=0))
        assert tokens.read_refresh(first, NOW) == RefreshClaim(41, 7, SECOND, 0)

    def test_the_same_session_value_gives_the_same_refresh_token(self, tokens: Tokens) -> None:
        assert tokens.write_refresh(SESSION) == tokens.write_refresh(replace(SESSION))
        assert tokens.write_refresh(SESSION) != tokens.write_refresh(replace(SESSION, counter=4))
        assert tokens.write_refresh(SESSION) != tokens.write_refresh(replace(SESSION, id=42))

    def test_a_refresh_token_ends_with_its_session(self, tokens: Tokens) -> None:
        token = tokens.write_refresh(SESSION)
        assert tokens.read_refresh(token, SESSION.expires_at - timedelta(seconds=1))
        with pytest.raises(BadToken):
            tokens.read_refresh(token, SESSION.expires_at)

    def test_neither_kind_stands_for_the_other(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        with pytest.raises(BadToken):
            tokens.read_refresh(access, NOW)
        with pytest.raises(BadToken):
            tokens.read_access(tokens.write_refresh(SESSION), NOW)

    def test_a_token_from_the_future_is_bad(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        refresh = tokens.write_refresh(SESSION)
        for _ in range(2):
            assert tokens.read_access(access, NOW - timedelta(seconds=9)).session_id == 41
            with pytest.raises(BadToken):
                tokens.read_access(access, NOW - timedelta(seconds=12))
        assert tokens.read_refresh(refresh, NOW - timedelta(seconds=9))
        with pytest.raises(BadToken):
            tokens.read_refresh(refresh, NOW - timedelta(seconds=12))

    @pytest.mark.parametrize(
        "text",
        ["", ".", "..", "a.b.c", "ünder.夜.x", "\ud800", "\0", "e30.e30.", "x" * 3_000, "é" * 200, "W10.W10.W10"],
    )
    def test_what_is_no_token_is_a_bad_one(self, tokens: Tokens, text: str) -> None:
        with pytest.raises(BadToken):
            tokens.read_access(text, NOW)
        with pytest.raises(BadToken):
            tokens.read_refresh(text, NOW)

    def test_a_token_with_one_character_changed_or_added_is_bad(self, tokens: Tokens) -> None:
        access, _ = tokens.write_access(SESSION, NOW)
        assert tokens.read_access(access, NOW).session_id == 41
        for place in range(len(access) - 1):  # of the last character, some bits say nothing
            changed = access[:place] + ("A" if access[place] != "A" else "B") + access[place + 1 :]
            with pytest.raises(BadToken):
                tokens.read_access(changed, NOW)
        for added in ("=", "==", "A", ".", " ", "\n"):
            with pytest.raises(BadToken):
                tokens.read_access(access + added, NOW)
