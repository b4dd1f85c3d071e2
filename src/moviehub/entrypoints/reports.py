"""Unexpected errors, told to Sentry: where in the code, of what kind and in which request, and nothing else."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from moviehub import __version__
from moviehub.entrypoints import logs
from moviehub.entrypoints.settings import Settings, SettingsError

if TYPE_CHECKING:
    # At run time it is imported by `begun` alone: it takes a tenth of a second, and may not be installed.
    from sentry_sdk.transport import Transport
    from sentry_sdk.types import Event, Hint

DSN = "SENTRY_DSN"

LONGEST_GOODBYE = 1.0
"""Seconds that the last reports may take to be delivered when a process ends."""

_TOLD = ("request_id", "trace_id", "method", "route", "job")
"""What of a log line is told beside the error."""

_OF_AN_EVENT = ("event_id", "timestamp", "platform", "level", "release", "environment", "transaction", "tags")
_OF_AN_ERROR = ("type", "module")
_OF_A_FRAME = ("module", "function", "lineno", "in_app")

log = structlog.get_logger()


class Reports:
    """Sends to the project that the DSN names. Every integration of the SDK is off: it hears of what we tell it."""

    def __init__(self, dsn: str, transport: "Transport | None" = None) -> None:
        import sentry_sdk
        from sentry_sdk.utils import event_from_exception

        self._client = sentry_sdk.Client(
            dsn,
            transport=transport,
            release=os.environ.get("SENTRY_RELEASE") or f"moviehub@{__version__}",
            before_send=only_what_is_known,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            spotlight=False,
            debug=False,
        )
        self._read = event_from_exception

    def take(self, _: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """A processor of log lines: an error with an exception is what nobody expected. The line stays as it is."""
        fault = line.get("exc_info")
        if method == "error" and isinstance(fault, Exception):
            with suppress(Exception):  # whoever meets an error has enough to do
                self._send(fault, {name: str(line[name]) for name in _TOLD if line.get(name)})
        return line

    def _send(self, fault: Exception, told: dict[str, str]) -> None:
        event, hint = self._read(fault, client_options=self._client.options)
        event["tags"] = told
        event["transaction"] = f"job {told['job']}" if "job" in told else told.get("route", "")
        self._client.capture_event(event, hint)

    async def close(self) -> None:
        """Deliver what is left, unless that takes too long."""
        await asyncio.to_thread(self._client.close, LONGEST_GOODBYE)


def only_what_is_known(event: "Event", _: "Hint | None" = None) -> "Event":
    """The event with what is on the lists alone; not the words of an error either, for they may quote what was sent."""
    given: Any = event
    errors = given.get("exception", {}).get("values", ())
    known = {name: given[name] for name in _OF_AN_EVENT if given.get(name)}
    known["exception"] = {"values": [_error(error) for error in errors]}
    return known  # type: ignore[return-value]


def _error(error: Mapping[str, Any]) -> dict[str, Any]:
    frames = (error.get("stacktrace") or {}).get("frames", ())
    told = [{name: frame[name] for name in _OF_A_FRAME if name in frame} for frame in frames]
    return {**{name: error.get(name) for name in _OF_AN_ERROR}, "stacktrace": {"frames": told}}


def check(environ: Mapping[str, str] = os.environ) -> str:
    """The DSN, if one is set. Raises SettingsError, which does not quote it, if it is none."""
    dsn = environ.get(DSN, "").strip()
    try:
        parts = urlsplit(dsn)
        _ = parts.port
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.username
        if dsn and not (is_one and parts.path.rpartition("/")[2].isdecimal()):
            raise ValueError
    except ValueError:
        expected = "expected a DSN such as https://key@sentry.example.org/42, or nothing"
        raise SettingsError(f"{DSN}: {expected}") from None
    return dsn


@asynccontextmanager
async def begun(settings: Settings) -> AsyncIterator[None]:
    """The reports of this process, if they are wanted; delivered to the end. To be begun in each worker for itself."""
    reports = None
    if dsn := check():
        try:
            reports = Reports(dsn)
            logs.configure(settings, reports.take)
            # By it the SDK delivers, and it would tell each try of each report that did not arrive.
            logging.getLogger("urllib3").setLevel(logging.ERROR)
        except ImportError:
            log.warning("not_reported", hint=f"{DSN} is set: pip install 'moviehub[sentry]', or unset it")
    try:
        yield
    finally:
        if reports is not None:
            await reports.close()
