"""The storage in memory keeps every promise of the ports."""

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.application.storage import Storage
from moviehub.domain.ratings import Opinion
from tests.contracts.audit import LONG, AuditContract, write
from tests.contracts.favorites import FavoritesContract
from tests.contracts.movies import MoviesContract
from tests.contracts.ratings import MANY, ManyReviewsContract, RatingsContract
from tests.contracts.sessions import SessionsContract
from tests.contracts.storage import NOW, StorageContract, facts, new_user
from tests.contracts.users import UsersContract, the_crowd


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
            for user in the_crowd():
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


class TestMemoryReviews(ManyReviewsContract):
    @pytest.fixture
    async def much_reviewed(self, storage: Storage) -> Storage:
        async with storage.transaction() as uow:
            (movie,) = await uow.movies.remember([facts(1)], NOW)
            for number in range(1, MANY + 1):
                user = await uow.users.add(new_user(f"user{number}"), NOW)
                await uow.ratings.save(user.id, movie.id, Opinion(score=5, review="so so"), NOW)
        return storage


class TestMemoryAudit(AuditContract):
    @pytest.fixture
    async def long_trail(self, storage: Storage) -> Storage:
        with capture_logs():
            await write(storage, *LONG)
        return storage
