"""What is refused, and how: problem documents, statuses, and the headers that go with them."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import structlog

from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints import logs
from moviehub.entrypoints.http.problems import known_problems
from tests import promises
from tests.api import Api, api_in_memory, fields, film, memory_settings, problem

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
ME = "/api/auth/users/me/"
BAD_IDS = (
    "0",
    "-1",
    "+1",
    "1_0",
    "1.0",
    "1e3",
    "0x1",
    "abc",
    " 1",
    "1%20",
    "1%00",
    "%00",
    "%D9%A1%D9%A2",  # Arabic digits
    "%EF%BC%91",  # a wide digit
    "%C2%B2",  # a superscript
    str(2**63),
    "9" * 40,
    "1,2",
    "null",
    "%27%20OR%201=1--",
)


def classes(error: type[MovieHubError]) -> set[type[MovieHubError]]:
    return {error}.union(*(classes(kind) for kind in error.__subclasses__()))


async def test_a_problem_document_has_these_members_and_no_others(api: Api) -> None:
    token = await api.joined()
    answer = await api.post("/api/movies/7/rate/", {"rating": 11}, token=token)
    document = problem(answer, 400, "invalid-request")
    assert document == {
        "type": "/problems/invalid-request",
        "title": "Invalid request",
        "status": 400,
        "detail": "rating: expected an integer from 1 to 10",
        "instance": "/api/movies/7/rate/",
        "request_id": answer.headers["x-request-id"],
        "errors": [{"field": "rating", "code": "out_of_range", "message": "expected an integer from 1 to 10"}],
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_a_problem_without_a_field_at_fault_has_no_errors(api: Api) -> None:
    assert "errors" not in problem(await api.get("/api/movies/77/"), 404, "movie-not-found")


async def test_the_instance_is_the_path_as_it_was_asked(api: Api) -> None:
    for path in ("/api/movies/77", "/api/v1/movies/77/", "/api/movies/77/"):
        assert problem(await api.get(path + "?x=1"), 404, "movie-not-found")["instance"] == path
    strange = (await api.get("/api/%C3%BC%20%3Cb%3E/")).json()["instance"]
    assert strange == "/api/%C3%BC%20%3Cb%3E/"  # a reference to a resource, not just text
    assert len((await api.get("/" + "x" * 8_000)).json()["instance"]) <= 1_000


async def test_every_type_leads_to_a_page_that_explains_it(api: Api) -> None:
    slugs = {error.slug for error in classes(MovieHubError)}
    assert slugs == known_problems().keys() | {"error"}
    for slug in known_problems():
        for path in (f"/problems/{slug}", f"/problems/{slug}/"):
            page = await api.get(path)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert f"/problems/{slug}" in page.text
    index = (await api.get("/problems/")).text
    assert [slug for slug in known_problems() if f'href="/problems/{slug}"' not in index] == []
    problem(await api.get("/problems/nonsense"), 404, "no-such-path")


async def test_a_path_that_nothing_serves_is_404(api: Api) -> None:
    for path in (
        "/nowhere",
        "/api/",
        "/api/v1",
        "/api/v2/movies/",
        "/api/movies/1/2/",
        "/api/movies/1%2F2/rate",
        "/%2e",
    ):
        for method in ("GET", "POST", "DELETE"):
            problem(await api(method, path), 404, "no-such-path")


@pytest.mark.parametrize("path", ["/api/movies/{}/", "/api/movies/tmdb/{}/", "/api/movies/{}/reviews/"])
async def test_an_id_is_plain_digits_from_one(api: Api, path: str) -> None:
    await api.knows(film(1))
    for bad in BAD_IDS:
        answer = await api.get(path.format(bad))
        assert (answer.status_code, bad) == (404, bad)
        assert len(fields(answer, 404, "not-found")) == 1
    assert (await api.get("/api/movies/1/")).status_code == 200


async def test_a_bad_id_is_named_on_every_call_that_has_one(api: Api) -> None:
    token = await api.superuser()
    for method, path, name in (
        ("GET", "/api/movies/0/recommendations/", "movie_id"),
        ("POST", "/api/movies/0/add_to_favorites/", "movie_id"),
        ("DELETE", "/api/movies/0/remove_from_favorites/", "movie_id"),
        ("POST", "/api/movies/0/rate/", "movie_id"),
        ("PATCH", "/api/movies/0/rate/", "movie_id"),
        ("DELETE", "/api/movies/0/remove_rating/", "movie_id"),
        ("DELETE", "/api/auth/sessions/0/", "session_id"),
        ("GET", "/api/auth/users/0/", "user_id"),
        ("PATCH", "/api/auth/users/0/", "user_id"),
        ("GET", "/api/movies/tmdb/0/", "tmdb_id"),
    ):
        answer = await api(method, path, {"rating": 5} if "rate/" in path else None, token=token)
        assert fields(answer, 404, "not-found") == {name: "format"}, path


async def test_a_wrong_method_is_405_with_those_that_are_right(api: Api) -> None:
    for method, path, allowed in (
        ("POST", "/api/movies/", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/api/movies/1/", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/api/auth/users/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("DELETE", "/api/auth/users/1/", {"GET", "HEAD", "PATCH", "OPTIONS"}),
        ("GET", "/api/auth/users/update_profile/", {"PUT", "PATCH", "OPTIONS"}),
        ("GET", "/api/admin/cache/flush/", {"POST", "OPTIONS"}),
        ("HEAD", "/api/auth/token/", {"POST", "OPTIONS"}),
        ("GET", "/api/movies/1/rate", {"POST", "PUT", "PATCH", "OPTIONS"}),
        ("POST", "/api/auth/users/me/", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", "/api/v1/auth/users/update_profile/", {"PUT", "PATCH", "OPTIONS"}),
        ("PUT", "/", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/api/movies/", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/api/movies/", {"GET", "HEAD", "OPTIONS"}),
    ):
        answer = await api(method, path)
        assert answer.status_code == 405, (method, path)
        assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)
        if method != "HEAD":
            problem(answer, 405, "method-not-allowed")


async def test_a_body_over_64_kib_is_413_however_it_is_sent(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1_024

    problem(await api("POST", "/api/auth/users/", content=b" " * 65_537), 413, "too-large")
    problem(await api("POST", "/api/auth/users/", content=pieces()), 413, "too-large")
    problem(await api("POST", "/api/auth/token/", content=b" " * 65_536), 400, "invalid-request")


async def test_a_target_over_8_kib_is_414(api: Api) -> None:
    problem(await api.get("/api/movies/?x=" + "y" * 8_200), 414, "target-too-long")
    problem(await api.get("/api/" + "y" * 8_200), 414, "target-too-long")
    assert (await api.get("/api/movies/?x=" + "y" * 8_000)).status_code == 200


async def test_headers_over_32_kib_are_431(api: Api) -> None:
    problem(await api.get("/api/movies/", headers={"X-Long": "y" * 33_000}), 431, "headers-too-large")
    many = {f"X-{n}": "y" * 1_000 for n in range(33)}
    problem(await api.get("/api/movies/", headers=many), 431, "headers-too-large")
    assert (await api.get("/api/movies/", headers={"X-Long": "y" * 30_000})).status_code == 200


async def test_a_host_that_is_none_is_refused(api: Api) -> None:
    for host in ("", "a b", "evil.example/path", "user@evil.example", "a:b:c", "<x>"):
        assert fields(await api.get("/api/movies/", headers={"Host": host})) == {"Host": "format"}


@promises.bad_tokens
@pytest.mark.parametrize("path", [ME, "/api/movies/", "/api/movies/popular/", "/api/movies/genres/"])
async def test_a_bad_token_is_refused_on_every_route_that_looks_at_it(api: Api, path: str) -> None:
    token = await api.joined()
    refresh = (await api.sign_in())["refresh"]
    for bad in ("Bearer", "Bearer ", "Bearer x", f"Bearer {refresh}", f"Token {token}", token, "Basic YTpi", ""):
        answer = await api.get(path, headers={"Authorization": bad})
        problem(answer, 401, "invalid-token")
        assert answer.headers["www-authenticate"] == 'Bearer realm="moviehub", error="invalid_token"'


async def test_no_token_where_one_is_needed_is_401_without_an_error_code(api: Api) -> None:
    answer = await api.get(ME)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="moviehub"'


async def test_the_scheme_is_bearer_in_any_case(api: Api) -> None:
    token = await api.joined()
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        assert (await api.get(ME, headers={"Authorization": f"{scheme} {token}"})).status_code == 200
    assert (await api.get(ME, headers={"Authorization": f"Bearer   {token}"})).status_code == 200


async def test_security_headers_are_on_every_answer(api: Api) -> None:
    token = await api.joined()
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/docs/", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/problems/", 200),
        ("GET", "/health/live", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/movies/", 200),
        ("HEAD", "/api/movies/popular/", 200),
        ("HEAD", "/api/movies/popular/", 200),  # the second time from what is kept
        ("OPTIONS", "/api/movies/", 204),
        ("DELETE", "/api/auth/sessions/", 204),
        ("POST", "/api/auth/users/", 400),
        ("GET", "/nowhere", 404),
        ("PUT", "/api/movies/", 405),
        ("GET", "/x" * 5_000, 414),
    ):
        answer = await api(method, path, token=token if "sessions" in path else None)
        assert (answer.status_code, path) == (status, path)
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY, path
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert "strict-transport-security" not in answer.headers
        assert len(answer.headers["x-request-id"]) == 32


async def test_strict_transport_is_asked_for_behind_tls() -> None:
    async with api_in_memory(trusted_proxies=("127.0.0.0/8",)) as api:
        secure = await api.get("/api/movies/", headers={"X-Forwarded-Proto": "https"})
        assert "max-age=" in secure.headers["strict-transport-security"]
        refused = await api.get("/nowhere", headers={"X-Forwarded-Proto": "https"})
        assert "max-age=" in refused.headers["strict-transport-security"]
        assert "strict-transport-security" not in (await api.get("/api/movies/")).headers


async def test_a_sane_request_id_is_kept_and_another_is_replaced(api: Api) -> None:
    for sane in ("a", "A-z_0.9", "x" * 128):
        answer = await api.get("/api/movies/77/", headers={"X-Request-ID": sane, "traceparent": "00-0-0-00"})
        assert problem(answer, 404, "movie-not-found")["request_id"] == sane
    for strange in ("", "x" * 129, "a b", "a/b", "<script>", "a,b", "ä".encode().decode("latin-1")):
        headers = {"X-Request-ID": strange.encode("latin-1")}
        made = (await api.get("/api/movies/", headers=headers)).headers["x-request-id"]
        assert made != strange
        assert len(made) == 32
    assert len({(await api.get("/api/movies/")).headers["x-request-id"] for _ in range(5)}) == 5


async def test_what_breaks_shows_nothing_of_the_inside(api: Api) -> None:
    api.catalogue.films = ["no film at all"]
    answer = await api.get("/api/movies/top_rated/")
    document = problem(answer, 500, "internal-error")
    assert document["detail"] == "Something unexpected went wrong; the request id finds it in the logs."
    assert not any(word in answer.text for word in ("Error:", "Traceback", "vote_average", ".py", "str"))
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY


@contextmanager
def logging_as_a_hub_does() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure(memory_settings())
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()


async def test_the_id_of_a_request_leads_to_its_log(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.catalogue.films = ["no film at all"]
    secret = "do-not-log-this"
    headers = {"X-Request-ID": "find-me", "X-Secret": secret}
    with logging_as_a_hub_does():
        await api.get(f"/api/movies/top_rated/?token={secret}", headers=headers)
    lines = capsys.readouterr().err.splitlines()
    assert {json.loads(line)["request_id"] for line in lines} == {"find-me"}
    assert secret not in "".join(lines)
