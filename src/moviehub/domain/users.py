"""People with an account: who they are, and the rules for their names, addresses and passwords."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from moviehub.domain.common_passwords import COMMON_PASSWORDS
from moviehub.domain.errors import FieldError, Forbidden, Invalid, NotFound
from moviehub.domain.text import LONGEST_NORMALIZED, cased, checked, faults

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(rf"[\w.!#$%&'*+/=?^`{{|}}~-]{{1,64}}@(?:{_LABEL}\.)+{_LABEL}")
_UNSEEN = re.compile("[\u115f\u1160\u3164\uffa0]")
"""Letters that nobody sees: the fillers of Hangul."""


class UserNotFound(NotFound):
    """There is no such account."""

    slug = "user-not-found"
    title = "No such user"


class Taken(Invalid):
    """Somebody else has this name or address, perhaps in other letters of the same meaning."""

    def __init__(self, *fields: str) -> None:
        names = {"username": "username", "email": "e-mail address"}
        super().__init__([FieldError(field, "taken", f"this {names[field]} is taken") for field in fields])


class WrongPassword(Invalid):
    """The password given as proof is not the account's; `field` is the one it was given in."""

    def __init__(self, field: str) -> None:
        super().__init__([FieldError(field, "wrong", "this is not the account's password")])


class NotYours(Forbidden):
    """The caller may not do this to this account."""


def check_username(username: str) -> str:
    """`username` NFKC-normalised, if it is 3 to 150 letters, digits and `@ . + - _`."""
    checked("username", username, most=600)
    name = checked("username", unicodedata.normalize("NFKC", username), least=3, most=150)
    if _UNSEEN.search(name) or not all(c.isalpha() or c.isdecimal() or c in "@.+-_" for c in name):
        raise Invalid.field("username", "characters", "expected letters, digits and @ . + - _ only")
    return name


def check_email(email: str) -> str:
    """`email`, if it has the form of an address and at most 254 characters, NFKC-normalised too."""
    checked("email", email, most=254)
    for form in (email, unicodedata.normalize("NFKC", email)):
        checked("email", form, most=254)
        if not _EMAIL.fullmatch(form) or _UNSEEN.search(form) or ".." in form or form[0] == "." or ".@" in form:
            raise Invalid.field("email", "format", "expected an e-mail address such as name@example.org")
    return email


def check_password(password: str) -> str:
    """`password` NFC-normalised, if it has 8 to 256 characters and is not among the common ones."""
    checked("password", password, most=LONGEST_NORMALIZED)
    password = checked("password", normalized_password(password), least=8, most=256)
    if cased(password) in COMMON_PASSWORDS:
        raise Invalid.field("password", "common", "this password is too common")
    return password


def normalized_password(password: str) -> str:
    """A password as it is hashed and compared. One that is too long to be anybody's is left as it is."""
    return password if len(password) > LONGEST_NORMALIZED else unicodedata.normalize("NFC", password)


def check_password_for(password: str, *, username: str, email: str, field: str = "password") -> str:
    """`password` if it is good in itself and does not give away its owner. Raises Invalid naming `field`."""
    try:
        password = check_password(password)
        plain = cased(password)
        for own in (cased(username), cased(email), cased(email).partition("@")[0]):
            if plain == own or (len(own) >= 5 and own in plain):
                raise Invalid.field("password", "similar", "expected a password unlike the username and the e-mail")
    except Invalid as fault:
        raise Invalid(replace(error, field=field) for error in fault.errors) from None
    return password


def check_profile_picture(url: str) -> str:
    """`url`, if it is empty or an https address of at most 500 characters. Nobody fetches it."""
    if not checked("profile_picture", url, most=500):
        return url
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and not re.search(r"\s", url) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Invalid.field("profile_picture", "format", "expected an https URL")
    return url


def check_first_name(name: str) -> str:
    """`name`, if it has at most 150 characters."""
    return checked("first_name", name, most=150)


def check_last_name(name: str) -> str:
    """`name`, if it has at most 150 characters."""
    return checked("last_name", name, most=150)


def check_bio(bio: str) -> str:
    """`bio`, if it has at most 2,000 characters."""
    return checked("bio", bio, most=2_000, lines=True)


