"""Favourites over HTTP."""

import asyncio

from tests.api import Api, fields, film, problem

ENVELOPE = {"count", "page", "page_size", "total_pages", "next", "previous", "next_cursor", "results"}
MINE = "/api/movies/favorites/my_favorites/"


async def test_a_film_becomes_a_favorite(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    answer = await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
    assert answer.status_code == 201
    assert answer.json().keys() == {"message"}


async def test_a_favorite_added_twice_is_one(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
    answer = await api.post(f"/api/movies/{movie}/add_to_favorites", token=token)
    assert answer.status_code == 200
    assert answer.json().keys() == {"message"}
    assert (await api.get(MINE, token=token)).json()["count"] == 1


async def test_ten_at_once_leave_one_favorite(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    calls = [api.post(f"/api/movies/{movie}/add_to_favorites/", token=token) for _ in range(10)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
    assert statuses == [200] * 9 + [201]
    assert (await api.get(MINE, token=token)).json()["count"] == 1


async def test_favorites_are_listed_newest_first(api: Api) -> None:
    ids, token = await api.knows(*map(film, range(12))), await api.joined()
    for movie in ids:
        api.clock.advance(seconds=1)
        await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
    answer = await api.get(MINE, token=token)
    page = answer.json()
    assert answer.status_code == 200
    assert page.keys() == ENVELOPE
    assert (page["count"], page["total_pages"], len(page["results"])) == (12, 2, 10)
    assert all(favorite.keys() == {"id", "movie", "created_at"} for favorite in page["results"])
    assert [favorite["movie"]["id"] for favorite in page["results"]] == ids[:1:-1]
    assert all(favorite["movie"]["is_favorite"] for favorite in page["results"])
    assert page["results"][0]["created_at"] == "2030-01-01T12:00:12Z"
    assert page["next"] == f"http://hub.test{MINE}?page=2"
    rest = (await api.get(page["next"], token=token)).json()
    assert [favorite["movie"]["id"] for favorite in rest["results"]] == ids[1::-1]


async def test_a_favorite_shows_the_rating_too(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
    await api.post(f"/api/movies/{movie}/rate/", {"rating": 8}, token=token)
    (favorite,) = (await api.get(MINE, token=token)).json()["results"]
    assert favorite["movie"]["user_rating"]["rating"] == 8


async def test_a_favorite_can_be_taken_back(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
    answer = await api("DELETE", f"/api/movies/{movie}/remove_from_favorites/", token=token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.get(MINE, token=token)).json()["results"] == []
    again = await api("DELETE", f"/api/movies/{movie}/remove_from_favorites/", token=token)
    problem(again, 404, "favorite-not-found")


async def test_a_film_that_is_not_there_is_no_favorite(api: Api) -> None:
    token = await api.joined()
    problem(await api.post("/api/movies/77/add_to_favorites/", token=token), 404, "movie-not-found")
    answer = await api("DELETE", "/api/movies/77/remove_from_favorites/", token=token)
    assert answer.status_code == 404
    answer = await api.post("/api/movies/1_0/add_to_favorites/", token=token)
    assert fields(answer, 404, "not-found") == {"movie_id": "format"}


async def test_favorites_are_ones_own(api: Api) -> None:
    (movie,), alice, bob = await api.knows(film(1)), await api.joined(), await api.joined("bob")
    await api.post(f"/api/movies/{movie}/add_to_favorites/", token=alice)
    assert (await api.get(MINE, token=bob)).json()["count"] == 0
    assert (await api("DELETE", f"/api/movies/{movie}/remove_from_favorites/", token=bob)).status_code == 404
    assert (await api.get(f"/api/movies/{movie}/", token=bob)).json()["is_favorite"] is False
    assert (await api.get(f"/api/movies/{movie}/", token=alice)).json()["is_favorite"] is True


async def test_favorites_want_a_signed_in_caller(api: Api) -> None:
    (movie,) = await api.knows(film(1))
    for method, path in (
        ("POST", f"/api/movies/{movie}/add_to_favorites/"),
        ("DELETE", f"/api/movies/{movie}/remove_from_favorites/"),
        ("GET", MINE),
    ):
        problem(await api(method, path), 401, "unauthenticated")


async def test_a_favorite_needs_no_body_and_reads_none(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    answer = await api(
        "POST", f"/api/movies/{movie}/add_to_favorites/", token=token, content=b"{", headers={"Content-Type": "a/b"}
    )
    assert answer.status_code == 201
