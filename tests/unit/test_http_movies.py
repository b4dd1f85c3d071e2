"""Films over HTTP: the hub's own list, one film in detail, and the genres."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from moviehub.domain.movies import GENRES
from tests.api import Api, api_in_memory, fields, film, problem

ENVELOPE = {"count", "page", "page_size", "total_pages", "next", "previous", "next_cursor", "results"}
MOVIE = {
    "id",
    "tmdb_id",
    "title",
    "overview",
    "release_date",
    "poster_path",
    "poster_url",
    "backdrop_path",
    "backdrop_url",
    "popularity",
    "vote_average",
    "vote_count",
    "original_language",
    "genre_ids",
    "is_favorite",
    "user_rating",
    "created_at",
    "updated_at",
}
DETAIL = MOVIE | {"genres", "average_rating", "ratings_count"}


async def titles(api: Api, query: str) -> list[str]:
    answer = await api.get(f"/api/movies/?page_size=100&{query}")
    assert answer.status_code == 200, answer.text
    return [movie["title"] for movie in answer.json()["results"]]


async def test_the_hubs_own_films_are_listed_most_popular_first(api: Api) -> None:
    await api.knows(*map(film, range(12)))
    answer = await api.get("/api/movies/")
    page = answer.json()
    assert (answer.status_code, page.keys()) == (200, ENVELOPE)
    assert all(movie.keys() == MOVIE for movie in page["results"])
    assert [movie["title"] for movie in page["results"]] == [f"Film {n:03}" for n in range(10)]
    assert (page["count"], page["page"], page["page_size"], page["total_pages"]) == (12, 1, 10, 2)


async def test_a_film_has_the_values_that_the_catalogue_told(api: Api) -> None:
    await api.knows(film(7, title="Amélie", genre_ids=(35, 10749)))
    (movie,) = (await api.get("/api/movies/")).json()["results"]
    assert movie == {
        "id": 1,
        "tmdb_id": 1007,
        "title": "Amélie",
        "overview": "What happens in film 7.",
        "release_date": "1997-08-01",
        "poster_path": "/p7.jpg",
        "poster_url": "https://image.tmdb.org/t/p/w500/p7.jpg",
        "backdrop_path": "/b7.jpg",
        "backdrop_url": "https://image.tmdb.org/t/p/w1280/b7.jpg",
        "popularity": 993.0,
        "vote_average": 9.2,
        "vote_count": 70,
        "original_language": "en",
        "genre_ids": [35, 10749],
        "is_favorite": False,
        "user_rating": None,
        "created_at": "2030-01-01T12:00:00Z",
        "updated_at": "2030-01-01T12:00:00Z",
    }


async def test_what_is_not_known_of_a_film_is_null(api: Api) -> None:
    await api.knows(film(1, release_date=None, poster_path=None, backdrop_path=None))
    (movie,) = (await api.get("/api/movies/")).json()["results"]
    for name in ("release_date", "poster_path", "poster_url", "backdrop_path", "backdrop_url"):
        assert movie[name] is None


async def test_a_hub_without_films_has_one_empty_page(api: Api) -> None:
    answer = await api.get("/api/movies/")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "count": 0,
            "page": 1,
            "page_size": 10,
            "total_pages": 1,
            "results": [],
            "next": None,
            "previous": None,
            "next_cursor": None,
        },
    )


async def test_the_list_can_be_narrowed(api: Api) -> None:
    await api.knows(
        film(1, title="Amélie", original_language="fr", genre_ids=(35,), release_date=date(2001, 4, 25)),
        film(2, title="Solaris", original_language="ru", genre_ids=(18, 878), release_date=date(1972, 3, 20)),
        film(3, title="Solaris", genre_ids=(18,), release_date=date(2002, 11, 29), vote_average=6.0, popularity=5.5),
        film(4, title="Stalker", original_language="ru", genre_ids=(), release_date=None, vote_average=10.0),
    )
    amelie, solaris, again, stalker = "Amélie", "Solaris", "Solaris", "Stalker"
    for query, wanted in {
        "search=AMELIE": [amelie],
        "search=%20sol%20": [solaris, again],
        "search=": [amelie, solaris, stalker, again],
        "search=%25": [],
        "search=_": [],
        "genre=878": [solaris],
        "genre=878&genre=35": [amelie, solaris],
        "genre=99999999999999999": [],
        "language=ru": [solaris, stalker],
        "language=ru&language=fr": [amelie, solaris, stalker],
        "release_year=2002": [again],
        "min_rating=9.8": [amelie, stalker],
        "max_rating=6": [again],
        "min_rating=9.7&max_rating=9.7": [solaris],
        "min_popularity=996.5": [amelie, solaris],
        "search=sol&language=en&genre=18": [again],
        "colour=blue&limit=1": [amelie, solaris, stalker, again],
    }.items():
        assert await titles(api, query) == wanted, query


async def test_the_list_can_be_ordered_either_way(api: Api) -> None:
    await api.knows(film(1, title="beta", release_date=None), film(2, title="Álpha"))
    api.clock.advance(seconds=1)
    await api.knows(film(3, title="Gamma"))
    for ordering, wanted in {
        "popularity": ["Gamma", "Álpha", "beta"],
        "-popularity": ["beta", "Álpha", "Gamma"],
        "vote_average": ["Gamma", "Álpha", "beta"],
        "-vote_average": ["beta", "Álpha", "Gamma"],
        "release_date": ["Álpha", "Gamma", "beta"],
        "-release_date": ["Gamma", "Álpha", "beta"],  # what has no date comes last either way
        "title": ["Álpha", "beta", "Gamma"],
        "-title": ["Gamma", "beta", "Álpha"],
        "created_at": ["beta", "Álpha", "Gamma"],
        "-created_at": ["Gamma", "Álpha", "beta"],
    }.items():
        assert await titles(api, f"ordering={ordering}") == wanted, ordering


WRONG = {
    "genre": ("", "drama", "1.0", "1_0", "+1", "١٨", "18,35", "9" * 30),
    "language": ("", "x" * 36, "e%00n"),
    "release_year": ("1869", "2201", "99", "01999", "1999.0", "now", "-1999", "１９９９", "+1999", ""),
    "min_rating": ("-1", "10.1", "nan", "inf", "1e999", "five", "", "0x1", "1_0", "٥"),
    "max_rating": ("-0.1", "11", "NaN", "-inf"),
    "min_popularity": ("-1", "inf", "much"),
    "ordering": ("", "rating", "--title", "-", "Title", "title,id", "popularity "),
    "search": ("x" * 201, "a%00b", "%1b"),
}


async def test_a_known_parameter_with_a_bad_value_is_refused_by_name(api: Api) -> None:
    for field, values in WRONG.items():
        for value in values:
            answer = await api.get(f"/api/movies/?{field}={value}")
            assert (answer.status_code, field, value) == (400, field, value)
            assert fields(answer).keys() == {field}


async def test_every_bad_parameter_is_named_once_and_all_at_once(api: Api) -> None:
    query = "&".join(f"{field}={value}" for field, values in WRONG.items() for value in values[:2])
    answer = await api.get(f"/api/movies/?{query}&page=0&page=x&page_size=101")
    assert fields(answer).keys() == WRONG.keys() | {"page", "page_size"}


async def test_the_count_of_the_list_stops_at_ten_thousand(api: Api) -> None:
    await api.knows(*map(film, range(10_001)))
    page = (await api.get("/api/movies/?page=100&page_size=100")).json()
    assert (page["count"], page["total_pages"], page["next"], len(page["results"])) == (10_000, 100, None, 100)
    problem(await api.get("/api/movies/?page=101&page_size=100"), 404, "no-such-page")


async def test_detail_adds_genres_and_the_hubs_own_score(api: Api) -> None:
    (movie,) = await api.knows(film(1, genre_ids=(18, 4242, 35)))
    for path in (f"/api/movies/{movie}/", "/api/movies/tmdb/1001/"):
        answer = await api.get(path)
        assert (answer.status_code, answer.json().keys()) == (200, DETAIL)
        assert answer.json()["genres"] == [{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}]
        assert answer.json()["genre_ids"] == [18, 4242, 35]
        assert (answer.json()["average_rating"], answer.json()["ratings_count"]) == (None, 0)


async def test_a_film_that_is_nowhere_is_not_found(api: Api) -> None:
    problem(await api.get("/api/movies/77/"), 404, "movie-not-found")
    problem(await api.get("/api/movies/tmdb/77/"), 404, "movie-not-found")
    problem(await api.get(f"/api/movies/{2**63 - 1}/"), 404, "movie-not-found")


async def test_a_film_shows_what_the_caller_has_said_of_it(api: Api) -> None:
    (movie,), alice = await api.knows(film(1)), await api.joined()
    await api.post(f"/api/movies/{movie}/add_to_favorites/", token=alice)
    await api.post(f"/api/movies/{movie}/rate/", {"rating": 9, "review": "Good"}, token=alice)
    rating = {"rating": 9, "review": "Good", "created_at": "2030-01-01T12:00:00Z"}

    async def seen(path: str, token: str | None) -> dict[str, Any]:
        found: dict[str, Any] = (await api.get(path, token=token)).json()
        return found["results"][0] if "results" in found else found

    for path in (f"/api/movies/{movie}/", "/api/movies/tmdb/1001/", "/api/movies/", "/api/movies/popular/"):
        mine, theirs = await seen(path, alice), await seen(path, None)
        assert (mine["is_favorite"], mine["user_rating"]) == (True, rating), path
        assert (theirs["is_favorite"], theirs["user_rating"]) == (False, None), path
        assert {**mine, "is_favorite": False, "user_rating": None} == theirs


async def test_a_film_that_the_hub_has_not_met_is_fetched_and_kept(api: Api) -> None:
    api.catalogue.films.append(film(5))
    answer = await api.get("/api/movies/tmdb/1005/")
    assert (answer.status_code, answer.json()["title"]) == (200, "Film 005")
    assert (await api.get("/api/movies/")).json()["count"] == 1
    api.catalogue.out = True
    again = await api.get("/api/movies/tmdb/1005/")
    assert (again.status_code, again.json()) == (200, answer.json())
    assert api.catalogue.calls.count(1005) == 1


async def test_an_unmet_film_of_a_catalogue_that_is_out_is_503(api: Api) -> None:
    api.catalogue.out = True
    answer = await api.get("/api/movies/tmdb/1005/")
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


async def test_detail_is_asked_for_again_when_it_is_older_than_a_day(api: Api) -> None:
    (movie,) = await api.knows(film(1))
    api.catalogue.films[0] = replace(api.catalogue.films[0], title="Renamed", vote_count=99)
    api.clock.advance(timedelta(days=1))
    assert (await api.get(f"/api/movies/{movie}/")).json()["title"] == "Film 001"
    await api.container.flights().settled()
    api.clock.advance(seconds=1)
    assert (await api.get(f"/api/movies/{movie}/")).json()["title"] == "Film 001"
    await api.container.flights().settled()
    detail = (await api.get(f"/api/movies/{movie}/")).json()
    assert (detail["title"], detail["vote_count"], detail["id"]) == ("Renamed", 99, movie)
    assert (detail["created_at"], detail["updated_at"]) == ("2030-01-01T12:00:00Z", "2030-01-02T12:00:01Z")
    assert (await api.get("/api/movies/")).json()["results"][0]["title"] == "Renamed"


async def test_an_old_detail_is_served_as_it_is_while_the_catalogue_is_out(api: Api) -> None:
    (movie,) = await api.knows(film(1))
    api.clock.advance(timedelta(days=30))
    api.catalogue.out = True
    answer = await api.get(f"/api/movies/{movie}/")
    assert (answer.status_code, answer.json()["title"]) == (200, "Film 001")
    api.catalogue.out = False
    api.catalogue.films.clear()  # the catalogue has dropped the film: what we have is still true of it
    api.clock.advance(timedelta(days=1))
    assert (await api.get(f"/api/movies/{movie}/")).json()["title"] == "Film 001"


async def test_genres_come_from_the_catalogue_or_from_us(api: Api) -> None:
    named = [{"id": genre.id, "name": genre.name} for genre in GENRES]
    answer = await api.get("/api/movies/genres/")
    assert (answer.status_code, answer.json()) == (200, named)
    assert api.catalogue.calls == ["genres"]
    async with api_in_memory() as other:
        other.catalogue.out = True
        assert (await other.get("/api/movies/genres/")).json() == named


async def test_a_film_that_the_catalogue_dropped_is_shown_on_with_all_that_people_said_of_it(api: Api) -> None:
    (number,) = await api.knows(film(1))
    token = await api.joined()
    await api.post(f"/api/movies/{number}/add_to_favorites/", token=token)
    await api.post(f"/api/movies/{number}/rate/", {"rating": 9}, token=token)
    before = await api.get(f"/api/movies/{number}/", token=token)
    api.catalogue.films.clear()
    for _ in range(3):
        api.clock.advance(timedelta(days=2))
        token = (await api.sign_in())["access"]
        answer = await api.get(f"/api/movies/{number}/", token=token)
        assert (answer.status_code, answer.json()) == (200, before.json())
        await api.container.flights().settled()
    async with api.container.storage().reading() as uow:
        assert (await uow.movies.get(number)).dropped_at is not None
    shown = answer.json()
    assert shown.keys() == DETAIL
    assert (shown["is_favorite"], shown["user_rating"]["rating"], shown["average_rating"]) == (True, 9, 9.0)
