"""How the hub logs: one JSON line an event on standard error, with the ids of the request it belongs to."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar

import msgspec
import structlog

from moviehub.application.tracing import SPAN
from moviehub.entrypoints.settings import Settings

Headers = Iterable[tuple[bytes, bytes]]

REQUEST: ContextVar[tuple[str, Headers]] = ContextVar("request", default=("", ()))
"""The id of the request that this task serves, and its headers, whose `traceparent` is read when a line is written."""

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; after version 00 nothing may follow.
_TRACEPARENT = re.compile(
    rb"(?!ff|00.{53}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)

_BEYOND_ASCII = re.compile("[^ -~]")


def trace_id() -> str:
    """The trace that this task is part of: ours if there is one, else the client's if it said so well."""
    if span := SPAN.get():
        return span.trace_id
    told = [value for name, value in REQUEST.get()[1] if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(told[0]) if len(told) == 1 else None
    return found[1].decode() if found else ""


def _add_ids(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if request_id := REQUEST.get()[0]:
        event["request_id"] = request_id
    if trace := trace_id():
        event["trace_id"] = trace
    return event


class _Lines(structlog.WriteLogger):
    """Writes lines to standard error as it is now; where nobody reads them any more, that must not break who logs."""

    def __init__(self, *_: object) -> None:
        super().__init__(sys.stderr)

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def write(line: str) -> None:
    """Write a line that is JSON in ASCII already."""
    _Lines().msg(line)


class _Libraries(logging.Handler):
    """Writes what libraries log; what they log wrongly is one line too, and not what Python would make of it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _Lines().msg(self.format(record))
        except Exception:
            structlog.get_logger().exception("a library logs what cannot be told", logger=record.name)


def configure(settings: Settings, *more: structlog.typing.Processor) -> None:
    """Send every log event, the libraries' own too, through one JSON renderer; `more` see ours before that."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        _add_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    told = structlog.processors.format_exc_info
    structlog.configure(
        processors=[*shared, *more, told, structlog.processors.JSONRenderer(_encode)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )
    handler = _Libraries()
    handler.setLevel(max(level, logging.WARNING))  # also where a library has lowered the level of its logger
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, told],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_encode),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=handler.level, force=True)


def _encode(event: Mapping[str, object], **_: object) -> str:
    """JSON in ASCII alone: nothing that is quoted ends a line, steers a terminal or depends on its encoding."""
    try:
        line = msgspec.json.encode(event, enc_hook=str)
    except Exception:
        line = msgspec.json.encode({_text(name): _plain(value) for name, value in event.items()}, enc_hook=str)
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], line.decode())


def _plain(value: object) -> object:
    """`value`, or as Python shows it if JSON cannot hold it."""
    try:
        msgspec.json.encode(value, enc_hook=str)
    except Exception:
        return _text(value)
    return value


def _text(value: object) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text.encode(errors="backslashreplace").decode()
