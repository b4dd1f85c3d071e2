"""The storage in memory keeps every promise of the ports."""

import pytest

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.application.ports import Storage
from tests.contracts.favorites import FavoritesContract
from tests.contracts.movies import MoviesContract
from tests.contracts.ratings import RatingsContract
from tests.contracts.sessions import SessionsContract
from tests.contracts.storage import StorageContract
from tests.contracts.users import UsersContract


@pytest.fixture
def storage() -> Storage:
    return MemoryStorage()


class TestMemoryStorage(StorageContract):
    async def test_it_answers_and_closes(self) -> None:
        storage = MemoryStorage()
        await storage.ping()
        await storage.close()


class TestMemoryUsers(UsersContract):
    pass


class TestMemorySessions(SessionsContract):
    pass


class TestMemoryMovies(MoviesContract):
    pass


class TestMemoryFavorites(FavoritesContract):
    pass


class TestMemoryRatings(RatingsContract):
    pass