RULES: Mapping[str, Callable[[Any], object]] = {
    "username": check_username,
    "email": check_email,
    "password": check_password,
    "first_name": check_first_name,
    "last_name": check_last_name,
    "bio": check_bio,
    "profile_picture": check_profile_picture,
}


def _foreign_address(username: str, email: str) -> list[FieldError]:
    """The fault of a username that is somebody else's address: log-in takes either name, so nobody may sit on it."""
    name = unicodedata.normalize("NFKC", username)
    # An @ and a dot after it: what every address has, and keeps however its letters fold.
    if "." in name.partition("@")[2] and cased(name) != cased(email):
        return [FieldError("username", "address", "a username that is an e-mail address must be the account's own")]
    return []


def check_account(
    *, username: str, email: str, password: str, password_confirm: str | None = None, **profile: str | None
) -> None:
    """Refuse an account that may not be: Invalid naming every field at fault, all at once."""
    found = faults({"username": username, "email": email, **profile}, RULES)
    if "username" not in {fault.field for fault in found}:
        found += _foreign_address(username, email)
    try:
        check_password_for(password, username=username, email=email)
    except Invalid as fault:
        found += fault.errors
    if password_confirm is not None and password_confirm != password:
        found.append(FieldError("password_confirm", "mismatch", "expected the same as password"))
    if found:
        raise Invalid(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """An account before the storage gives it an id. All names are checked and the username NFKC-normalised."""

    username: str
    email: str
    password_hash: str
    first_name: str = ""
    last_name: str = ""
    bio: str | None = None
    profile_picture: str | None = None
    is_staff: bool = False
    is_superuser: bool = False

    def __post_init__(self) -> None:
        if found := faults({name: getattr(self, name, None) for name in RULES}, RULES):
            raise Invalid(found)
        object.__setattr__(self, "username", check_username(self.username))
        if found := _foreign_address(self.username, self.email):
            raise Invalid(found)

    @property
    def username_key(self) -> str:
        """The username as it is unique."""
        return cased(self.username)

    @property
    def email_key(self) -> str:
        """The address as it is unique."""
        return cased(self.email)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account that is kept. `password_hash` says by its prefix how it was made."""

    id: int
    username: str
    email: str
    password_hash: str
    first_name: str = ""
    last_name: str = ""
    bio: str | None = None
    profile_picture: str | None = None
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    created_at: datetime
    updated_at: datetime

    @property
    def username_key(self) -> str:
        """The username as it is unique."""
        return cased(self.username)

    @property
    def email_key(self) -> str:
        """The address as it is unique."""
        return cased(self.email)

    def with_profile(self, at: datetime, **changes: Any) -> "User":
        """The same person with some of `email, first_name, last_name, bio, profile_picture` changed.

        An empty bio or picture is none. Raises Invalid naming every field at fault.
        """
        if found := faults(changes, {name: RULES[name] for name in changes}):
            raise Invalid(found)
        for name in ("bio", "profile_picture"):
            if name in changes:
                changes[name] = changes[name] or None
        return replace(self, **changes, updated_at=at)

    def governed(self, by: "User", at: datetime, *, is_active: bool | None, is_staff: bool | None) -> "User":
        """The same person let in or kept out, made staff or not, as far as told, by somebody else who may.

        Staff govern people; superusers govern staff as well, and alone say who is staff. Nobody governs themselves, so
        that there is always somebody left. Raises NotYours or Invalid.
        """
        if not (by.is_active and by.is_staff):
            raise NotYours("Only staff may change an account.")
        if by.id == self.id:
            raise NotYours("Ask somebody else: nobody may change their own rights.")
        if not by.is_superuser and (self.is_staff or self.is_superuser):
            raise NotYours("Only a superuser may change the account of staff.")
        if not by.is_superuser and is_staff is not None:
            raise NotYours("Only a superuser may say who is staff.")
        if self.is_superuser and is_staff is False:
            raise Invalid.field("is_staff", "superuser", "a superuser is always staff")
        changed = replace(
            self,
            is_active=self.is_active if is_active is None else is_active,
            is_staff=self.is_staff if is_staff is None else is_staff,
        )
        return self if changed == self else replace(changed, updated_at=at)

    def with_password(self, password_hash: str, at: datetime) -> "User":
        """The same person with another password."""
        return replace(self, password_hash=password_hash, updated_at=at)
