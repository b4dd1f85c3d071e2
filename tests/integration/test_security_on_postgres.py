"""Rights, the audit trail and injections on Postgres and Redis: the very tests that run in memory."""

# ruff: noqa: F401, F811 - fixtures and tests of other files; here they get the real storage
from typing import Any

import asyncpg
import pytest

from tests import promises
from tests.api import Api
from tests.integration.test_http_on_postgres import api, container
from tests.unit import test_rights as rights
from tests.unit.test_http_staff import (
    test_a_superuser_governs_staff_and_superusers_but_not_themselves,
    test_accounts_are_found_by_any_part_of_name_or_address_in_any_case,
    test_staff_govern_people_alone,
    test_the_trail_is_narrowed_to_an_account_and_an_event,
    test_the_trail_never_holds_what_was_typed,
    test_who_is_kept_out_loses_every_session_at_once_and_comes_in_again_when_let,
)
from tests.unit.test_injection import (
    test_an_ordering_is_one_of_a_few_words_and_never_a_statement,
    test_of_parameters_given_twice_each_is_checked_and_the_last_counts,
    test_staff_search_for_plain_text_too,
    test_what_looks_like_a_pattern_or_a_statement_is_plain_text,
)
from tests.unit.test_rights import (
    test_rights_count_from_when_they_are_given_until_they_are_taken,
    test_who_is_kept_out_is_refused_at_once_everywhere,
)
from tests.wire import Wire

TABLES = ("users", "sessions", "movies", "favorites", "ratings")


@pytest.fixture
async def wire(api: Api, operator: asyncpg.Connection) -> Wire:
    """A client that sends anything, and looks into the database itself for what it has done."""

    class OnPostgres(Wire):
        async def kept(self) -> Any:
            return {name: await operator.fetch(f"SELECT * FROM {name} ORDER BY id") for name in TABLES}

    return await OnPostgres.over(api)


@promises.access_ends
@pytest.mark.slow
async def test_everybody_gets_what_the_table_says_of_every_route(api: Api) -> None:
    await rights.test_everybody_gets_what_the_table_says(api)


@promises.access_ends
@pytest.mark.slow
async def test_nobody_changes_or_sees_what_is_somebody_elses_on_any_route(api: Api) -> None:
    await rights.test_nobody_changes_or_sees_what_is_somebody_elses(api)
