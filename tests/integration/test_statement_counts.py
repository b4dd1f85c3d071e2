"""How many SQL statements a request costs: few, and as many for fifty films as for one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.postgres.pool import BEGIN
from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.settings import Settings
from tests.api import PASSWORD, Api, api_over, film

READS = {
    # path: statements for a stranger, None where they are not let in; and for somebody signed in
    "/api/movies/?": (2, 4),
    "/api/movies/?search=film&genre=18&ordering=title&": (2, 4),
    "/api/movies/1/?": (1, 3),
    "/api/movies/tmdb/1001/?": (2, 4),
    "/api/movies/popular/?": (0, 2),
    "/api/movies/trending/?": (0, 2),
    "/api/movies/top_rated/?": (0, 2),
    "/api/movies/search/?q=film&": (0, 2),
    "/api/movies/search/?q=film&genre=18&": (0, 2),
    "/api/movies/1/recommendations/?": (1, 3),
    "/api/movies/1/reviews/?": (1, 2),
    "/api/movies/genres/?": (0, 1),
    "/api/movies/favorites/my_favorites/?": (None, 2),
    "/api/movies/ratings/my_ratings/?": (None, 2),
    "/api/auth/sessions/?": (None, 2),
    "/api/auth/users/me/?": (None, 1),
    "/api/auth/users/?": (None, 2),
    "/api/auth/users/?search=lic&": (None, 2),
    "/api/auth/users/1/?": (None, 2),
    "/api/auth/audit/?": (None, 2),
    "/api/auth/audit/?user=1&event=sign_in&": (None, 2),
}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that any connection is given, as it is given."""
    seen: list[str] = []

    def counting(real: Any) -> Any:
        def counted(self: Any, query: str, *args: Any) -> Any:
            seen.append(query)
            return real(self, query, *args)

        return counted

    for name in ("fetch", "execute"):
        monkeypatch.setattr(asyncpg.Connection, name, counting(getattr(asyncpg.Connection, name)))
    return seen


@pytest.fixture
async def api(migrated_url: str, statements: list[str]) -> AsyncIterator[Api]:
    """The application on Postgres, with sixty films; a page kept in front of the router would hide what it costs."""
    settings = Settings(database_url=migrated_url, secret_key="k" * 32, bcrypt_cost=4, public_max_age=0)
    container = Container(settings=settings)
    container.clock.override(MemoryClock())
    container.catalogue.override(MemoryCatalogue())
    async with AsyncExitStack() as stack:
        for port in (container.storage, container.passwords):
            stack.push_async_callback(port().close)
        async with api_over(container) as api:
            await api.knows(*map(film, range(1, 61)))
            yield api


async def superuser(api: Api) -> str:
    """The access token of alice, who may do anything; her id is 1."""
    token = await api.joined()
    async with api.container.storage().transaction() as uow:
        await uow.users.save(replace(await uow.users.get(1), is_staff=True, is_superuser=True))
    return token


async def cost(api: Api, statements: list[str], path: str, token: str | None) -> int:
    """How many statements a request costs that is not the first of its kind."""
    assert (await api.get(path, token=token)).status_code == 200, path
    statements.clear()
    await api.get(path, token=token)
    return len(statements)


async def test_a_read_costs_as_few_statements_for_fifty_films_as_for_one(api: Api, statements: list[str]) -> None:
    token = await superuser(api)
    for movie in range(1, 61):
        await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
        await api.post(f"/api/movies/{movie}/rate/", {"rating": 5, "review": "x"}, token=token)
    for path, (stranger, friend) in READS.items():
        for caller, most in ((None, stranger), (token, friend)):
            if most is not None:
                costs = {size: await cost(api, statements, f"{path}page_size={size}", caller) for size in (1, 50)}
                assert costs[1] == costs[50], path
                assert costs[50] <= most, (path, statements)


async def test_what_the_catalogue_tells_is_kept_in_one_statement_a_page(api: Api, statements: list[str]) -> None:
    api.catalogue.films = [film(n) for n in range(1, 101)]  # forty of them new
    for size, pages in ((20, 1), (100, 4)):  # the first page is cached by then
        statements.clear()
        assert (await api.get(f"/api/movies/popular/?page_size={size}")).status_code == 200
        assert len([statement for statement in statements if statement not in (BEGIN, "COMMIT")]) == pages


@pytest.mark.parametrize(
    ("method", "path", "body", "most"),
    [
        ("POST", "/api/movies/1/rate/", {"rating": 5}, 4),
        ("PATCH", "/api/movies/1/rate/", {"rating": 6}, 5),
        ("DELETE", "/api/movies/1/remove_rating/", None, 4),
        ("POST", "/api/movies/2/add_to_favorites/", None, 4),
        ("DELETE", "/api/movies/1/remove_from_favorites/", None, 4),
        ("PATCH", "/api/auth/users/update_profile/", {"bio": "x"}, 5),
        ("PATCH", "/api/auth/users/update_profile/", {"email": "new@example.org"}, 6),
        ("POST", "/api/auth/users/change_password/", {"current_password": PASSWORD, "new_password": PASSWORD[::-1]}, 8),
        ("DELETE", "/api/auth/users/me/", {"password": PASSWORD}, 7),
        ("PATCH", "/api/auth/users/2/", {"is_active": False}, 8),
        ("PATCH", "/api/auth/users/2/", {"is_staff": True}, 7),
        ("PATCH", "/api/auth/users/2/", {"is_active": True, "is_staff": False}, 5),
        ("DELETE", "/api/auth/sessions/", None, 4),
    ],
)
async def test_a_write_costs_few_statements(
    api: Api, statements: list[str], method: str, path: str, body: dict[str, Any] | None, most: int
) -> None:
    token = await superuser(api)
    await api.register("bob")
    await api.post("/api/movies/1/rate/", {"rating": 5}, token=token)
    await api.post("/api/movies/1/add_to_favorites/", token=token)
    statements.clear()
    assert (await api(method, path, body, token=token)).status_code < 300
    assert len(statements) <= most, statements


async def test_coming_in_staying_in_and_being_kept_out_cost_few_statements(api: Api, statements: list[str]) -> None:
    async def ask(path: str, body: dict[str, Any], status: int, most: int) -> Any:
        statements.clear()
        answer = await api.post(path, body)
        assert answer.status_code == status, answer.text
        assert len(statements) <= most, statements
        return answer.json()

    bob = {"username": "bob", "email": "bob@example.org", "password": PASSWORD}
    await ask("/api/auth/users/", bob, 201, 4)
    tokens = await ask("/api/auth/token/", {"username": "bob", "password": PASSWORD}, 200, 6)
    await ask("/api/auth/token/", {"username": "bob", "password": "wrong"}, 401, 2)
    await ask("/api/auth/token/", {"username": "nobody", "password": "wrong"}, 401, 2)
    refresh = {"refresh": tokens["refresh"]}
    await ask("/api/auth/token/refresh/", refresh, 200, 4)
    await ask("/api/auth/token/refresh/", refresh, 200, 3)
    api.clock.advance(seconds=60)
    await ask("/api/auth/token/refresh/", refresh, 401, 5)
    await ask("/api/auth/token/refresh/", refresh, 401, 3)
