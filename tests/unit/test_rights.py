"""Who may do what: every route as a stranger, as the owner of a thing, as somebody else, as staff, as a superuser."""

import itertools
import re
from dataclasses import dataclass
from typing import Any

import httpx
from litestar.routes import HTTPRoute

from moviehub.application.sessions import Grant
from moviehub.domain.pages import PageRequest
from moviehub.entrypoints.http.app import declared
from moviehub.entrypoints.use_cases import use_cases
from tests.api import PASSWORD, Api, film, problem

CALLERS = ("anonymous", "owner", "other", "staff", "superuser")
"""The ids and tokens in a request are always the owner's."""

TABLE = """
                                                      anonymous  owner  other  staff  superuser
POST    /api/auth/users                                     201    201    201    201        201
GET     /api/auth/users                                     401    403    403    200        200
GET     /api/auth/users/{user_id}                           401    403    403    200        200
PATCH   /api/auth/users/{user_id}                           401    403    403    200        200
GET     /api/auth/users/me                                  401    200    200    200        200
DELETE  /api/auth/users/me                                  401    204    204    204        204
PUT     /api/auth/users/update_profile                      401    200    200    200        200
PATCH   /api/auth/users/update_profile                      401    200    200    200        200
POST    /api/auth/users/change_password                     401    204    204    204        204
POST    /api/auth/token                                     200    200    200    200        200
POST    /api/auth/token/refresh                             200    200    200    200        200
POST    /api/auth/token/verify                              200    200    200    200        200
POST    /api/auth/token/revoke                              200    200    200    200        200
POST    /api/auth/token/blacklist                           200    200    200    200        200
GET     /api/auth/sessions                                  401    200    200    200        200
DELETE  /api/auth/sessions                                  401    204    204    204        204
DELETE  /api/auth/sessions/{session_id}                     401    204    404    404        404
GET     /api/auth/audit                                     401    403    403    200        200
POST    /api/admin/cache/flush                              401    403    403    204        204
GET     /api/movies                                         200    200    200    200        200
GET     /api/movies/{movie_id}                              200    200    200    200        200
GET     /api/movies/tmdb/{tmdb_id}                          200    200    200    200        200
GET     /api/movies/trending                                200    200    200    200        200
GET     /api/movies/popular                                 200    200    200    200        200
GET     /api/movies/top_rated                               200    200    200    200        200
GET     /api/movies/search                                  200    200    200    200        200
GET     /api/movies/genres                                  200    200    200    200        200
GET     /api/movies/{movie_id}/recommendations              200    200    200    200        200
GET     /api/movies/{movie_id}/reviews                      200    200    200    200        200
POST    /api/movies/{movie_id}/add_to_favorites             401    200    201    201        201
DELETE  /api/movies/{movie_id}/remove_from_favorites        401    204    404    404        404
GET     /api/movies/favorites/my_favorites                  401    200    200    200        200
POST    /api/movies/{movie_id}/rate                         401    200    201    201        201
PUT     /api/movies/{movie_id}/rate                         401    200    201    201        201
PATCH   /api/movies/{movie_id}/rate                         401    200    404    404        404
DELETE  /api/movies/{movie_id}/remove_rating                401    204    404    404        404
GET     /api/movies/ratings/my_ratings                      401    200    200    200        200
GET     /health/live                                        200    200    200    200        200
GET     /health/ready                                       200    200    200    200        200
GET     /metrics                                            200    200    200    200        200
GET     /                                                   200    200    200    200        200
GET     /docs                                               200    200    200    200        200
GET     /docs/assets/{name}                                 200    200    200    200        200
GET     /docs/reference                                     200    200    200    200        200
GET     /openapi.json                                       200    200    200    200        200
GET     /problems                                           200    200    200    200        200
GET     /problems/{slug}                                    200    200    200    200        200
"""
ROWS = {tuple(row.split()[:2]): row.split()[2:] for row in TABLE.strip().splitlines()[1:]}


@dataclass
class Person:
    """Somebody with an account, two sessions, a favourite and a rating of the only film."""

    grant: Grant
    session_id: int

    @property
    def id(self) -> int:
        """The account's."""
        return self.grant.user.id


