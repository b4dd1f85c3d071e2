"""What people can do with their account."""

from dataclasses import dataclass
from typing import Any

from moviehub.application.ports import Clock, Passwords, Storage
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
        async with self.storage.autocommit() as uow:
            return await uow.users.add(user, self.clock.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile:
    """The account with `email, first_name, last_name, bio` or `profile_picture` changed, as far as named."""

    storage: Storage
    clock: Clock

    async def __call__(self, *, user_id: int, **changes: Any) -> User:
        async with self.storage.transaction() as uow:
            user = (await uow.users.get(user_id)).with_profile(self.clock.now(), **changes)
            await uow.users.save(user)
            return user


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Another password, and every session ended."""

    storage: Storage
    passwords: Passwords
    clock: Clock

    async def __call__(self, *, user_id: int, current_password: str, new_password: str) -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.get(user_id)
        if not await self.passwords.verify(normalized_password(current_password), user.password_hash):
            raise WrongPassword("current_password")
        check_password_for(new_password, username=user.username, email=user.email, field="new_password")
        await _set_password(self.storage, self.passwords, self.clock, user, new_password)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword:
    """Another password for an account that an operator names, and every session ended."""

    storage: Storage
    passwords: Passwords
    clock: Clock

    async def __call__(self, *, login: str, password: str) -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.find_by_login(login)
        if user is None:
            raise UserNotFound(f"There is no user {login!r}.")
        check_password_for(password, username=user.username, email=user.email)
        await _set_password(self.storage, self.passwords, self.clock, user, password)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccount:
    """The account, its favourites, ratings and sessions gone."""

    storage: Storage
    passwords: Passwords

    async def __call__(self, *, user_id: int, password: str) -> None:
        async with self.storage.reading() as uow:
            user = await uow.users.get(user_id)
        if not await self.passwords.verify(normalized_password(password), user.password_hash):
            raise WrongPassword("password")
        async with self.storage.autocommit() as uow:
            await uow.users.remove(user_id)


async def _set_password(storage: Storage, passwords: Passwords, clock: Clock, user: User, password: str) -> None:
    password_hash = await passwords.hash(normalized_password(password))
    now = clock.now()
    async with storage.transaction() as uow:
        fresh = await uow.users.get(user.id)
        await uow.users.save(fresh.with_password(password_hash, now))
        await uow.sessions.end_all(user.id, now)
