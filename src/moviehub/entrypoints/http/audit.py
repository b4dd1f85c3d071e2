"""The audit trail over HTTP."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import Meta

from moviehub.application.audit import ListAudit
from moviehub.domain.audit import Event, Recorded
from moviehub.domain.errors import Invalid
from moviehub.entrypoints.http.auth import SignedInRequest
from moviehub.entrypoints.http.calls import Instant, answer, call
from moviehub.entrypoints.http.inputs import LARGEST_NUMBER, Query
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, PageOut, envelope

Id = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST_NUMBER})]

_EVENTS = [event.value for event in Event]


class AuditIn(PageIn, frozen=True):
    """Which entries: those of one account, of one kind, or before the entry of an id.

    Pages stop after 10,000 entries: ask for those before the last one.
    """

    user: Id | None = None
    event: Annotated[str, Meta(extra_json_schema={"enum": _EVENTS})] | None = None
    before: Id | None = None


class EntryOut(msgspec.Struct):
    """What happened to the account `user_id`, and who did it, from where, as far as each is known."""

    id: int
    at: Instant
    event: Event
    user_id: int | None
    actor_id: int | None
    address: str
    detail: str


def _entry_out(recorded: Recorded) -> EntryOut:
    entry = recorded.entry
    return EntryOut(recorded.id, entry.at, entry.event, entry.user_id, entry.actor_id, entry.address, entry.detail)


def _check_id(name: str) -> Callable[[int], None]:
    def check(number: int) -> None:
        if number < 1:
            raise Invalid.field(name, "out_of_range", "expected an id: an integer from 1")

    return check


def _check_event(name: str) -> None:
    if name not in _EVENTS:
        raise Invalid.field("event", "unknown", f"expected one of {', '.join(_EVENTS)}")


AUDIT = Query(AuditIn, {**PAGE_RULES, "user": _check_id("user"), "event": _check_event, "before": _check_id("before")})


class AuditController(Controller):
    """The audit trail, for staff."""

    path = "/api/auth/audit"
    tags = ["Administration"]

    @get(
        "/",
        opt=call(auth="staff", query=AUDIT, answers={200: PageOut[EntryOut]}, refusals=(404,), tagged=False),
    )
    async def list_all(self, request: SignedInRequest, list_audit: NamedDependency[ListAudit]) -> Response[bytes]:
        """List what happened to accounts and rights, newest first."""
        wanted = AUDIT.read(request)
        event = None if wanted.event is None else Event(wanted.event)
        page = await list_audit(page=wanted.request_of(request), user_id=wanted.user, event=event, before=wanted.before)
        results = [_entry_out(recorded) for recorded in page.items]
        return answer(PageOut(**envelope(request, page), results=results))  # type: ignore[arg-type]