class Stage:
    """An application with a film, and people as they are needed."""

    def __init__(self, api: Api, movie_id: int, root_id: int) -> None:
        self.api = api
        self.cases = use_cases(api.container)
        self.movie_id = movie_id
        self.root_id = root_id
        self.numbers = itertools.count()

    async def person(self, *, opinion: bool = False, staff: bool = False, superuser: bool = False) -> Person:
        """Somebody new."""
        name = f"person{next(self.numbers)}"
        account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        user = await self.cases["register"](**account, is_superuser=superuser)
        if staff:
            await self.cases["govern_user"](actor_id=self.root_id, user_id=user.id, is_staff=True)
        elsewhere = await self.cases["sign_in"](login=name, password=PASSWORD)
        session = (await self.cases["authenticate"](access=elsewhere.access)).session
        if opinion:
            await self.cases["add_favorite"](user_id=user.id, movie_id=self.movie_id)
            await self.cases["rate_movie"](user_id=user.id, movie_id=self.movie_id, score=9, review="Mine.")
        return Person(await self.cases["sign_in"](login=name, password=PASSWORD), session.id)

    async def token_of(self, caller: str, owner: Person) -> str | None:
        """The access token of such a caller."""
        match caller:
            case "anonymous":
                return None
            case "owner":
                return owner.grant.access
        return (await self.person(staff=caller == "staff", superuser=caller == "superuser")).grant.access

    async def call(self, method: str, path: str, owner: Person, token: str | None) -> httpx.Response:
        """A request that is good as it is, with ids and secrets of the owner."""
        known = {"movie_id": self.movie_id, "tmdb_id": 1_001, "user_id": owner.id, "session_id": owner.session_id}
        target = path.format(**known, name="start.js", slug="forbidden") + ("?q=film" if "search" in path else "")
        return await self.api(method, target, self.body(method, path, owner), token=token)

    def body(self, method: str, path: str, owner: Person) -> dict[str, Any] | None:
        """What the call wants to be told."""
        name = f"new{next(self.numbers)}"
        bodies: dict[str, dict[str, Any]] = {
            "POST /api/auth/users": {"username": name, "email": f"{name}@example.org", "password": PASSWORD},
            "PATCH /api/auth/users/{user_id}": {"is_active": False},
            "DELETE /api/auth/users/me": {"password": PASSWORD},
            "PUT /api/auth/users/update_profile": {"bio": "New."},
            "PATCH /api/auth/users/update_profile": {"bio": "New."},
            "POST /api/auth/users/change_password": {"current_password": PASSWORD, "new_password": "another phrase"},
            "POST /api/auth/token": {"username": owner.grant.user.username, "password": PASSWORD},
            "POST /api/auth/token/refresh": {"refresh": owner.grant.refresh},
            "POST /api/auth/token/verify": {"token": owner.grant.access},
            "POST /api/auth/token/revoke": {"refresh": owner.grant.refresh},
            "POST /api/auth/token/blacklist": {"refresh": owner.grant.refresh},
        }
        return bodies.get(f"{method} {path}", {"rating": 5} if path.endswith("/rate") else None)

    async def belongings(self, owner: Person) -> list[Any]:
        """All that is the owner's."""
        whole = {"user_id": owner.id, "page": PageRequest()}
        lists = [await self.cases[name](**whole) for name in ("list_sessions", "list_favorites", "list_ratings")]
        return [await self.cases["get_user"](user_id=owner.id), *lists]


async def stage_of(api: Api) -> Stage:
    (movie,) = await api.knows(film(1))
    account = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    root = await use_cases(api.container)["register"](**account, is_superuser=True)
    return Stage(api, movie, root.id)


async def signed_calls(api: Api, *, staff_only: bool = False) -> list[tuple[str, str]]:
    """Method and path of every call that looks at who is calling."""
    found = []
    for path, item in (await api.get("/openapi.json")).json()["paths"].items():
        for method, operation in item.items():
            security = operation.get("security", [])
            if {"bearer": ["staff"]} in security if staff_only else security:
                found.append((method.upper(), path.rstrip("/")))
    assert len(found) > 4
    return found


async def test_the_table_knows_every_route_and_no_other(api: Api) -> None:
    routed = set()
    for route in declared().routes:
        assert isinstance(route, HTTPRoute)
        routed |= {(method, re.sub(r":\w+}", "}", route.path)) for method in route.methods - {"OPTIONS"}}
    assert set(ROWS) == routed


async def test_everybody_gets_what_the_table_says(api: Api) -> None:
    stage = await stage_of(api)
    told = {}
    for (method, path), row in ROWS.items():
        answers = []
        for caller in CALLERS:
            owner = await stage.person(opinion=True)
            token = await stage.token_of(caller, owner)
            answers.append(str((await stage.call(method, path, owner, token)).status_code))
        told[method, path] = answers
        assert len(row) == len(CALLERS)
    assert told == ROWS


async def test_nobody_changes_or_sees_what_is_somebody_elses(api: Api) -> None:
    stage = await stage_of(api)
    for method, path in ROWS:
        if "/token" not in path:  # who has a token may use it, whoever they are
            for caller in ("anonymous", "other", "staff", "superuser"):
                owner = await stage.person(opinion=True)
                token, before = await stage.token_of(caller, owner), await stage.belongings(owner)
                answer = await stage.call(method, path, owner, token)
                governed = (method, path) == ("PATCH", "/api/auth/users/{user_id}") and answer.is_success
                assert (await stage.belongings(owner) == before) is not governed, (method, path, caller)
                if caller in ("anonymous", "other"):
                    assert owner.grant.user.email not in answer.text, (method, path, caller)


async def test_who_is_kept_out_is_refused_at_once_everywhere(api: Api) -> None:
    stage = await stage_of(api)
    alice = await stage.person(opinion=True, staff=True)
    for method, path in [("GET", "/api/auth/users"), ("GET", "/api/movies")]:
        assert (await stage.call(method, path, alice, alice.grant.access)).status_code == 200
    await stage.cases["govern_user"](actor_id=stage.root_id, user_id=alice.id, is_active=False)
    for method, path in await signed_calls(api):
        problem(await stage.call(method, path, alice, alice.grant.access), 401, "invalid-token")
    for method, path, slug in (
        ("POST", "/api/auth/token", "bad-credentials"),
        ("POST", "/api/auth/token/refresh", "invalid-token"),
        ("POST", "/api/auth/token/verify", "invalid-token"),
    ):
        problem(await stage.call(method, path, alice, None), 401, slug)


async def test_rights_count_from_when_they_are_given_until_they_are_taken(api: Api) -> None:
    stage = await stage_of(api)
    alice = await stage.person()
    for is_staff in (False, True, False):
        await stage.cases["govern_user"](actor_id=stage.root_id, user_id=alice.id, is_staff=is_staff)
        for method, path in await signed_calls(api, staff_only=True):
            answer = await stage.call(method, path, await stage.person(), alice.grant.access)
            assert answer.is_success is is_staff, (method, path)
            if not is_staff:
                problem(answer, 403, "forbidden")
        assert (await api.get("/api/auth/users/me/", token=alice.grant.access)).status_code == 200
