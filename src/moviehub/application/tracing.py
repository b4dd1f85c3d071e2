"""Where time goes: spans around what is asked of the outside world, told to whoever traces, else to nobody."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol


class Span(Protocol):
    """A stretch of time within a trace, told of once it is over."""

    @property
    def trace_id(self) -> str:
        """The trace that it is part of, in hexadecimal digits."""
        ...

    def answered(self, status: int) -> None:
        """Note what status an HTTP question was answered with."""
        ...


class Spans(Protocol):
    """Begins spans."""

    def __call__(self, system: str, what: object) -> AbstractContextManager[Span]:
        """The span of asking a system, such as postgresql, for what `str(what)` names: never with anybody's values."""
        ...


SPAN: ContextVar[Span | None] = ContextVar("span", default=None)
"""What the work of this task is part of, if that is traced. Who gives work a context of its own hands it on."""


class _Untraced(AbstractContextManager[Span]):
    trace_id = ""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def answered(self, status: int) -> None:
        pass


_UNTRACED = _Untraced()


def untraced(system: str, what: object) -> AbstractContextManager[Span]:
    """The span of what nobody traces, which costs next to nothing."""
    return _UNTRACED
