"""Accounts over HTTP."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, delete, get, patch, post, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from msgspec import UNSET, Meta, UnsetType

from moviehub.application.limits import AdmitAttempt
from moviehub.application.users import (
    ChangePassword,
    DeleteAccount,
    GetUser,
    GovernUser,
    ListUsers,
    Register,
    UpdateProfile,
)
from moviehub.domain.errors import FieldError, Invalid
from moviehub.domain.sessions import BadToken
from moviehub.domain.text import checked
from moviehub.domain.users import RULES, User, UserNotFound, check_account
from moviehub.entrypoints.http.auth import PublicRequest, SignedInRequest
from moviehub.entrypoints.http.calls import Instant, answer, call, nothing
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import LINE, LINES, Body, Query, path_id
from moviehub.entrypoints.http.limits import admitted
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, PageOut, envelope

LONGEST_SEARCH = 254
"""No username and no address is longer than what is sought in them."""

Name = Annotated[str, Meta(extra_json_schema={"maxLength": 150, "pattern": LINE})]
Bio = Annotated[str, Meta(extra_json_schema={"maxLength": 2000, "pattern": LINES})]
Picture = Annotated[
    str,
    Meta(
        extra_json_schema={
            "maxLength": 500,
            "pattern": r"^(https://[\w.-]+(:[1-9][0-9]{0,3})?([/?#][^\s\x00-\x1f\x7f-\x9f]*)?)?$",
        },
        description="An https URL; nobody fetches it.",
    ),
]
Email = Annotated[str, Meta(extra_json_schema={"maxLength": 254, "format": "email"}, examples=["alice@example.org"])]
Password = Annotated[
    str,
    Meta(
        extra_json_schema={"minLength": 8, "maxLength": 256, "pattern": LINE},
        description="Not a common one, and unlike the username and the e-mail address.",
        examples=["correct horse battery staple"],
    ),
]


class RegistrationIn(msgspec.Struct, kw_only=True):
    """A new account."""

    username: Annotated[
        str,
        Meta(
            extra_json_schema={"minLength": 3, "maxLength": 150, "pattern": r"^[\p{L}\p{Nd}@.+_-]*$"},
            description="Letters, digits and @ . + - _",
            examples=["alice"],
        ),
    ]
    email: Email
    password: Password
    password_confirm: str | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    bio: Bio | None = None
    profile_picture: Picture | None = None


class ProfileIn(msgspec.Struct, kw_only=True):
    """What of a profile changes; a bio or picture of null or "" is taken away."""

    email: Email | UnsetType = UNSET
    first_name: Name | UnsetType = UNSET
    last_name: Name | UnsetType = UNSET
    bio: Bio | UnsetType | None = UNSET
    profile_picture: Picture | UnsetType | None = UNSET


class PasswordChangeIn(msgspec.Struct):
    """The password now, and the one to come."""

    current_password: str
    new_password: Password


class DeletionIn(msgspec.Struct):
    """The password, as proof that the account's owner asks."""

    password: str


class RightsIn(msgspec.Struct, kw_only=True):
    """Whether somebody may sign in, and whether they are staff, which only a superuser may say."""

    is_active: bool | UnsetType = UNSET
    is_staff: bool | UnsetType = UNSET


class UsersIn(PageIn, frozen=True):
    """Which accounts; `search` is sought in username and address."""

    search: Annotated[str, Meta(extra_json_schema={"maxLength": LONGEST_SEARCH, "pattern": LINE})] = ""


class UserOut(msgspec.Struct, kw_only=True):
    """An account; staff see their rights as well."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    bio: str | None
    profile_picture: str | None
    created_at: Instant
    updated_at: Instant
    is_staff: bool | UnsetType = UNSET
    is_superuser: bool | UnsetType = UNSET


class GovernedUserOut(UserOut, kw_only=True):
    """An account as staff see it."""

    is_active: bool
    is_staff: bool
    is_superuser: bool


class UserMessageOut(msgspec.Struct):
    """What was done, and the account now."""

    message: str
    user: UserOut


def user_out(user: User) -> UserOut:
    """An account as its owner sees it."""
    out = msgspec.convert(user, UserOut, from_attributes=True)
    if not user.is_staff:
        out.is_staff = out.is_superuser = UNSET
    return out


def _governed_out(user: User) -> GovernedUserOut:
    return msgspec.convert(user, GovernedUserOut, from_attributes=True)


def _account_faults(given: Mapping[str, Any]) -> list[FieldError]:
    """What the domain has against an account of which some fields may be missing."""
    try:
        check_account(**{"username": "", "email": "", "password": "", **given})
    except Invalid as fault:
        return [error for error in fault.errors if error.field in given]
    return []


REGISTRATION = Body(RegistrationIn, check=_account_faults)
PROFILE = Body(ProfileIn, RULES)
PASSWORD_CHANGE = Body(PasswordChangeIn)
DELETION = Body(DeletionIn)
RIGHTS = Body(RightsIn, least=1)
USERS = Query(UsersIn, {**PAGE_RULES, "search": lambda text: checked("search", text, most=LONGEST_SEARCH)})


@contextmanager
def _own_account() -> Iterator[None]:
    """What is done here with the caller's account; if that is deleted meanwhile, their token is no good any more."""
    try:
        yield
    except UserNotFound:
        raise BadToken() from None


