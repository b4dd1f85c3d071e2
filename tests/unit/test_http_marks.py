"""One page for all: what strangers see, in which who is signed in finds what they have said of its films."""

from typing import Any

import pytest

from moviehub.domain.limits import Limit
from moviehub.domain.movies import Mark
from moviehub.entrypoints.http.movies import UNMARKED, marked_body
from tests.api import Api, api_in_memory, film, problem

LISTS = (
    "/api/movies/",
    *(
        f"/api/movies/{name}"
        for name in ("popular/", "trending/", "top_rated/", "search/?q=film", "1/recommendations/")
    ),
    "/api/v1/movies/popular/",
)
TRICKY = UNMARKED.decode()


async def staged(api: Api) -> dict[str, str]:
    """Two people's tokens; the first has a favourite and a rating, the second another opinion."""
    await api.knows(film(1), film(2, title=TRICKY, overview=f"film {TRICKY} {TRICKY}"), film(3, title="Film 3"))
    tokens = {name: await api.joined(name) for name in ("alice", "bob")}
    assert (await api.post("/api/movies/2/add_to_favorites/", token=tokens["alice"])).status_code == 201
    opinion = {"rating": 7, "review": f"{TRICKY}\n\u2028é"}
    assert (await api.post("/api/movies/3/rate/", opinion, token=tokens["alice"])).status_code == 201
    assert (await api.post("/api/movies/3/rate/", {"rating": 2}, token=tokens["bob"])).status_code == 201
    return tokens


async def seen(api: Api, path: str, token: str | None = None) -> dict[int, tuple[bool, Any]]:
    """By film: whether it is a favourite of the caller's, and their opinion."""
    answer = await api.get(path, token=token)
    assert answer.status_code == 200, answer.text
    opinions = {each["id"]: each["user_rating"] for each in answer.json()["results"]}
    return {
        each["id"]: (each["is_favorite"], (mine := opinions[each["id"]]) and (mine["rating"], mine["review"]))
        for each in answer.json()["results"]
    }


STRANGERS: dict[int, Any] = dict.fromkeys((1, 2, 3), (False, None))
ALICES = {**STRANGERS, 2: (True, None), 3: (False, (7, f"{TRICKY}\n\u2028é"))}
BOBS = {**STRANGERS, 3: (False, (2, None))}


def among(shown: dict[int, Any], whole: dict[int, Any]) -> dict[int, Any]:
    return {movie_id: whole[movie_id] for movie_id in shown}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("order", ["stranger first", "alice first"])
async def test_everybody_sees_their_own_marks_in_one_page(path: str, order: str) -> None:
    async with api_in_memory() as api:
        tokens = await staged(api)
        callers = [(None, STRANGERS), (tokens["alice"], ALICES), (tokens["bob"], BOBS)]
        if order == "alice first":
            callers.reverse()
        for token, marks in 2 * callers:
            shown = await seen(api, path, token)
            assert len(shown) >= 2
            assert shown == among(shown, marks)
        answers = [await api.get(path, token=token) for token, _ in callers]
        assert {answer.headers["cache-status"] for answer in answers} == {"moviehub; hit"}
        assert len({answer.headers["etag"] for answer in answers}) == len({answer.text for answer in answers}) == 3
        controls = {token: answer.headers["cache-control"] for (token, _), answer in zip(callers, answers, strict=True)}
        assert controls.pop(None).startswith("public")
        assert set(controls.values()) == {"private, max-age=0"}
        bare = [{**answer.json(), "results": len(answer.json()["results"])} for answer in answers]
        assert bare[0] == bare[1] == bare[2]


async def test_a_mark_shows_in_the_very_next_answer_though_the_page_is_kept() -> None:
    async with api_in_memory() as api:
        alice = (await staged(api))["alice"]
        for path in ("/api/movies/popular/", "/api/movies/"):
            await seen(api, path)
            await api.post("/api/movies/1/rate/", {"rating": 1}, token=alice)
            assert (await seen(api, path, alice))[1] == (False, (1, None))
            await api("DELETE", "/api/movies/1/remove_rating/", token=alice)
            assert (await seen(api, path, alice))[1] == (False, None)
            assert await seen(api, path) == STRANGERS


async def test_a_page_of_ones_own_is_spared_by_its_own_tag_and_no_other() -> None:
    async with api_in_memory() as api:
        alice = (await staged(api))["alice"]
        path = "/api/movies/popular/"
        public, own = (await api.get(path)).headers["etag"], (await api.get(path, token=alice)).headers["etag"]

        async def status(token: str | None, tag: str, method: str = "GET") -> int:
            return (await api(method, path, token=token, headers={"If-None-Match": tag})).status_code

        assert [await status(None, public), await status(alice, own), await status(alice, own, "HEAD")] == [304] * 3
        assert [await status(None, own), await status(alice, public)] == [200, 200]


async def test_a_page_that_is_kept_lets_nobody_in_who_is_not_who_they_say() -> None:
    async with api_in_memory(rate_limit_user=Limit("user", 5, 60)) as api:
        alice = (await staged(api))["alice"]
        path = "/api/movies/popular/"
        await api.get(path)
        problem(await api.get(path, token="nonsense"), 401, "invalid-token")
        problem(await api.get(path, headers={"Authorization": "Basic eA=="}), 401, "invalid-token")
        statuses = [(await api.get(path, token=alice)).status_code for _ in range(6)]
        assert statuses == sorted(statuses)
        assert statuses[-1] == 429
        assert (await api.get(path)).status_code == 200


def test_marks_are_put_in_for_the_films_that_are_shown_and_for_no_other_number_of_them() -> None:
    body = b"[{%b},{%b}]" % (UNMARKED, UNMARKED)
    assert marked_body(body, (1, 2), {}) == body
    assert marked_body(body, (1, 2), {5: Mark()}) == body
    with pytest.raises(ValueError, match="zip"):
        marked_body(body, (1, 2, 3), {1: Mark()})
