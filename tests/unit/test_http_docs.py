"""The documentation: pages from local files, and an OpenAPI document that says what the code does."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
from litestar.routes import HTTPRoute
from schemathesis.specs.openapi.definitions import OPENAPI_31

from moviehub.entrypoints.http.app import declared
from moviehub.entrypoints.http.openapi import ATTRIBUTION
from tests.api import PASSWORD, Api, film

PAGES = ("/", "/docs/", "/docs/reference/", "/problems/", "/problems/no-such-page/")
KNOWN = {"movie_id": 1, "tmdb_id": 1_001, "user_id": 1, "slug": "no-such-page", "name": "start.js"}
ASSETS = ("/docs/assets/start.js", "/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css")


async def document(api: Api) -> dict[str, Any]:
    answer = await api.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told: dict[str, Any] = answer.json()
    return told


def parts(of: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a JSON value."""
    if isinstance(of, dict):
        yield of
    for value in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from parts(value)


async def test_pages_load_nothing_from_elsewhere(api: Api) -> None:
    for path in PAGES:
        for form in {path, path.rstrip("/") or "/"}:
            page = await api.get(form)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), form
            assert re.findall(r"(?:https?:)?//[\w.-]+|@import|url\(", page.text) == [], form
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert not re.search(r"https?:|\*|unsafe-eval", policy)


async def test_every_link_and_file_of_a_page_is_there(api: Api) -> None:
    for path in PAGES:
        for target in re.findall(r'(?:href|src)="([^"]+)"', (await api.get(path)).text):
            assert (await api.get(target)).status_code in (200, 503), target


async def test_swagger_ui_comes_from_the_package_itself(api: Api) -> None:
    page = (await api.get("/docs/")).text
    for path in ASSETS:
        assert f'"{path}"' in page
        answer = await api.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(
            "text/css" if path.endswith("css") else "application/javascript"
        )
        assert len(answer.content) > 100
    assert "/openapi.json" in (await api.get("/docs/assets/start.js")).text
    for path in ("/docs/assets/other.js", "/docs/assets/..%2f..%2fpyproject.toml", "/docs/assets/"):
        assert (await api.get(path)).status_code == 404


async def test_the_reference_has_every_call_on_one_page(api: Api) -> None:
    page = (await api.get("/docs/reference")).text
    for path in (await document(api))["paths"]:
        assert path in page


async def test_the_attribution_is_on_the_front_page_and_in_the_document(api: Api) -> None:
    assert ATTRIBUTION in (await api.get("/")).text
    assert ATTRIBUTION in (await document(api))["info"]["description"]


async def test_the_document_is_valid_openapi_3_1(api: Api) -> None:
    told = await document(api)
    assert told["openapi"].startswith("3.1.")
    jsonschema_rs.validator_for(OPENAPI_31).validate(told)
    for schema in told["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


async def test_every_reference_leads_somewhere_and_every_schema_is_used(api: Api) -> None:
    told = await document(api)
    referred = {part["$ref"] for part in parts(told) if "$ref" in part}
    assert referred == {
        f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in told["components"][kind]
    }


async def test_operations_have_names_of_their_own_and_words(api: Api) -> None:
    operations = [operation for path in (await document(api))["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"].endswith(".") and operation["tags"] for operation in operations)


async def test_every_route_and_method_is_told_and_no_other(api: Api) -> None:
    routed = set()
    for route in declared().routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r":\w+}", "}", route.path)
        routed |= {(path.rstrip("/") or "/", method.lower()) for method in route.methods - {"OPTIONS"}}
    paths = (await document(api))["paths"]
    assert {(path.rstrip("/") or "/", method) for path, told in paths.items() for method in told} == routed
    assert [path for path in paths if path.startswith("/api") and not path.endswith("/")] == []


async def test_an_example_is_true(api: Api) -> None:
    told = await document(api)
    for part in parts(told):
        schema = part.get("schema", part)
        examples = [part["example"]] if "example" in part else part.get("examples", [])
        for example in examples:
            jsonschema_rs.validate({**schema, "components": told["components"]}, example)