class UsersController(Controller):
    """Accounts."""

    path = "/api/auth/users"
    tags = ["Accounts"]

    @post("/", opt=call(auth="none", body=REGISTRATION, answers={201: UserMessageOut}))
    async def register(
        self, request: PublicRequest, register: NamedDependency[Register], admit_attempt: NamedDependency[AdmitAttempt]
    ) -> Response[bytes]:
        """Register an account."""
        given = await REGISTRATION.read(request)
        address = await admitted(request, admit_attempt, given.username)
        user = await register(**msgspec.structs.asdict(given), address=address)
        return answer(UserMessageOut("User registered successfully.", user_out(user)), 201)

    @get("/me", opt=call(answers={200: UserOut}, tagged=False))
    async def me(self, request: SignedInRequest) -> Response[bytes]:
        """Show the caller's account."""
        return answer(user_out(request.user.user))

    @route(
        "/update_profile",
        http_method=[HttpMethod.PUT, HttpMethod.PATCH],
        opt=call(body=PROFILE, answers={200: UserMessageOut}),
    )
    async def update_profile(
        self, request: SignedInRequest, update_profile: NamedDependency[UpdateProfile]
    ) -> Response[bytes]:
        """Change what is named of the caller's profile."""
        given = await PROFILE.read(request)
        changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not UNSET}
        address = exchange_of(request.scope).address
        with _own_account():
            user = await update_profile(user_id=request.user.user.id, address=address, **changes)
        return answer(UserMessageOut("Profile updated successfully.", user_out(user)))

    @post("/change_password", status_code=200, opt=call(body=PASSWORD_CHANGE, answers={204: None}))
    async def change_password(
        self,
        request: SignedInRequest,
        change_password: NamedDependency[ChangePassword],
        admit_attempt: NamedDependency[AdmitAttempt],
    ) -> Response[bytes]:
        """Change the password; every session ends, this one too."""
        given = await PASSWORD_CHANGE.read(request)
        user = request.user.user
        address = await admitted(request, admit_attempt, user.username)
        with _own_account():
            await change_password(
                user_id=user.id,
                current_password=given.current_password,
                new_password=given.new_password,
                address=address,
            )
        return nothing()

    @delete("/me", status_code=200, opt=call(body=DELETION, answers={204: None}))
    async def delete_me(
        self,
        request: SignedInRequest,
        delete_account: NamedDependency[DeleteAccount],
        admit_attempt: NamedDependency[AdmitAttempt],
    ) -> Response[bytes]:
        """Delete the caller's account with everything that belongs to it."""
        given = await DELETION.read(request)
        user = request.user.user
        address = await admitted(request, admit_attempt, user.username)
        with _own_account():
            await delete_account(user_id=user.id, password=given.password, address=address)
        return nothing()


class GovernedUsersController(Controller):
    """Everybody's accounts, for staff."""

    path = "/api/auth/users"
    tags = ["Administration"]

    @get(
        "/",
        opt=call(auth="staff", query=USERS, answers={200: PageOut[GovernedUserOut]}, refusals=(404,), tagged=False),
    )
    async def list_all(self, request: SignedInRequest, list_users: NamedDependency[ListUsers]) -> Response[bytes]:
        """List accounts, the newest first."""
        wanted = USERS.read(request)
        page = await list_users(search=wanted.search, page=wanted.request_of(request))
        results = [_governed_out(user) for user in page.items]
        return answer(PageOut(**envelope(request, page), results=results))  # type: ignore[arg-type]

    @get("/{user_id:str}", opt=call(auth="staff", answers={200: GovernedUserOut}, tagged=False))
    async def detail(self, request: SignedInRequest, get_user: NamedDependency[GetUser]) -> Response[bytes]:
        """Show one account."""
        return answer(_governed_out(await get_user(user_id=path_id(request, "user_id"))))

    @patch("/{user_id:str}", opt=call(auth="staff", body=RIGHTS, answers={200: GovernedUserOut}))
    async def govern(self, request: SignedInRequest, govern_user: NamedDependency[GovernUser]) -> Response[bytes]:
        """Let somebody in or keep them out, make them staff or not.

        Who is kept out has no session any more. Staff govern people, superusers staff as well, and they alone say who
        is staff; nobody governs themselves.
        """
        user_id, given = path_id(request, "user_id"), await RIGHTS.read(request)
        changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not UNSET}
        address = exchange_of(request.scope).address
        user = await govern_user(actor_id=request.user.user.id, user_id=user_id, address=address, **changes)
        return answer(_governed_out(user))
