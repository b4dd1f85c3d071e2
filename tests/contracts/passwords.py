"""What everything that hashes passwords owes; a subclass has a fixture `passwords`."""

import pytest

from moviehub.application.ports import Passwords

# Of "correct horse battery staple", made at cost 4 by a bcrypt elsewhere.
PLAIN = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"


class PasswordsContract:
    async def test_a_hash_is_of_its_password_and_of_no_other(self, passwords: Passwords) -> None:
        password_hash = await passwords.hash("correct horse")
        assert await passwords.verify("correct horse", password_hash)
        assert not await passwords.verify("correct Horse", password_hash)
        assert not await passwords.verify("", password_hash)

    async def test_two_hashes_of_one_password_differ(self, passwords: Passwords) -> None:
        assert await passwords.hash("correct horse") != await passwords.hash("correct horse")

    async def test_all_of_a_long_password_counts(self, passwords: Passwords) -> None:
        password_hash = await passwords.hash("夜" * 256)
        assert await passwords.verify("夜" * 256, password_hash)
        assert not await passwords.verify("夜" * 255 + "x", password_hash)

    @pytest.mark.parametrize("password", ["", "nul\0byte", "\ud800", "x" * 100_000])
    async def test_a_password_may_be_any_text(self, passwords: Passwords, password: str) -> None:
        password_hash = await passwords.hash(password)
        assert await passwords.verify(password, password_hash)
        assert not await passwords.verify(password + "x", password_hash)

    async def test_nobody_has_no_password(self, passwords: Passwords) -> None:
        for password in ("", "correct horse"):
            assert await passwords.verify(password, None) is False

    @pytest.mark.parametrize("password_hash", ["", "x", "$2b$04$short", "hmac-sha256$", "!", "\ud800", PLAIN + "x"])
    async def test_what_is_no_hash_is_of_no_password(self, passwords: Passwords, password_hash: str) -> None:
        assert await passwords.verify("correct horse", password_hash) is False
        assert not passwords.is_current(password_hash)

    async def test_a_hash_made_today_is_current_and_one_from_elsewhere_is_not(self, passwords: Passwords) -> None:
        assert passwords.is_current(await passwords.hash("correct horse"))
        assert not passwords.is_current(PLAIN)

    async def test_a_hash_names_its_scheme_and_holds_nothing_of_the_password(self, passwords: Passwords) -> None:
        password_hash = await passwords.hash("correct horse")
        scheme, mark, _ = password_hash.partition("$")
        assert scheme.replace("-", "").isalnum()
        assert mark
        assert "horse" not in password_hash
