"""Ratings and reviews over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.api import PASSWORD, Api, fields, film, problem

ENVELOPE = {"count", "page", "page_size", "total_pages", "next", "previous", "next_cursor", "results"}
RATING = {"id", "movie", "rating", "review", "created_at", "updated_at"}
MINE = "/api/movies/ratings/my_ratings/"


async def rated(api: Api, movie: int, token: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
    answer = await api(method, f"/api/movies/{movie}/rate/", body, token=token)
    assert answer.status_code in (200, 201), answer.text
    rating: dict[str, Any] = answer.json()
    return rating


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_first_rating_is_201_and_a_second_200(api: Api, method: str) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    body = {"rating": 8, "review": "Well made.\nTwice."}
    first = await api(method, f"/api/movies/{movie}/rate/", body, token=token)
    assert first.status_code == 201
    assert first.json().keys() == RATING
    assert (first.json()["rating"], first.json()["review"]) == (8, "Well made.\nTwice.")
    assert (first.json()["movie"]["id"], first.json()["movie"]["user_rating"]["rating"]) == (movie, 8)
    assert first.json()["created_at"] == first.json()["updated_at"] == "2030-01-01T12:00:00Z"
    api.clock.advance(seconds=5)
    second = await api(method, f"/api/movies/{movie}/rate", {"rating": 3}, token=token)
    assert second.status_code == 200
    assert (second.json()["rating"], second.json()["review"]) == (3, None)  # both fields are set
    assert second.json()["id"] == first.json()["id"]
    assert (second.json()["created_at"], second.json()["updated_at"]) == (
        "2030-01-01T12:00:00Z",
        "2030-01-01T12:00:05Z",
    )


async def test_a_patch_changes_what_it_names_alone(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await rated(api, movie, token, {"rating": 8, "review": "Good"})
    for body, rating, review in (
        ({"rating": 9}, 9, "Good"),
        ({"review": "Better"}, 9, "Better"),
        ({"rating": 1, "review": ""}, 1, None),
        ({"review": "Bad"}, 1, "Bad"),
        ({"review": None}, 1, None),
        ({}, 1, None),
    ):
        answer = await api("PATCH", f"/api/movies/{movie}/rate/", body, token=token)
        assert answer.status_code == 200
        assert answer.json().keys() == RATING
        assert (answer.json()["rating"], answer.json()["review"]) == (rating, review)


async def test_there_is_nothing_to_patch_before_a_rating(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    answer = await api("PATCH", f"/api/movies/{movie}/rate/", {"rating": 5}, token=token)
    problem(answer, 404, "rating-not-found")
    assert (await api.get(MINE, token=token)).json()["count"] == 0


async def test_a_rating_is_an_integer_from_one_to_ten(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    for number in (1, 10):
        await rated(api, movie, token, {"rating": number})
    for wrong in ("0", "11", "-1", "5.0", "5.5", '"5"', "true", "null", "[5]", "{}", "1e1", "9" * 40):
        for method in ("POST", "PUT", "PATCH"):
            body = b'{"rating": %s}' % wrong.encode()
            answer = await api(method, f"/api/movies/{movie}/rate/", token=token, content=body)
            assert fields(answer).keys() == {"rating"}, wrong
    assert (await api.get(f"/api/movies/{movie}/", token=token)).json()["user_rating"]["rating"] == 10


async def test_the_message_says_what_a_rating_is(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    document = problem(
        await api.post(f"/api/movies/{movie}/rate/", {"rating": 11}, token=token), 400, "invalid-request"
    )
    assert document["detail"] == "rating: expected an integer from 1 to 10"
    assert document["errors"] == [
        {"field": "rating", "code": "out_of_range", "message": "expected an integer from 1 to 10"}
    ]


async def test_every_fault_of_a_rating_is_told_at_once(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    path = f"/api/movies/{movie}/rate/"
    wrong = {"rating": 0, "review": "x" * 5_001, "stars": 5}
    for method in ("POST", "PUT", "PATCH"):
        assert fields(await api(method, path, wrong, token=token)).keys() == wrong.keys()
    assert fields(await api.post(path, {"review": "bell\x07"}, token=token)) == {
        "rating": "required",
        "review": "characters",
    }


async def test_a_review_may_be_long_and_in_any_script(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    review = "好" * 4_990 + "\n\t🎬 ≤ 5"
    assert (await rated(api, movie, token, {"rating": 5, "review": review}))["review"] == review


async def test_a_rating_can_be_taken_back(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await rated(api, movie, token, {"rating": 5})
    answer = await api("DELETE", f"/api/movies/{movie}/remove_rating/", token=token)
    assert (answer.status_code, answer.content) == (204, b"")
    again = await api("DELETE", f"/api/movies/{movie}/remove_rating/", token=token)
    problem(again, 404, "rating-not-found")
    assert (await api.get(f"/api/movies/{movie}/")).json()["average_rating"] is None


async def test_a_film_that_is_not_there_cannot_be_rated(api: Api) -> None:
    token = await api.joined()
    problem(await api.post("/api/movies/77/rate/", {"rating": 5}, token=token), 404, "movie-not-found")
    assert (await api("PATCH", "/api/movies/77/rate/", {"rating": 5}, token=token)).status_code == 404
    assert (await api("DELETE", "/api/movies/77/remove_rating/", token=token)).status_code == 404
    assert fields(await api.post("/api/movies/0/rate/", {"rating": 5}, token=token), 404, "not-found") == {
        "movie_id": "format"
    }


async def test_ones_ratings_are_listed_newest_change_first(api: Api) -> None:
    ids, token = await api.knows(*map(film, range(3))), await api.joined()
    for movie in ids:
        api.clock.advance(seconds=1)
        await rated(api, movie, token, {"rating": 5})
    api.clock.advance(seconds=1)
    await rated(api, ids[0], token, {"review": "on second thoughts"}, "PATCH")
    page = (await api.get(MINE, token=token)).json()
    assert page.keys() == ENVELOPE
    assert all(rating.keys() == RATING for rating in page["results"])
    assert [rating["movie"]["id"] for rating in page["results"]] == [ids[0], ids[2], ids[1]]
    assert (page["count"], page["next"], page["previous"]) == (3, None, None)
    bob = await api.joined("bob")
    assert (await api.get(MINE, token=bob)).json()["count"] == 0


async def test_a_rating_shows_in_the_average_at_once(api: Api) -> None:
    (movie,), alice, bob = await api.knows(film(1)), await api.joined(), await api.joined("bob")
    path = f"/api/movies/{movie}/"
    assert [(await api.get(path)).json()[name] for name in ("average_rating", "ratings_count")] == [None, 0]
    for token, rating, average, count in ((alice, 7, 7.0, 1), (bob, 8, 7.5, 2), (alice, 2, 5.0, 2)):
        await rated(api, movie, token, {"rating": rating})
        for caller in (None, alice, bob):
            detail = (await api.get(path, token=caller)).json()
            assert (detail["average_rating"], detail["ratings_count"]) == (average, count)


async def test_everybodys_reviews_are_listed_newest_first(api: Api) -> None:
    (movie, other), alice, bob = await api.knows(film(1), film(2)), await api.joined(), await api.joined("bob")
    await rated(api, movie, await api.joined("carol"), {"rating": 5})  # says nothing
    await rated(api, movie, alice, {"rating": 9, "review": "Good"})
    await rated(api, other, alice, {"rating": 1, "review": "Elsewhere"})
    api.clock.advance(seconds=1)
    await rated(api, movie, bob, {"rating": 2, "review": "Bad"})
    answer = await api.get(f"/api/movies/{movie}/reviews/")
    assert answer.status_code == 200
    assert answer.json().keys() == ENVELOPE
    assert answer.json()["results"] == [
        {"username": "bob", "rating": 2, "review": "Bad", "updated_at": "2030-01-01T12:00:01Z"},
        {"username": "alice", "rating": 9, "review": "Good", "updated_at": "2030-01-01T12:00:00Z"},
    ]
    second = (await api.get(f"/api/movies/{movie}/reviews?page=2&page_size=1", token=bob)).json()
    assert [review["username"] for review in second["results"]] == ["alice"]
    problem(await api.get("/api/movies/77/reviews/"), 404, "movie-not-found")


async def test_ten_at_once_leave_one_rating(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    calls = [api.post(f"/api/movies/{movie}/rate/", {"rating": n}, token=token) for n in range(1, 11)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*calls)) == [200] * 9 + [201]
    (kept,) = (await api.get(MINE, token=token)).json()["results"]
    detail = (await api.get(f"/api/movies/{movie}/")).json()
    assert (detail["average_rating"], detail["ratings_count"]) == (kept["rating"], 1)


async def test_ratings_want_a_signed_in_caller(api: Api) -> None:
    (movie,) = await api.knows(film(1))
    for method in ("POST", "PUT", "PATCH"):
        problem(await api(method, f"/api/movies/{movie}/rate/", {"rating": 5}), 401, "unauthenticated")
    problem(await api("DELETE", f"/api/movies/{movie}/remove_rating/"), 401, "unauthenticated")
    problem(await api.get(MINE), 401, "unauthenticated")


async def test_ratings_go_with_their_account(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    await rated(api, movie, token, {"rating": 9, "review": "Good"})
    await api("DELETE", "/api/auth/users/me/", {"password": PASSWORD}, token=token)
    assert (await api.get(f"/api/movies/{movie}/")).json()["ratings_count"] == 0
    assert (await api.get(f"/api/movies/{movie}/reviews/")).json()["count"] == 0
