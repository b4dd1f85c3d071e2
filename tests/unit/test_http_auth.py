"""Who may call: what a handler does not say is refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from moviehub.domain.errors import Unauthenticated
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http.auth import BearerAuth
from moviehub.entrypoints.http.limits import Gate
from moviehub.entrypoints.use_cases import use_cases


async def test_a_handler_that_does_not_say_who_may_call_lets_no_stranger_in() -> None:
    container = in_memory()
    gate = Gate(container.limiter(), container.limits())
    auth = BearerAuth(use_cases(container)["authenticate"], gate)
    reached = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    scope: Any = {"route_handler": SimpleNamespace(opt={}), "moviehub": SimpleNamespace(authorization=None)}
    with pytest.raises(Unauthenticated):
        await auth.handle(scope, None, None, handler)  # type: ignore[arg-type]
    assert reached == []
