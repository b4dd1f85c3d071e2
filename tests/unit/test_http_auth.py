"""Who may call: what a handler does not say is refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from moviehub.domain.errors import Unauthenticated
from moviehub.entrypoints.bootstrap import in_memory, use_cases
from moviehub.entrypoints.http.auth import BearerAuth


async def test_a_handler_that_does_not_say_who_may_call_lets_no_stranger_in() -> None:
    auth = BearerAuth(use_cases(in_memory())["authenticate"])
    reached = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    scope: Any = {"route_handler": SimpleNamespace(opt={}), "moviehub": SimpleNamespace(authorization=None)}
    with pytest.raises(Unauthenticated):
        await auth.handle(scope, None, None, handler)  # type: ignore[arg-type]
    assert reached == []
