"""Accounts in memory."""

from datetime import datetime

from moviehub.adapters.memory.tables import Ids, Tables, page_of, refuse_unstorable
from moviehub.application.storage import Users
from moviehub.domain.pages import MOST_COUNTED, Page, PageRequest
from moviehub.domain.text import cased
from moviehub.domain.users import NewUser, Taken, User, UserNotFound


class MemoryUsers(Users):
    """Accounts in dicts."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def add(self, user: NewUser, at: datetime) -> User:
        _refuse_unstorable(user)
        keys = (("username", user.username_key), ("email", user.email_key))
        if taken := [key[0] for key in keys if key in self._tables.logins]:
            raise Taken(*taken)
        added = User(
            id=next(self._ids.users),
            username=user.username,
            email=user.email,
            password_hash=user.password_hash,
            first_name=user.first_name,
            last_name=user.last_name,
            bio=user.bio,
            profile_picture=user.profile_picture,
            is_staff=user.is_staff,
            is_superuser=user.is_superuser,
            created_at=at,
            updated_at=at,
        )
        self._tables.users[added.id] = added
        self._tables.logins.update(dict.fromkeys(keys, added.id))
        return added

    async def get(self, user_id: int) -> User:
        if user_id not in self._tables.users:
            raise UserNotFound()
        return self._tables.users[user_id]

    async def find_by_login(self, name: str) -> User | None:
        logins = self._tables.logins
        user_id = logins.get(("username", cased(name))) or logins.get(("email", cased(name)))
        return self._tables.users[user_id] if user_id else None

    async def list(self, search: str, page: PageRequest) -> Page[User]:
        page.refuse_past(MOST_COUNTED)
        wanted = cased(search)
        found = [
            each for each in self._tables.users.values() if wanted in each.username_key or wanted in each.email_key
        ]
        return page_of(sorted(found, key=lambda each: each.id, reverse=True), page, most=MOST_COUNTED)

    async def save(self, user: User) -> None:
        before = await self.get(user.id)
        _refuse_unstorable(user)
        for name in ("username", "email"):
            key = (name, getattr(user, f"{name}_key"))
            if self._tables.logins.get(key, user.id) != user.id:
                raise Taken(name)
        for name in ("username", "email"):
            del self._tables.logins[name, getattr(before, f"{name}_key")]
            self._tables.logins[name, getattr(user, f"{name}_key")] = user.id
        self._tables.users[user.id] = user

    async def remove(self, user_id: int) -> None:
        tables, gone = self._tables, await self.get(user_id)
        del tables.users[user_id], tables.logins["username", gone.username_key], tables.logins["email", gone.email_key]
        for session_id in [each.id for each in tables.sessions.values() if each.user_id == user_id]:
            del tables.sessions[session_id]
        for key in [key for key in tables.favorites if key[0] == user_id]:
            del tables.favorites[key]
        for key in [key for key in tables.ratings if key[0] == user_id]:
            del tables.ratings[key]


def _refuse_unstorable(user: NewUser | User) -> None:
    refuse_unstorable(
        user.username,
        user.email,
        user.password_hash,
        user.first_name,
        user.last_name,
        user.bio,
        user.profile_picture,
    )
