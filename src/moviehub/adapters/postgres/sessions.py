"""Sessions in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, func, select, update
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.rows import session_of, user_of
from moviehub.adapters.postgres.statements import (
    Runs,
    Statement,
    a_number,
    an_id,
    an_instant,
    first,
    ids,
    possible,
    skipped,
)
from moviehub.adapters.postgres.tables import labelled, parameters, sessions, users
from moviehub.application.batch import Batch
from moviehub.application.storage import Sessions
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.sessions import Session, SignedIn

_OF_USER = sessions.c.user_id == an_id("user_id")
_NOT_ENDED = sessions.c.ended_at.is_(None)
_ENDING = update(sessions).values(ended_at=an_instant("at"))
_WAS_LIVE = (sessions.c.expires_at > an_instant("at")).label("was_live")

ADD = Statement(insert(sessions).values(parameters(sessions)).returning(*labelled(sessions)))
FIND = Statement(
    select(*labelled(sessions), *labelled(users))
    .join_from(sessions, users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == func.any(ids("session_ids")))
)
ROTATE = Statement(
    update(sessions)
    .where(sessions.c.id == an_id("session_id"), sessions.c.counter == a_number("from_counter"), _NOT_ENDED)
    .values(counter=sessions.c.counter + 1, last_used_at=an_instant("at"), expires_at=an_instant("until"))
    .returning(*labelled(sessions))
)
LIST = Statement(
    select(*labelled(sessions), func.count().over().label("total"))
    .where(_OF_USER, _NOT_ENDED, sessions.c.expires_at > an_instant("at"))
    .order_by(sessions.c.last_used_at.desc(), sessions.c.id.desc())
    .limit(a_number("size"))
    .offset(a_number("skipped"))
)
END = Statement(_ENDING.where(sessions.c.id == an_id("session_id"), _NOT_ENDED).returning(_WAS_LIVE))
END_OF_USER = Statement(_ENDING.where(sessions.c.id == an_id("session_id"), _NOT_ENDED, _OF_USER).returning(_WAS_LIVE))
END_ALL = Statement(
    # Locked in one order first, so that two who end the same sessions cannot deadlock.
    _ENDING.where(
        sessions.c.id.in_(
            select(sessions.c.id)
            .where(and_(_OF_USER, _NOT_ENDED, sessions.c.id != an_id("but")))
            .order_by(sessions.c.id)
            .with_for_update()
        )
    )
)

# Those that somebody else is at are left for the next time, so nobody waits here and no order of locks matters. They
# are gathered into an array, which is done once: a LIMIT under IN may be run again and again, and lock more each time.
_over = (
    select(sessions.c.id)
    .where(_NOT_ENDED, sessions.c.expires_at <= an_instant("at"))
    .order_by(sessions.c.expires_at, sessions.c.id)
    .limit(a_number("most"))
    .with_for_update(skip_locked=True)
)
END_EXPIRED = Statement(
    update(sessions)
    .where(sessions.c.id == func.any(func.array(_over.scalar_subquery())))
    .values(ended_at=sessions.c.expires_at)
    .returning(sessions.c.id.label("id"))
)


class PostgresSessions(Sessions):
    """Sessions; with a `batch`, calls of `find` that come at once share statements."""

    def __init__(self, run: Runs, batch: Batch[int, SignedIn] | None = None) -> None:
        self._run = run
        self._batch = batch

    async def add(self, user_id: int, *, at: datetime, expires_at: datetime, client: str, address: str) -> Session:
        (row,) = await self._run.rows(
            ADD,
            user_id=possible(user_id),
            counter=0,
            created_at=at,
            last_used_at=at,
            expires_at=expires_at,
            ended_at=None,
            client=client,
            address=address,
        )
        return session_of(row)

    async def find(self, session_id: int) -> SignedIn | None:
        wanted = possible(session_id)
        return await self._batch.find(wanted) if self._batch else (await signed_in(self._run, [wanted])).get(wanted)

    async def rotate(self, session_id: int, counter: int, *, at: datetime, expires_at: datetime) -> Session | None:
        values = {"session_id": possible(session_id), "from_counter": counter, "at": at, "until": expires_at}
        row = first(await self._run.rows(ROTATE, **values))
        return session_of(row) if row else None

    async def list(self, user_id: int, page: PageRequest, at: datetime) -> Page[Session]:
        values = {"user_id": possible(user_id), "at": at, "size": page.size, "skipped": skipped(page)}
        rows = await self._run.rows(LIST, **values)
        return Page(tuple(map(session_of, rows)), rows[0]["total"] if rows else 0, page)

    async def end(self, session_id: int, at: datetime, *, user_id: int | None = None) -> bool:
        values = {"session_id": possible(session_id), "at": at}
        if user_id is None:
            row = first(await self._run.rows(END, **values))
        else:
            row = first(await self._run.rows(END_OF_USER, **values, user_id=possible(user_id)))
        return row is not None and row["was_live"]

    async def end_all(self, user_id: int, at: datetime, *, but: int | None = None) -> None:
        await self._run.rows(END_ALL, user_id=possible(user_id), at=at, but=possible(but or 0))

    async def end_expired(self, at: datetime, most: int) -> int:
        return len(await self._run.rows(END_EXPIRED, at=at, most=most))


async def signed_in(run: Runs, session_ids: Sequence[int]) -> Mapping[int, SignedIn]:
    """The sessions of these ids that exist, each with its account."""
    rows = await run.rows(FIND, session_ids=session_ids)
    return {row["sessions_id"]: SignedIn(session_of(row), user_of(row)) for row in rows}
