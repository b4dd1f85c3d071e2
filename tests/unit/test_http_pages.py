"""Pages over HTTP: how one is asked for, and the way to its neighbours."""

import pytest

from tests.api import Api, api_in_memory, fields, film, problem

ANYBODYS = ("/api/movies/", "/api/movies/popular/", "/api/movies/trending/", "/api/movies/top_rated/")
OWN = ("/api/movies/favorites/my_favorites/", "/api/movies/ratings/my_ratings/", "/api/auth/sessions/")
FOR_STAFF = ("/api/auth/users/", "/api/auth/audit/")
WRONG_PAGES = ("0", "-1", "1.0", "1e1", "abc", "", "%201", "1_0", "%2B1", "%D9%A1", "１", "0x1", "null", "9" * 40, "01")
WRONG_SIZES = (*WRONG_PAGES, "101", "1000")


async def test_a_page_has_the_form_of_the_contract(api: Api) -> None:
    await api.knows(*map(film, range(150)))
    second = (await api.get("/api/movies/?page=2")).json()
    del second["results"]
    assert second.pop("next_cursor")
    assert second == {
        "count": 150,
        "page": 2,
        "page_size": 10,
        "total_pages": 15,
        "next": "http://hub.test/api/movies/?page=3",
        "previous": "http://hub.test/api/movies/",
    }


async def test_the_way_on_and_back_leads_through_every_page(api: Api) -> None:
    await api.knows(*map(film, range(25)))
    seen, backwards = [], []
    url: str | None = "/api/movies/?page_size=10&ordering=-title&language=en"
    while url:
        page = (await api.get(url)).json()
        seen.append([movie["id"] for movie in page["results"]])
        url, last = page["next"], url
    while last:
        page = (await api.get(last)).json()
        backwards.append([movie["id"] for movie in page["results"]])
        last = page["previous"]
    assert [len(page) for page in seen] == [10, 10, 5]
    assert len({movie for page in seen for movie in page}) == 25
    assert backwards == seen[::-1]


async def test_links_keep_the_other_parameters_and_the_form_of_the_path(api: Api) -> None:
    await api.knows(*map(film, range(30)))
    for path in ("/api/movies", "/api/v1/movies/", "/api/v1/movies"):
        query = "search=fil%26m+%C3%A9%2F&genre=18&genre=35&empty=&unknown=a%20b"
        page = (await api.get(f"{path}?search=film&page_size=5&{query.partition('&')[2]}&page=2")).json()
        kept = "search=film&page_size=5&genre=18&genre=35&empty=&unknown=a+b"
        assert page["next"] == f"http://hub.test{path}?{kept}&page=3"
        assert page["previous"] == f"http://hub.test{path}?{kept}"
    found = (await api.get("/api/movies/search/?query=FILM&page_size=5")).json()
    assert found["next"] == "http://hub.test/api/movies/search/?query=FILM&page_size=5&page=2"


async def test_a_page_is_a_number_from_one_and_a_size_one_to_a_hundred(api: Api) -> None:
    token = await api.superuser()
    for path in (
        *ANYBODYS,
        *OWN,
        *FOR_STAFF,
        "/api/movies/search/?q=x",
        "/api/movies/1/reviews/",
        "/api/movies/1/recommendations/",
    ):
        caller = token if path in OWN + FOR_STAFF else None
        and_ = "&" if "?" in path else "?"
        for wrong in WRONG_PAGES:
            answer = await api.get(f"{path}{and_}page={wrong}", token=caller)
            assert (answer.status_code, path, wrong) == (400, path, wrong)
            assert fields(answer).keys() == {"page"}
        for wrong in WRONG_SIZES:
            assert fields(await api.get(f"{path}{and_}page_size={wrong}", token=caller)).keys() == {"page_size"}
        both = await api.get(f"{path}{and_}page=0&page_size=x", token=caller)
        assert fields(both).keys() == {"page", "page_size"}


async def test_a_page_past_the_end_is_404_of_its_own_type(api: Api) -> None:
    token = await api.superuser()
    (movie, *_) = await api.knows(*map(film, range(15)))
    for path in (*ANYBODYS, *OWN, *FOR_STAFF, f"/api/movies/{movie}/reviews/", "/api/movies/search/?q=film"):
        and_ = "&" if "?" in path else "?"
        caller = token if path in OWN + FOR_STAFF else None
        for past in ("3", "101", "99999999999999999"):
            problem(await api.get(f"{path}{and_}page={past}", token=caller), 404, "no-such-page")


async def test_page_one_of_nothing_is_an_empty_page(api: Api) -> None:
    token = await api.joined()
    for path in (*ANYBODYS, *OWN[:2]):
        page = (await api.get(f"{path}?page=1", token=token)).json()
        assert (page["count"], page["total_pages"], page["next"], page["previous"]) == (0, 1, None, None)
        assert page["results"] == []


async def test_the_usual_size_is_a_setting() -> None:
    async with api_in_memory(page_size=3) as api:
        await api.knows(*map(film, range(7)))
        page = (await api.get("/api/movies/")).json()
        assert (page["page_size"], page["total_pages"], len(page["results"])) == (3, 3, 3)


async def test_links_have_the_public_url_if_one_is_set() -> None:
    async with api_in_memory(public_url="https://movies.example.org", trusted_proxies=("127.0.0.1",)) as api:
        await api.knows(*map(film, range(11)))
        for path in ANYBODYS:
            page = (await api.get(path, headers={"X-Forwarded-Host": "evil.example", "Host": "inside"})).json()
            assert page["next"] == f"https://movies.example.org{path}?page=2"


FORWARDED = {
    "X-Forwarded-Host": "movies.example.org",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9, 198.51.100.7, 127.0.0.1",
}


@pytest.mark.parametrize(
    ("trusted", "base", "address"),
    [
        ((), "http://hub.test", "127.0.0.1"),
        (("10.0.0.0/8",), "http://hub.test", "127.0.0.1"),
        (("127.0.0.1",), "https://movies.example.org", "198.51.100.7"),
        (("127.0.0.0/8", "198.51.100.0/24"), "https://movies.example.org", "203.0.113.9"),
    ],
)
async def test_forwarded_headers_count_from_a_trusted_proxy_alone(
    trusted: tuple[str, ...], base: str, address: str
) -> None:
    async with api_in_memory(trusted_proxies=trusted) as api:
        await api.knows(*map(film, range(11)))
        for path in ANYBODYS:
            for _ in range(2):
                assert (await api.get(path, headers=FORWARDED)).json()["next"] == f"{base}{path}?page=2"
                assert (await api.get(path)).json()["next"] == f"http://hub.test{path}?page=2"
        await api.register()
        body = {"username": "alice", "password": "a long enough phrase"}
        tokens = (await api.post("/api/auth/token/", body, headers=FORWARDED)).json()
        sessions = (await api.get("/api/auth/sessions/", token=tokens["access"])).json()["results"]
        assert [session["address"] for session in sessions] == [address]


async def test_links_follow_the_host_that_was_asked(api: Api) -> None:
    await api.knows(*map(film, range(11)))
    for host in ("other.test:8443", "[::1]:8000"):
        for path in ANYBODYS:
            assert (await api.get(path, headers={"Host": host})).json()["next"] == f"http://{host}{path}?page=2"
