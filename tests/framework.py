"""The framework's application, lent to one hub after another: to make one takes longer than most tests do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from litestar import Litestar, Router

from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.http import app, openapi
from moviehub.entrypoints.http.edge import Edge

_free: list["_Lent"] = []
_document = cache(openapi.build)  # it depends on nothing but the application


class _Lent:
    """An application, which serves one hub at a time."""

    def __init__(self, handlers: list[Any], told: Mapping[str, Any]) -> None:
        self.app = Litestar([each.made() if isinstance(each, _Routes) else each for each in handlers], **told)
        self._handlers, self._told = handlers, told

    def serve(self, handlers: list[Any], told: Mapping[str, Any]) -> None:
        """Hand to the requests what belongs to another hub from now on."""
        self.app.state = told["state"]
        for name, provide in told["dependencies"].items():
            self._told["dependencies"][name].dependency = provide.dependency
        for before, now in zip(_middleware(self._handlers), _middleware(handlers), strict=True):
            for field in fields(now):
                object.__setattr__(before, field.name, getattr(now, field.name))


class _Routes:
    """What a router is to be made of."""

    def __init__(self, path: str, **told: Any) -> None:
        self.path, self.told = path, told

    def made(self) -> Router:
        return Router(self.path, **self.told)


def _middleware(handlers: list[Any]) -> Iterator[Any]:
    for each in handlers:
        if isinstance(each, _Routes):
            yield from each.told["middleware"]


@contextmanager
def application(container: Container) -> Iterator[Edge]:
    """What `create_app` makes, with an application of the framework that no other hub has meanwhile."""
    lent: list[_Lent] = []

    def lend(handlers: list[Any], **told: Any) -> Litestar:
        if _free:
            lent.append(_free.pop())
            lent[0].serve(handlers, told)
        else:
            lent.append(_Lent(handlers, told))
        return lent[0].app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Litestar", lend)
        patch.setattr(app, "Router", _Routes)
        patch.setattr(openapi, "build", _document)
        edge = app.create_app(container)
    yield edge
    _free.extend(lent)
