"""What people can do with their account."""

from dataclasses import dataclass
from typing import Any

from moviehub.application.ports import Clock, Passwords, Storage
from moviehub.domain.errors import FieldError, Invalid
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
        faults: list[FieldError] = []
        if not await self.passwords.verify(normalized_password(current_password), user.password_hash):
            faults += WrongPassword("current_password").errors
        try:
            check_password_for(new_password, username=user.username, email=user.email, field="new_password")
        except Invalid as fault:
            faults += fault.errors
        if faults:
            raise Invalid(faults)
        password_hash = await self.passwords.hash(normalized_password(new_password))
        await _replace_password(self.storage, self.clock, user, password_hash, proved_in="current_password")


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
        password_hash = await self.passwords.hash(normalized_password(password))
        await _replace_password(self.storage, self.clock, user, password_hash)


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
        async with self.storage.transaction() as uow:
            if (await uow.users.get(user_id)).password_hash != user.password_hash:  # changed while we were hashing
                raise WrongPassword("password")
            await uow.users.remove(user_id)


async def _replace_password(
    storage: Storage, clock: Clock, user: User, password_hash: str, *, proved_in: str | None = None
) -> None:
    """Give the account another password and end its sessions.

    `proved_in` is the field that proved the old password: the proof is void if the password changed since then.
    """
    now = clock.now()
    async with storage.transaction() as uow:
        fresh = await uow.users.get(user.id)
        if proved_in and fresh.password_hash != user.password_hash:
            raise WrongPassword(proved_in)
        await uow.users.save(fresh.with_password(password_hash, now))
        await uow.sessions.end_all(user.id, now)
