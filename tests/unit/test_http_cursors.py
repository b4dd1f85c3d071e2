"""Cursors over HTTP: lists are read on behind the last thing seen, and nothing else is taken for a cursor."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import pytest

from moviehub.domain.movies import ORDERINGS
from moviehub.domain.pages import Cursor
from moviehub.entrypoints.http.cursors import Whole
from tests.api import Api, fields, film, problem

ORDERED = [sign + name for name in ORDERINGS for sign in ("", "-")]
MINE = ("/api/movies/favorites/my_favorites/", "/api/movies/ratings/my_ratings/")
REVIEWS = "/api/movies/1/reviews/"


@pytest.fixture
async def token(api: Api) -> str:
    """Somebody's, who likes and has reviewed every film of a hub, of which some have no date."""
    token = await api.joined()
    dates = (date(2001, 2, 3), date(1990, 1, 1), None)
    for movie in await api.knows(*(film(n, release_date=dates[n % 3], genre_ids=(n % 2,)) for n in range(12))):
        await api.post(f"/api/movies/{movie}/add_to_favorites/", token=token)
        await api.post(f"/api/movies/{movie}/rate/", {"rating": 5, "review": "So so."}, token=token)
    for name in ("bob", "cid", "dan"):
        await api.post("/api/movies/1/rate/", {"rating": 5, "review": "Fine."}, token=await api.joined(name))
    return token


async def page_of(api: Api, path: str, token: str | None = None) -> dict[str, Any]:
    answer = await api.get(path, token=token)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_every_list_is_read_on_by_cursor_in_the_order_of_its_pages(api: Api, token: str) -> None:
    lists = [*MINE, REVIEWS, "/api/movies/?genre=1", *(f"/api/movies/?ordering={each}" for each in ORDERED)]
    for path in lists:
        and_ = "&" if "?" in path else "?"
        whole = (await page_of(api, f"{path}{and_}page_size=100", token))["results"]
        for size in (1, 3, len(whole)):
            page = await page_of(api, f"{path}{and_}page_size={size}", token)
            found = page["results"]
            while page["next_cursor"] is not None:
                page = await page_of(api, f"{path}{and_}page_size={size}&cursor={page['next_cursor']}", token)
                found += page["results"]
            assert found == whole, (path, size)


async def test_a_page_by_cursor_has_the_same_form_and_counts_nothing(api: Api, token: str) -> None:
    first = await page_of(api, "/api/movies/?genre=1&page_size=2")
    assert (first["count"], first["page"], first["next"]) == (
        6,
        1,
        "http://hub.test/api/movies/?genre=1&page_size=2&page=2",
    )
    second = await page_of(api, f"/api/movies/?genre=1&cursor={first['next_cursor']}&page_size=2")
    del second["results"]
    assert second == {
        "count": None,
        "page": None,
        "page_size": 2,
        "total_pages": None,
        "next": f"http://hub.test/api/movies/?genre=1&page_size=2&cursor={second['next_cursor']}",
        "previous": None,
        "next_cursor": second["next_cursor"],
    }
    third = await page_of(api, second["next"])
    assert (len(third["results"]), third["next"], third["next_cursor"]) == (2, None, None)
    assert len((await page_of(api, f"/api/movies/?genre=1&cursor={first['next_cursor']}"))["results"]) == 4


async def test_the_last_page_by_number_has_no_cursor_and_any_other_has(api: Api, token: str) -> None:
    told = [await page_of(api, f"{path}?page_size=6&page={n}", token) for path in MINE for n in (1, 2)]
    assert [page["next_cursor"] is None for page in told] == [False, True, False, True]
    assert [page["next"] is None for page in told] == [False, True, False, True]


async def test_who_scrolls_gets_past_the_last_number(api: Api) -> None:
    await api.knows(*(film(number, title="Film", overview="") for number in range(10_003)))
    last = await page_of(api, "/api/movies/?page=100&page_size=100")
    assert (last["count"], last["next"]) == (10_000, None)
    beyond = await page_of(api, f"/api/movies/?page_size=2&cursor={last['next_cursor']}")
    assert len(beyond["results"]) == 2
    end = await page_of(api, beyond["next"])
    assert (len(end["results"]), end["next_cursor"]) == (1, None)


def test_a_cursor_is_the_same_in_every_worker_and_version() -> None:
    """Else whoever scrolls while a new version is brought out would be refused."""
    at = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    place = Cursor(at, 7)
    text = "WyJ2aUFjS210cCIsIjIwMzAtMDEtMDJUMDM6MDQ6MDUuNjc4OTAxWiIsN10"
    assert Whole(("favorites", 1)).tell(place) == text
    assert Whole(("favorites", 1)).place(text) == place


async def test_a_page_and_a_cursor_together_are_refused(api: Api, token: str) -> None:
    for path in ("/api/movies/", *MINE, REVIEWS):
        cursor = (await page_of(api, f"{path}?page_size=1", token))["next_cursor"]
        for page in ("1", "2"):
            assert fields(await api.get(f"{path}?cursor={cursor}&page={page}", token=token)) == {"cursor": "ambiguous"}
        assert fields(await api.get(f"{path}?cursor={cursor}&page=0", token=token)).keys() == {"page"}


