"""The HTTP contract on Postgres and Redis: what was proved in memory is asked again, and what only they can show."""

# ruff: noqa: F401 - the tests below are the very functions that run in memory; here they get the fixture of this file
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.entrypoints.bootstrap import Container, closing, running
from moviehub.entrypoints.settings import UNLIMITED, Settings
from tests import promises
from tests.api import PASSWORD, Api, api_over, fields, film
from tests.unit.test_http_accounts import (
    test_a_bio_and_a_picture_can_be_taken_away,
    test_a_new_password_ends_every_session,
    test_a_password_is_counted_after_normalisation_and_as_long_as_it_is,
    test_a_taken_name_and_a_taken_address_are_told_together,
    test_a_username_is_letters_digits_and_a_few_signs,
    test_a_username_is_taken_in_any_case_and_by_its_look_alikes,
    test_an_account_ends_with_everything_that_is_its_own,
    test_an_address_is_taken_in_any_case,
    test_an_address_that_is_taken_stays_where_it_is,
    test_registration_answers_201_with_a_message_and_the_user,
)
from tests.unit.test_http_bodies import (
    test_a_broken_body_is_400_on_every_call,
    test_text_that_no_database_holds_is_refused_everywhere,
)
from tests.unit.test_http_docs import test_answers_are_as_the_document_says
from tests.unit.test_http_errors import (
    test_a_bad_id_is_named_on_every_call_that_has_one,
    test_a_bad_token_is_refused_on_every_route_that_looks_at_it,
)
from tests.unit.test_http_favorites import (
    test_a_favorite_added_twice_is_one,
    test_a_favorite_can_be_taken_back,
    test_a_favorite_shows_the_rating_too,
    test_a_film_that_is_not_there_is_no_favorite,
    test_favorites_are_listed_newest_first,
    test_favorites_are_ones_own,
    test_ten_at_once_leave_one_favorite,
)
from tests.unit.test_http_listings import (
    test_a_film_on_two_pages_of_theirs_is_shown_once,
    test_a_page_of_ours_is_cut_from_pages_of_theirs,
    test_nothing_true_to_say_is_503_with_a_time_to_try_again,
    test_other_filters_of_a_search_see_the_first_hundred_hits,
    test_recommendations_are_the_catalogues,
    test_the_hubs_own_films_answer_while_the_catalogue_is_out,
    test_what_the_catalogue_tells_is_kept,
)
from tests.unit.test_http_movies import (
    test_a_film_has_the_values_that_the_catalogue_told,
    test_a_film_shows_what_the_caller_has_said_of_it,
    test_a_film_that_is_nowhere_is_not_found,
    test_a_film_that_the_hub_has_not_met_is_fetched_and_kept,
    test_a_known_parameter_with_a_bad_value_is_refused_by_name,
    test_an_old_detail_is_served_as_it_is_while_the_catalogue_is_out,
    test_detail_adds_genres_and_the_hubs_own_score,
    test_detail_is_asked_for_again_when_it_is_older_than_a_day,
    test_the_count_of_the_list_stops_at_ten_thousand,
    test_the_list_can_be_narrowed,
    test_the_list_can_be_ordered_either_way,
    test_what_is_not_known_of_a_film_is_null,
)
from tests.unit.test_http_pages import (
    test_a_page_past_the_end_is_404_of_its_own_type,
    test_page_one_of_nothing_is_an_empty_page,
    test_the_way_on_and_back_leads_through_every_page,
)
from tests.unit.test_http_ratings import (
    test_a_film_that_is_not_there_cannot_be_rated,
    test_a_first_rating_is_201_and_a_second_200,
    test_a_patch_changes_what_it_names_alone,
    test_a_rating_can_be_taken_back,
    test_a_rating_shows_in_the_average_at_once,
    test_a_review_may_be_long_and_in_any_script,
    test_everybodys_reviews_are_listed_newest_first,
    test_ones_ratings_are_listed_newest_change_first,
    test_ratings_go_with_their_account,
    test_ten_at_once_leave_one_rating,
    test_there_is_nothing_to_patch_before_a_rating,
)
from tests.unit.test_http_sessions import (
    test_a_lost_reply_is_forgiven_to_the_parent_alone,
    test_a_person_signs_in_by_name_or_address_in_any_case,
    test_a_refresh_token_gets_the_next_pair_and_is_dead_from_then_on,
    test_a_session_lasts_thirty_days_without_use_and_ninety_in_all,
    test_all_other_sessions_can_be_ended_at_once,
    test_one_session_can_be_ended,
    test_revoking_ends_the_session_with_its_access_tokens,
    test_sessions_are_listed_latest_used_first,
    test_somebody_elses_session_is_not_there,
    test_verify_tells_whether_a_token_of_either_kind_is_good,
    test_what_a_program_calls_itself_is_kept_without_what_cannot_be_shown,
    test_who_asks_again_after_eleven_seconds_has_a_copy,
    test_who_lost_the_reply_asks_again_within_ten_seconds_and_gets_the_same_refresh_token,
    test_wrong_credentials_say_the_same_whatever_is_wrong,
)


