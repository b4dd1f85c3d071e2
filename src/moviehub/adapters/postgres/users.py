"""Accounts in Postgres."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.rows import user_of
from moviehub.adapters.postgres.statements import (
    Runs,
    Statement,
    a_text,
    an_id,
    containing,
    first,
    newest,
    possible,
    storable,
)
from moviehub.adapters.postgres.tables import labelled, parameters, sessions, users
from moviehub.application.storage import Users
from moviehub.domain.errors import Unavailable
from moviehub.domain.pages import MOST_COUNTED, Page, PageRequest
from moviehub.domain.text import cased
from moviehub.domain.users import NewUser, Taken, User, UserNotFound

TRIGRAM = 3
"""Characters in a trigram."""

_BY_ID = select(*labelled(users)).where(users.c.id == an_id("user_id"))

ADD = Statement(insert(users).values(parameters(users)).on_conflict_do_nothing().returning(*labelled(users)))
TAKEN = Statement(
    select(users.c.username_key, users.c.email_key).where(
        or_(users.c.username_key == a_text("username_key"), users.c.email_key == a_text("email_key"))
    )
)
GET = Statement(_BY_ID)
GET_LOCKED = Statement(_BY_ID.with_for_update(key_share=True), reads=False)
FIND_BY_LOGIN = Statement(
    select(*labelled(users))
    .where(or_(users.c.username_key == a_text("name"), users.c.email_key == a_text("name")))
    .order_by((users.c.username_key == a_text("name")).desc())
    .limit(1)
)
LIST = newest(users)
_HAS_IT = or_(
    func.strpos(users.c.username_key, a_text("sought")) > 0, func.strpos(users.c.email_key, a_text("sought")) > 0
)
# The index of trigrams has both names as one text, for to look through two of them takes twice as long.
SEARCH = newest(
    users, (users.c.username_key + literal_column("' '") + users.c.email_key).like(a_text("search")), _HAS_IT
)
# For less than a trigram: the server may come to prefer the index for that too, and then reads all of it.
SCAN = newest(users, _HAS_IT)
SAVE = Statement(
    update(users).where(users.c.id == an_id("user_id")).values(parameters(users)).returning(users.c.id.label("id"))
)
# What is deleted with an account goes in no order that we choose, and others end sessions in the order of their ids: so
# these are locked in that order first. Counting them is what has it done.
_sessions = (
    select(sessions.c.id)
    .where(sessions.c.user_id == an_id("user_id"))
    .order_by(sessions.c.id)
    .with_for_update()
    .subquery("locked")
)
REMOVE = Statement(
    delete(users)
    .where(users.c.id == an_id("user_id"), select(func.count()).select_from(_sessions).scalar_subquery() >= 0)
    .returning(users.c.id.label("id"))
)


class PostgresUsers(Users):
    """Accounts; with `locking`, `get` keeps the row from others until the transaction ends."""

    def __init__(self, run: Runs, *, locking: bool) -> None:
        self._run = run
        self._get = GET_LOCKED if locking else GET

    async def add(self, user: NewUser, at: datetime) -> User:
        values = {**_values(user), "is_active": True, "created_at": at, "updated_at": at}
        for _ in range(2):  # the second time, whoever had a name has gone since
            row = first(await self._run.rows(ADD, **values))
            if row:
                return user_of(row)
            others = await self._run.rows(TAKEN, username_key=user.username_key, email_key=user.email_key)
            fields = [
                field
                for field in ("username", "email")
                if any(other[f"{field}_key"] == values[f"{field}_key"] for other in others)
            ]
            if fields:
                raise Taken(*fields)
        raise Unavailable("The name was taken and given up at the same moment.")

    async def get(self, user_id: int) -> User:
        row = first(await self._run.rows(self._get, user_id=possible(user_id)))
        if not row:
            raise UserNotFound()
        return user_of(row)

    async def find_by_login(self, name: str) -> User | None:
        if not storable(name):
            return None
        row = first(await self._run.rows(FIND_BY_LOGIN, name=cased(name)))
        return user_of(row) if row else None

    async def list(self, search: str, page: PageRequest) -> Page[User]:
        page.refuse_past(MOST_COUNTED)
        if not storable(search):
            return Page((), 0, page)
        wanted, window = cased(search), {"size": page.size, "skipped": page.offset}
        if len(wanted) >= TRIGRAM:
            rows = await self._run.rows(SEARCH, search=containing(wanted), sought=wanted, **window)
        elif wanted:
            rows = await self._run.rows(SCAN, sought=wanted, **window)
        else:
            rows = await self._run.rows(LIST, **window)
        return Page(tuple(map(user_of, rows)), rows[0]["total"] if rows else 0, page)

    async def save(self, user: User) -> None:
        kept = {"is_active": user.is_active, "created_at": user.created_at, "updated_at": user.updated_at}
        if not await self._run.rows(SAVE, user_id=possible(user.id), **_values(user), **kept):
            raise UserNotFound()

    async def remove(self, user_id: int) -> None:
        if not await self._run.rows(REMOVE, user_id=possible(user_id)):
            raise UserNotFound()


def _values(user: NewUser | User) -> dict[str, Any]:
    return {
        "username": user.username,
        "username_key": user.username_key,
        "email": user.email,
        "email_key": user.email_key,
        "password": user.password_hash,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "bio": user.bio,
        "profile_picture": user.profile_picture,
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
    }