async def test_a_cursor_of_another_list_is_refused(api: Api, token: str) -> None:
    bob = (await api.sign_in("bob"))["access"]
    await api.post("/api/movies/2/rate/", {"rating": 5, "review": "Fine."}, token=bob)
    narrowed = ("genre=1", "genre=0", "genre=0&genre=1", "min_rating=1", "max_rating=9.9", "search=film")
    lists = [
        *(f"{path}?" for path in ("/api/movies/", REVIEWS, "/api/movies/2/reviews/", *MINE)),
        *(f"/api/movies/?{each}&" for each in narrowed),
        *(f"/api/movies/?ordering={each}&" for each in ORDERED if each != "-popularity"),
    ]
    cursors = {path: (await page_of(api, f"{path}page_size=1", token))["next_cursor"] for path in lists}
    assert None not in cursors.values()
    for path in lists:
        for other, cursor in cursors.items():
            answer = await api.get(f"{path}cursor={cursor}", token=token)
            assert answer.status_code == (200 if other == path else 400), (path, other)
            if other != path:
                assert fields(answer) == {"cursor": "foreign"}
    for path in MINE:
        assert fields(await api.get(f"{path}?cursor={cursors[f'{path}?']}", token=bob)) == {"cursor": "foreign"}


def wrapped(told: str | bytes) -> str:
    """What would be a cursor if this were what cursors tell."""
    return (
        urlsafe_b64encode(told.encode("utf-8", "surrogatepass") if isinstance(told, str) else told).decode().rstrip("=")
    )


KEYS: dict[str, tuple[str, ...]] = {
    "popularity": ("NaN", "1e999", "-1e999", "Infinity", "1", "1.00", "1e0", '"1.0"', "null", "true", "[]", "{}"),
    "release_date": ('"2001-02-30"', '"2001-02-03T00:00:00Z"', '"10000-01-01"', '""', "0", "false", '"infinity"'),
    "title": ("null", "1", '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\u0061"', "[]"),
    "created_at": (
        *('"2001-02-03"', '"2001-02-03T04:05:06"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"'),
        *("null", "0", '"2001-02-03T04:05:06+00:00"', '"2001-02-03T04:05:06.0000001Z"', '"infinity"'),
    ),
}
GOOD = {"popularity": "1.0", "release_date": "null", "title": '"a"', "created_at": '"2001-02-03T04:05:06Z"'}
NUMBERS = ("0", "-1", "9223372036854775808", "1" + "0" * 400, "1.0", "1e0", "null", "true", '"1"', "[1]", "NaN")


async def test_what_no_list_has_told_is_refused(api: Api, token: str) -> None:
    for column, keys in KEYS.items():
        path = f"/api/movies/?ordering={column}&page_size=1"
        cursor = (await page_of(api, path))["next_cursor"]
        mark = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]

        async def asked(text: str, path: str = path) -> Any:
            return await api.get(f"{path}&cursor={quote(text, safe='')}")

        good = wrapped(f'["{mark}",{GOOD[column]},1]')
        assert (await asked(good)).status_code == 200, column
        bad = [wrapped(f'["{mark}",{key},1]') for key in keys]
        bad += [wrapped(f'["{mark}",{GOOD[column]},{number}]') for number in NUMBERS]
        bad += [wrapped(f'["{other}",{GOOD[column]},1]') for other in ("", mark.lower() + "x", mark + "=", "\0")]
        bad += [wrapped(each) for each in ("", "[]", f'["{mark}"]', "null", "0", "[" * 3_000, "\0", b"\xff\xfe")]
        bad += [wrapped(f'["{mark}",{GOOD[column]},1,1]'), wrapped(f' ["{mark}",{GOOD[column]},1]')]
        bad += [good[:size] for size in range(len(good))]
        bad += [
            *(good + more for more in ("A", "=", "==", "\n", " ", "\0", "+", "/")),
            f" {good}",
            "é",
            "",
        ]
        bad += [good.swapcase(), good[::-1], "null", "undefined", "0", "../../etc/passwd", "'; DROP TABLE movies; --"]
        for text in bad:
            assert fields(await asked(text)) == {"cursor": "foreign"}, (column, text)


async def test_a_bad_cursor_is_refused_wherever_one_is_taken_and_ignored_elsewhere(api: Api, token: str) -> None:
    for path in ("/api/movies/", *MINE, REVIEWS):
        told = problem(await api.get(f"{path}?cursor=x", token=token), 400, "invalid-request")
        assert told["detail"] == "cursor: expected the next_cursor of a page of this very list"
    for path in ("/api/movies/popular/", "/api/auth/sessions/"):
        page = await page_of(api, f"{path}?cursor=x", token)
        assert "next_cursor" not in page


async def test_the_document_tells_of_cursors_where_they_are_taken(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    taking = {
        path
        for path, item in document["paths"].items()
        if any(each["name"] == "cursor" for each in item.get("get", {}).get("parameters", []))
    }
    assert taking == {"/api/movies/", *MINE, "/api/movies/{movie_id}/reviews/"}
