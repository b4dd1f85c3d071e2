"""What people can do with their account."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moviehub.application.kept import MOVIES, about_user
from moviehub.application.ports import Clock, News, Passwords
from moviehub.application.storage import Storage, UnitOfWork
from moviehub.domain.audit import Entry, Event
from moviehub.domain.errors import FieldError, Invalid
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.sessions import BadToken
from moviehub.domain.users import (
    NewUser,
    User,
    UserNotFound,
    WrongPassword,
    check_account,
    check_password_for,
    normalized_password,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A new account. Invalid names every field at fault, a taken name too."""

    storage: Storage
    passwords: Passwords
    clock: Clock

    async def __call__(
        self,
        *,
        username: str,
        email: str,
        password: str,
        password_confirm: str | None = None,
        is_superuser: bool = False,
        address: str = "",
        **profile: Any,
    ) -> User:
        check_account(username=username, email=email, password=password, password_confirm=password_confirm, **profile)
        user = NewUser(
            username=username,
            email=email,
            password_hash=await self.passwords.hash(normalized_password(password)),
            first_name=profile.get("first_name") or "",
            last_name=profile.get("last_name") or "",
            bio=profile.get("bio") or None,
            profile_picture=profile.get("profile_picture") or None,
            is_staff=is_superuser,
            is_superuser=is_superuser,
        )
        now = self.clock.now()
        async with self.storage.transaction() as uow:
            added = await uow.users.add(user, now)
            await uow.audit.add(
                _entry(Event.REGISTRATION, now, added.id, added.id, address, is_superuser * "superuser")
            )
        return added


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile:
    """The account with `email, first_name, last_name, bio` or `profile_picture` changed, as far as named."""

    storage: Storage
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, address: str = "", **changes: Any) -> User:
        now = self.clock.now()
        async with self.storage.transaction() as uow:
            before = await uow.users.get(user_id)
            user = before.with_profile(now, **changes)
            await uow.users.save(user)
            if user.email != before.email:
                await uow.audit.add(_entry(Event.EMAIL_CHANGE, now, user_id, user_id, address))
        await self.news.tell(about_user(user_id))
        return user


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Another password, and every session ended."""

    storage: Storage
    passwords: Passwords
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, current_password: str, new_password: str, address: str = "") -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.get(user_id)
        faults: list[FieldError] = []
        if not await self.passwords.verify(normalized_password(current_password), user.password_hash):
            await _note_wrong_proof(self.storage, self.clock, user, address, "change of password")
            faults += WrongPassword("current_password").errors
        try:
            check_password_for(new_password, username=user.username, email=user.email, field="new_password")
        except Invalid as fault:
            faults += fault.errors
        if faults:
            raise Invalid(faults)
        password_hash = await self.passwords.hash(normalized_password(new_password))
        await _replace_password(
            self.storage, self.clock, user, password_hash, proved_in="current_password", address=address
        )
        await self.news.tell(about_user(user_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword:
    """Another password for an account that an operator names, and every session ended."""

    storage: Storage
    passwords: Passwords
    clock: Clock
    news: News

    async def __call__(self, *, login: str, password: str) -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.find_by_login(login)
        if user is None:
            raise UserNotFound(f"There is no user {login!r}.")
        check_password_for(password, username=user.username, email=user.email)
        password_hash = await self.passwords.hash(normalized_password(password))
        await _replace_password(self.storage, self.clock, user, password_hash)
        await self.news.tell(about_user(user.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccount:
    """The account, its favourites, ratings and sessions gone."""

    storage: Storage
    passwords: Passwords
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, password: str, address: str = "") -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.get(user_id)
        if not await self.passwords.verify(normalized_password(password), user.password_hash):
            await _note_wrong_proof(self.storage, self.clock, user, address, "deletion")
            raise WrongPassword("password")
        async with self.storage.transaction() as uow:
            if (await uow.users.get(user_id)).password_hash != user.password_hash:  # changed while we were hashing
                raise WrongPassword("password")
            await uow.users.remove(user_id)
            await uow.audit.add(_entry(Event.DELETION, self.clock.now(), user_id, user_id, address))
        await self.news.tell(about_user(user_id), MOVIES)  # whose scores had their ratings in them


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUsers:
    """A page of accounts, the newest first, of all or of those whose username or address contains `search`."""

    storage: Storage

    async def __call__(self, *, page: PageRequest, search: str = "") -> Page[User]:
        async with self.storage.reading() as uow:
            return await uow.users.list(search, page)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetUser:
    """One account, or UserNotFound."""

    storage: Storage

    async def __call__(self, *, user_id: int) -> User:
        async with self.storage.reading() as uow:
            return await uow.users.get(user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernUser:
    """Somebody else's account let in or kept out, made staff or not, as far as told.

    Who is kept out has no session any more. NotYours if the actor, as stored now, may not; UserNotFound.
    """

    storage: Storage
    clock: Clock
    news: News

    async def __call__(
        self,
        *,
        actor_id: int,
        user_id: int,
        is_active: bool | None = None,
        is_staff: bool | None = None,
        address: str = "",
    ) -> User:
        now = self.clock.now()
        async with self.storage.transaction() as uow:
            # Locked in one order, so that two who govern each other cannot deadlock.
            rows = {each: await _locked(uow, each, actor_id) for each in sorted({actor_id, user_id})}
            before = rows[user_id]
            after = before.governed(rows[actor_id], now, is_active=is_active, is_staff=is_staff)
            if after != before:
                await uow.users.save(after)
            if after.is_active != before.is_active:
                event = Event.ACTIVATION if after.is_active else Event.DEACTIVATION
                await uow.audit.add(_entry(event, now, user_id, actor_id, address))
                if not after.is_active:
                    await uow.sessions.end_all(user_id, now)
            if after.is_staff != before.is_staff:
                detail = "made staff" if after.is_staff else "staff no more"
                await uow.audit.add(_entry(Event.ROLE_CHANGE, now, user_id, actor_id, address, detail))
        await self.news.tell(about_user(user_id))
        return after


async def _locked(uow: UnitOfWork, user_id: int, actor_id: int) -> User:
    try:
        return await uow.users.get(user_id)
    except UserNotFound:
        if user_id == actor_id:
            raise BadToken() from None  # the actor's account was deleted meanwhile
        raise


async def _replace_password(
    storage: Storage, clock: Clock, user: User, password_hash: str, *, proved_in: str | None = None, address: str = ""
) -> None:
    """Give the account another password and end its sessions.

    `proved_in` is the field that proved the old password: the proof is void if the password changed since then. Without
    it, an operator acts.
    """
    now = clock.now()
    async with storage.transaction() as uow:
        fresh = await uow.users.get(user.id)
        if proved_in and fresh.password_hash != user.password_hash:
            raise WrongPassword(proved_in)
        await uow.users.save(fresh.with_password(password_hash, now))
        await uow.sessions.end_all(user.id, now)
        actor_id, detail = (user.id, "") if proved_in else (None, "by an operator")
        await uow.audit.add(_entry(Event.PASSWORD_CHANGE, now, user.id, actor_id, address, detail))


async def _note_wrong_proof(storage: Storage, clock: Clock, user: User, address: str, purpose: str) -> None:
    async with storage.autocommit() as uow:
        await uow.audit.add(
            _entry(Event.FAILED_SIGN_IN, clock.now(), user.id, user.id, address, f"wrong password for a {purpose}")
        )


def _entry(event: Event, at: datetime, user_id: int, actor_id: int | None, address: str, detail: str = "") -> Entry:
    return Entry(at=at, event=event, user_id=user_id, actor_id=actor_id, address=address, detail=detail)
