"""The storage in memory keeps every promise of the ports."""

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.application.storage import Storage
from tests.contracts.audit import LONG, AuditContract, write
from tests.contracts.favorites import FavoritesContract
from tests.contracts.movies import MoviesContract
from tests.contracts.ratings import RatingsContract
from tests.contracts.sessions import SessionsContract
from tests.contracts.storage import NOW, StorageContract
from tests.contracts.users import CROWD, UsersContract


@pytest.fixture
def storage() -> Storage:
    return MemoryStorage()


class TestMemoryStorage(StorageContract):
    async def test_it_answers_and_closes(self) -> None:
        storage = MemoryStorage()
        await storage.ping()
        await storage.close()


class TestMemoryUsers(UsersContract):
    @pytest.fixture
    async def crowd(self, storage: Storage) -> Storage:
        async with storage.transaction() as uow:
            for user in CROWD:
                await uow.users.add(user, NOW)
        return storage


class TestMemorySessions(SessionsContract):
    pass


class TestMemoryMovies(MoviesContract):
    pass


class TestMemoryFavorites(FavoritesContract):
    pass


class TestMemoryRatings(RatingsContract):
    pass


class TestMemoryAudit(AuditContract):
    @pytest.fixture
    async def long_trail(self, storage: Storage) -> Storage:
        with capture_logs():
            await write(storage, *LONG)
        return storage
