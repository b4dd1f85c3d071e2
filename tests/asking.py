"""A hub that Schemathesis asks: with people who may use it, and help with what no schema knows."""

import asyncio
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.application.sessions import Grant
from moviehub.domain.limits import Limit
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http.app import create_app
from moviehub.entrypoints.use_cases import use_cases
from tests.api import PASSWORD, film, memory_settings

UNTELLABLE = {
    "taken": "which names and addresses others have",
    "common": "some thousand passwords that many people have",
    "similar": "that a password must not hold the name that it belongs to",
    "mismatch": "that two fields must be equal",
    "address": "that a username which is an address must be the account's own",
    "superuser": "that a superuser is always staff",
    "foreign": "where a list can be read on",
    "ambiguous": "that a page has either a number or a cursor",
}
"""By the code of a fault, what no schema can tell of an otherwise good request."""

ENDS_A_SESSION = {
    "POST /api/auth/users/change_password/",
    "DELETE /api/auth/users/me/",
    "DELETE /api/auth/sessions/{session_id}/",
}
REGISTER, GOVERN = "POST /api/auth/users/", "PATCH /api/auth/users/{user_id}/"
KNOWN = {
    "movie_id": 1,
    "tmdb_id": 1_001,
    "session_id": 1_000_000,
    "user_id": 1,
    "slug": "no-such-page",
    "name": "start.js",
}
FILMS = 60
EXAMPLES = int(os.environ.get("MOVIEHUB_TEST_EXAMPLES", "3"))


class Hub:
    """The application in memory with some films, and people who may use it."""

    def __init__(self) -> None:
        # With limits that nobody reaches, so that every answer has their headers.
        limits = {name: Limit(name, 10**9, 60) for name in ("anonymous", "user", "auth")}
        settings = memory_settings(**{f"rate_limit_{name}": limit for name, limit in limits.items()})
        self.container = in_memory(settings)
        self.app: Any = create_app(self.container)
        self.cases = use_cases(self.container)
        self.container.catalogue().films.extend(film(number) for number in range(1, FILMS + 1))
        self.begin()

    def begin(self) -> None:
        """Forget all that happened."""
        vars(self.container.storage()).update(vars(MemoryStorage()))
        asyncio.run(self.container.cache().flush())
        self.turns = itertools.cycle((True, False))
        self.numbers = itertools.count()
        self.alice = self.joined()
        self.root = self.joined(is_superuser=True)

        async def meet() -> None:
            async with self.container.storage().transaction() as uow:
                await uow.movies.remember(self.container.catalogue().films, self.container.clock().now())

        asyncio.run(meet())

    def joined(self, *, is_superuser: bool = False, opinion: bool = False) -> Grant:
        """The tokens of a new account, perhaps of one that likes the first film and has rated it."""
        name = f"person{next(self.numbers)}"
        account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}

        async def join() -> None:
            user = await self.cases["register"](**account, is_superuser=is_superuser)
            if opinion:
                await self.cases["add_favorite"](user_id=user.id, movie_id=1)
                await self.cases["rate_movie"](user_id=user.id, movie_id=1, score=5)

        asyncio.run(join())
        return self.signed_in(name)

    def signed_in(self, name: str) -> Grant:
        """The tokens of a new session."""
        grant: Grant = asyncio.run(self.cases["sign_in"](login=name, password=PASSWORD))
        return grant

    def authenticate(self, schema: Any) -> None:
        """Have a schema's calls signed: always where it must be, else every second time."""

        @schema.auth(refresh_interval=None)
        class Bearer:
            def get(_, case: Case[Any], context: Any) -> str:  # noqa: N805
                person = self.root if is_for_staff(case.operation.definition.raw) else self.alice
                if is_followed(case):
                    return self.signed_in(person.user.username).access  # whatever was done to the session before
                return (self.joined() if case.operation.label in ENDS_A_SESSION else person).access

            def set(_, case: Case[Any], access: str, context: Any) -> None:  # noqa: N805
                security = case.operation.definition.raw.get("security", [])
                if security and ({} not in security or next(self.turns)):
                    case.headers["Authorization"] = f"Bearer {access}"

    def help(self, case: Case[Any]) -> None:
        """Put what no schema knows, passwords, tokens and what exists, into a request that is good by the schema."""
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return
        label, number = case.operation.label, next(self.numbers)
        every_second = number % 2 == 0
        if is_followed(case):
            case.query = {name: value for name, value in case.query.items() if name != "page"}  # few have a second one
        if label == "POST /api/auth/users/change_password/" and isinstance(case.body, dict):
            case.body = case.body | {"current_password": PASSWORD}
        elif label == "DELETE /api/auth/users/me/":
            case.body = {"password": PASSWORD}
        elif every_second and "/token/" in label:
            case.body = self.secrets(label)
        elif label == REGISTER and is_followed(case):
            case.body = {"username": f"new{number}", "email": f"new{number}@example.org", "password": PASSWORD}
        elif every_second and case.path_parameters and not is_followed(case):
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters}

    def secrets(self, label: str) -> Any:
        """A body that gets what it asks for."""
        if label.endswith("/token/"):
            return {"username": self.alice.user.username, "password": PASSWORD}
        return {"token": self.alice.access} if label.endswith("/verify/") else {"refresh": self.joined().refresh}

    def forget(self, case: Case[Any], response: Response) -> None:
        """Undo what would spoil later requests: names that are taken, people who are kept out."""
        if case.operation.label == REGISTER and response.status_code == 201 and not is_followed(case):
            user_id = response.json()["user"]["id"]

            async def remove() -> None:
                async with self.container.storage().transaction() as uow:
                    await uow.users.remove(user_id)

            asyncio.run(remove())
        if case.operation.label == GOVERN and response.status_code == 200:
            changed = response.json()
            rights = {"actor_id": self.root.user.id, "user_id": changed["id"]}
            asyncio.run(self.cases["govern_user"](**rights, is_active=True))
            if not changed["is_superuser"]:
                asyncio.run(self.cases["govern_user"](**rights, is_staff=False))
            if changed["id"] == self.alice.user.id:  # her sessions are over
                self.alice = self.signed_in(self.alice.user.username)


def is_for_staff(operation: dict[str, Any]) -> bool:
    """Whether only staff may call this."""
    security: list[dict[str, list[str]]] = operation.get("security", [])
    return {"bearer": ["staff"]} in security


def is_followed(case: Case[Any]) -> bool:
    """Whether links lead on from this request, so that what it made must stay."""
    return case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL


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


@contextmanager
def asking(document: dict[str, Any], hub: Hub, *, examples: int, phases: list[str]) -> Iterator[Any]:
    """Schemathesis, about to ask a hub about this document."""
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig(seed=1))
    schema.app = hub.app
    schema.config.update(continue_on_failure=True)
    schema.config.generation.update(max_examples=examples, deterministic=True, database="none", no_shrink=True)
    schema.config.phases.update(phases=phases)
    schema.config.phases.stateful.generation.update(modes=[GenerationMode.POSITIVE])
    schema.hook("filter_failure")(is_told)
    hub.authenticate(schema)

    @schemathesis.hook
    def before_call(context: HookContext, case: Case[Any], kwargs: Any) -> None:
        hub.help(case)

    @schema.hook
    def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
        hub.forget(case, response)

    try:
        yield schema
    finally:
        schemathesis.hooks.unregister(before_call)