@pytest.fixture
async def container(migrated_url: str, valkey_url: str) -> AsyncIterator[Container]:
    """Everything real but the outside world: a clock and a catalogue that the test sets."""
    settings = Settings(
        database_url=migrated_url,
        redis_url=valkey_url,
        tmdb_url="demo://",
        secret_key="k" * 32,
        bcrypt_cost=4,
        password_queue=64,  # fifty may register at once
        public_max_age=0,
        **UNLIMITED,
    )
    container = Container(settings=settings)
    container.clock.override(MemoryClock())
    container.catalogue.override(MemoryCatalogue())
    # Fifty who come at once are all to get a connection, however slow the machine is today.
    container.storage.override(PostgresStorage(migrated_url, wait_timeout=20, command_timeout=20))
    async with closing(container):
        yield container


@pytest.fixture
async def api(container: Container) -> AsyncIterator[Api]:
    """The whole HTTP application on Postgres and Redis, empty."""
    async with api_over(container) as api:
        yield api


async def statuses(*calls: Any) -> list[int]:
    return sorted(answer.status_code for answer in await asyncio.gather(*calls))


@promises.fifty_at_once
async def test_fifty_ratings_at_once_leave_one_that_was_sent(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    path = f"/api/movies/{movie}/rate/"
    calls = (api.post(path, {"rating": 1 + n % 10, "review": f"no {n}"}, token=token) for n in range(50))
    assert await statuses(*calls) == [200] * 49 + [201]
    (rating,) = (await api.get("/api/movies/ratings/my_ratings/", token=token)).json()["results"]
    assert 1 + int(rating["review"].removeprefix("no ")) % 10 == rating["rating"]
    detail = (await api.get(f"/api/movies/{movie}/")).json()
    assert (detail["average_rating"], detail["ratings_count"]) == (rating["rating"], 1)


async def test_fifty_changes_of_a_rating_at_once_lose_no_field(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    path = f"/api/movies/{movie}/rate/"
    await api.post(path, {"rating": 1, "review": "first"}, token=token)
    changes = ({"rating": 9} if n % 2 else {"review": "last"} for n in range(50))
    assert await statuses(*(api("PATCH", path, change, token=token) for change in changes)) == [200] * 50
    (rating,) = (await api.get("/api/movies/ratings/my_ratings/", token=token)).json()["results"]
    assert (rating["rating"], rating["review"]) == (9, "last")


@promises.fifty_at_once
async def test_fifty_people_who_rate_at_once_are_all_counted(api: Api) -> None:
    (movie,) = await api.knows(film(1))
    tokens = [await api.joined(f"user{n}") for n in range(50)]
    path = f"/api/movies/{movie}/rate/"
    calls = (api.post(path, {"rating": 1 + n % 10}, token=token) for n, token in enumerate(tokens))
    assert await statuses(*calls) == [201] * 50
    detail = (await api.get(f"/api/movies/{movie}/")).json()
    assert (detail["average_rating"], detail["ratings_count"]) == (5.5, 50)


@promises.fifty_at_once
async def test_fifty_favorites_at_once_leave_one(api: Api) -> None:
    (movie,), token = await api.knows(film(1)), await api.joined()
    path = f"/api/movies/{movie}/add_to_favorites/"
    assert await statuses(*(api.post(path, token=token) for _ in range(50))) == [200] * 49 + [201]
    assert (await api.get("/api/movies/favorites/my_favorites/", token=token)).json()["count"] == 1


@promises.fifty_at_once
async def test_fifty_registrations_at_once_leave_one(api: Api) -> None:
    account = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}
    answers = await asyncio.gather(*(api.post("/api/auth/users/", account) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 49
    for answer in answers:
        if answer.status_code == 400:
            assert "taken" in fields(answer).values()
    await api.sign_in()


async def test_of_many_who_delete_an_account_at_once_one_does_and_the_others_have_no_token(api: Api) -> None:
    token = await api.joined()
    ends = [api("DELETE", "/api/auth/users/me/", {"password": PASSWORD}, token=token) for _ in range(5)]
    changes = [api("PATCH", "/api/auth/users/update_profile/", {"bio": "x"}, token=token) for _ in range(5)]
    ended, changed = await asyncio.gather(statuses(*ends), statuses(*changes))
    assert ended == [204] + [401] * 4
    assert set(changed) <= {200, 401}


@promises.refresh_lost_reply
async def test_fifty_refreshes_at_once_get_one_successor(api: Api) -> None:
    refresh = (await api.tokens())["refresh"]
    calls = (api.post("/api/auth/token/refresh/", {"refresh": refresh}) for _ in range(50))
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh"] for answer in answers}) == 1


@promises.herd_cold
async def test_fifty_readers_of_a_cold_page_cost_one_call_upstream(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(20)]
    assert await statuses(*(api.get("/api/movies/popular/") for _ in range(50))) == [200] * 50
    assert len(api.catalogue.calls) == 1


async def test_another_process_finds_what_this_one_kept(api: Api, container: Container) -> None:
    api.catalogue.films = [film(1)]
    await api.get("/api/movies/popular/")
    other = Container(settings=container.settings())
    other.clock.override(container.clock())
    other.catalogue.override(MemoryCatalogue())
    async with closing(other), api_over(other) as there:
        answer = await there.get("/api/movies/popular/")
        assert (answer.json()["count"], answer.headers["cache-status"]) == (1, "moviehub; hit")
        assert there.catalogue.calls == []


async def test_a_whole_visit_on_the_demo_catalogue(migrated_url: str, valkey_url: str) -> None:
    settings = Settings(
        database_url=migrated_url, redis_url=valkey_url, tmdb_url="demo://", secret_key="k" * 32, bcrypt_cost=4
    )
    async with running(settings) as container, api_over(container) as api:
        popular = (await api.get("/api/movies/popular/")).json()
        assert (popular["source"], len(popular["results"])) == ("tmdb", 10)
        again = await api.get("/api/movies/popular/")
        assert again.headers["cache-status"] == "moviehub; hit"
        assert again.headers["cache-control"] in ("public, max-age=60", "public, max-age=59")
        first = popular["results"][0]
        token = await api.joined()
        assert (await api.post(f"/api/movies/{first['id']}/rate/", {"rating": 9}, token=token)).status_code == 201
        detail = (await api.get(f"/api/movies/tmdb/{first['tmdb_id']}/", token=token)).json()
        assert (detail["id"], detail["average_rating"], detail["user_rating"]["rating"]) == (first["id"], 9.0, 9)
        found = (await api.get("/api/movies/search/", params={"q": first["title"]})).json()
        assert first["id"] in {movie["id"] for movie in found["results"]}
        assert detail["created_at"].endswith("Z")
        ready = (await api.get("/health/ready")).json()
        assert ready == {"status": "ok", "checks": dict.fromkeys(ready["checks"], "ok")}
        assert {"database", "migrations", "cache"} <= ready["checks"].keys()
