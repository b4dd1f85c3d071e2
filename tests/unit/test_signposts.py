"""Where pages of long lists end is remembered for a moment: the nearest place, a bounded many, and none too old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moviehub.adapters.postgres.signposts import LEAST_SKIPPED, MOST_BEHIND, MOST_PLACES, Places, Signposts
from moviehub.domain.movies import MovieFilter
from moviehub.domain.pages import Cursor

ALL = MovieFilter()
OFFSETS = st.integers(0, 1_000)


def at(offset: int) -> Cursor:
    return Cursor(-offset, offset)


@given(st.lists(OFFSETS), OFFSETS)
def test_the_nearest_place_is_the_last_one_that_is_not_too_far_before(kept: list[int], wanted: int) -> None:
    places = Places()
    for offset in kept:
        places.keep(ALL, offset, at(offset))
    near = [each for each in kept if each >= LEAST_SKIPPED and wanted - MOST_BEHIND <= each <= wanted]
    assert places.nearest(ALL, wanted) == ((max(near), at(max(near))) if near else None)


def test_each_list_has_places_of_its_own() -> None:
    places = Places()
    places.keep(ALL, 500, at(500))
    for other in (MovieFilter(ordering="popularity"), MovieFilter(genres=(18,)), MovieFilter(search="x")):
        assert places.nearest(other, 500) is None


def test_no_more_are_kept_than_were_allowed() -> None:
    places = Places()
    lists = [MovieFilter(release_year=1900 + number) for number in range(30)]
    for wanted in lists:
        for offset in range(LEAST_SKIPPED, 10_000, 100):
            places.keep(wanted, offset, at(offset))
            places.keep(wanted, offset, at(offset))  # a second time it takes no room
    kept = [wanted for wanted in lists for offset in range(LEAST_SKIPPED, 10_000, 100) if is_at(places, wanted, offset)]
    assert len(kept) == MOST_PLACES


def is_at(places: Places, wanted: MovieFilter, offset: int) -> bool:
    found = places.nearest(wanted, offset)
    return found is not None and found[0] == offset


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "known"), [(0.0, True), (1.9, True), (2.0, False), (60.0, False)])
def test_a_place_is_no_older_than_was_allowed(seconds: float, known: bool) -> None:
    watch = Watch()
    signposts = Signposts(2.0, watch)
    signposts.places.keep(ALL, 500, at(500))
    watch.now += seconds
    assert (signposts.places.nearest(ALL, 500) is not None) == known


def test_a_place_that_was_found_from_an_old_one_is_no_younger() -> None:
    watch = Watch()
    signposts = Signposts(2.0, watch)
    reading = signposts.places  # by somebody who has started at one of them
    watch.now += 2.0
    assert signposts.places is not reading
    reading.keep(ALL, 600, at(600))
    assert signposts.places.nearest(ALL, 600) is None


def test_what_is_forgotten_is_not_learned_again_from_who_had_read_it_before() -> None:
    signposts = Signposts(60.0)
    reading = signposts.places
    reading.keep(ALL, 500, at(500))
    signposts.forget()
    reading.keep(ALL, 600, at(600))
    assert signposts.places.nearest(ALL, 500) is signposts.places.nearest(ALL, 600) is None
    signposts.places.keep(ALL, 600, at(600))
    assert signposts.places.nearest(ALL, 600) == (600, at(600))


def test_without_time_nothing_is_known() -> None:
    signposts = Signposts(0.0)
    signposts.places.keep(ALL, 500, at(500))
    assert signposts.places.nearest(ALL, 500) is None
