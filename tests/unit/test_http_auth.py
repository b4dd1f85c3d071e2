"""Who may call: what a handler does not say is refused."""

from typing import Any

import pytest
from litestar import Litestar, get

from moviehub.domain.errors import Unauthenticated
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http.auth import BearerAuth
from moviehub.entrypoints.http.calls import Answer, call, nothing
from moviehub.entrypoints.http.dispatch import Dispatcher
from moviehub.entrypoints.http.exchange import Exchange, Proxies
from moviehub.entrypoints.http.limits import Gate
from moviehub.entrypoints.use_cases import use_cases


def serving(opt: dict[str, Any]) -> tuple[Dispatcher, list[str]]:
    """An application of one handler with these options, and how often it was reached."""
    container, reached = in_memory(), list[str]()

    @get("/secret", opt=opt)
    async def secret() -> Answer:
        reached.append("secret")
        return nothing()

    app = Litestar([secret], openapi_config=None, logging_config=None)
    auth = BearerAuth(use_cases(container)["authenticate"], Gate(container.limiter(), container.limits()))
    return Dispatcher(app, auth, {}), reached


async def test_a_handler_that_declares_no_call_is_not_served() -> None:
    with pytest.raises(KeyError):
        serving({})


async def test_a_call_that_does_not_say_who_may_make_it_lets_no_stranger_in() -> None:
    dispatcher, reached = serving(call(answers={204: None}))
    container = in_memory()
    settings = container.settings()
    scope: Any = {"type": "http", "method": "GET", "path": "/secret", "headers": []}
    scope["moviehub"] = Exchange(
        scope=scope,
        path="/secret",
        method="GET",
        request_id="id",
        host="127.0.0.1",
        authorization=None,
        content_type="",
        proxies=Proxies(settings),
        settings=settings,
        clock=container.clock(),
    )
    with pytest.raises(Unauthenticated):
        await dispatcher(scope, None, None)  # type: ignore[arg-type]
    assert reached == []
