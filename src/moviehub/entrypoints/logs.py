"""How the hub logs: one JSON line an event on standard error, with the id of the request it belongs to."""

import logging
import sys
from contextvars import ContextVar

import msgspec
import structlog

from moviehub.entrypoints.settings import Settings

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The id of the request that this task serves."""


def _add_request_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if request_id := REQUEST_ID.get(None):
        event["request_id"] = request_id
    return event


def configure(settings: Settings) -> None:
    """Send every log event, the libraries' own too, through one JSON renderer."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(_encode)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # as it is when the event is told
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_encode),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _encode(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
