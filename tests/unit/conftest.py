"""Unit tests stay inside the process: here a socket that is opened to anywhere is an error."""

import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

import pytest

from tests.api import Api, api_in_memory


@pytest.fixture(autouse=True, scope="module")
def _no_sockets() -> Iterator[None]:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a unit test must not open sockets")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, name, refuse)
        yield


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """The whole HTTP application on memory adapters, empty."""
    async with api_in_memory() as api:
        yield api
