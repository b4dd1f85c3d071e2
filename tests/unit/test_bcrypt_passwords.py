"""Passwords under bcrypt, and the quick ones that stand for them in tests."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import bcrypt
import pytest

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.memory.passwords import MemoryPasswords
from moviehub.application.ports import Passwords
from moviehub.domain.errors import Unavailable
from tests.contracts.passwords import PLAIN, PasswordsContract

# Of 72 times "a", in the form of PHP.
PLAIN_72 = "$2y$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe"


class TestMemoryPasswords(PasswordsContract):
    @pytest.fixture
    def passwords(self) -> Passwords:
        return MemoryPasswords()


class TestBcryptPasswords(PasswordsContract):
    @pytest.fixture
    async def passwords(self) -> AsyncIterator[BcryptPasswords]:
        passwords = BcryptPasswords(cost=4)
        yield passwords
        await passwords.close()

    async def test_a_plain_hash_from_elsewhere_verifies(self, passwords: BcryptPasswords) -> None:
        assert await passwords.verify("correct horse battery staple", PLAIN)
        assert not await passwords.verify("correct horse battery", PLAIN)
        assert not passwords.is_current(PLAIN)

    async def test_a_plain_hash_is_of_the_first_72_bytes(self, passwords: BcryptPasswords) -> None:
        assert await passwords.verify("a" * 72, PLAIN_72)
        assert await passwords.verify("a" * 72 + "b", PLAIN_72)
        assert not await passwords.verify("a" * 71, PLAIN_72)

    async def test_a_hash_of_another_cost_verifies_and_is_not_current(self, passwords: BcryptPasswords) -> None:
        dearer = BcryptPasswords(cost=5)
        password_hash = await dearer.hash("correct horse")
        await dearer.close()
        assert await passwords.verify("correct horse", password_hash)
        assert not passwords.is_current(password_hash)

    async def test_a_hash_is_bcrypt_of_the_label_s_hmac(self, passwords: BcryptPasswords) -> None:
        # Fixed for good: if this fails, everybody who has an account is locked out.
        known = "hmac-sha256$$2b$04$abcdefghijklmnopqrstuuIhZj/n6A4TwhYF0rL3b3Az7ccOgmAcy"
        assert await passwords.verify("correct horse", known)
        assert passwords.is_current(known)

    @pytest.mark.parametrize(
        "password_hash",
        [
            None,
            "nonsense",
            "$2b$04$" + "z" * 53,
            "$2b$99$" + "." * 53,
            "hmac-sha256$$2b$04$" + "z" * 53,
            "hmac-sha256$nonsense",
            "hmac-sha256$$2b$04$" + "." * 53,
        ],
    )
    async def test_every_refusal_costs_one_comparison(
        self, passwords: BcryptPasswords, password_hash: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        costs: list[bytes] = []
        compare = bcrypt.checkpw

        def counted(password: bytes, hashed: bytes) -> bool:
            right = compare(password, hashed)  # raises before it costs anything
            costs.append(hashed[4:6])
            return right

        monkeypatch.setattr("bcrypt.checkpw", counted)
        assert await passwords.verify("correct horse", password_hash) is False
        assert costs == [b"04"]

    @pytest.mark.parametrize("right", [True, False])
    @pytest.mark.parametrize("scheme", ["", "hmac-sha256$"], ids=["plain", "ours"])
    async def test_a_cheaper_hash_takes_no_less_time_than_none(
        self, scheme: str, right: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cheap, dear = BcryptPasswords(cost=4), BcryptPasswords(cost=7)
        made = await cheap.hash("correct horse")
        kept = made if scheme else bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
        spent = 0
        compare = bcrypt.checkpw

        def counted(password: bytes, hashed: bytes) -> bool:
            nonlocal spent
            spent += 2 ** int(hashed[4:6])
            return compare(password, hashed)

        monkeypatch.setattr("bcrypt.checkpw", counted)
        assert await dear.verify("correct horse" if right else "wrong horse", kept) is right
        assert spent == 2**7
        await cheap.close()
        await dear.close()

    async def test_the_event_loop_goes_on_while_a_hash_is_made(self) -> None:
        passwords = BcryptPasswords(cost=10)
        ticks = 0
        making = asyncio.ensure_future(passwords.hash("correct horse"))
        while not making.done():
            ticks += 1
            await asyncio.sleep(0.001)
        await passwords.close()
        assert ticks > 5

    async def test_when_too_many_wait_the_next_is_refused_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        passwords = BcryptPasswords(cost=4, threads=1, waiting=2)
        gate = threading.Event()
        compare = bcrypt.checkpw

        def slow(password: bytes, hashed: bytes) -> bool:
            assert gate.wait(10)
            return compare(password, hashed)

        monkeypatch.setattr("bcrypt.checkpw", slow)
        waiting = [asyncio.ensure_future(passwords.verify("x", None)) for _ in range(3)]
        await asyncio.sleep(0)
        started = time.perf_counter()
        with pytest.raises(Unavailable) as refused:
            await passwords.verify("x", None)
        assert time.perf_counter() - started < 0.1
        assert refused.value.retry_after == 1
        gate.set()
        assert await asyncio.gather(*waiting) == [False] * 3
        assert await passwords.verify("x", None) is False
        await passwords.close()

    async def test_who_goes_away_while_waiting_frees_the_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        passwords = BcryptPasswords(cost=4, threads=1, waiting=1)
        gate, working = threading.Event(), threading.Event()

        def slow(*_: bytes) -> bool:
            working.set()
            assert gate.wait(10)
            return False

        monkeypatch.setattr("bcrypt.checkpw", slow)
        at_work = asyncio.ensure_future(passwords.verify("x", None))
        assert await asyncio.to_thread(working.wait, 10)
        waits = asyncio.ensure_future(passwords.verify("x", None))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        next_one = asyncio.ensure_future(passwords.verify("x", None))
        await asyncio.sleep(0)
        at_work.cancel()  # its thread works on, so its place is taken
        await asyncio.gather(at_work, return_exceptions=True)
        with pytest.raises(Unavailable):
            await passwords.verify("x", None)
        gate.set()
        assert await next_one is False
        await passwords.close()

    async def test_after_the_end_nothing_can_be_asked(self, passwords: BcryptPasswords) -> None:
        await passwords.close()
        with pytest.raises(Unavailable):
            await passwords.hash("correct horse")
