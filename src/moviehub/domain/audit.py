"""The audit trail: what happened to accounts and rights, and who did it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Event(Enum):
    """What can be on the trail."""

    REGISTRATION = "registration"
    SIGN_IN = "sign_in"
    FAILED_SIGN_IN = "failed_sign_in"
    REFRESH_REUSE = "refresh_reuse"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - no secret
    EMAIL_CHANGE = "email_change"
    ROLE_CHANGE = "role_change"
    ACTIVATION = "activation"
    DEACTIVATION = "deactivation"
    DELETION = "deletion"
    CACHE_FLUSH = "cache_flush"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened: to the account `user_id` by `actor_id`, from `address`, as far as each is known.

    `detail` never holds what somebody typed: people type passwords where names belong.
    """

    at: datetime
    event: Event
    user_id: int | None = None
    actor_id: int | None = None
    address: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry that is kept, under the number it got."""

    id: int
    entry: Entry
