"""The OpenAPI document against the application: Schemathesis asks what it allows, and what it forbids."""

import asyncio
import copy
import itertools
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
import schemathesis
from dependency_injector import providers
from schemathesis import Case, HookContext, Response, engine
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.python import asgi

from moviehub.application.ports import Storage
from moviehub.application.sessions import Grant
from moviehub.domain.errors import Unavailable
from moviehub.entrypoints.bootstrap import in_memory, use_cases
from moviehub.entrypoints.http.app import create_app, openapi_document
from tests.api import PASSWORD, film, memory_settings

UNTELLABLE = {
    "taken": "which names and addresses others have",
    "common": "some thousand passwords that many people have",
    "similar": "that a password must not hold the name that it belongs to",
    "mismatch": "that two fields must be equal",
    "address": "that a username which is an address must be the account's own",
}
"""By the code of a fault, what no schema can tell of an otherwise good request."""

ENDS_A_SESSION = {
    "POST /api/auth/users/change_password/",
    "DELETE /api/auth/users/me/",
    "DELETE /api/auth/sessions/{session_id}/",
}
KNOWN = {"movie_id": 1, "tmdb_id": 1_001, "session_id": 1_000_000, "slug": "no-such-page", "name": "start.js"}
FILMS = 60
EXAMPLES = int(os.environ.get("MOVIEHUB_TEST_EXAMPLES", "10"))


class Hub:
    """The application in memory with some films, and people who may use it."""

    def __init__(self) -> None:
        self.container = in_memory(memory_settings())
        self.app: Any = create_app(self.container)
        self.cases = use_cases(self.container)
        self.numbers = itertools.count()
        self.alice = self.joined()
        films = [film(number) for number in range(1, FILMS + 1)]
        self.container.catalogue().films.extend(films)

        async def meet() -> None:
            async with self.container.storage().transaction() as uow:
                await uow.movies.remember(films, self.container.clock().now())

        asyncio.run(meet())

    def joined(self) -> Grant:
        """The tokens of a new account."""
        name = f"person{next(self.numbers)}"

        async def join() -> Grant:
            await self.cases["register"](username=name, email=f"{name}@example.org", password=PASSWORD)
            grant: Grant = await self.cases["sign_in"](login=name, password=PASSWORD)
            return grant

        return asyncio.run(join())

    def authenticate(self, schema: Any) -> None:
        """Have a schema's calls signed: always where it must be, else every second time."""
        turns = itertools.cycle((True, False))

        @schema.auth(refresh_interval=None)
        class Bearer:
            def get(_, case: Case[Any], context: Any) -> str:  # noqa: N805
                return (self.joined() if case.operation.label in ENDS_A_SESSION else self.alice).access

            def set(_, case: Case[Any], access: str, context: Any) -> None:  # noqa: N805
                security = case.operation.definition.raw.get("security", [])
                if security and ({} not in security or next(turns)):
                    case.headers["Authorization"] = f"Bearer {access}"

    def help(self, case: Case[Any]) -> None:
        """Put what no schema knows, passwords, tokens and what exists, into a request that is good by the schema."""
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return
        label, every_second = case.operation.label, next(self.numbers) % 2 == 0
        if label == "POST /api/auth/users/change_password/" and isinstance(case.body, dict):
            case.body = case.body | {"current_password": PASSWORD}
        elif label == "DELETE /api/auth/users/me/":
            case.body = {"password": PASSWORD}
        elif every_second and "/token/" in label:
            case.body = self.secrets(label)
        elif every_second and case.path_parameters:
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters}

    def secrets(self, label: str) -> Any:
        """A body that gets what it asks for."""
        if label.endswith("/token/"):
            return {"username": self.alice.user.username, "password": PASSWORD}
        return {"token": self.alice.access} if label.endswith("/verify/") else {"refresh": self.joined().refresh}

    def forget(self, case: Case[Any], response: Response) -> None:
        """Remove an account that was just made, so that its name is free again."""
        if case.operation.label == "POST /api/auth/users/" and response.status_code == 201:
            user_id = response.json()["user"]["id"]

            async def remove() -> None:
                async with self.container.storage().transaction() as uow:
                    await uow.users.remove(user_id)

            asyncio.run(remove())


def is_told(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Whether a schema could have told what a check complains of."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    return not all(
        fault["code"] in UNTELLABLE or (fault["code"] == "type" and is_written_otherwise(case, fault["field"]))
        for fault in response.json()["errors"]
    )


def is_written_otherwise(case: Case[Any], name: str) -> bool:
    """Whether a value is a number in a notation that is refused: 5.0 for an integer of a body, 1e-05 in a query."""
    value = {**case.query, **(case.body if isinstance(case.body, dict) else {})}.get(name)
    return isinstance(value, float) and (value.is_integer() or "e" in repr(value))


