"""What caches may do with answers: entity tags, ages, where an answer came from, and who may keep it."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.api import Api, api_in_memory, film

CATALOGUE = (
    "/api/movies/",
    "/api/movies/1/",
    "/api/movies/tmdb/1001/",
    "/api/movies/popular/",
    "/api/movies/trending/",
    "/api/movies/top_rated/",
    "/api/movies/search/?q=film",
    "/api/movies/1/recommendations/",
    "/api/movies/1/reviews/",
    "/api/movies/genres/",
)
GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A hub with films."""
    async with api_in_memory() as api:
        await api.knows(*map(film, range(1, 31)))
        yield api


def is_strong(tag: str) -> bool:
    return tag.startswith('"') and tag.endswith('"') and len(tag) > 10


async def test_a_public_answer_has_a_strong_tag_and_says_how_long_it_is_good(api: Api) -> None:
    for path in CATALOGUE:
        answer = await api.get(path)
        assert answer.status_code == 200
        assert is_strong(answer.headers["etag"]), path
        assert answer.headers["cache-control"].startswith("public, max-age="), path
        assert answer.headers["age"] == "0", path
        assert answer.headers["vary"] == "Authorization, Accept-Encoding", path


async def test_a_client_that_has_the_answer_gets_304(api: Api) -> None:
    for path in CATALOGUE:
        for encoding in (PLAIN, GZIP):
            first = await api.get(path, headers=encoding)
            tag = first.headers["etag"]
            for condition in (tag, f"W/{tag}", f'"other", {tag}', f'W/"a",W/{tag} , "b"', "*"):
                again = await api.get(path, headers={**encoding, "If-None-Match": condition})
                assert (again.status_code, again.content) == (304, b""), (path, condition)
                for name in ("cache-control", "vary", "age", "x-request-id", "x-content-type-options"):
                    assert name in again.headers, (path, name)
                assert "content-type" not in again.headers
                assert again.headers["etag"].removesuffix('-gzip"').strip('"') == tag.removesuffix('-gzip"').strip('"')
            head = await api("HEAD", path, headers={**encoding, "If-None-Match": tag})
            assert head.status_code == 304
            other = await api.get(path, headers={**encoding, "If-None-Match": '"other"'})
            assert (other.status_code, other.content) == (200, first.content)


async def test_the_tag_of_a_compressed_answer_is_another_but_names_the_same(api: Api) -> None:
    plain, packed = await api.get("/api/movies/", headers=PLAIN), await api.get("/api/movies/", headers=GZIP)
    assert plain.headers["etag"] != packed.headers["etag"]
    for encoding, whole, tag in ((PLAIN, plain, packed.headers["etag"]), (GZIP, packed, plain.headers["etag"])):
        for given in (tag, whole.headers["etag"]):
            answer = await api.get("/api/movies/", headers={**encoding, "If-None-Match": given})
            assert (answer.status_code, answer.headers["etag"]) == (304, whole.headers["etag"])


async def test_a_header_may_be_given_in_several_lines(api: Api) -> None:
    tag = (await api.get("/api/movies/", headers=PLAIN)).headers["etag"]
    lines = [("Accept-Encoding", "identity"), ("If-None-Match", tag), ("If-None-Match", '"other"')]
    assert (await api.client.get("/api/movies/", headers=lines)).status_code == 304
    lines = [("Accept-Encoding", "gzip"), ("Accept-Encoding", "br")]
    assert (await api.client.get("/api/movies/", headers=lines)).headers["content-encoding"] == "gzip"


async def test_a_tag_changes_with_what_it_stands_for(api: Api) -> None:
    token = await api.joined()
    before = await api.get("/api/movies/1/")
    await api.post("/api/movies/1/rate/", {"rating": 8}, token=token)
    after = await api.get("/api/movies/1/", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["average_rating"]) == (200, 8.0)


