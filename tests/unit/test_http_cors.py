"""Which pages of other origins may read the answers: those in the settings, none by default."""

import pytest

from tests.api import Api, api_in_memory, film

APP = "https://app.example.org"
OTHER = "https://evil.example"
ASKED = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}
PATHS = ("/api/movies/popular/", "/api/movies/1/", "/api/movies/77/", "/nowhere", "/api/auth/users/me/", "/health/live")


def cors(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


async def asked(api: Api, path: str, origin: str | None, method: str = "GET") -> dict[str, str]:
    headers = {"Origin": origin} if origin else {}
    return dict((await api(method, path, headers=headers)).headers)


async def test_no_origin_may_read_by_default(api: Api) -> None:
    await api.knows(film(1))
    for path in PATHS:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            assert cors(await asked(api, path, APP, method)) == {}
    preflight = await api("OPTIONS", "/api/movies/", headers={"Origin": APP, **ASKED})
    assert cors(dict(preflight.headers)) == {}


async def test_an_origin_in_the_settings_may_read_every_answer() -> None:
    async with api_in_memory(cors_origins=(APP, "http://localhost:3000")) as api:
        await api.knows(film(1))
        for path in PATHS:
            for origin in (APP, "http://localhost:3000", APP):
                headers = await asked(api, path, origin)
                assert headers["access-control-allow-origin"] == origin, path
                assert "x-request-id" in headers["access-control-expose-headers"].lower()
                assert "access-control-allow-credentials" not in headers  # there are no cookies


async def test_another_origin_may_not_read() -> None:
    async with api_in_memory(cors_origins=(APP,)) as api:
        await api.knows(film(1))
        for path in PATHS:
            for origin in (OTHER, APP + ".evil.example", APP.replace("https", "http"), "null", APP.upper(), None):
                assert "access-control-allow-origin" not in await asked(api, path, origin)


async def test_an_answer_says_that_it_depends_on_the_origin() -> None:
    async with api_in_memory(cors_origins=(APP,)) as api:
        await api.knows(film(1))
        for origin in (APP, None, OTHER, APP):
            for _ in range(2):
                vary = (await asked(api, "/api/movies/popular/", origin))["vary"]
                assert set(vary.split(", ")) == {"Authorization", "Accept-Encoding", "Origin"}
                assert "Origin" in (await asked(api, "/nowhere", origin))["vary"]


async def test_a_preflight_tells_what_an_origin_may_do() -> None:
    async with api_in_memory(cors_origins=(APP,)) as api:
        for path in ("/api/movies/1/rate/", "/api/v1/auth/users/me"):
            answer = await api("OPTIONS", path, headers={"Origin": APP, **ASKED})
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["access-control-allow-origin"] == APP
            assert {"PATCH", "DELETE", "PUT", "POST", "GET"} <= set(
                answer.headers["access-control-allow-methods"].split(", ")
            )
            allowed = answer.headers["access-control-allow-headers"].lower()
            assert all(name in allowed for name in ("authorization", "content-type", "if-none-match"))
            assert int(answer.headers["access-control-max-age"]) > 0
            assert "Origin" in answer.headers["vary"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        refused = await api("OPTIONS", "/api/movies/", headers={"Origin": OTHER, **ASKED})
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("first", [None, APP])
async def test_any_origin_may_read_if_the_settings_say_so(first: str | None) -> None:
    async with api_in_memory(cors_origins=("*",)) as api:
        await api.knows(film(1))
        for path in PATHS:
            for origin in (first, APP, OTHER):
                headers = await asked(api, path, origin)
                if origin:
                    assert headers["access-control-allow-origin"] == "*", path
        preflight = await api("OPTIONS", "/api/movies/", headers={"Origin": APP, **ASKED})
        assert preflight.headers["access-control-allow-origin"] == "*"
