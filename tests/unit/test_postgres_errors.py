"""What the driver and the database raise is told in the words of the domain."""

from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import InternalClientError

from moviehub.adapters.postgres.errors import CONSTRAINTS, FAILURES, OTHERS_FIRST, translated
from moviehub.adapters.postgres.tables import metadata
from moviehub.domain.errors import Invalid, Unavailable
from moviehub.domain.movies import MovieNotFound
from moviehub.domain.sessions import BadToken
from moviehub.domain.users import Taken
from tests import promises


def told(code: str, **more: Any) -> asyncpg.PostgresError:
    """The error that the server tells by this SQLSTATE."""
    fields = {"S": "ERROR", "V": "ERROR", "C": code, "M": "a secret of the server", **more}
    error = asyncpg.PostgresError.new(fields)
    assert isinstance(error, asyncpg.PostgresError)
    return error


@promises.postgres_states
@pytest.mark.parametrize("code", ["22001", "22003", "22021", "22P02", "23502", "23514", "54000"])
def test_a_value_at_fault_is_invalid(code: str) -> None:
    assert type(translated(told(code))) is Invalid


@promises.postgres_states
@pytest.mark.parametrize(
    "code",
    [
        *("08000", "08006", "08P01", "25006", "25P02", "28000", "28P01", "3D000", "40001", "40P01", "42501", "42703"),
        *("42P01", "53100", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "58030", "XX000", "ZZ999"),
    ],
)
def test_a_database_in_a_bad_state_is_unavailable(code: str) -> None:
    assert type(translated(told(code))) is Unavailable


@pytest.mark.parametrize(
    ("code", "others"), [("40001", True), ("40P01", True), ("40003", False), ("55P03", False), ("57014", False)]
)
def test_only_what_was_undone_for_others_may_be_done_again(code: str, others: bool) -> None:
    assert isinstance(told(code), OTHERS_FIRST) is others  # of 40003 nobody knows whether it was done


@pytest.mark.parametrize(
    "failure",
    [
        TimeoutError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        OSError("no such host"),
        asyncpg.InterfaceError("pool is closing"),
        InternalClientError("out of step"),
    ],
)
def test_a_database_that_cannot_be_reached_is_unavailable(failure: Exception) -> None:
    assert isinstance(failure, FAILURES)
    assert type(translated(failure)) is Unavailable


@promises.postgres_states
@pytest.mark.parametrize(
    ("constraint", "kind"),
    [
        ("fk_sessions_user_id", BadToken),
        ("fk_favorites_user_id", BadToken),
        ("fk_favorites_movie_id", MovieNotFound),
        ("fk_ratings_user_id", BadToken),
        ("fk_ratings_movie_id", MovieNotFound),
        ("uq_users_username_key", Taken),
        ("uq_users_email_key", Taken),
    ],
)
def test_a_broken_constraint_is_the_error_of_its_name(constraint: str, kind: type[Exception]) -> None:
    assert type(translated(told("23503", n=constraint))) is kind


@promises.postgres_states
def test_every_constraint_that_has_an_error_is_in_the_tables() -> None:
    names = {constraint.name for table in metadata.tables.values() for constraint in table.constraints}
    assert names >= CONSTRAINTS.keys()
    assert {name for name in names if str(name).startswith("fk_")} <= CONSTRAINTS.keys()


def test_no_secret_of_the_server_is_told() -> None:
    for code in ("22001", "23503", "54000", "57014", "XX000"):
        assert "secret" not in str(translated(told(code)))