async def test_an_answer_to_a_signed_in_caller_is_private(api: Api) -> None:
    token = await api.joined()
    for path in (*CATALOGUE, "/api/movies/favorites/my_favorites/", "/api/movies/ratings/my_ratings/"):
        answer = await api.get(path, token=token)
        assert answer.headers["cache-control"].startswith("private"), path
        assert answer.headers["vary"] == "Authorization, Accept-Encoding", path
        again = await api.get(path, token=token, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.headers["cache-control"].startswith("private")


async def test_nobody_gets_what_was_made_for_somebody_else(api: Api) -> None:
    alice, bob = await api.joined(), await api.joined("bob")
    await api.post("/api/movies/1/add_to_favorites/", token=alice)
    for path in ("/api/movies/popular/", "/api/movies/trending/", "/api/movies/", "/api/movies/search/?q=film"):
        for _ in range(2):
            for token, marked in ((alice, True), (None, False), (bob, False)):
                results = (await api.get(path, token=token)).json()["results"]
                assert {movie["is_favorite"] for movie in results if movie["id"] == 1} == {marked}, path


async def test_tokens_and_profiles_are_not_stored(api: Api) -> None:
    await api.register()
    tokens = await api.sign_in()
    access, refresh = tokens["access"], tokens["refresh"]
    for method, path, body in (
        ("POST", "/api/auth/users/", {"username": "bob", "email": "b@example.org", "password": "a good long phrase"}),
        ("POST", "/api/auth/token/", {"username": "bob", "password": "a good long phrase"}),
        ("POST", "/api/auth/token/", {"username": "bob", "password": "wrong"}),
        ("POST", "/api/auth/token/refresh/", {"refresh": refresh}),
        ("POST", "/api/auth/token/verify/", {"token": access}),
        ("POST", "/api/auth/token/revoke/", {"refresh": "x"}),
        ("GET", "/api/auth/users/me/", None),
        ("HEAD", "/api/auth/users/me/", None),
        ("PATCH", "/api/auth/users/update_profile/", {"bio": "x"}),
        ("GET", "/api/auth/sessions/", None),
        ("DELETE", "/api/auth/sessions/", None),
    ):
        token = access if "token" not in path else None
        answer = await api(method, path, body, token=token)
        assert answer.headers["cache-control"] == "no-store", path
        assert "etag" not in answer.headers, path


async def test_genres_tell_where_they_came_from_and_how_old_they_are() -> None:
    async with api_in_memory(public_max_age=0) as api:
        api.catalogue.out = True
        ours = await api.get("/api/movies/genres/")
        assert ours.headers["cache-status"] == "moviehub; fwd=miss; detail=local"
        api.catalogue.out = False
        api.clock.advance(seconds=60)
        assert (await api.get("/api/movies/genres/")).headers["cache-status"] == "moviehub; fwd=miss; stored"
        api.clock.advance(seconds=40)
        hit = await api.get("/api/movies/genres/")
        assert (hit.headers["cache-status"], hit.headers["age"]) == ("moviehub; hit", "40")


async def test_a_list_tells_where_it_came_from_and_how_old_it_is() -> None:
    async with api_in_memory(public_max_age=0, cache_ttl=100) as api:
        api.catalogue.films = [film(1)]
        for path in ("popular/", "trending/", "top_rated/", "search/?q=film"):
            miss = await api.get(f"/api/movies/{path}")
            assert miss.headers["cache-status"] == "moviehub; fwd=miss; stored"
            assert miss.headers["age"] == "0"
            api.clock.advance(seconds=40)
            hit = await api.get(f"/api/movies/{path}")
            assert hit.headers["cache-status"] == "moviehub; hit"
            assert hit.headers["age"] == "40"
            api.catalogue.out = True
            api.clock.advance(seconds=160)
            old = await api.get(f"/api/movies/{path}")
            (over,) = re.findall(r"^moviehub; hit; ttl=-(\d+)$", old.headers["cache-status"])
            assert 100 <= int(over) <= 111
            assert (old.headers["cache-control"], old.headers["age"]) == ("public, max-age=0", "200")
            assert old.json()["source"] == "tmdb"
            await api.container.flights().settled()
            api.clock.advance(timedelta(days=1))
            local = await api.get(f"/api/movies/{path}")
            assert local.headers["cache-status"] == "moviehub; fwd=miss; detail=local"
            assert (local.headers["cache-control"], local.headers["age"]) == ("public, max-age=0", "0")
            api.catalogue.out = False


async def test_a_list_is_good_for_what_is_left_of_its_life_at_most_a_minute() -> None:
    async with api_in_memory(cache_ttl=100) as api:
        api.catalogue.films = [film(1)]
        lives = []
        for number in range(4):
            answer = await api.get(f"/api/movies/popular/?x={number}")  # past what is kept in front of the router
            lives.append(answer.headers["cache-control"])
            api.clock.advance(seconds=30)
        assert lives[:2] == ["public, max-age=60"] * 2
        left = [int(life.rpartition("=")[2]) for life in lives[2:]]
        assert 30 <= left[0] <= 40
        assert 0 <= left[1] <= 10


async def test_how_long_a_list_is_good_is_a_setting() -> None:
    async with api_in_memory(public_max_age=7) as api:
        api.catalogue.films = [film(1)]
        for path in ("popular/", "genres/"):
            assert (await api.get(f"/api/movies/{path}")).headers["cache-control"] == "public, max-age=7"


async def test_a_page_kept_in_front_of_the_router_is_the_same_page(api: Api) -> None:
    for headers in (PLAIN, GZIP):
        first, second = [await api.get("/api/movies/popular/", headers=headers) for _ in range(2)]
        assert second.content == first.content
        for name in ("etag", "content-type", "vary", "cache-control", "content-security-policy"):
            assert second.headers[name] == first.headers[name]
        assert second.headers["cache-status"] == "moviehub; hit"
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert second.headers.get("content-encoding") == first.headers.get("content-encoding")


async def test_head_is_get_without_the_body(api: Api) -> None:
    token = await api.joined()
    paths = (*CATALOGUE, "/", "/docs/", "/openapi.json", "/problems/", "/health/live", "/api/auth/users/me/")
    for path in (*paths, "/api/movies/77/", "/nowhere"):
        for encoding in (PLAIN, GZIP):
            caller = token if "auth" in path else None
            get = await api.get(path, token=caller, headers=encoding)
            head = await api("HEAD", path, token=caller, headers=encoding)
            assert (head.status_code, head.content) == (get.status_code, b""), path
            differing = ("x-request-id", "cache-status", *(() if "/api/" in path else ("age",)))
            told = [{k: v for k, v in a.headers.items() if k not in differing} for a in (get, head)]
            if get.status_code == 200:
                assert told[0] == told[1], path


async def test_bodies_over_500_bytes_are_compressed_for_who_takes_it(api: Api) -> None:
    for accepted, packed in {
        "gzip": True,
        "GZIP": True,
        "deflate, gzip, br": True,
        "*": True,
        "identity, *;q=0.1": True,
        "*;q=0, gzip;q=0.001": True,
        "gzip ; q=1.0": True,
        "gzip;q=0": False,
        "gzip;q=0.000": False,
        "gzip; q=0, *": False,
        "*;q=0": False,
        "identity": False,
        "br": False,
        "": False,
        "gzipped": False,
        "gzip;q=nonsense": False,
    }.items():
        for _ in range(2):
            answer = await api.get("/api/movies/popular/", headers={"Accept-Encoding": accepted})
            assert (answer.headers.get("content-encoding") == "gzip") is packed, accepted
            assert answer.json()["count"] == 30
            assert "Accept-Encoding" in answer.headers["vary"]


async def test_small_bodies_are_not_compressed(api: Api) -> None:
    small = await api.get("/health/live", headers=GZIP)
    assert "content-encoding" not in small.headers
    assert "Accept-Encoding" in small.headers["vary"]
    large = await api.get("/openapi.json", headers=GZIP)
    assert large.headers["content-encoding"] == "gzip"
    assert int(large.headers["content-length"]) < len(large.content)
