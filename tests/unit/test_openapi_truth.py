"""The OpenAPI document against the application: Schemathesis asks what it allows, and what it forbids."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import hypothesis
import pytest
from dependency_injector import providers
from schemathesis import engine
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.python import asgi

from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.limits import Limit
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http.app import create_app, openapi_document
from tests.api import PASSWORD, memory_settings
from tests.asking import EXAMPLES, KNOWN, Hub, asking, is_for_staff


def asked(document: dict[str, Any], *, examples: int) -> list[str]:
    """What is wrong when the application is asked all that Schemathesis can think of about this document."""
    faults = []
    with asking(document, Hub(), examples=examples, phases=["coverage", "fuzzing"]) as schema:
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.NonFatalError):
                faults.append(f"{event.label}: {event.value!r}")
            elif isinstance(event, events.FatalError):
                raise event.exception
            elif isinstance(event, events.ScenarioFinished):
                faults += faults_of(event.recorder)
    return faults


def faults_of(recorder: ScenarioRecorder) -> Iterator[str]:
    """What is wrong with the answers to some requests that belong together."""
    for number, checks in recorder.checks.items():
        asked = recorder.interactions[number]
        answer = asked.response and f"{asked.response.status_code} {asked.response.content!r}"[:1_000]
        request = f"{asked.request.method} {asked.request.uri} {asked.request.body!r}"[:1_000]
        for check in checks:
            if check.failure_info is not None:
                yield f"{check.name}: {check.failure_info.failure.message}\n  {request}\n  {answer}"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(openapi_document())
    return told


def test_schemathesis_finds_nothing(document: dict[str, Any]) -> None:
    assert asked(copy.deepcopy(document), examples=EXAMPLES) == []


def test_schemathesis_finds_nothing_where_links_lead(document: dict[str, Any]) -> None:
    hub = Hub()
    followed: set[str] = set()
    with asking(copy.deepcopy(document), hub, examples=EXAMPLES, phases=["stateful"]) as schema:

        class Machine(schema.as_state_machine()):  # type: ignore[misc]
            def setup(self) -> None:
                hub.begin()

            def step(self, input: Any) -> Any:
                output = super().step(input)
                if input.transition is not None and input.is_applied and output.response.status_code < 300:
                    followed.add(input.case.operation.label)
                return output

        Machine.run(
            settings=hypothesis.settings(
                max_examples=2 * EXAMPLES,
                stateful_step_count=15,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
        )
    assert {name for label in followed for name in re.findall(r"{(\w+)}", label)} == {
        "movie_id",
        "session_id",
        "user_id",
    }


class Away(Storage):
    """A database that cannot be reached."""

    def transaction(self, by: int | None = None) -> NoReturn:
        raise Unavailable()

    def reading(self, by: int | None = None) -> NoReturn:
        raise Unavailable()

    def autocommit(self, by: int | None = None) -> NoReturn:
        raise Unavailable()

    async def ping(self) -> NoReturn:
        raise Unavailable()


BODIES = {
    "/users/": {"username": "zoe", "email": "zoe@example.org", "password": PASSWORD},
    "/update_profile/": {"bio": "Hello"},
    "/change_password/": {"current_password": PASSWORD, "new_password": "another good phrase"},
    "/me/": {"password": PASSWORD},
    "/rate/": {"rating": 5},
    "/{user_id}/": {"is_active": True},
}


def test_every_status_of_the_document_is_met(document: dict[str, Any]) -> None:
    """But 429: with bad tokens, large and foreign bodies, known tags, what is not there, a database that is away."""
    hub, away = Hub(), in_memory(memory_settings())
    away.storage.override(providers.Object(Away()))
    away.catalogue().out = True
    lame: Any = create_app(away)
    with asgi.get_client(hub.app) as here, asgi.get_client(lame) as there:
        for path, item in document["paths"].items():
            for method, operation in item.items():
                label = f"{method.upper()} {path}"
                other, caller = (
                    {"Authorization": f"Bearer {hub.joined(opinion=each).access}"} for each in (False, True)
                )
                signed = caller if "security" in operation else {}
                if is_for_staff(operation):
                    signed = {"Authorization": f"Bearer {hub.root.access}"}
                sessions = here.get("/api/auth/sessions/", headers=caller)
                known = KNOWN | {"session_id": sessions.json()["results"][0]["id"]}
                target = path.format(**known) + ("?q=film" if "search" in path else "")
                body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
                body = hub.secrets(label) if "/token/" in path else body
                answers = (
                    here.request(method, target, headers=signed | {"If-None-Match": "*"}),
                    here.request(method, target, headers=dict.fromkeys(signed, "Bearer x"), json=wrong(body)),
                    here.request(method, target, headers=signed | {"Content-Type": "text/plain"}, data=b"{}"),
                    here.request(method, target, headers=signed, data=b" " * 65_537),
                    here.request(method, target, headers=signed, json={"nonsense": 1}),
                    here.request(method, target, headers=signed, params={"page": "0"}),
                    here.request(method, target, headers=signed, params={"page": "9999"}),
                    here.request(method, target, params={"x": "y" * 8_192}),
                    here.request(method, path.format(**dict.fromkeys(KNOWN, "0")), headers=signed, json=body),
                    here.request(method, target, headers=other, json=body),
                    there.request(method, target, headers=signed, json=body),
                    here.request(method, target, headers=signed, json=body),
                )
                met = {str(answer.status_code) for answer in answers} | {"429"}
                assert (operation["responses"].keys() - met, label) == (set(), label)


def wrong(body: Any) -> Any:
    """The same with nothing but nonsense in it."""
    return body and dict.fromkeys(body, "x")


def test_what_is_limited_says_so(document: dict[str, Any]) -> None:
    app: Any = create_app(in_memory(memory_settings(rate_limit_anonymous=Limit("anonymous", 1, 60))))
    with asgi.get_client(app) as client:
        client.get("/")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                answer = client.request(method, path.format(**KNOWN))
                assert (answer.status_code == 429) is ("429" in operation["responses"]), (method, path)
                for response in operation["responses"].values():
                    for name in ("RateLimit", "RateLimit-Policy"):
                        assert (name in answer.headers) is (name in response["headers"]), (method, path)


FILM, RATE, GENRES, ME = (
    "/api/movies/{movie_id}/",
    "/api/movies/{movie_id}/rate/",
    "/api/movies/genres/",
    "/api/auth/users/me/",
)
SHAPES = ("components", "schemas")
NOTHING: Any = object()
TEXT = {"schema": {"type": "string"}, "required": True}
LIES = [
    ("status_code_conformance", FILM, ("get", "responses", "404"), NOTHING),
    ("content_type_conformance", FILM, ("get", "responses", "200", "content"), {"text/csv": {"schema": {}}}),
    ("response_headers_conformance", FILM, ("get", "responses", "200", "headers", "X-Lie"), TEXT),
    ("response_schema_conformance", FILM, (*SHAPES, "MovieDetailOut", "properties", "title", "type"), "integer"),
    ("positive_data_acceptance", RATE, (*SHAPES, "RatingIn", "properties", "rating", "maximum"), 11),
    ("negative_data_rejection", RATE, (*SHAPES, "RatingIn", "properties", "rating", "minimum"), 2),
    ("missing_required_header", GENRES, ("get", "parameters"), [{"name": "X-Lie", "in": "header", **TEXT}]),
    ("ignored_auth", GENRES, ("get", "security"), [{"bearer": []}]),
    ("allow_header_conformance", ME, ("get",), NOTHING),
]


@pytest.mark.parametrize(("check", "path", "where", "lie"), LIES, ids=[lie[0] for lie in LIES])
def test_a_lie_is_found_out(document: dict[str, Any], check: str, path: str, where: tuple[str, ...], lie: Any) -> None:
    false = copy.deepcopy(document)
    false["paths"] = {path: false["paths"][path]}
    place = false if where[0] == "components" else false["paths"][path]
    for step in where[:-1]:
        place = place[step]
    if lie is NOTHING:
        del place[where[-1]]
    else:
        place[where[-1]] = lie
    assert check in {fault.partition(":")[0] for fault in asked(false, examples=5)}