@dataclass
class Told:
    """What came of a run: what is wrong, and with which statuses each operation was answered."""

    faults: list[str] = field(default_factory=list)
    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def note(self, recorder: ScenarioRecorder) -> None:
        """Keep what matters of some requests that belong together."""
        for number, case in recorder.cases.items():
            asked = recorder.interactions.get(number)
            if asked is None or asked.response is None:
                continue
            self.statuses[case.value.operation.label].add(asked.response.status_code)
            for check in recorder.checks.get(number, ()):
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    request = f"{asked.request.method} {asked.request.uri} {asked.request.body!r}"[:1_000]
                    answer = f"{asked.response.status_code} {asked.response.content!r}"[:1_000]
                    self.faults.append(f"{check.name}: {failure.message}\n  {request}\n  {answer}")


def asked(document: dict[str, Any], *, examples: int) -> Told:
    """What comes of asking the application everything that Schemathesis can think of about this document."""
    hub, told = Hub(), Told()
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig(seed=1))
    schema.app = hub.app
    schema.config.update(continue_on_failure=True)
    schema.config.generation.update(max_examples=examples, deterministic=True, database="none", no_shrink=True)
    schema.config.phases.update(phases=["coverage", "fuzzing"])
    schema.hook("filter_failure")(is_told)
    hub.authenticate(schema)

    @schemathesis.hook
    def before_call(context: HookContext, case: Case[Any], kwargs: Any) -> None:
        hub.help(case)

    @schema.hook
    def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
        hub.forget(case, response)

    try:
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.NonFatalError):
                told.faults.append(f"{event.label}: {event.value!r}")
            elif isinstance(event, events.FatalError):
                raise event.exception
            elif isinstance(event, events.ScenarioFinished):
                told.note(event.recorder)
    finally:
        schemathesis.hooks.unregister(before_call)
    return told


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(openapi_document(memory_settings()))
    return told


@pytest.fixture(scope="module")
def told(document: dict[str, Any]) -> Told:
    return asked(copy.deepcopy(document), examples=EXAMPLES)


def test_schemathesis_finds_nothing(told: Told) -> None:
    assert told.faults == []


class Away(Storage):
    """A database that cannot be reached."""

    def transaction(self) -> NoReturn:
        raise Unavailable()

    def reading(self) -> NoReturn:
        raise Unavailable()

    def autocommit(self) -> NoReturn:
        raise Unavailable()

    async def ping(self) -> NoReturn:
        raise Unavailable()


BODIES = {
    "/users/": {"username": "zoe", "email": "zoe@example.org", "password": PASSWORD},
    "/update_profile/": {"bio": "Hello"},
    "/change_password/": {"current_password": PASSWORD, "new_password": "another good phrase"},
    "/me/": {"password": PASSWORD},
    "/rate/": {"rating": 5},
}


def test_every_status_of_the_document_is_met(document: dict[str, Any], told: Told) -> None:
    """Here with what Schemathesis may not think of: bad tokens, large bodies, known tags, a database that is away."""
    hub, away = Hub(), in_memory(memory_settings())
    away.storage.override(providers.Object(Away()))
    away.catalogue().out = True
    lame: Any = create_app(away)
    with asgi.get_client(hub.app) as here, asgi.get_client(lame) as there:
        for path, item in document["paths"].items():
            for method, operation in item.items():
                label, caller = f"{method.upper()} {path}", hub.joined()
                signed = {"Authorization": f"Bearer {caller.access}"} if "security" in operation else {}
                sessions = here.get("/api/auth/sessions/", headers={"Authorization": f"Bearer {caller.access}"})
                known = KNOWN | {"session_id": sessions.json()["results"][0]["id"]}
                target = path.format(**known) + ("?q=film" if "search" in path else "")
                body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
                body = hub.secrets(label) if "/token/" in path else body
                for answer in (
                    here.request(method, target, headers=signed | {"If-None-Match": "*"}),
                    here.request(method, target, headers=dict.fromkeys(signed, "Bearer x"), json={"refresh": "x"}),
                    here.request(method, target, headers=signed, data=b" " * 65_537),
                    here.request(method, target, params={"x": "y" * 8_192}),
                    there.request(method, target, headers=signed, json=body),
                    here.request(method, target, headers=signed, json=body),
                ):
                    told.statuses[label].add(answer.status_code)
                missed = {int(status) for status in operation["responses"]} - told.statuses[label]
                assert (missed, label) == (set(), label)


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
    assert check in {fault.partition(":")[0] for fault in asked(false, examples=5).faults}