async def test_a_tag_is_told_where_an_answer_has_one(api: Api) -> None:
    await api.knows(film(1), film(2))
    token = await api.superuser()
    for path, told in (await document(api))["paths"].items():
        if "get" in told:
            target = path.format(**KNOWN) + ("?q=film" if "search" in path else "")
            answer = await api.get(target, token=token if path.startswith("/api") else None)
            assert answer.status_code == 200, target
            assert ("etag" in answer.headers) is ("304" in told["get"]["responses"]), path


async def test_a_link_leads_from_an_id_that_is_told_to_a_call_that_takes_it(api: Api) -> None:
    paths = (await document(api))["paths"]
    takers = {
        operation["operationId"]: {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        for item in paths.values()
        for operation in item.values()
    }
    await api.knows(film(1), film(2))
    token, followed = await api.superuser(), set()
    bodies: dict[str, dict[str, Any]] = {
        "/users/": {"username": "bob", "email": "bob@example.org", "password": PASSWORD},
        "/update_profile/": {"bio": "x"},
        "/token/": {"username": "root", "password": PASSWORD},
        "/rate/": {"rating": 5},
    }
    for path, item in paths.items():
        for method, operation in item.items():
            good = operation["responses"].get("200") or operation["responses"].get("201") or {}
            if "links" in good:
                target = path.format(**KNOWN) + ("?q=film" if "search" in path else "")
                body = next((body for end, body in bodies.items() if path.endswith(end)), None)
                answer = await api(method.upper(), target, None if method == "get" else body, token=token)
                assert answer.is_success, (method, target)
                for link in good["links"].values():
                    ((parameter, place),) = link["parameters"].items()
                    assert takers[link["operationId"]] == {parameter}
                    told: Any = answer.json()
                    for step in place.removeprefix("$response.body#/").split("/"):
                        told = told[int(step) if step.isdigit() else step]
                    assert isinstance(told, int)
                    followed.add(link["operationId"])
    assert followed == {name for name, takes in takers.items() if takes & {"movie_id", "user_id", "session_id"}}


async def test_answers_are_as_the_document_says(api: Api) -> None:
    told = await document(api)
    (movie, *_), token = (
        await api.knows(film(1), film(2), film(3, release_date=None, poster_path=None)),
        await api.superuser(),
    )
    bob = (await api.register("bob"))["id"]
    new = {"username": "carol", "email": "carol@example.org", "password": PASSWORD, "bio": "x"}
    change = {"current_password": PASSWORD, "new_password": "another good phrase"}
    refresh = (await api.sign_in("root"))["refresh"]
    for method, path, body in (
        ("POST", "/api/auth/users/", new),
        ("POST", "/api/auth/users/", {"username": "a"}),
        ("POST", "/api/auth/token/", {"username": "root", "password": PASSWORD}),
        ("POST", "/api/auth/token/", {"username": "root", "password": "wrong"}),
        ("POST", "/api/auth/token/verify/", {"token": token}),
        ("POST", "/api/auth/token/refresh/", {"refresh": refresh}),
        ("POST", "/api/auth/token/refresh/", {"refresh": "x"}),
        ("POST", "/api/auth/token/revoke/", {"refresh": "x"}),
        ("POST", "/api/auth/token/blacklist/", {"refresh": "x"}),
        ("GET", "/api/auth/users/me/", None),
        ("PATCH", "/api/auth/users/update_profile/", {"bio": "Hello"}),
        ("PUT", "/api/auth/users/update_profile/", {"is_staff": True}),
        ("GET", "/api/auth/sessions/", None),
        ("DELETE", "/api/auth/sessions/{session_id}/", None),
        ("GET", "/api/auth/users/", None),
        ("GET", "/api/auth/users/?search=bob&page=2", None),
        ("GET", "/api/auth/users/{user_id}/", None),
        ("PATCH", "/api/auth/users/{user_id}/", {"is_active": False}),
        ("PATCH", "/api/auth/users/{user_id}/", {"is_active": 1}),
        ("PATCH", "/api/auth/users/1/", {"is_active": False}),
        ("GET", "/api/auth/audit/", None),
        ("GET", "/api/auth/audit/?event=nonsense", None),
        ("POST", "/api/admin/cache/flush/", None),
        ("GET", "/api/movies/", None),
        ("GET", "/api/movies/?page=9", None),
        ("GET", "/api/movies/?genre=x", None),
        ("POST", "/api/movies/{movie_id}/rate/", {"rating": 8, "review": "Good"}),
        ("PUT", "/api/movies/{movie_id}/rate/", {"rating": 8, "review": "Good"}),
        ("PATCH", "/api/movies/{movie_id}/rate/", {"rating": "x"}),
        ("POST", "/api/movies/{movie_id}/add_to_favorites/", None),
        ("POST", "/api/movies/{movie_id}/add_to_favorites/", None),
        ("GET", "/api/movies/favorites/my_favorites/", None),
        ("GET", "/api/movies/ratings/my_ratings/", None),
        ("GET", "/api/movies/{movie_id}/", None),
        ("GET", "/api/movies/tmdb/{tmdb_id}/", None),
        ("GET", "/api/movies/{movie_id}/reviews/", None),
        ("GET", "/api/movies/{movie_id}/recommendations/", None),
        ("GET", "/api/movies/popular/", None),
        ("GET", "/api/movies/trending/", None),
        ("GET", "/api/movies/top_rated/", None),
        ("GET", "/api/movies/search/?q=film", None),
        ("GET", "/api/movies/search/", None),
        ("GET", "/api/movies/genres/", None),
        ("DELETE", "/api/movies/{movie_id}/remove_rating/", None),
        ("DELETE", "/api/movies/{movie_id}/remove_from_favorites/", None),
        ("DELETE", "/api/movies/{movie_id}/remove_from_favorites/", None),
        ("GET", "/health/live", None),
        ("GET", "/health/ready", None),
        ("POST", "/api/auth/users/change_password/", change),
        ("DELETE", "/api/auth/users/me/", {"password": "x"}),
    ):
        target = path.format(movie_id=movie, tmdb_id=1001, session_id=77, user_id=bob)
        answer = await api(method, target, body, token=None if "/token/" in path else token)
        operation = told["paths"][re.sub("/1/$", "/{user_id}/", path.partition("?")[0])]
        responses = operation[method.lower()]["responses"]
        assert str(answer.status_code) in responses, (path, answer.status_code, answer.text)
        content = responses[str(answer.status_code)].get("content")
        if content is None:
            assert answer.content == b""
        else:
            media = content[answer.headers["content-type"]]
            jsonschema_rs.validate({**media["schema"], "components": told["components"]}, answer.json())
        for name in responses[str(answer.status_code)].get("headers", {}):
            assert name in answer.headers or not told["components"]["headers"][name]["required"]


async def test_every_path_answers_in_all_its_forms_the_same_way(api: Api) -> None:
    await api.knows(film(1), film(2))
    for path, told in (await document(api))["paths"].items():
        target = re.sub(r"{\w+_id}", "1", path.replace("{slug}", "no-such-page").replace("{name}", "start.js"))
        forms = {target.rstrip("/"), target.rstrip("/") + "/"}
        forms |= {form.replace("/api/", "/api/v1/", 1) for form in forms if path.startswith("/api")}
        for method in told:
            answers = [await api(method, form or "/", params={"q": "film"}) for form in sorted(forms)]
            assert len({answer.status_code for answer in answers}) == 1, (method, path)
            assert not answers[0].is_redirect
            if answers[0].status_code == 200 and path not in ("/metrics",):
                assert len({answer.content for answer in answers}) == 1, path


async def test_health_says_how_the_parts_are(api: Api) -> None:
    for path in ("/health/live", "/health/live/"):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json().keys()) == (200, {"status", "checks"})
    assert ready.json()["status"] == "ok"
    assert set(ready.json()["checks"].values()) == {"ok"}
    told = (await document(api))["paths"]["/health/ready"]["get"]["responses"]
    assert told["503"]["content"].keys() == told["200"]["content"].keys() == {"application/json"}


async def test_metrics_count_requests_by_route(api: Api) -> None:
    await api.get("/api/movies/77/")
    counted = 'moviehub_http_request_seconds_count{method="GET",route="/api/movies/{movie_id}",status="404"} 1.0'
    assert counted in (await api.get("/metrics")).text


async def test_the_groups_of_calls_are_listed_in_the_order_in_which_they_are_read(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    listed = [tag["name"] for tag in document["tags"]]
    used = {tag for item in document["paths"].values() for operation in item.values() for tag in operation["tags"]}
    assert listed[0] == "Discovery"
    assert set(listed) == used
